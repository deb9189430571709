"""Questions that fail: what is asked again, what is told, and what ends the session."""

from __future__ import annotations

from typing import Any

import pytest

from alfred_voice.errors import EngineDown, EngineFailure, RowFailure
from alfred_voice.events import (
    ErrorRaised,
    FinalTranscription,
    PartialTranscription,
    SessionFinished,
    TurnCompleted,
    WarningRaised,
)
from alfred_voice.session.finals import Finals
from alfred_voice.session.requests import Urgency
from tests.session.hearing import FINAL, PARTIAL, MakeSpeaker, long_speech, words_of


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
