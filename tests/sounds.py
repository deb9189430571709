"""Sounds that tests stream, and the encodings they stream them in, made from their definitions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


Int16 = NDArray[np.int16]

SAMPLE_RATE = 16_000


def silence(seconds: float) -> Int16:
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.int16)


def noise(seconds: float, rms: float = 300.0, seed: int = 1) -> Int16:
    """White noise."""
    samples = np.random.default_rng(seed).normal(0, rms, round(seconds * SAMPLE_RATE))
    return np.clip(samples, -32768, 32767).astype(np.int16)


def chords(seconds: float, amplitude: float = 3_000.0) -> Int16:
    """Tones that change like slow music: three notes at a time with overtones, a new chord each half second."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    chord = (time_s // 0.5).astype(int) % 4
    roots = np.array([220.0, 174.6, 261.6, 196.0])[chord]
    fade = 1 - 0.8 * (time_s % 0.5) / 0.5
    phase = 2 * np.pi * np.cumsum(roots) / SAMPLE_RATE
    sound = sum(np.sin(phase * ratio * n) / n for ratio in (1.0, 1.25, 1.5) for n in (1, 2, 3))
    chord_sound: Int16 = (amplitude * fade * np.asarray(sound) / 3).astype(np.int16)
    return chord_sound


def click(milliseconds: float, amplitude: float = 12_000.0) -> Int16:
    """A burst of noise with a sharp start."""
    count = round(milliseconds * SAMPLE_RATE / 1000)
    burst = np.random.default_rng(3).normal(0, 0.4, count) * np.exp(-np.arange(count) / (count / 4))
    return np.clip(burst * amplitude, -32768, 32767).astype(np.int16)


def trimmed(samples: Int16, threshold: int = 500, margin_s: float = 0.03) -> Int16:
    """Speech without the silence around it."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > threshold)
    margin = round(margin_s * SAMPLE_RATE)
    return samples[max(0, int(loud[0]) - margin) : int(loud[-1]) + margin]


def joined(*parts: Int16) -> Int16:
    return np.concatenate(parts).astype(np.int16)


# Encodings, by the definitions of ITU-T G.711.


def mulaw_bytes(samples: Int16) -> bytes:
    """The nearest mu-law code of each sample."""
    return _nearest_codes(samples, [_mulaw_value(code) for code in range(256)])


def alaw_bytes(samples: Int16) -> bytes:
    """The nearest A-law code of each sample."""
    return _nearest_codes(samples, [_alaw_value(code) for code in range(256)])


def _mulaw_value(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_value(code: int) -> int:
    code ^= 0x55
    segment = (code >> 4) & 7
    magnitude = ((code & 0x0F) << 4) + 8
    if segment:
        magnitude = (magnitude + 0x100) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def _nearest_codes(samples: Int16, values: list[int]) -> bytes:
    order = np.argsort(values, kind="stable")
    ladder = np.asarray(values)[order]
    middles = (ladder[1:] + ladder[:-1]) / 2
    codes = order[np.searchsorted(middles, samples)].astype(np.uint8)
    return bytes(codes.tobytes())
