"""Opus there and back."""

from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.audio.opus import PIECE_SAMPLES, SAMPLE_RATE, OpusDecoder, OpusEncoder, packet_of
from alfred_voice.errors import MalformedAudio


def tone(pieces: int, hz: float = 440.0) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    at = np.arange(pieces * PIECE_SAMPLES) / SAMPLE_RATE
    return (8_000 * np.sin(2 * np.pi * hz * at)).astype(np.int16)


def test_a_tone_comes_back_as_the_same_tone() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    sent = tone(50).reshape(-1, PIECE_SAMPLES)
    heard = np.concatenate([decoder.decode(encoder.encode(piece)) for piece in sent])
    assert heard.dtype == np.int16
    assert len(heard) == 50 * PIECE_SAMPLES
    spectrum = np.abs(np.fft.rfft(heard[SAMPLE_RATE // 4 :].astype(float)))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(heard[SAMPLE_RATE // 4 :]) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(heard[SAMPLE_RATE // 4 :].astype(float) ** 2)) == pytest.approx(8_000 / np.sqrt(2), rel=0.1)


def test_silence_stays_silence() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    silent = np.zeros(PIECE_SAMPLES, np.int16)
    assert max(np.abs(decoder.decode(encoder.encode(silent))).max() for _ in range(10)) < 10


def test_two_channels_become_one() -> None:
    import av

    codec = av.AudioCodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "stereo", SAMPLE_RATE
    decoder = OpusDecoder()
    heard = []
    for piece in tone(20).reshape(-1, PIECE_SAMPLES):
        frame = av.AudioFrame.from_ndarray(np.repeat(piece, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        heard += [decoder.decode(bytes(packet)) for packet in codec.encode(frame)]
    assert {len(piece) for piece in heard} == {PIECE_SAMPLES}
    assert np.abs(heard[-1]).max() > 4_000


@pytest.mark.parametrize("nonsense", [b"", b"\xff", b"\x03\xff\xff", bytes(range(256)) * 8])
def test_what_is_no_opus_is_refused_and_the_stream_goes_on(nonsense: bytes) -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    decoder.decode(encoder.encode(tone(1)))
    with pytest.raises(MalformedAudio, match="Opus"):
        decoder.decode(nonsense)
    assert len(decoder.decode(encoder.encode(tone(1)))) == PIECE_SAMPLES


def test_a_packet_carries_its_place() -> None:
    packet = packet_of(b"abc", 4_800)
    assert (bytes(packet), packet.pts, float(packet.time_base or 0)) == (b"abc", 4_800, 1 / SAMPLE_RATE)
