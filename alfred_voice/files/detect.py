"""The voice activity detector's word on a whole recording."""

from __future__ import annotations

import numpy as np

from alfred_voice.audio.pcm import to_float
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Float32, Int16, VadEngine
from alfred_voice.session.freshness import CLEAR_SILENCE
from alfred_voice.session.options import VadOptions


class RecordingDetector:
    """Probabilities of speech of one recording, block by block; the samples are not kept.

    Args:
        engine: hears the windows, one after the other.
        options: says how long a clear silence lasts before the engine's state is made fresh.
    """

    def __init__(self, engine: VadEngine, options: VadOptions) -> None:
        self._engine = engine
        self._states = engine.new_states(1)
        self._reset_windows = options.reset_after_ms * (SAMPLE_RATE // 1000) // WINDOW_SAMPLES
        self._clear_windows = 0
        self._rest: Int16 = np.zeros(0, np.int16)

    def feed(self, block: Int16) -> list[float]:
        """The probability of each window that ``block`` (int16, shape (n,), 16 kHz) makes full."""
        samples = np.concatenate((self._rest, block))
        count = len(samples) // WINDOW_SAMPLES
        self._rest = samples[count * WINDOW_SAMPLES :]
        windows = to_float(samples[: count * WINDOW_SAMPLES]).reshape(count, WINDOW_SAMPLES)
        return [self._probability(window) for window in windows]

    def flush(self) -> list[float]:
        """The probability of the last window, filled up with zeros, if there is a rest."""
        if not len(self._rest):
            return []
        return self.feed(np.zeros(WINDOW_SAMPLES - len(self._rest), np.int16))

    def _probability(self, window: Float32) -> float:
        probability = float(self._engine.step(self._states, [0], window[np.newaxis])[0])
        self._clear_windows = self._clear_windows + 1 if probability < CLEAR_SILENCE else 0
        if 0 < self._reset_windows <= self._clear_windows:  # long music or silence deadens the state
            self._states.reset([0])
            self._clear_windows = 0
        return probability
