from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alfred_voice.audio.egress import Egress
from alfred_voice.audio.ingest import Ingest
from alfred_voice.audio.pcm import ENCODINGS, AudioFormat, Int16, decode


def spoken(egress: Egress, samples: Int16, piece: int) -> list[bytes]:
    """Fed piece by piece, the last of them marked."""
    cuts = list(range(0, len(samples), piece)) or [0]
    return [b for at in cuts for b in egress.feed(samples[at : at + piece], last=at == cuts[-1])]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_speech_comes_in_twenty_milliseconds_of_the_clients_format(
    encoding: str, sample_rate: int, channels: int, tone: Callable[..., Int16]
) -> None:
    audio_format = AudioFormat(sample_rate, channels, encoding)

    pieces = spoken(Egress(22_050, audio_format), tone(0.53, 22_050, 1_000, 12_000), 700)

    whole = sample_rate // 50 * audio_format.block_align
    assert {len(piece) for piece in pieces[:-1]} == {whole}
    assert 0 < len(pieces[-1]) <= whole
    samples = decode(b"".join(pieces), encoding).reshape(-1, channels)
    assert abs(len(samples) - 0.53 * sample_rate) <= 1
    assert np.array_equal(samples[:, 0], samples[:, -1])
    spectrum = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples))))
    assert np.argmax(spectrum) * sample_rate / len(samples) == pytest.approx(1_000, abs=3)


def test_equal_rates_give_the_very_samples() -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_767, 1_000, dtype=np.int16)

    pieces = spoken(Egress(16_000, AudioFormat()), samples, 333)

    assert [len(piece) for piece in pieces] == [640, 640, 640, 80]
    assert b"".join(pieces) == samples.tobytes()


def test_an_exact_number_of_pieces_has_no_empty_one_behind() -> None:
    assert [len(p) for p in Egress(16_000, AudioFormat()).feed(np.zeros(640, np.int16), last=True)] == [640, 640]


def test_nothing_comes_before_a_piece_is_full() -> None:
    egress = Egress(16_000, AudioFormat())

    assert egress.feed(np.zeros(319, np.int16)) == []
    assert len(egress.feed(np.zeros(1, np.int16))) == 1


def test_an_empty_speech_has_no_piece() -> None:
    assert Egress(22_050, AudioFormat()).feed(np.empty(0, np.int16), last=True) == []


def test_the_end_can_be_told_without_samples() -> None:
    egress = Egress(16_000, AudioFormat(encoding="alaw"))
    egress.feed(np.zeros(100, np.int16))

    assert [len(piece) for piece in egress.feed(np.empty(0, np.int16), last=True)] == [100]


@given(st.lists(st.integers(0, 900), min_size=1, max_size=10))
@settings(deadline=None)
def test_what_goes_out_comes_back_in_whatever_the_chunking(lengths: list[int]) -> None:
    samples = np.random.default_rng(1).integers(-9_000, 9_000, sum(lengths), dtype=np.int16)
    egress, ingest = Egress(16_000, AudioFormat()), Ingest(AudioFormat())
    frames: list[Int16] = []
    at = 0
    for i, n in enumerate(lengths):
        for piece in egress.feed(samples[at : at + n], last=i == len(lengths) - 1):
            frames += ingest.feed(piece)
        at += n
    frames += ingest.flush()

    came = np.concatenate([np.empty(0, np.int16), *frames])
    np.testing.assert_array_equal(came[: len(samples)], samples)
