"""Partials: when they are asked for, and what of them is told and stands."""

from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.events import FinalTranscription, PartialTranscription
from alfred_voice.session.economy import Economy
from tests.session.hearing import FINAL, PARTIAL, MakeSpeaker, commit, sample


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
