"""Silero over a whole recording: the same network as the live one's, for windows that are all there already.

ONNX Runtime is called once for many of them, and goes from window to window by itself: a quarter of the time of a call
for each. Equal to the live one within 2e-4, as rounding is carried on from window to window. The graph:
:mod:`alfred_voice.models.silero_graph`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alfred_voice.errors import ModelMissing
from alfred_voice.models.catalog import LEAN_SILERO, SILERO_RECORDING
from alfred_voice.models.engine import WINDOW_SAMPLES, Float32
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.silero_weights import HEARD_SAMPLES, HIDDEN


LARGEST_BLOCK = 256
"""Windows in one call of the graph, 8 s; more would win nothing and take more memory."""
_CONTEXT = HEARD_SAMPLES - WINDOW_SAMPLES
_OUTPUTS = ("probability", "new_output", "new_cell")


class RecordingSilero:
    """The network; :meth:`new_run` for each recording."""

    name = "silero"

    def __init__(self, session: Session) -> None:
        self._session = session

    @classmethod
    def load(cls, path: Path) -> RecordingSilero:
        """With the weights of the stock graph at ``path``, out of which the lean one is made unless it is there.

        Raises:
            ModelMissing: there is no such file.
            ModelCorrupt: it is not that graph.
        """
        if not path.is_file():
            raise ModelMissing(f"No model file at {path}")
        with LEAN_SILERO.opened(path.parent) as folder:
            return cls(open_session(folder / SILERO_RECORDING, keeps_memory=True))

    def new_run(self) -> SileroRun:
        """The state of one recording."""
        return SileroRun(self._session)


class SileroRun:
    """One recording's way through the network; what it remembers of the windows before."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._context: Float32 = np.zeros(_CONTEXT, np.float32)
        self._state: list[Float32] = []
        self.reset()

    def reset(self) -> None:
        """As before the first window."""
        self._context = np.zeros(_CONTEXT, np.float32)
        self._state = [np.zeros((1, 1, HIDDEN), np.float32) for _ in ("output", "cell")]

    def hear(self, windows: Float32) -> Float32:
        """The probability of speech in the next windows, float32, shape (n, 512) -> (n,).

        Each sample is a number: it comes out of an integer. (ONNX Runtime's LSTM would answer one to what is none.)

        Raises:
            EngineFault: the network failed.
        """
        parts = [self._hear(windows[at : at + LARGEST_BLOCK]) for at in range(0, len(windows), LARGEST_BLOCK)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _hear(self, windows: Float32) -> Float32:
        contexts = np.concatenate([self._context[np.newaxis], windows[:-1, -_CONTEXT:]])
        output, cell = self._state
        heard = np.concatenate([contexts, windows], axis=1)
        probabilities, *self._state = self._session.run({"heard": heard, "output": output, "cell": cell}, _OUTPUTS)
        self._context = windows[-1, -_CONTEXT:].copy()
        return probabilities
