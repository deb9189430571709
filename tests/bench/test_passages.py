"""Recordings cut at their pauses."""

from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.bench.passages import passages
from alfred_voice.bench.recordings import Recording, SpokenWord
from alfred_voice.models.engine import Int16
from alfred_voice.models.scripted import ScriptedVad
from alfred_voice.session.options import VadOptions


def tone(seconds: float) -> Int16:
    phase = 2 * np.pi * 300 * np.arange(round(seconds * 16_000)) / 16_000
    return (6000 * np.sin(phase)).astype(np.int16)


def silence(seconds: float) -> Int16:
    return np.zeros(round(seconds * 16_000), np.int16)


TWO = Recording("two.wav", np.concatenate([silence(1), tone(1.28), silence(1), tone(2.56), silence(1)]), None)
"""Speech from 1.0 to 2.28 s and from 3.28 to 5.84 s."""


def test_each_stretch_between_pauses_is_a_passage_with_some_silence_around_it() -> None:
    first, second = passages(TWO, (), ScriptedVad(), VadOptions())
    for passage, (begins, ends) in ((first, (1.0, 2.28)), (second, (3.28, 5.84))):
        at_s = passage.start_sample / 16_000
        assert begins - 0.35 <= at_s <= begins
        assert at_s + passage.first_speech / 16_000 == pytest.approx(begins, abs=0.011)
        assert at_s + passage.end_of_speech / 16_000 == pytest.approx(ends, abs=0.011)
        assert passage.speech_s == pytest.approx(ends - begins, abs=0.02)
        np.testing.assert_array_equal(passage.samples, TWO.samples[passage.start_sample :][: len(passage.samples)])


def test_the_detectors_own_bounds_are_whole_windows_of_the_recording() -> None:
    for passage in passages(TWO, (), ScriptedVad(), VadOptions()):
        start = passage.start_sample
        assert (start + passage.first_detected) % 512 == 0
        assert (start + passage.end_detected) % 512 == 0
        assert abs(passage.first_detected - passage.first_speech) <= 512
        assert abs(passage.end_detected - passage.end_of_speech) <= 512


def test_words_go_to_the_passage_that_they_are_in_and_are_timed_from_its_start() -> None:
    words = [SpokenWord("one", 1.2, 1.6), SpokenWord("two", 3.4, 3.8), SpokenWord("lost", np.nan, np.nan)]
    first, second = passages(TWO, words, ScriptedVad(), VadOptions())
    assert [word.word for word in first.words] == ["one"]
    assert [word.word for word in second.words] == ["two"]
    at_s = second.start_sample / 16_000
    assert second.words[0].end_s == pytest.approx(3.8 - at_s, abs=0.006)


def test_what_is_shorter_than_a_second_is_no_passage() -> None:
    short = Recording("short.wav", np.concatenate([silence(1), tone(0.4), silence(1)]), None)
    assert passages(short, (), ScriptedVad(), VadOptions()) == []


@pytest.mark.parametrize("samples", [silence(2.0), silence(0.0)])
def test_silence_has_no_passage(samples: Int16) -> None:
    assert passages(Recording("silence.wav", samples, ""), (), ScriptedVad(), VadOptions()) == []
