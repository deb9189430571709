"""Samples and the four encodings that they travel in: 16 bit and float PCM, mu-law and A-law.

Inside the house audio is int16, mono, 16 kHz, in frames of 20 ms. This file alone knows what full
scale is and how many samples a frame has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import MalformedAudio, UnsupportedAudio


Int16 = NDArray[np.int16]
Float32 = NDArray[np.float32]
Buffer = bytes | bytearray | memoryview

SAMPLE_RATE = 16_000
"""Hz; the one rate inside the house."""
FRAME_MS = 20
FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
"""320."""
FULL_SCALE = 32_768.0
"""What an int16 is divided by to lie in [-1, 1)."""

LOWEST_RATE = 4_000
HIGHEST_RATE = 192_000
MOST_CHANNELS = 8

_MU_LAW_BIAS = 33 << 2
"""G.711 adds 33 to a 14 bit magnitude, so that every segment begins at a power of two; here in 16 bit."""
_MU_LAW_CLIP = (8192 << 2) - 1 - _MU_LAW_BIAS
"""The greatest 16 bit magnitude inside the last segment (G.711, table 2a: virtual decision value 8159)."""
_A_LAW_EVEN_BITS = 0x55
"""G.711, table 1a: a character signal is sent with its even bits inverted."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How samples are laid out in bytes.

    Raises:
        UnsupportedAudio: naming the field, what was expected and what came.
    """

    sample_rate: int = SAMPLE_RATE
    """Hz."""
    channels: int = 1
    """Interleaved."""
    encoding: str = "pcm_s16le"

    def __post_init__(self) -> None:
        if not LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE:
            raise UnsupportedAudio(f"sample_rate: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {self.sample_rate}")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise UnsupportedAudio(f"channels: expected 1 to {MOST_CHANNELS}, got {self.channels}")
        bytes_per_sample(self.encoding)

    @property
    def block_align(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * bytes_per_sample(self.encoding)


def bytes_per_sample(encoding: str) -> int:
    """How many bytes one sample of one channel takes."""
    return _codec(encoding).width


def decode(data: Buffer, encoding: str) -> Int16:
    """The samples in ``data``, channels still interleaved; it may be a read-only view of ``data``.

    Raises:
        MalformedAudio: no whole number of samples, or a float that is no number.
        UnsupportedAudio: an encoding that is not one of the four.
    """
    codec = _codec(encoding)
    if len(data) % codec.width:
        raise MalformedAudio(f"expected a multiple of {codec.width} bytes of {encoding}, got {len(data)} bytes")
    return codec.decode(data)


def encode(samples: Int16, encoding: str) -> bytes:
    """The bytes that carry ``samples``."""
    return _codec(encoding).encode(samples)


def to_float(samples: Int16) -> Float32:
    """float32 in [-1, 1)."""
    scaled = samples.astype(np.float32)
    # In place, and by a power of two: as exact as to divide, in two thirds of the time.
    scaled *= np.float32(1 / FULL_SCALE)
    return scaled


def from_float(samples: Float32) -> Int16:
    """int16 of finite float32; what lies outside [-1, 1) is clipped."""
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * np.float32(FULL_SCALE))
    clipped: Int16 = np.minimum(scaled, np.float32(FULL_SCALE - 1)).astype(np.int16)
    return clipped


def _decode_s16(data: Buffer) -> Int16:
    return np.frombuffer(data, dtype="<i2").astype(np.int16, copy=False)


def _encode_s16(samples: Int16) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


def _decode_f32(data: Buffer) -> Int16:
    samples = np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
    finite = np.isfinite(samples)
    if not finite.all():
        at = int(np.argmin(finite))
        raise MalformedAudio(f"pcm_f32le: expected finite numbers, got {samples[at]} at sample {at}")
    return from_float(samples)


def _encode_f32(samples: Int16) -> bytes:
    return to_float(samples).astype("<f4", copy=False).tobytes()


def _decode_mu_law(data: Buffer) -> Int16:
    return _mu_law_levels()[np.frombuffer(data, dtype=np.uint8)]


def _encode_mu_law(samples: Int16) -> bytes:
    return _mu_law_codes()[samples.view(np.uint16)].tobytes()


def _decode_a_law(data: Buffer) -> Int16:
    return _a_law_levels()[np.frombuffer(data, dtype=np.uint8)]


def _encode_a_law(samples: Int16) -> bytes:
    return _a_law_codes()[samples.view(np.uint16)].tobytes()


@dataclass(frozen=True, slots=True)
class _Codec:
    """One encoding's width in bytes and its two directions."""

    width: int
    decode: Callable[[Buffer], Int16]
    encode: Callable[[Int16], bytes]


_CODECS = {
    "pcm_s16le": _Codec(2, _decode_s16, _encode_s16),
    "pcm_f32le": _Codec(4, _decode_f32, _encode_f32),
    "mulaw": _Codec(1, _decode_mu_law, _encode_mu_law),
    "alaw": _Codec(1, _decode_a_law, _encode_a_law),
}
ENCODINGS = tuple(_CODECS)


def _codec(encoding: str) -> _Codec:
    codec = _CODECS.get(encoding)
    if codec is None:
        raise UnsupportedAudio(f"encoding: expected one of {', '.join(ENCODINGS)}, got {encoding!r}")
    return codec


# G.711 codes are a sign, three bits of segment and four bits of step. Both laws are applied by table:
# 256 levels to decode, and a code for each of the 65 536 int16 values (read as uint16) to encode.
# A negative value has the code of its one's complement with the other sign, as in ITU-T G.191's
# reference, so that -32768 has a magnitude like any other.


@cache
def _mu_law_levels() -> Int16:
    """int16, shape (256,): the level of each mu-law code, whose bits are all inverted (G.711, table 2a)."""
    code = ~np.arange(256, dtype=np.uint8)
    segment = ((code >> 4) & 7).astype(np.int32)
    step = (code & 15).astype(np.int32)
    magnitude = ((((step << 3) + _MU_LAW_BIAS) << segment) - _MU_LAW_BIAS).astype(np.int16)
    return np.where(code & 0x80, -magnitude, magnitude)


@cache
def _mu_law_codes() -> NDArray[np.uint8]:
    """uint8, shape (65536,): the mu-law code of each int16."""
    negative, magnitude = _signs_and_magnitudes()
    biased = np.minimum(magnitude, _MU_LAW_CLIP) + _MU_LAW_BIAS
    segment = _highest_bit(biased) - 7
    step = (biased >> (segment + 3)) & 15
    return ~((negative << 7) | (segment << 4) | step).astype(np.uint8)


@cache
def _a_law_levels() -> Int16:
    """int16, shape (256,): the level of each A-law code; its sign bit is set for a positive one."""
    code = np.arange(256, dtype=np.uint8) ^ _A_LAW_EVEN_BITS
    segment = ((code >> 4) & 7).astype(np.int32)
    step = (code & 15).astype(np.int32)
    # Segment 0 goes on in the steps of segment 1; a level lies in the middle of its step.
    magnitude = np.where(segment, (step * 16 + 8 + 256) << np.maximum(segment - 1, 0), step * 16 + 8).astype(np.int16)
    return np.where(code & 0x80, magnitude, -magnitude)


@cache
def _a_law_codes() -> NDArray[np.uint8]:
    """uint8, shape (65536,): the A-law code of each int16."""
    negative, magnitude = _signs_and_magnitudes()
    segment = np.maximum(_highest_bit(magnitude) - 7, 0)
    step = (magnitude >> (np.maximum(segment, 1) + 3)) & 15
    code = ((1 - negative) << 7) | (segment << 4) | step
    inverted: NDArray[np.uint8] = (code ^ _A_LAW_EVEN_BITS).astype(np.uint8)
    return inverted


def _signs_and_magnitudes() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """1 for negative, and the magnitude, of every int16 in the order of its uint16."""
    value = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    negative = (value < 0).astype(np.int32)
    return negative, np.where(value < 0, ~value, value)


def _highest_bit(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The place of the highest set bit; -1 for 0."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int32) - 1
