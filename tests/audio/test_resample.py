from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from alfred_voice.audio.pcm import Int16
from alfred_voice.audio.resample import LONGEST_DELAY_SAMPLES, Resampler


LARGEST_SHIFT_S = 0.0003
RATES = [
    (8_000, 16_000),
    (11_025, 16_000),
    (24_000, 16_000),
    (44_100, 16_000),
    (48_000, 16_000),
    (22_050, 48_000),
    (16_000, 8_000),
    (16_000, 48_000),
]
DELAYS_MS = {
    (8_000, 16_000): 30,
    (24_000, 16_000): 10,
    (44_100, 16_000): 13.7,
    (48_000, 16_000): 12.5,
    (16_000, 8_000): 15,
}


def in_pieces(resampler: Resampler, samples: Int16, size: int) -> Int16:
    pieces = [resampler.feed(samples[at : at + size]) for at in range(0, len(samples), size)]
    return np.concatenate([*pieces, resampler.feed(np.empty(0, np.int16), last=True)])


def tone_power_db(samples: Int16, rate: int, hz: float) -> float:
    """Of the tone at ``hz``, against full scale."""
    window = signal.windows.blackmanharris(len(samples), sym=False)
    at = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    return float(20 * np.log10(abs(np.sum(samples * window * at)) * 2 / window.sum() / 32_768 + 1e-12))


def test_equal_rates_pass_the_very_array_through() -> None:
    samples = np.arange(10, dtype=np.int16)

    assert Resampler(16_000, 16_000).feed(samples) is samples


@pytest.mark.parametrize(("source_hz", "target_hz"), RATES)
def test_the_duration_is_kept_to_one_sample(source_hz: int, target_hz: int, tone: Callable[..., Int16]) -> None:
    resampled = in_pieces(Resampler(source_hz, target_hz), tone(1.5, source_hz), source_hz // 50)

    assert abs(len(resampled) - 1.5 * target_hz) <= 1
    assert resampled.dtype == np.int16


def test_a_minute_does_not_drift(tone: Callable[..., Int16]) -> None:
    resampled = in_pieces(Resampler(44_100, 16_000), tone(60, 44_100), 44_100)

    assert len(resampled) == 60 * 16_000


@pytest.mark.parametrize(("source_hz", "target_hz"), RATES)
def test_speech_band_agrees_with_scipys_polyphase_filter(source_hz: int, target_hz: int) -> None:
    rng = np.random.default_rng(5)
    band = signal.firwin(255, [200, 3_000], pass_zero=False, fs=source_hz)
    samples = signal.lfilter(band, 1, rng.normal(0, 6_000, source_hz)).astype(np.int16)
    common = np.gcd(source_hz, target_hz)
    expected = signal.resample_poly(
        samples.astype(float), target_hz // common, source_hz // common, window=("kaiser", 8.0)
    )

    resampled = in_pieces(Resampler(source_hz, target_hz), samples, source_hz // 50).astype(float)

    # Going down the engine's phase is not linear, so magnitudes are compared, and the shift in time apart from them.
    n = min(len(expected), len(resampled))
    window = signal.windows.hann(n, sym=False)
    hz = np.fft.rfftfreq(n, 1 / target_hz)
    reference, ours = (np.abs(np.fft.rfft(x[:n] * window))[(hz > 300) & (hz < 2_900)] for x in (expected, resampled))
    lag = int(np.argmax(signal.correlate(resampled[:n], expected[:n], mode="full"))) - (n - 1)

    assert np.linalg.norm(ours - reference) / np.linalg.norm(reference) < 0.01
    assert abs(lag) / target_hz <= LARGEST_SHIFT_S


@pytest.mark.parametrize(("source_hz", "target_hz"), RATES)
def test_a_tone_keeps_its_pitch_and_level(source_hz: int, target_hz: int, tone: Callable[..., Int16]) -> None:
    resampled = in_pieces(Resampler(source_hz, target_hz), tone(2, source_hz, 1_000, 16_384), 777)[
        target_hz // 2 : -target_hz // 2
    ]

    assert tone_power_db(resampled, target_hz, 1_000) == pytest.approx(-6.02, abs=0.1)
    peak_hz = np.argmax(np.abs(np.fft.rfft(resampled))) * target_hz / len(resampled)
    assert peak_hz == pytest.approx(1_000, abs=2)


@pytest.mark.parametrize(("source_hz", "hz"), [(48_000, 8_600), (48_000, 20_000), (44_100, 9_000), (24_000, 10_000)])
def test_what_the_target_cannot_carry_is_filtered_out(source_hz: int, hz: float, tone: Callable[..., Int16]) -> None:
    resampled = in_pieces(Resampler(source_hz, 16_000), tone(1, source_hz, hz, 16_000), source_hz // 50)[2_000:-2_000]

    assert 20 * np.log10(resampled.std() * np.sqrt(2) / 16_000) < -70


def test_no_image_of_a_telephone_tone_appears_above_four_kilohertz(tone: Callable[..., Int16]) -> None:
    resampled = in_pieces(Resampler(8_000, 16_000), tone(2, 8_000, 3_000, 16_000), 160)[4_000:-4_000]

    assert tone_power_db(resampled, 16_000, 5_000) < tone_power_db(resampled, 16_000, 3_000) - 70


@pytest.mark.parametrize(("rates", "delay_ms"), DELAYS_MS.items())
def test_the_delay_is_constant_and_what_the_docstring_says(rates: tuple[int, int], delay_ms: float) -> None:
    source_hz, target_hz = rates
    resampler = Resampler(source_hz, target_hz)
    noise = np.random.default_rng(1).integers(-9_000, 9_000, source_hz, dtype=np.int16)
    owed = []
    came = 0
    for at in range(0, source_hz, source_hz // 50):
        came += len(resampler.feed(noise[at : at + source_hz // 50]))
        owed.append((at / source_hz + 0.02 - came / target_hz) * 1000)

    assert max(owed) == pytest.approx(delay_ms, abs=0.15)
    assert min(owed[2:]) == pytest.approx(delay_ms, abs=0.15)


@given(st.integers(4_000, 192_000), st.sampled_from([8_000, 16_000, 24_000, 48_000]))
@settings(max_examples=40, deadline=None)
def test_no_pair_of_rates_is_delayed_beyond_the_bound(source_hz: int, target_hz: int) -> None:
    resampler = Resampler(source_hz, target_hz)
    came = len(resampler.feed(np.zeros(source_hz // 2, np.int16)))
    rest = len(resampler.feed(np.empty(0, np.int16), last=True))

    assert rest <= LONGEST_DELAY_SAMPLES * target_hz / min(source_hz, target_hz)
    assert abs(came + rest - source_hz // 2 * target_hz / source_hz) <= 1.5


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_the_chunking_makes_no_difference_beyond_the_dither(data: st.DataObject) -> None:
    source_hz, target_hz = data.draw(st.sampled_from(RATES))
    samples = np.random.default_rng(3).integers(-20_000, 20_000, 3_000, dtype=np.int16)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=8)))
    pieces = np.split(samples, cuts)

    resampler = Resampler(source_hz, target_hz)
    chunked = np.concatenate([*map(resampler.feed, pieces), resampler.feed(np.empty(0, np.int16), last=True)])
    at_once = Resampler(source_hz, target_hz).feed(samples, last=True)

    assert len(chunked) == len(at_once)
    assert np.max(np.abs(chunked.astype(int) - at_once)) <= 2


def test_loud_square_waves_are_clipped_and_do_not_wrap(tone: Callable[..., Int16]) -> None:
    square = np.where(tone(1, 48_000, 300) >= 0, 32_767, -32_768).astype(np.int16)

    resampled = in_pieces(Resampler(48_000, 16_000), square, 960).astype(int)[500:-500]

    # A wrapped overshoot would be a jump across the whole range between neighbours of one half wave.
    steps = np.abs(np.diff(resampled))
    assert np.count_nonzero(steps > 45_000) == 0


def test_silence_stays_silent_but_for_the_dither() -> None:
    assert np.max(np.abs(in_pieces(Resampler(8_000, 16_000), np.zeros(8_000, np.int16), 160))) <= 1


def test_an_empty_stream_gives_nothing() -> None:
    resampler = Resampler(8_000, 16_000)

    assert len(resampler.feed(np.empty(0, np.int16))) == 0
    assert len(resampler.feed(np.empty(0, np.int16), last=True)) == 0
    assert len(resampler.feed(np.empty(0, np.int16), last=True)) == 0


def test_after_the_last_piece_a_new_stream_begins_as_if_fresh(tone: Callable[..., Int16]) -> None:
    resampler = Resampler(8_000, 16_000)
    first = resampler.feed(tone(0.3, 8_000), last=True)
    second = resampler.feed(tone(0.3, 8_000), last=True)

    np.testing.assert_array_equal(first, second)


def test_a_strided_view_is_taken_for_what_it_shows() -> None:
    samples = np.random.default_rng(2).integers(-9_000, 9_000, 2_000, dtype=np.int16)

    strided: Any = Resampler(8_000, 16_000).feed(samples[::2], last=True)

    np.testing.assert_array_equal(strided, Resampler(8_000, 16_000).feed(samples[::2].copy(), last=True))
