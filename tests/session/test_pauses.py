"""Pauses: which are told, which are judged again, and which end a turn."""

from __future__ import annotations

from alfred_voice.events import FinalTranscription, TurnCompleted, TurnPending
from alfred_voice.results import Transcript
from tests.session.hearing import FINAL, MakeSpeaker, assert_heard


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
