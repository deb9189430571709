from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alfred_voice.errors import EngineDown, EngineFailure, RowFailure
from alfred_voice.events import (
    DEFAULT_EVENTS,
    ErrorRaised,
    FinalTranscription,
    FrameProcessed,
    Interrupted,
    PartialTranscription,
    Pong,
    SessionFinished,
    SpeechEnded,
    SpeechStarted,
    TurnCompleted,
    TurnPending,
    WarningRaised,
)
from alfred_voice.results import Transcript, Word
from alfred_voice.session.economy import Economy
from alfred_voice.session.finals import Finals
from alfred_voice.session.requests import Urgency


MakeSpeaker = Callable[..., Any]
FINAL, CUT, PARTIAL = Urgency.FINAL, Urgency.CUT, Urgency.PARTIAL
EVERYTHING = DEFAULT_EVENTS | {"frameProcessed"}


def sample(index: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (index * 7919) % 2001 - 1000


def assert_heard(request: Any, start: int, end: int) -> None:
    """The question carries exactly this stretch of the stream."""
    assert (request.start_sample, request.end_sample) == (start, end)
    np.testing.assert_array_equal(request.samples, sample(np.arange(start, end, dtype=np.int64)))


# One utterance


def test_an_utterance_is_told_from_its_start_to_the_end_of_the_turn(speaker: MakeSpeaker) -> None:
    one = speaker().say(" " * 20 + "#" * 20)
    one.partial("hello")
    one.say(" " * 7)
    one.final("hello world", confidence=0.9, processing_ms=12.0)
    one.judge(0.8)
    assert one.told == ["speechStart", "partialTranscription", "partialTranscription"]
    one.say(" ")

    assert one.told[3:] == ["speechEnd", "finalTranscription", "turnComplete"]
    start, end = one.one(SpeechStarted), one.one(SpeechEnded)
    assert (start.at_ms, start.probability) == (20 * 32 - 300, 0.9)
    assert (end.at_ms, end.duration_ms) == (40 * 32, 20 * 32 + 300)
    final = one.one(FinalTranscription)
    assert (final.utterance, final.text, final.start_ms, final.end_ms) == (0, "hello world", 340, 1280)
    assert (final.confidence, final.processing_ms, final.language, final.engine) == (0.9, 12.0, "en", "moonshine")
    turn = one.one(TurnCompleted)
    assert (turn.utterance, turn.probability, turn.reason, turn.at_ms) == (0, 0.8, "model", 1280)
    assert turn.silence_ms == 8 * 32
    assert 240 <= turn.latency_ms == final.latency_ms <= 280
    one.stop()
    stats = one.one(SessionFinished).stats
    assert (stats.utterances, stats.speech_ms) == (1, 20 * 32)
    assert stats.frames_received == stats.frames_processed == one.frames


def test_each_question_carries_the_audio_it_is_about(speaker: MakeSpeaker) -> None:
    one = speaker().say(" " * 20 + "#" * 16)
    assert_heard(one.questions(PARTIAL)[0], 20 * 512 - 4800, 36 * 512)
    one.say(" " * 7)

    assert_heard(one.questions(FINAL)[0], 20 * 512 - 4800, 36 * 512 + 96 * 16)
    (judge,) = one.judgements
    np.testing.assert_array_equal(judge.samples, sample(np.arange(20 * 512 - 4800, 42 * 512, dtype=np.int64)))
    assert judge.silence_ms == 6 * 32, "200 ms to the nearest window"


def test_the_turn_model_hears_at_most_8_s(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 300 + " " * 7)

    assert len(one.judgements[0].samples) == 8 * 16_000


def test_the_pre_roll_ends_at_the_beginning_of_the_stream_and_at_the_speech_before(speaker: MakeSpeaker) -> None:
    one = speaker().say("###" + " " * 8 + "###")

    assert [start.at_ms for start in one.of(SpeechStarted)] == [0, 3 * 32]


def test_noise_that_is_too_short_is_not_told(speaker: MakeSpeaker) -> None:
    one = speaker().say("  ##" + " " * 30 + "##" + " " * 30)

    assert one.told == []
    assert one.asked == []
    assert not one.session.has_open_utterance


def test_an_utterance_with_too_little_speech_has_an_empty_final_and_nobody_is_asked(speaker: MakeSpeaker) -> None:
    one = speaker(language="de").say("###" + " " * 8)
    assert one.questions(FINAL) == []
    one.judge(0.9)

    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]
    final = one.one(FinalTranscription)
    assert (final.text, final.confidence, final.language) == ("", 0.0, "de")


def test_a_final_is_in_the_language_that_was_heard(speaker: MakeSpeaker) -> None:
    one = speaker(language="de").say(" " * 20 + "#" * 10 + " " * 8)
    one.final("salut", language="fr")
    one.judge(0.9)

    assert one.one(FinalTranscription).language == "fr"


def test_an_empty_final_is_in_the_configured_language(speaker: MakeSpeaker) -> None:
    one = speaker(stt={"language": "fr"}).say("###" + " " * 8)
    one.judge(0.9)

    assert one.one(FinalTranscription).language == "fr"


def test_words_of_the_final_are_on_the_clock_of_the_session(speaker: MakeSpeaker) -> None:
    one = speaker().say(" " * 20 + "#" * 10 + " " * 8)
    one.final("hi", words=(Word("hi", 310, 400, 0.5),))
    one.judge(1.0)

    assert one.one(FinalTranscription).words == (Word("hi", 650, 740, 0.5),)


# Pauses and turns


def test_a_pause_that_is_no_end_is_told_and_judged_again(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 10 + " " * 8)
    one.judge(0.2)
    assert one.one(TurnPending) == TurnPending(0.2, 6 * 32)
    one.say(" " * 6)
    assert one.judgements == []
    one.say(" ")

    assert one.judgements[0].silence_ms == 15 * 32
    one.final("yes")
    one.judge(0.7)
    turn = one.one(TurnCompleted)
    assert (turn.reason, turn.probability) == ("model", 0.7)
    assert turn.silence_ms == 15 * 32


def test_a_long_silence_ends_the_turn_whatever_the_model_says(speaker: MakeSpeaker) -> None:
    one = speaker(turn={"max_silence_ms": 1000}).say("#" * 10 + " " * 8)
    one.final("and")
    one.judge(0.3)
    one.say(" " * 23)
    assert one.of(TurnCompleted) == []
    one.say(" ")

    turn = one.one(TurnCompleted)
    assert (turn.reason, turn.probability, turn.silence_ms, turn.at_ms) == ("silence", 0.3, 32 * 32, 320)
    assert one.judgements[0].silence_ms == 15 * 32
    late = one.judge(0.9)
    assert late.utterance == 0
    assert one.told[-1] == "turnComplete"
    assert one.told.count("turnComplete") == 1


def test_speech_that_resumes_belongs_to_the_utterance_and_voids_the_speculative_final(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 8)
    (early,) = one.questions(FINAL)
    one.say("#" * 10)
    one.session.receive_transcript(early, Transcript("half a"), one.now)
    one.judge(1.0)
    one.pump()
    assert one.told == ["speechStart", "speechEnd", "speechStart"]

    one.say(" " * 8)
    late = one.questions(FINAL)[1]
    assert_heard(late, 0, 28 * 512 + 96 * 16)
    one.session.receive_transcript(late, Transcript("half a sentence"), one.now)
    one.judge(1.0)
    assert one.told[3:] == ["speechEnd", "finalTranscription", "turnComplete"]
    assert one.one(FinalTranscription).text == "half a sentence"


def test_a_dip_voids_the_speculative_final_too(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 4 + "#")
    one.final("early")
    one.say(" " * 8)
    one.final("late")
    one.judge(1.0)

    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]
    assert one.one(FinalTranscription).text == "late"


def test_a_final_that_is_there_before_the_end_waits_for_it_and_one_that_is_late_is_waited_for(
    speaker: MakeSpeaker,
) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 8)
    one.judge(1.0)
    assert one.told == ["speechStart", "speechEnd"]
    one.now += 5
    one.final("late")

    assert one.told[2:] == ["finalTranscription", "turnComplete"]
    assert one.one(FinalTranscription).latency_ms > 5000


def test_noise_in_a_pause_does_not_end_or_reopen_it(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 8)
    one.final("yes")
    one.say("##")
    one.judge(1.0)
    assert "turnComplete" not in one.told
    one.say(" " * 8)

    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]
    assert one.one(TurnCompleted).at_ms == 320


def test_with_turns_off_silence_ends_the_utterance_and_no_turn_is_told(speaker: MakeSpeaker) -> None:
    one = speaker(turns=False, partials=False).say("#" * 10 + " " * 18)
    one.final("yes")
    assert "finalTranscription" not in one.told
    one.say(" ")

    assert one.told == ["speechStart", "speechEnd", "finalTranscription"]
    assert one.judgements == []


def test_finals_are_told_in_the_order_of_the_utterances(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    for _ in range(2):
        one.say("#" * 10 + " " * 8)
        one.judge(1.0)
    first, second = one.questions(FINAL)
    one.session.receive_transcript(second, Transcript("two"), one.now)
    one.pump()
    assert one.of(FinalTranscription) == []
    one.session.receive_transcript(first, Transcript("one"), one.now)
    one.pump()

    assert [(f.utterance, f.text) for f in one.of(FinalTranscription)] == [(0, "one"), (1, "two")]
    assert one.told[-4:] == ["finalTranscription", "turnComplete"] * 2


# Flush and stop


def test_a_flush_ends_speech_at_once(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10)
    end = int(one.session.stream_ms)
    one.flush()
    assert one.told == ["speechStart", "speechEnd"]
    one.final("yes")

    assert one.told[2:] == ["finalTranscription", "turnComplete"]
    turn = one.one(TurnCompleted)
    assert (turn.reason, turn.at_ms, turn.silence_ms, turn.probability) == ("flush", end, 0, 0)
    one.say("#" * 10)
    assert one.of(SpeechStarted)[1].at_ms == end, "what comes next begins where the flush was"


def test_a_flush_in_a_pause_ends_the_utterance_where_its_speech_ended(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 10)
    one.judge(0.1)
    one.final("yes")
    one.flush()

    turn = one.one(TurnCompleted)
    assert (turn.reason, turn.at_ms, turn.silence_ms, turn.probability) == ("flush", 320, 320, 0.1)
    assert one.told.count("finalTranscription") == 1


@pytest.mark.parametrize("sound", ["", "   ", "##"])
def test_a_flush_with_nothing_open_does_nothing(speaker: MakeSpeaker, sound: str) -> None:
    one = speaker().say(sound)
    one.flush()

    assert one.told == []
    assert not one.session.has_open_utterance


def test_a_flush_concerns_only_what_came_before_it(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    one.holds_detections = True
    one.say("#" * 10)
    end = int(one.session.stream_ms * 16)
    one.session.receive_flush()
    one.say("#" * 10)
    one.session.receive_flush()
    one.holds_detections = False
    one.detect(one.detects[0])
    one.pump()

    assert one.told == ["speechStart", "speechEnd"] * 2
    assert [question.start_sample for question in one.questions(FINAL)] == [0, end]
    assert one.of(SpeechEnded)[0].at_ms == end / 16
    for text in ("one", "two"):
        one.final(text)
    assert [turn.reason for turn in one.of(TurnCompleted)] == ["flush", "flush"]
    assert all(turn.silence_ms == 0 for turn in one.of(TurnCompleted))


def test_a_stop_in_speech_delivers_the_final_and_then_the_end(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10)
    one.stop()
    assert one.told == ["speechStart", "speechEnd"]
    one.final("yes")

    assert one.told[2:] == ["finalTranscription", "turnComplete", "sessionEnded"]
    end = one.one(SessionFinished)
    assert end.reason == "stop"
    assert end.stats.frames_received == end.stats.frames_processed == one.frames
    assert one.session.is_over


@pytest.mark.parametrize("sound", ["", " ", "## "])
def test_a_stop_with_nothing_open_is_the_end(speaker: MakeSpeaker, sound: str) -> None:
    one = speaker().say(sound)
    one.stop()

    assert one.told == ["sessionEnded"]
    assert one.one(SessionFinished).stats.frames_processed == one.frames


def test_only_the_first_stop_counts_and_nothing_follows_the_end(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 7)
    (judge,) = one.judgements
    one.session.receive_stop("idle", one.now)
    one.stop()
    one.final("yes")
    one.session.receive_stop("shutdown", one.now)
    one.session.fail(EngineFailure("late"), one.now)
    one.session.end("error", one.now)
    one.session.tell(Pong(1))
    one.break_down(judge)

    assert one.told[-1] == "sessionEnded"
    assert one.one(SessionFinished).reason == "idle"


def test_a_session_can_be_ended_at_once_and_its_account_is_exact(speaker: MakeSpeaker) -> None:
    one = speaker()
    one.holds_detections = True
    one.say("#" * 10)
    one.session.receive_gap(5, one.now)
    one.session.receive_loss(2)
    one.session.end("max_duration", one.now)
    one.detect(one.detects[0])
    one.pump()

    stats = one.one(SessionFinished).stats
    assert one.told == ["sessionEnded"]
    assert (stats.frames_received, stats.frames_processed, stats.frames_dropped) == (one.frames + 7, 0, one.frames + 7)


# Failures


def test_a_failed_final_is_asked_once_more(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 8)
    one.judge(1.0)
    one.break_down(one.questions(FINAL)[0])
    assert len(one.questions(FINAL)) == 1
    one.final("yes")

    assert one.one(FinalTranscription).text == "yes"
    assert one.of(ErrorRaised) == one.of(WarningRaised) == []


def test_a_final_that_fails_twice_is_empty_and_the_error_is_told(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 8)
    one.judge(1.0)
    for _ in range(2):
        one.break_down(one.questions(FINAL)[0])

    assert one.told[2:] == ["error", "finalTranscription", "turnComplete"]
    error = one.one(ErrorRaised)
    assert (error.code, error.fatal) == ("engine_failure", False)
    assert "it broke" in error.message
    assert one.one(FinalTranscription).text == ""
    assert one.questions(FINAL) == []


def test_each_final_has_its_own_second_chance_and_a_void_one_that_fails_is_not_told(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 4)
    for _ in range(2):
        one.break_down(one.questions(FINAL)[0])
    one.say("#" * 10 + " " * 8)
    one.judge(1.0)
    one.break_down(one.questions(FINAL)[0])
    one.final("yes")

    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]
    assert one.one(FinalTranscription).text == "yes"


def test_an_overtaken_final_that_fails_is_nobody_s_loss(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 4 + "#")
    one.break_down(one.questions(FINAL)[0])

    assert one.told == ["speechStart"]
    assert one.questions(FINAL) == []


def test_a_failed_partial_is_left_out(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16)
    one.break_down(one.questions(PARTIAL)[0])
    one.say("#" * 7)
    one.partial("yes")

    assert one.told == ["speechStart", "warning", "partialTranscription"]
    assert one.one(WarningRaised).code == "engine_failure"


def test_a_final_that_the_engine_cannot_bear_ends_the_session_with_what_was_heard(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16)
    one.partial("turn on")
    one.say(" " * 8)
    one.judge(1.0)
    one.break_down(one.questions(FINAL)[0], RowFailure("not that one"))

    assert one.told[-4:] == ["finalTranscription", "turnComplete", "error", "sessionEnded"]
    assert one.one(FinalTranscription).text == "turn on"
    assert one.one(ErrorRaised) == ErrorRaised("row_failure", "not that one", fatal=True)
    assert one.one(SessionFinished).reason == "error"


def test_a_final_that_nobody_waits_for_any_more_may_be_more_than_the_engine_bears(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 4 + "#")
    one.break_down(one.questions(FINAL)[0], RowFailure("not that one"))

    assert one.told == ["speechStart"]


def test_a_cut_that_the_engine_cannot_bear_ends_the_session(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 400)
    one.break_down(one.questions(Urgency.CUT)[0], RowFailure("not that one"))

    assert one.one(SessionFinished).reason == "error"
    assert one.of(FinalTranscription)


def test_a_partial_that_the_engine_cannot_bear_is_the_utterances_last(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16)
    one.break_down(one.questions(PARTIAL)[0], RowFailure("not that one"))
    one.say("#" * 32)
    assert one.questions(PARTIAL) == []
    assert one.one(WarningRaised).code == "row_failure"
    one.say(" " * 8)
    one.judge(1.0)
    one.final("yes")
    one.say("#" * 16)

    assert one.one(FinalTranscription).text == "yes"
    assert len(one.questions(PARTIAL)) == 1


def test_a_final_whose_engine_is_down_is_not_asked_again_as_it_has_waited(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 8)
    one.judge(1.0)
    one.break_down(one.questions(FINAL)[0], EngineDown("not to be had"))

    assert one.questions(FINAL) == []
    assert one.told[2:] == ["error", "finalTranscription", "turnComplete"]
    assert (one.one(ErrorRaised).code, one.one(ErrorRaised).fatal) == ("engine_down", False)


def test_a_pause_that_the_model_cannot_bear_ends_by_its_length(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False, turn={"max_silence_ms": 600}).say("#" * 10 + " " * 7)
    one.break_down(one.judgements[0], RowFailure("not that one"))
    one.say(" " * 20)
    one.final("yes")

    assert one.one(TurnCompleted).reason == "silence"
    assert one.one(FinalTranscription).text == "yes"


def test_a_pause_that_cannot_be_judged_is_judged_again_and_ends_by_its_length(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False, turn={"max_silence_ms": 600}).say("#" * 10 + " " * 7)
    one.break_down(one.judgements[0])
    assert one.told == ["speechStart", "warning"]
    one.say(" " * 10)
    assert len(one.judgements) == 1
    one.break_down(one.judgements[0])
    one.say(" " * 2)
    one.final("yes")

    assert one.one(TurnCompleted).reason == "silence"


def test_a_failure_about_an_earlier_pause_does_not_delay_the_next_judgement(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 7)
    (judge,) = one.judgements
    one.say("#" * 5)
    one.break_down(judge)
    one.say(" " * 7)

    assert [question.silence_ms for question in one.judgements] == [6 * 32]


def test_a_session_that_fails_tells_what_it_has_heard_of_the_open_utterance_first(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 20)
    one.partial("turn on the")
    one.say("##")
    one.holds_detections = True
    one.say("##")
    one.break_down(one.detects[-1])

    assert one.told[-5:] == ["speechEnd", "finalTranscription", "turnComplete", "error", "sessionEnded"]
    final = one.one(FinalTranscription)
    assert final.text == "turn on the"
    assert final.end_ms == 22 * 32
    assert one.one(TurnCompleted).reason == "flush"


def test_a_session_that_fails_tells_the_finals_that_it_owes_in_their_order(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10)
    one.flush()
    one.say(" " * 10 + "#" * 10)
    one.flush()
    assert one.of(FinalTranscription) == []
    one.session.fail(EngineFailure("no more"), one.now)
    one.pump()

    assert [final.utterance for final in one.of(FinalTranscription)] == [0, 1]
    assert [final.text for final in one.of(FinalTranscription)] == ["", ""]
    assert one.told[-2:] == ["error", "sessionEnded"]


def test_a_final_that_is_there_already_is_told_when_the_session_is_ended_at_once(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10 + " " * 4)
    one.final("good night")
    one.session.end("shutdown", one.now)
    one.pump()

    assert one.one(FinalTranscription).text == "good night"
    assert one.told[-1] == "sessionEnded"


def test_a_session_that_fails_tells_the_settled_parts_of_long_speech_and_what_was_heard_since(
    speaker: MakeSpeaker,
) -> None:
    one = speaker()
    cuts = long_speech(one, 700, words_of)
    assert len(cuts) > 2
    told = one.of(PartialTranscription)[-1].text
    one.session.fail(EngineFailure("no more"), one.now)
    one.pump()

    assert one.one(FinalTranscription).text == told


def test_a_session_that_fails_before_speech_is_sure_owes_no_final(speaker: MakeSpeaker) -> None:
    one = speaker().say(" " * 5 + "##")
    assert one.session.has_open_utterance
    one.session.fail(EngineFailure("no more"), one.now)
    one.pump()

    assert one.told == ["error", "sessionEnded"]


def test_a_session_that_cannot_even_give_up_is_over_all_the_same(
    speaker: MakeSpeaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_again(*_: Any) -> None:
        raise ZeroDivisionError

    one = speaker().say("#" * 20)
    monkeypatch.setattr(Finals, "give_up", break_again)
    with pytest.raises(ZeroDivisionError):
        one.session.fail(EngineFailure("a fault of our own"), one.now)
    one.pump()

    assert one.session.is_over
    assert one.told[-2:] == ["error", "sessionEnded"]


def test_a_session_without_its_detector_ends(speaker: MakeSpeaker) -> None:
    one = speaker()
    one.holds_detections = True
    one.say("#" * 5)
    one.break_down(one.detects[0])

    assert one.told == ["error", "sessionEnded"]
    assert one.one(ErrorRaised).fatal
    assert one.one(SessionFinished).reason == "error"
    assert one.one(SessionFinished).stats.frames_dropped == one.frames


# Partials


def test_partials_are_asked_for_while_somebody_speaks(speaker: MakeSpeaker) -> None:
    one = speaker().say(" " * 10 + "#" * 40 + " " * 30)
    ends = [question.end_sample // 512 for question in one.questions(PARTIAL)]

    assert ends == [26, 33, 40, 47]


def test_no_partial_is_asked_for_while_nothing_new_is_said(speaker: MakeSpeaker) -> None:
    one = speaker(turn={"silence_ms": 5000, "max_silence_ms": 9000}).say("#" * 16)
    assert len(one.questions(PARTIAL)) == 1
    one.say(" " * 60)
    assert len(one.questions(PARTIAL)) == 1
    one.say("##" + " " * 60)
    # Two windows of noise are no speech.
    assert len(one.questions(PARTIAL)) == 1
    one.say("###")

    assert [question.end_sample // 512 for question in one.questions(PARTIAL)] == [16, 141]


def test_partials_can_be_switched_off_by_the_client(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 40 + " " * 4)
    one.final("yes")

    assert not one.session.partials_wanted
    assert one.questions(PARTIAL) == []
    assert one.told == ["speechStart"]


def test_partials_can_be_slowed_down_and_stopped_and_restored(speaker: MakeSpeaker) -> None:
    one = speaker()
    one.session.economise(Economy(partial_factor=0))
    assert not one.session.partials_wanted
    one.say("#" * 40)
    assert one.questions(PARTIAL) == []
    one.session.economise(Economy())
    one.say("#" * 7)
    one.session.economise(Economy(partial_factor=3))
    one.say("#" * 30)

    assert [question.end_sample // 512 for question in one.questions(PARTIAL)] == [41, 60]


def test_a_final_is_decoded_ahead_of_the_endpoint_unless_that_is_to_be_saved(speaker: MakeSpeaker) -> None:
    eager, thrifty = speaker(), speaker()
    thrifty.session.economise(Economy(speculates=False))
    for one in (eager, thrifty):
        one.say("#" * 20 + " " * 5)
    assert len(eager.questions(FINAL)) == 1
    assert thrifty.questions(FINAL) == []
    thrifty.say(" " * 70)
    assert len(thrifty.questions(FINAL)) == 1, "the endpoint itself still asks for it"


def test_a_pause_that_goes_on_is_judged_again_less_often_when_that_is_to_be_saved(speaker: MakeSpeaker) -> None:
    counts = []
    for factor in (1.0, 2.0):
        one = speaker()
        one.session.economise(Economy(recheck_factor=factor))
        one.say("#" * 20)
        judged = 0
        for _ in range(55):
            one.say(" ")
            while one.judgements:
                one.judge(0.1)
                judged += 1
        counts.append(judged)
    assert counts == [6, 3], "every 300 ms of 1.8 s, and every 600"


def test_the_newest_silence_is_at_hand_and_speech_is_not(speaker: MakeSpeaker) -> None:
    one = speaker()
    one.say(" " * 20)
    silence = one.session.quiet_audio()
    assert silence is not None
    np.testing.assert_array_equal(silence, sample(np.arange(20 * 512 - 300 * 16, 20 * 512, dtype=np.int64)))
    one.say("#" * 20)
    assert one.session.quiet_audio() is None
    one.say(" " * 8)
    pause = one.session.quiet_audio()
    assert pause is not None
    np.testing.assert_array_equal(pause, sample(np.arange(40 * 512, 48 * 512, dtype=np.int64)))


def test_who_speaks_in_real_time_is_not_ahead_and_who_sends_a_file_is(speaker: MakeSpeaker) -> None:
    one = speaker()
    one.say(" " * 200)
    assert not one.session.is_ahead(one.now)
    for _ in range(60):
        one.session.receive_frame(np.zeros(320, np.int16), one.now)
    assert one.session.is_ahead(one.now)
    assert not one.session.is_ahead(one.now + 1.0)


def test_a_burst_waits_for_the_turn_model_but_not_for_ever(speaker: MakeSpeaker) -> None:
    one = speaker()
    one.say("#" * 20 + " " * 8)
    assert one.judgements
    one.holds_detections = True
    for _ in range(20):
        one.session.receive_frame(np.zeros(320, np.int16), one.now)
    one.pump()
    held = len(one.detects)
    one.pump()
    assert len(one.detects) == held, "its answer decides what comes next"
    one.now += 0.6
    one.pump()
    assert len(one.detects) == held + 1, "an engine that takes so long is late anyway"


def test_no_partial_is_told_behind_the_end_of_the_speech(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16 + " " * 8)
    one.partial("late")
    one.final("late final")
    one.judge(1.0)

    assert "partialTranscription" not in one.told


def test_a_partial_that_comes_when_speech_has_resumed_is_overtaken(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16 + " " * 8 + "###")
    one.partial("late")

    assert "partialTranscription" not in one.told


def test_a_partial_that_says_nothing_new_is_not_told_again(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 23)
    one.partial("yes")
    one.partial("yes")

    assert one.told.count("partialTranscription") == 1


def commit(one: Any, text: str) -> None:
    """Four hypotheses of one text, of which all but the last three words are committed."""
    for _ in range(4):
        one.say("#" * 16)
        while one.questions(PARTIAL):
            one.partial(text)


def test_committed_words_are_forced_on_later_partials_and_not_on_the_final(speaker: MakeSpeaker) -> None:
    one = speaker()
    commit(one, "one two three four five")
    assert one.of(PartialTranscription)[-1].stable_text == "one two"
    one.say("#" * 7)
    assert one.questions(PARTIAL)[-1].prefix == (*map(ord, "one"), *map(ord, "two"))
    one.say(" " * 4)

    assert one.questions(FINAL)[0].prefix == ()


def test_a_final_whose_answer_commits_words_spells_them_as_they_were_told(speaker: MakeSpeaker) -> None:
    one = speaker()
    for _ in range(3):
        one.say("#" * 8 if one.asked else "#" * 16)
        one.partial("One. two three four five")
    one.say(" " * 4)
    one.final("One, two three four five")
    assert one.of(PartialTranscription)[-1].stable_text == "One. two"
    one.say(" " * 4)
    one.judge(1.0)

    assert one.one(FinalTranscription).text == "One. two three four five"


def test_a_final_that_contradicts_what_was_told_is_asked_for_again_with_it_forced(speaker: MakeSpeaker) -> None:
    one = speaker()
    commit(one, "one two three four five")
    one.say(" " * 8)
    one.judge(1.0)
    first = one.final("won to three four five")
    assert "finalTranscription" not in one.told
    second = one.final("One, two. three for life.")

    assert second.prefix == (*map(ord, "one"), *map(ord, "two"))
    assert second.samples is first.samples
    assert one.one(FinalTranscription).text == "one two three for life."
    assert one.one(FinalTranscription).text.startswith(one.of(PartialTranscription)[-1].stable_text)


@pytest.mark.parametrize(
    ("answer", "expected"), [("won to three", "one two three"), ("", "one two"), ("no", "one two")]
)
def test_what_was_told_stands_even_if_the_recogniser_does_not_obey(
    speaker: MakeSpeaker, answer: str, expected: str
) -> None:
    one = speaker()
    commit(one, "one two three four five")
    one.say(" " * 8)
    one.judge(1.0)
    one.final(answer)
    one.final(answer)

    assert one.one(FinalTranscription).text == expected


def test_what_was_told_stands_even_if_the_recogniser_fails(speaker: MakeSpeaker) -> None:
    one = speaker()
    commit(one, "one two three four five")
    one.say(" " * 8)
    one.judge(1.0)
    for _ in range(2):
        one.break_down(one.questions(FINAL)[0])

    assert one.one(FinalTranscription).text == "one two"


# Drafts


def draft_of(text: str) -> tuple[int, ...]:
    """The tokens of the words, as the recogniser of the tests numbers them."""
    return tuple(ord(letter) for letter in text if letter != " ")


def test_the_first_question_about_an_utterance_has_no_draft(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 16 + " " * 4)

    assert one.questions(FINAL)[0].draft == ()


def test_the_newest_hypothesis_is_the_draft_of_the_next_partial_and_of_the_final(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16)
    assert one.partial("turn in").draft == ()
    one.say("#" * 8)
    assert one.partial("turn on the").draft == draft_of("turn in")
    one.say(" " * 4)

    assert one.questions(FINAL)[0].draft == draft_of("turn on the")


def test_a_draft_begins_with_what_is_forced(speaker: MakeSpeaker) -> None:
    one = speaker()
    commit(one, "one two three four five")
    one.say("#" * 7)
    request = one.questions(PARTIAL)[-1]

    assert request.prefix == draft_of("onetwo")
    assert request.draft == draft_of("onetwothreefourfive")
    one.say(" " * 4)
    one.final("wrong all of it")
    forced = one.questions(FINAL)[0]
    assert (forced.prefix, forced.draft) == (request.prefix, request.draft)


def test_what_an_utterance_said_is_no_draft_of_the_next_one(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16)
    one.partial("good night")
    one.flush()
    one.final("good night")
    one.asked.clear()
    one.say(" " * 10 + "#" * 20)

    assert [question.draft for question in one.questions(PARTIAL)] == [()]


def test_a_cut_is_searched_with_the_last_hypothesis_for_a_draft_and_leaves_none_of_what_it_settles(
    speaker: MakeSpeaker,
) -> None:
    one, asked = speaker(), []

    def answer(request: Any) -> str:
        asked.append(request)
        return words_of(request)

    long_speech(one, 500, answer)
    whole = next(request for request in asked if request.urgency is CUT)
    assert whole.draft == draft_of(words_of(asked[asked.index(whole) - 1]))
    behind = [request for request in asked if request.start_sample > 0]
    assert sum(len(request.draft) > 0 for request in behind) > 2
    for request in behind:
        drafted = "".join(map(chr, request.draft)).replace("w", " w").split()
        assert set(drafted) <= set(words_of(request).split())


# Interruption


def play(one: Any, speech_id: int = 7) -> None:
    one.playout.begin(speech_id)
    one.playout.sent(60_000, one.now)


def test_speech_over_the_daemon_s_speech_interrupts_it_once(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say(" " * 10)
    play(one)
    one.say("#" * 10)

    assert one.told == ["speechStart", "interruption"]
    event = one.one(Interrupted)
    assert (event.at_ms, event.speech_id) == (320, 7)
    assert event.spoken_ms == pytest.approx(96, abs=25)
    assert event.latency_ms == pytest.approx(96, abs=25)
    assert one.session.take_interruption()
    assert not one.session.take_interruption()


def test_a_speech_is_interrupted_once_even_before_it_has_been_stopped(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    play(one)
    one.say("#" * 5 + " " * 3 + "#" * 5)

    assert one.told.count("interruption") == 1


@pytest.mark.parametrize("sound", ["##        ##        ", "#       ", "# # # "])
def test_a_short_noise_does_not_interrupt(speaker: MakeSpeaker, sound: str) -> None:
    one = speaker(partials=False)
    play(one)
    one.say(sound)

    assert "interruption" not in one.told
    assert not one.session.take_interruption()


def test_speech_that_a_flush_has_ended_does_not_add_up_with_a_noise_behind_it(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    play(one)
    one.say("##")
    one.flush()
    one.say("     #    ")

    assert "interruption" not in one.told


def test_nothing_is_interrupted_when_nothing_plays(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    play(one)
    one.now += 61
    one.say("#" * 10)
    one.playout.end()
    one.say("#" * 10)

    assert "interruption" not in one.told


def test_interruption_can_be_switched_off(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False, interruption={"enabled": False})
    play(one)
    one.say("#" * 10)

    assert one.told == ["speechStart"]


# What the client asked for


def test_each_frame_is_told_once_to_those_who_ask(speaker: MakeSpeaker) -> None:
    one = speaker(events=EVERYTHING, partials=False).say(" #  ####")
    one.stop()
    one.final("yes")
    frames = one.of(FrameProcessed)

    assert [frame.frame for frame in frames] == list(range(one.frames))
    assert [frame.at_ms for frame in frames] == [20.0 * n for n in range(one.frames)]
    # A frame is judged with the window that holds its last sample.
    voices = [one.sound.ljust(99)[(320 * n + 319) // 512] == "#" for n in range(one.frames)]
    assert [frame.is_speech for frame in frames] == voices
    assert [frame.speech_probability for frame in frames] == [0.9 if voice else 0.0 for voice in voices]
    assert all(frame.processing_ms >= 0 for frame in frames)


def test_what_is_not_wanted_is_not_told(speaker: MakeSpeaker) -> None:
    one = speaker(events=frozenset({"finalTranscription"})).say("#" * 20 + " " * 8)
    one.partial("yes")
    one.final("yes")
    one.judge(1.0)
    one.session.tell(Pong(1))
    one.pump()

    assert one.told == ["finalTranscription"]


# Long streams


def long_speech(one: Any, windows: int, answer: Callable[[Any], str]) -> list[Any]:
    """Speak on; each question is answered at once by what lies in its audio. Returns the cuts' questions."""
    cuts = []
    for _ in range(windows):
        one.say("#")
        while one.asked:
            request = one.asked[0]
            cuts += [request] if request.urgency is CUT else []
            one.answer(request.urgency, answer(request))
    return cuts


def words_of(request: Any) -> str:
    """A word for each half second that begins in the clip, named by its place in the stream."""
    first, last = -(-request.start_sample // 8_000), (request.end_sample - 1) // 8_000
    return " ".join(f"w{n}" for n in range(first, last + 1))


def test_long_speech_is_cut_without_a_hole_and_without_an_overlap(speaker: MakeSpeaker) -> None:
    one = speaker()
    cuts = long_speech(one, 1250, words_of)  # 40 s
    one.say(" " * 4)
    request = one.final(words_of(one.questions(FINAL)[0]))
    one.say(" " * 4)
    one.judge(1.0)

    assert all(len(request.samples) <= 12.1 * 16_000 for request in cuts)
    assert 3 <= len({r.start_sample for r in cuts}) <= 6
    assert request.start_sample > 27 * 16_000
    final = one.one(FinalTranscription)
    assert final.text.split() == [f"w{n}" for n in range(len(final.text.split()))]
    assert len(final.text.split()) >= 80
    stable = [partial.stable_text for partial in one.of(PartialTranscription)]
    assert all(later.startswith(earlier) for earlier, later in zip(stable, [*stable[1:], final.text], strict=True))
    assert len(stable[-1].split()) > 60


def test_the_audio_of_long_speech_is_given_up_as_it_is_settled(speaker: MakeSpeaker) -> None:
    one = speaker()
    most = 0
    for _ in range(13):
        long_speech(one, 100, words_of)
        most = max(most, one.session.nbytes)

    assert most <= 16_000 * 2 * 16


def test_a_cut_survives_dips_in_the_speech(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    for _ in range(4):
        if not one.questions(CUT):
            break
        one.say(" #")
        one.answer(CUT, words_of(one.questions(CUT)[0]))
    one.say(" " * 4)

    assert one.questions(FINAL)[0].start_sample > 5 * 16_000


def test_an_answer_to_a_search_that_was_given_up_is_not_taken_for_the_next_one(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    old = one.questions(CUT)[0]
    one.say(" " * 4)
    one.answer(CUT, words_of(old))
    one.say("#")
    new = one.questions(CUT)[0]
    assert new is not old
    one.session.receive_transcript(old, Transcript("old"), one.now)
    one.pump()

    assert one.questions(CUT) == [new]


def test_a_failed_partial_does_not_disturb_the_search_for_a_cut(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 375)
    (cut,) = one.questions(CUT)
    one.break_down(one.questions(PARTIAL)[-1])
    one.say("#" * 3)
    assert one.questions(CUT) == [cut]
    one.answer(CUT, words_of(cut))

    assert len(one.questions(CUT)) == 1
    assert one.questions(CUT)[0].end_sample < cut.end_sample


def test_a_failed_search_for_a_cut_is_repeated_after_a_while(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    one.break_down(one.questions(CUT)[0])
    one.say("#" * 31)
    assert one.questions(CUT) == []
    one.say("#")

    assert len(one.questions(CUT)) == 1
    assert one.told == ["speechStart", "warning"]


def test_words_are_not_cut_off_where_nothing_is_heard_before_any_candidate(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    one.answer(CUT, "some words")
    while one.questions(CUT):
        one.answer(CUT, "")
    one.say(" " * 4)

    assert one.questions(FINAL)[0].start_sample == 0


def test_no_cut_is_looked_for_in_audio_that_had_to_give_way_to_a_long_gap(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 374)
    one.holds_detections = True
    one.say("###")
    one.session.receive_gap(2000, one.now)
    one.holds_detections = False
    one.detect(one.detects[-1])
    one.pump()

    assert one.questions(CUT) == []
    one.final("what was left")
    one.judge(1.0)
    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]


def test_what_a_cut_settles_keeps_the_spelling_that_was_told(speaker: MakeSpeaker) -> None:
    one = speaker(stt={"min_partial_ms": 0})
    long_speech(one, 374, words_of)
    told = one.of(PartialTranscription)[-1].stable_text
    assert len(told.split()) > 15
    long_speech(one, 10, lambda r: words_of(r).upper() + "." if r.urgency is CUT else words_of(r))

    assert one.of(PartialTranscription)[-1].stable_text.startswith(told)


def test_the_detector_begins_afresh_in_clear_silence(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say(" " * 400)
    fresh = [request.first_window for request in one.detects if request.fresh]

    assert fresh == [0, 157, 314]


def test_the_detector_does_not_begin_afresh_in_speech_or_doubt(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False, turn={"max_silence_ms": 9000}).say("#" * 200 + "~" * 200 + " " * 150 + "#~~" * 100)

    assert [request.first_window for request in one.detects if request.fresh] == [0]


def test_the_detector_is_never_made_fresh_if_so_configured(speaker: MakeSpeaker) -> None:
    one = speaker(vad={"reset_after_ms": 0}).say(" " * 400)

    assert sum(request.fresh for request in one.detects) == 1


def test_frames_that_were_dropped_are_silence_that_nobody_judges(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10)
    one.session.receive_gap(40, one.now)
    one.pump()
    one.final("yes")
    one.judge(1.0)

    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]
    assert sum(len(request.windows) for request in one.detects) <= 11
    one.stop()
    stats = one.one(SessionFinished).stats
    assert (stats.frames_received, stats.frames_dropped) == (one.frames + 40, 40)
    assert stats.frames_processed == one.frames


def test_a_session_says_where_it_is(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    assert one.session.is_settled
    assert not one.session.has_open_utterance
    one.say("##")
    assert one.session.has_open_utterance
    assert not one.session.is_speaking
    one.say("###")
    assert one.session.is_speaking
    assert one.session.frames_processed == one.frames
    one.holds_detections = True
    one.say("#" * 10)
    assert not one.session.is_settled
    assert not one.session.has_appetite
    assert one.session.stream_ms == one.frames * 20
