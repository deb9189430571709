"""Where speech begins and ends by its loudness alone: a ruler that owes nothing to the detector under test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.pcm import FULL_SCALE
from alfred_voice.models.engine import SAMPLE_RATE, Int16


HOP_SAMPLES = SAMPLE_RATE // 100
"""10 ms: the grain of the ruler."""

_SUSTAINED_HOPS = 3
"""30 ms: what is shorter is a click."""
_SPEECH_RANGE_DB = 30.0
"""From a speaker's loud sounds down to the quiet ones that still count: the dynamic range of speech, ANSI S3.5-1997."""
_ABOVE_NOISE_DB = 6.0
"""Twice the amplitude of what is always there."""
_FLOOR = 1e-12
"""Power that digital silence counts as, -120 dBFS."""


def levels_db(samples: Int16) -> NDArray[np.float64]:
    """Loudness of each whole 10 ms, dBFS: float64, shape (len(samples) // 160,)."""
    hops = len(samples) // HOP_SAMPLES
    framed = samples[: hops * HOP_SAMPLES].reshape(hops, HOP_SAMPLES).astype(np.float64) / FULL_SCALE
    power: NDArray[np.float64] = np.square(framed).mean(axis=1) if hops else np.zeros(0)
    return 10.0 * np.log10(np.maximum(power, _FLOOR))


def speech_level_db(recording: Int16) -> float | None:
    """From which loudness on a recording's sound is speech; None when nothing in it stands out.

    Less than 30 dB below its loudest twentieth, and at least 6 dB above its quietest tenth.
    """
    levels = levels_db(recording)
    if not len(levels):
        return None
    quiet, loud = (float(level) for level in np.percentile(levels, (10, 95)))
    limit = max(loud - _SPEECH_RANGE_DB, quiet + _ABOVE_NOISE_DB)
    return limit if limit <= loud else None


def loud_span(samples: Int16, level_db: float) -> tuple[int, int] | None:
    """The first sample and one past the last of what stays at least so loud for 30 ms; None when nothing does."""
    hops = (levels_db(samples) >= level_db).astype(np.int64)
    if len(hops) < _SUSTAINED_HOPS:
        return None
    starts = np.flatnonzero(np.convolve(hops, np.ones(_SUSTAINED_HOPS, np.int64), "valid") == _SUSTAINED_HOPS)
    if not len(starts):
        return None
    return int(starts[0]) * HOP_SAMPLES, (int(starts[-1]) + _SUSTAINED_HOPS) * HOP_SAMPLES
