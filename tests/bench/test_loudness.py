"""Loudness in 10 ms, and where speech begins and ends by it."""

from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.bench.loudness import levels_db, loud_span, speech_level_db
from alfred_voice.models.engine import Int16


def tone(seconds: float, dbfs: float) -> Int16:
    """A sine of that level: its power is 3 dB below its peak."""
    phase = 2 * np.pi * 500 * np.arange(round(seconds * 16_000)) / 16_000
    return (32768 * 10 ** ((dbfs + 3.0103) / 20) * np.sin(phase)).astype(np.int16)


def test_levels_are_those_of_whole_10_ms() -> None:
    levels = levels_db(np.concatenate([tone(0.02, -20.0), np.zeros(160, np.int16), tone(0.005, -20.0)]))
    assert levels == pytest.approx([-20.0, -20.0, -120.0], abs=0.05)


def test_less_than_10_ms_has_no_level() -> None:
    assert len(levels_db(np.zeros(159, np.int16))) == 0


def test_speech_is_what_is_less_than_30_db_below_the_loudest() -> None:
    recording = np.concatenate([np.zeros(8000, np.int16), tone(0.5, -20.0)])
    assert speech_level_db(recording) == pytest.approx(-50.0, abs=0.1)


def test_in_noise_speech_must_stand_6_db_above_it() -> None:
    recording = np.concatenate([tone(0.5, -40.0), tone(0.5, -20.0)])
    assert speech_level_db(recording) == pytest.approx(-34.0, abs=0.1)


@pytest.mark.parametrize("recording", [tone(1.0, -20.0), np.zeros(16_000, np.int16), np.zeros(0, np.int16)])
def test_where_nothing_stands_out_there_is_no_speech(recording: Int16) -> None:
    assert speech_level_db(recording) is None


def test_the_span_reaches_from_the_first_to_the_last_sustained_sound() -> None:
    quiet = np.zeros(1600, np.int16)
    samples = np.concatenate([quiet, tone(0.05, -20.0), quiet, tone(0.03, -20.0), quiet])
    assert loud_span(samples, -50.0) == (1600, 1600 + 800 + 1600 + 480)


def test_a_click_is_no_speech() -> None:
    click = np.concatenate([np.zeros(1600, np.int16), tone(0.02, -10.0), np.zeros(1600, np.int16)])
    assert loud_span(click, -50.0) is None
    samples = np.concatenate([click, tone(0.1, -20.0), click])
    assert loud_span(samples, -50.0) == (len(click), len(click) + 1600)


def test_too_little_audio_has_no_span() -> None:
    assert loud_span(tone(0.02, -10.0), -50.0) is None
