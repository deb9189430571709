from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alfred_voice.audio.level import SILENCE_DBFS, rms_dbfs
from alfred_voice.audio.pcm import Int16


def test_a_square_wave_at_full_scale_is_zero() -> None:
    assert rms_dbfs(np.full(320, -32_768, np.int16)) == 0.0


def test_a_sine_at_full_scale_is_three_below(tone: Callable[..., Int16]) -> None:
    assert rms_dbfs(tone(1, 16_000, 1_000, 32_767)) == pytest.approx(-3.01, abs=0.01)


def test_half_the_amplitude_is_six_less() -> None:
    assert rms_dbfs(np.full(320, 16_384, np.int16)) == pytest.approx(-6.0206, abs=1e-3)


@pytest.mark.parametrize("n", [0, 1, 320])
def test_silence_has_a_finite_floor(n: int) -> None:
    assert rms_dbfs(np.zeros(n, np.int16)) == SILENCE_DBFS


def test_a_single_unit_in_a_long_silence_does_not_fall_below_the_floor() -> None:
    samples = np.zeros(1_000_000, np.int16)
    samples[5] = 1

    assert rms_dbfs(samples) == SILENCE_DBFS


@given(hnp.arrays(np.int16, st.integers(1, 2_000)))
def test_the_level_is_finite_and_within_its_range(samples: Int16) -> None:
    power = sum(int(sample) ** 2 for sample in samples) / len(samples)
    expected = max(SILENCE_DBFS, 10 * np.log10(power / 2**30)) if power else SILENCE_DBFS

    assert rms_dbfs(samples) == pytest.approx(expected, abs=1e-9)
    assert SILENCE_DBFS <= rms_dbfs(samples) <= 0.0
