"""Silero: tells how probable speech is, for all sessions in one call.

The network (v5 and v6) hears 512 new samples with the 64 before them and carries the two vectors
of an LSTM from window to window (snakers4/silero-vad, utils_vad.py). One row of :class:`SileroStates`
holds these for one session; a step gathers the rows of a batch, runs the network once, and puts
the rows back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Float32
from alfred_voice.models.onnx import open_session


CONTEXT_SAMPLES = 64
"""4 ms; the end of the previous window, heard again before the next."""
HIDDEN = 128
"""Width of the LSTM."""


def row_index(rows: Sequence[int], capacity: int) -> NDArray[np.intp]:
    """``rows`` for indexing arrays of ``capacity`` sessions, once it is sure that each is there and named once."""
    index = np.asarray(rows, dtype=np.intp)
    if len(set(rows)) != len(rows):
        raise ValueError(f"Expected each row at most once, but got {list(rows)}")
    if len(rows) and not (index.min() >= 0 and index.max() < capacity):
        raise ValueError(f"Expected rows from 0 to {capacity - 1}, but got {list(rows)}")
    return index


def check_windows(rows: Sequence[int], windows: Float32) -> None:
    """Raise ValueError unless there is one window, float32 of 512 samples, for each row."""
    expected = (len(rows), WINDOW_SAMPLES)
    if windows.shape != expected or windows.dtype != np.float32:
        raise ValueError(f"Expected windows float32 {expected}, but got {windows.dtype} {windows.shape}")


class SileroStates:
    """What the network remembers of each session; grows, never shrinks.

    Attributes:
        state: float32, shape (2, capacity, 128): the LSTM's output and cell.
        context: float32, shape (capacity, 64): the end of the previous window.
    """

    __slots__ = ("context", "state")

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"Expected a capacity of at least 0, but got {capacity}")
        self.state: Float32 = np.zeros((2, capacity, HIDDEN), np.float32)
        self.context: Float32 = np.zeros((capacity, CONTEXT_SAMPLES), np.float32)

    @property
    def capacity(self) -> int:
        """How many sessions there is room for."""
        return len(self.context)

    def reset(self, rows: Sequence[int]) -> None:
        """Make these rows fresh, as before a session's first window."""
        index = row_index(rows, self.capacity)
        self.state[:, index] = 0.0
        self.context[index] = 0.0

    def grow(self, capacity: int) -> None:
        """Make room for ``capacity`` sessions; the rows there are stay as they are, new ones are fresh."""
        if capacity < self.capacity:
            raise ValueError(f"Expected a capacity of at least {self.capacity}, but got {capacity}")
        grown = SileroStates(capacity)
        grown.state[:, : self.capacity] = self.state
        grown.context[: self.capacity] = self.context
        self.state, self.context = grown.state, grown.context


class SileroVad:
    """The voice activity detector of the house."""

    name = "silero"

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = open_session(path, threads=threads)
        self._sample_rate = np.array(SAMPLE_RATE, np.int64)

    def new_states(self, capacity: int) -> SileroStates:
        """Recurrent state of up to ``capacity`` sessions, one row each, all fresh."""
        return SileroStates(capacity)

    def step(self, states: SileroStates, rows: Sequence[int], windows: Float32) -> Float32:
        """One window of each of the sessions that ``rows`` names; their state moves on.

        Args:
            states: what :meth:`new_states` gave.
            rows: which rows of it the windows belong to, each at most once.
            windows: float32, shape (len(rows), 512), 16 kHz, [-1, 1).

        Returns:
            float32, shape (len(rows),): probability of speech.

        Raises:
            EngineFailure: the network failed or answered nonsense. No state has moved on; rows
                whose answer was nonsense are fresh, so that they do not spoil the next batch too.
        """
        check_windows(rows, windows)
        index = row_index(rows, states.capacity)
        if not len(index):
            return np.zeros(0, np.float32)
        heard = np.concatenate((states.context[index], windows), axis=1)
        probability, state = self._network(heard, states.state.take(index, axis=1))
        nonsense = index[~np.isfinite(probability)]
        if len(nonsense):
            states.reset(nonsense.tolist())
            raise EngineFailure(f"silero answered no number for {len(nonsense)} of {len(rows)} windows")
        states.state[:, index] = state
        states.context[index] = windows[:, -CONTEXT_SAMPLES:]
        return probability

    def _network(self, heard: Float32, state: Float32) -> tuple[Float32, Float32]:
        """Run the network once: all that knows how it is computed.

        Args:
            heard: float32, shape (batch, 576): context and window.
            state: float32, shape (2, batch, 128).

        Returns:
            Probability of speech, float32, shape (batch,), and the next state, float32, shape (2, batch, 128).
        """
        feeds: dict[str, NDArray[Any]] = {"input": heard, "state": state, "sr": self._sample_rate}
        probability, following = self._session.run(feeds, ["output", "stateN"])
        return probability.reshape(-1), following
