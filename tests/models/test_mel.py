from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.models.engine import Float32
from alfred_voice.models.mel import FRAMES, MELS, WINDOW_SAMPLES, Float64, TurnMel, mel_filters
from alfred_voice.models.store import Store


SAMPLE_RATE = 16_000


def noise(samples: int, level: float = 0.1, seed: int = 0) -> Float32:
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def chirp(samples: int, level: float) -> Float32:
    """A tone that rises from 100 Hz to 4 kHz, swelling and fading twice a second."""
    time_s = np.arange(samples) / SAMPLE_RATE
    rising = np.sin(2 * np.pi * (100 * time_s + (4_000 - 100) / 16 * time_s**2))
    return (level * rising * (0.5 - 0.5 * np.cos(4 * np.pi * time_s))).astype(np.float32)


def slow_filters() -> Float64:
    """Slaney's filters one by one, as the triangles that they are; shape (80, 201)."""

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1_000 * 6.4 ** ((mel - 15) / 27)

    top_mel = 15 + 27 * np.log(8) / np.log(6.4)
    corners = [hz(top_mel * i / 81) for i in range(82)]
    filters = np.zeros((80, 201))
    for m in range(80):
        left, peak, right = corners[m : m + 3]
        for k in range(201):
            f = 40.0 * k
            if left < f <= peak:
                filters[m, k] = (f - left) / (peak - left) * 2 / (right - left)
            elif peak < f < right:
                filters[m, k] = (right - f) / (right - peak) * 2 / (right - left)
    return filters


def slow_features(turn: NDArray[Any]) -> Float64:
    """The definition step by step, in double precision."""
    window = np.concatenate((np.zeros(128_000), turn.astype(np.float64)))[-128_000:]
    window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
    mirrored = np.concatenate((window[200:0:-1], window, window[-2:-202:-1]))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.array([np.abs(np.fft.rfft(mirrored[160 * t : 160 * t + 400] * hann)) ** 2 for t in range(801)])
    log = np.log10(np.maximum(slow_filters() @ power.T, 1e-10))[:, :800]
    features: Float64 = (np.maximum(log, log.max() - 8) + 4) / 4
    return features


TURNS = {
    "empty": np.zeros(0, np.float32),
    "one sample": np.array([0.5], np.float32),
    "shorter than a frame": noise(399),
    "half a second": chirp(8_000, 0.3),
    "odd length": noise(33_333, 0.02),
    "padding of half a frame": noise(WINDOW_SAMPLES - 200),
    "padding of a sample less": noise(WINDOW_SAMPLES - 199),
    "padding of half a frame and a hop": noise(WINDOW_SAMPLES - 360),
    "one sample short of 8 s": noise(WINDOW_SAMPLES - 1),
    "exactly 8 s": chirp(WINDOW_SAMPLES, 0.3),
    "one sample over 8 s": chirp(WINDOW_SAMPLES + 1, 0.3),
    "20 s": noise(20 * SAMPLE_RATE),
    "silence": np.zeros(3 * SAMPLE_RATE, np.float32),
    "last bit noise": np.round(noise(48_000, 1.0)).astype(np.float32) / 32_768,
    "quiet": noise(48_000, 1e-4),
    "offset": noise(48_000, 0.01) + np.float32(0.2),
    "clipped": np.clip(noise(48_000, 5.0), -1, 1),
    "far beyond full scale": noise(48_000, 1_000.0),
    "click": np.concatenate((np.zeros(20_000), [1.0], np.zeros(20_000))).astype(np.float32),
}
each_turn = pytest.mark.parametrize("turn", TURNS.values(), ids=list(TURNS))


@each_turn
def test_features_are_those_of_the_definition(turn: Float32) -> None:
    features = TurnMel().features(turn)
    assert features.shape == (MELS, FRAMES) == (80, 800)
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    # The window is normalised in single precision, where quiet filters beside loud ones lose some digits.
    np.testing.assert_allclose(features, slow_features(turn), rtol=0, atol=1e-4)


@pytest.fixture
def published(references: Store) -> ModuleType:
    """The extractor that the model's own makers publish, as a module."""
    path: Path = references.path("references", "whisper_features.py")
    spec = importlib.util.spec_from_file_location("published_whisper_features", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.models
@each_turn
def test_features_are_those_of_the_published_extractor(published: ModuleType, turn: Float32) -> None:
    padded = np.concatenate((np.zeros(WINDOW_SAMPLES, np.float32), turn))[-WINDOW_SAMPLES:]
    expected = published.compute_whisper_log_mel_features(padded)
    # The last bit counts: it decides how the model's int8 graph rounds its whole input.
    np.testing.assert_allclose(TurnMel().features(turn), expected, rtol=0, atol=1e-7)


@settings(deadline=None, max_examples=15)
@given(length=st.integers(0, WINDOW_SAMPLES + 500), level=st.floats(1e-4, 1.0), seed=st.integers(0, 99))
def test_features_do_not_depend_on_how_much_of_the_padding_is_computed(length: int, level: float, seed: int) -> None:
    turn = noise(length, level, seed)
    padded = np.concatenate((np.zeros(WINDOW_SAMPLES, np.float32), turn))
    mel = TurnMel()
    np.testing.assert_allclose(mel.features(turn), mel.features(padded), rtol=0, atol=1e-7)


def test_only_the_last_eight_seconds_count() -> None:
    mel = TurnMel()
    last = noise(WINDOW_SAMPLES)
    np.testing.assert_array_equal(mel.features(np.concatenate((noise(9_999, 0.9), last))), mel.features(last))


def test_silence_is_the_same_number_everywhere() -> None:
    # The floor of 1e-10, scaled: (-10 + 4) / 4.
    np.testing.assert_allclose(TurnMel().features(np.zeros(0, np.float32)), -1.5, rtol=0, atol=1e-6)


def test_features_do_not_depend_on_loudness() -> None:
    mel = TurnMel()
    turn = chirp(64_000, 0.5)
    np.testing.assert_allclose(mel.features(turn), mel.features(turn * np.float32(0.25)), rtol=0, atol=1e-3)


def test_turn_is_left_as_it_was() -> None:
    for samples in (1_000, WINDOW_SAMPLES, WINDOW_SAMPLES + 7):
        turn = noise(samples)
        before = turn.copy()
        TurnMel().features(turn)
        np.testing.assert_array_equal(turn, before)


def test_tone_is_loudest_in_the_filter_around_it() -> None:
    time_s = np.arange(WINDOW_SAMPLES) / SAMPLE_RATE
    for hz in (320.0, 1_000.0, 3_000.0, 7_000.0):
        features = TurnMel().features(np.sin(2 * np.pi * hz * time_s).astype(np.float32))
        loudest = int(features[:, 400].argmax())
        assert abs(loudest - int(slow_filters()[:, round(hz / 40)].argmax())) <= 1


def test_filters_are_slaneys_triangles() -> None:
    np.testing.assert_allclose(mel_filters(400, 80, SAMPLE_RATE), slow_filters(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("fft_samples", "mels", "sample_rate"), [(400, 80, 16_000), (401, 64, 16_000), (1_024, 128, 48_000), (64, 4, 1_500)]
)
def test_filters_have_one_row_for_each_mel_and_nothing_negative(fft_samples: int, mels: int, sample_rate: int) -> None:
    filters = mel_filters(fft_samples, mels, sample_rate)
    assert filters.shape == (mels, fft_samples // 2 + 1)
    assert filters.min() >= 0
    assert (np.diff(filters.argmax(axis=1)) >= 0).all()


def test_wide_filters_have_an_area_of_one() -> None:
    # The sum over bins approaches the triangle's area where it spans many of them.
    areas = mel_filters(4_096, 40, SAMPLE_RATE).sum(axis=1) * SAMPLE_RATE / 4_096
    np.testing.assert_allclose(areas, 1.0, rtol=0.01)
