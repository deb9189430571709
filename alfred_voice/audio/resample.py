"""Another sample rate, piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr

from alfred_voice.audio.pcm import Int16


LONGEST_DELAY_SAMPLES = 360
"""Of the lower of the two rates; the most that was measured between 4 to 192 kHz and 8 to 48 kHz is 353."""


class Resampler:
    """Turns a stream of one rate into one of another; one per stream and direction, not thread-safe.

    The soxr library's ordinary engine filters in blocks: measured with 20 ms pieces, its output lags
    and jitters by up to 115 ms (8 -> 16 kHz) or 37 ms (48 -> 16 kHz) at ``HQ``, 118 and 38 ms at
    ``MQ``, 61 and 20 ms at ``LQ``; ``QQ`` lags 0.3 ms but does not filter at all (an 8.6 kHz tone
    comes through 48 -> 16 kHz undiminished). Its variable-rate engine, used here at a fixed rate,
    filters sample by sample: the lag is constant and aliases and images lie 85 dB down. To 16 kHz it
    lags 30 ms from 8 kHz, 13.6 ms from 44.1 kHz, 12.5 ms from 48 kHz, 10.9 ms from 22.05 kHz and
    10 ms from 24 kHz; from 16 to 8 or 48 kHz 15 ms. :data:`LONGEST_DELAY_SAMPLES` bounds it.
    The lag is in arrival only: output sample ``n`` belongs to the time ``n / target_hz``, within 0.3 ms
    (going down, its phase is not quite linear).
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self.source_hz = source_hz
        self.target_hz = target_hz
        self._stream: Any = None

    def feed(self, samples: Int16, last: bool = False) -> Int16:
        """What ``samples`` gives so far; ``last`` brings the rest, and the next call begins a new stream.

        Args:
            samples: int16, shape (n,), at ``source_hz``; any n, also 0.
            last: True when the stream ends with these samples.

        Returns:
            int16, shape (m,), at ``target_hz``; ``samples`` itself when the rates are equal.
        """
        if self.source_hz == self.target_hz:
            return samples
        if self._stream is None:
            self._stream = _new_stream(self.source_hz, self.target_hz)
        resampled: Int16 = self._stream.resample_chunk(np.ascontiguousarray(samples), last)
        if last:
            self._stream = None
        return resampled


def _new_stream(source_hz: int, target_hz: int) -> Any:
    stream = soxr.ResampleStream(source_hz, target_hz, num_channels=1, dtype="int16", quality="HQ", vr=True)
    # The constructor's rates are only the greatest ratio; this sets the one in force.
    stream.set_io_ratio(source_hz, target_hz)
    return stream
