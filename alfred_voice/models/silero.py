"""Silero: tells how probable speech is, for all sessions in one call.

The network (v5 and v6) hears 512 new samples with the 64 before them and carries the two vectors
of an LSTM from window to window (snakers4/silero-vad, utils_vad.py). One row of :class:`SileroStates`
holds these for one session; a step gathers the rows of a batch, runs the network once, and puts
the rows back. How the network is computed: :mod:`alfred_voice.models.silero_graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import EngineFault, ModelMissing
from alfred_voice.models.catalog import LEAN_SILERO, SILERO_SESSIONS
from alfred_voice.models.engine import WINDOW_SAMPLES, Float32
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.silero_weights import HEARD_SAMPLES, HIDDEN


CONTEXT_SAMPLES = 64
"""4 ms; the end of the previous window, heard again before the next."""
LARGEST_BATCH = 256
"""Rows in one call of the graph; more would win nothing and take more memory for good."""
_OUTPUTS = ("probability", "new_output", "new_cell")


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


class Network(Protocol):
    """What computes one window of each row."""

    def run(self, heard: Float32, output: Float32, cell: Float32) -> tuple[Float32, Float32, Float32]:
        """The probability of speech in one window of each row, and the LSTM's new output and cell.

        Args:
            heard: float32, shape (rows, 576): context and window, 16 kHz, [-1, 1); at most 256 rows.
            output: float32, shape (rows, 128): the LSTM's output.
            cell: float32, shape (rows, 128): its cell.

        Returns:
            float32, shapes (rows,), (rows, 128), (rows, 128).
        """
        ...


class LeanNetwork:
    """The graph of :mod:`alfred_voice.models.silero_graph`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def run(self, heard: Float32, output: Float32, cell: Float32) -> tuple[Float32, Float32, Float32]:
        """See :meth:`Network.run`."""
        probability, new_output, new_cell = self._session.run(
            {"heard": heard, "output": output, "cell": cell}, _OUTPUTS
        )
        return probability, new_output, new_cell


class SileroVad:
    """The voice activity detector of the house."""

    name = "silero"

    def __init__(self, network: Network) -> None:
        self._network = network
        self._heard: Float32 = np.empty((LARGEST_BATCH, HEARD_SAMPLES), np.float32)

    @classmethod
    def load(cls, path: Path) -> SileroVad:
        """With the weights of the stock graph at ``path``, out of which the lean one is made unless it is there.

        Raises:
            ModelMissing: there is no such file.
            ModelCorrupt: it is not that graph.
        """
        if not path.is_file():
            raise ModelMissing(f"No model file at {path}")
        with LEAN_SILERO.opened(path.parent) as folder:
            # Its shapes vary with the batch, but they are small, and taking memory anew for each step is a third of
            # the time.
            return cls(LeanNetwork(open_session(folder / SILERO_SESSIONS, keeps_memory=True)))

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
            EngineFault: the network failed or answered nonsense. No state has moved on; rows
                whose answer was nonsense are fresh, so that they do not spoil the next batch too.
        """
        check_windows(rows, windows)
        index = row_index(rows, states.capacity)
        if not len(index):
            return np.zeros(0, np.float32)
        probability = np.empty(len(index), np.float32)
        moved = [
            self._judge(states, index[at : at + LARGEST_BATCH], windows[at : at + LARGEST_BATCH], probability[at:])
            for at in range(0, len(index), LARGEST_BATCH)
        ]
        nonsense = index[~np.isfinite(probability)]
        if len(nonsense):
            states.reset(nonsense.tolist())
            raise EngineFault(f"silero answered no number for {len(nonsense)} of {len(rows)} windows")
        for at, (output, cell) in enumerate(moved):
            part = index[at * LARGEST_BATCH : (at + 1) * LARGEST_BATCH]
            states.state[0, part] = output
            states.state[1, part] = cell
        states.context[index] = windows[:, -CONTEXT_SAMPLES:]
        return probability

    def _judge(
        self, states: SileroStates, index: NDArray[np.intp], windows: Float32, probability: Float32
    ) -> tuple[Float32, Float32]:
        """Run the network once; fills in the probabilities, and returns the LSTM's new output and cell."""
        rows = len(index)
        heard = self._heard[:rows]
        heard[:, :CONTEXT_SAMPLES] = states.context[index]
        heard[:, CONTEXT_SAMPLES:] = windows
        answer, output, cell = self._network.run(heard, states.state[0, index], states.state[1, index])
        shapes = answer.shape, output.shape, cell.shape
        if shapes != ((rows,), (rows, HIDDEN), (rows, HIDDEN)):
            # NumPy would spread one answer over all rows.
            raise EngineFault(f"silero answered {shapes} to {rows} windows")
        probability[:rows] = answer
        return output, cell
