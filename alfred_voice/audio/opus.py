"""Opus, the codec of WebRTC: one packet and its samples. 48 kHz and one channel inside, whatever was sent."""

from __future__ import annotations

import fractions
from typing import Any

import av
import numpy as np

from alfred_voice.audio.pcm import Int16
from alfred_voice.errors import MalformedAudio


SAMPLE_RATE = 48_000
PIECE_SAMPLES = 960
"""20 ms."""
BIT_RATE = 32_000
"""Of speech in one channel: beyond this nobody hears a difference."""
_TIME_BASE = fractions.Fraction(1, SAMPLE_RATE)
_LONGEST_SAMPLES = 5_760
"""120 ms, the most that one packet may hold (RFC 6716, section 3.2.5)."""


class OpusDecoder:
    """Decodes one stream of packets; not thread-safe."""

    def __init__(self) -> None:
        codec = av.AudioCodecContext.create("libopus", "r")
        codec.format = "s16"
        codec.layout = "mono"
        codec.sample_rate = SAMPLE_RATE
        self._codec = codec

    def decode(self, payload: bytes) -> Int16:
        """The samples of a packet: int16, shape (n,), 48 kHz mono.

        Raises:
            MalformedAudio: it is no packet of Opus; the stream goes on as if it had not come.
        """
        if not payload:
            raise MalformedAudio("expected a packet of Opus, got nothing")  # which the codec would take for the end
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.FFmpegError, ValueError) as error:
            raise MalformedAudio(f"expected a packet of Opus: {type(error).__name__}") from error
        pieces = [np.asarray(frame.to_ndarray(), dtype=np.int16).reshape(-1) for frame in frames]
        samples = pieces[0] if len(pieces) == 1 else np.concatenate([*pieces, np.empty(0, np.int16)])
        if not 0 < len(samples) <= _LONGEST_SAMPLES:
            raise MalformedAudio(f"expected at most 120 ms of Opus in a packet, got {len(samples)} samples")
        return samples


class OpusEncoder:
    """Encodes one stream of pieces; not thread-safe."""

    def __init__(self) -> None:
        codec = av.AudioCodecContext.create("libopus", "w")
        codec.bit_rate = BIT_RATE
        codec.format = "s16"
        codec.layout = "mono"
        codec.sample_rate = SAMPLE_RATE
        codec.time_base = _TIME_BASE
        codec.options = {"application": "voip"}
        self._codec = codec

    def encode(self, samples: Int16) -> bytes:
        """A packet of 20 ms.

        Args:
            samples: int16, shape (960,), 48 kHz mono.
        """
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        (packet,) = self._codec.encode(frame)
        return bytes(packet)


def packet_of(payload: bytes, position: int) -> av.Packet[Any]:
    """What carries an encoded piece to the network.

    Args:
        payload: one packet of Opus.
        position: its first sample's number, at 48 kHz.
    """
    packet: av.Packet[Any] = av.Packet(payload)
    packet.pts = position
    packet.time_base = _TIME_BASE
    return packet
