"""Whisper's features: a log-mel spectrogram of a clip and the silence behind it, in NumPy.

The definition is openai/whisper's (audio.py, log_mel_spectrogram). Of the silence that fills a clip up nothing is
computed: all its frames are equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.engine import SAMPLE_RATE, Float32
from alfred_voice.models.mel import FRAME_SAMPLES, HOP_SAMPLES, mel_filters


_HALF = FRAME_SAMPLES // 2
_POWER_FLOOR = 1e-10
_RANGE_DECADES = 8.0
_BLOCK_FRAMES = 200
"""What is transformed at a time stays within a core's cache."""


class WhisperMel:
    """Turns clips into what Whisper's encoder is fed; holds tables only, no state.

    Args:
        mels: 80, or 128 for the large ones from version 3 on.
    """

    __slots__ = ("_filters", "_hann", "mels")

    def __init__(self, mels: int) -> None:
        self.mels = mels
        self._filters: NDArray[np.float32] = mel_filters(FRAME_SAMPLES, mels, SAMPLE_RATE).T.astype(np.float32)
        self._hann: Float32 = np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)

    def features(self, samples: Float32, frames: int) -> Float32:
        """The features of a clip with silence behind it.

        Args:
            samples: float32, shape (n,), 16 kHz, [-1, 1).
            frames: of 10 ms; what lies behind them is cut off.

        Returns:
            float32, shape (mels, frames).
        """
        heard = samples[: frames * HOP_SAMPLES]
        count = min(frames, (len(heard) + _HALF) // HOP_SAMPLES + 1)
        views = self._frames(heard, frames)[:count]
        log = np.full((frames, self.mels), np.log10(_POWER_FLOOR), np.float32)
        for start in range(0, count, _BLOCK_FRAMES):
            block = views[start : start + _BLOCK_FRAMES]
            spectrum = np.fft.rfft(block * self._hann, axis=-1)
            power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ self._filters
            log[start : start + len(block)] = np.log10(np.maximum(power, _POWER_FLOOR))
        np.maximum(log, log.max() - np.float32(_RANGE_DECADES), out=log)
        log += np.float32(4)
        log *= np.float32(0.25)
        return np.ascontiguousarray(log.T)

    def _frames(self, heard: Float32, frames: int) -> Float32:
        """View of the frames that have sound in them, shape (n, 400), and maybe of one more.

        Frame t covers the samples from 160 t - 200 to 160 t + 200; the first ones look past the beginning, into a
        mirror, and so does the last one at the end where there is no silence.
        """
        whole = frames * HOP_SAMPLES
        behind = min(len(heard) + 2 * FRAME_SAMPLES, max(whole, _HALF + 1))
        filled = np.zeros(behind, np.float32)
        filled[: len(heard)] = heard
        mirrored = np.pad(filled, _HALF, mode="reflect")
        return np.lib.stride_tricks.sliding_window_view(mirrored, FRAME_SAMPLES)[::HOP_SAMPLES]
