from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.errors import EngineFailure
from alfred_voice.events import (
    DEFAULT_EVENTS,
    FinalTranscription,
    FrameProcessed,
    Pong,
    SessionFinished,
    SpeechEnded,
    SpeechStarted,
    TurnCompleted,
)
from alfred_voice.results import Word
from tests.session.hearing import FINAL, PARTIAL, MakeSpeaker, assert_heard, sample


EVERYTHING = DEFAULT_EVENTS | {"frameProcessed"}


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
