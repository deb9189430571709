"""The voice activity detector's word on a whole recording."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from alfred_voice.audio.pcm import to_float
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Float32, Int16, VadEngine
from alfred_voice.session.freshness import CLEAR_SILENCE
from alfred_voice.session.options import VadOptions


class VadRun(Protocol):
    """One recording's way through a detector."""

    def hear(self, windows: Float32) -> Float32:
        """The probability of speech in the next windows, float32, shape (n, 512), 16 kHz, [-1, 1) -> (n,)."""
        ...

    def reset(self) -> None:
        """Make the state fresh, as before the first window."""
        ...


@runtime_checkable
class RecordingVad(Protocol):
    """A detector that hears many windows of one recording in a call."""

    name: str

    def new_run(self) -> VadRun:
        """For one recording."""
        ...


class _SteppedRun:
    """A live detector, asked window by window."""

    def __init__(self, engine: VadEngine) -> None:
        self._engine = engine
        self._states = engine.new_states(1)

    def hear(self, windows: Float32) -> Float32:
        """See :meth:`VadRun.hear`."""
        return np.array([self._engine.step(self._states, [0], window[np.newaxis])[0] for window in windows], np.float32)

    def reset(self) -> None:
        """See :meth:`VadRun.reset`."""
        self._states.reset([0])


class RecordingDetector:
    """Probabilities of speech of one recording, block by block; the samples are not kept.

    Args:
        engine: hears the windows, one after the other.
        options: says how long a clear silence lasts before the engine's state is made fresh.
    """

    def __init__(self, engine: VadEngine | RecordingVad, options: VadOptions) -> None:
        self._run: VadRun = engine.new_run() if isinstance(engine, RecordingVad) else _SteppedRun(engine)
        self._reset_windows = options.reset_after_ms * (SAMPLE_RATE // 1000) // WINDOW_SAMPLES
        self._clear_windows = 0
        self._rest: Int16 = np.zeros(0, np.int16)

    def feed(self, block: Int16) -> list[float]:
        """The probability of each window that ``block`` (int16, shape (n,), 16 kHz) makes full."""
        samples = np.concatenate((self._rest, block))
        count = len(samples) // WINDOW_SAMPLES
        self._rest = samples[count * WINDOW_SAMPLES :]
        windows = to_float(samples[: count * WINDOW_SAMPLES]).reshape(count, WINDOW_SAMPLES)
        found: list[float] = []
        while len(found) < count:
            # So many that a reset can fall due behind the last of them only.
            most = self._reset_windows - self._clear_windows if self._reset_windows > 0 else count
            found += self._probabilities(windows[len(found) : len(found) + most])
        return found

    def flush(self) -> list[float]:
        """The probability of the last window, filled up with zeros, if there is a rest."""
        if not len(self._rest):
            return []
        return self.feed(np.zeros(WINDOW_SAMPLES - len(self._rest), np.int16))

    def _probabilities(self, windows: Float32) -> list[float]:
        probabilities: list[float] = self._run.hear(windows).tolist()
        for probability in probabilities:
            self._clear_windows = self._clear_windows + 1 if probability < CLEAR_SILENCE else 0
        if 0 < self._reset_windows <= self._clear_windows:  # long music or silence deadens the state
            self._run.reset()
            self._clear_windows = 0
        return probabilities
