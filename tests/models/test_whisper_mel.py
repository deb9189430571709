"""Whisper's features against their definition, in double precision and without short cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.models.mel import mel_filters
from alfred_voice.models.whisper_mel import WhisperMel


Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

WHOLE = 3000


def speechlike(samples: int, seed: int = 0) -> Float32:
    """Noise that swells and fades, over a tone."""
    random = np.random.default_rng(seed)
    time_s = np.arange(samples) / 16_000
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time_s)
    sound = swell * (0.1 * random.standard_normal(samples) + 0.2 * np.sin(2 * np.pi * 180 * time_s))
    return sound.astype(np.float32)


def definition(samples: Float32, frames: int, mels: int) -> Float64:
    """Frame by frame, each one a sum of cosines and sines; openai/whisper, audio.py."""
    filled = np.zeros(frames * 160)
    heard = samples[: frames * 160]
    filled[: len(heard)] = heard
    mirrored = np.concatenate([filled[200:0:-1], filled, filled[-2:-202:-1]])
    at = np.arange(400)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * at / 400)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(201), at) / 400)
    filters = mel_filters(400, mels, 16_000)
    power = np.empty((mels, frames))
    for frame in range(frames):
        spectrum = waves @ (window * mirrored[160 * frame : 160 * frame + 400])
        power[:, frame] = filters @ (np.abs(spectrum) ** 2)
    log = np.log10(np.maximum(power, 1e-10))
    features: Float64 = (np.maximum(log, log.max() - 8.0) + 4.0) / 4.0
    return features


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [0, 1, 200, 201, 16_000, 31_999, 63_999, 64_000, 70_000])
def test_four_seconds_are_as_defined(mels: int, samples: int) -> None:
    """At the end, the definition looks into a mirror; longer clips are cut."""
    clip = speechlike(samples)
    found = WhisperMel(mels).features(clip, 400)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, definition(clip, 400, mels), rtol=0, atol=2e-5)


@pytest.mark.parametrize("samples", [480_000, 479_900, 500_000])
def test_thirty_seconds_are_as_defined(samples: int) -> None:
    clip = speechlike(samples)
    np.testing.assert_allclose(WhisperMel(80).features(clip, WHOLE), definition(clip, WHOLE, 80), rtol=0, atol=2e-5)


def test_silence_has_one_value_everywhere() -> None:
    found = WhisperMel(80).features(np.zeros(16_000, np.float32), WHOLE)
    assert found.shape == (80, WHOLE)
    assert np.unique(found).tolist() == pytest.approx([(-10 + 4) / 4])


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(0, 40_000), frames=st.integers(130, 500).map(lambda half: 2 * half))
def test_more_silence_behind_a_clip_changes_nothing_of_what_was_heard(samples: int, frames: int) -> None:
    clip = speechlike(samples, seed=samples)
    short, whole = WhisperMel(80).features(clip, frames), WhisperMel(80).features(clip, WHOLE)
    same = min(frames - 2, WHOLE) if samples <= 160 * frames - 400 else samples // 160 - 2
    same = min(same, frames - 2)
    np.testing.assert_array_equal(short[:, :same], whole[:, :same])


def test_what_lies_behind_the_frames_is_not_heard() -> None:
    clip = speechlike(40_000)
    louder = np.concatenate([clip[:32_000], np.full(8_000, 0.9, np.float32)])
    np.testing.assert_array_equal(WhisperMel(80).features(clip, 200), WhisperMel(80).features(louder, 200))
