"""Silero over a whole recording: the same network as the live one's, for windows that are all there already.

All of it but the LSTM looks at each window alone, so that is one product for many windows, and only a small step is
left for each: half the time of ONNX Runtime's call for every window (75 instead of 150 us on a busy machine). Equal to
the live one within 2e-4, as rounding is carried on from window to window. The layers are those of
:mod:`alfred_voice.models.silero_graph`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alfred_voice.errors import EngineFailure
from alfred_voice.models.engine import WINDOW_SAMPLES, Float32
from alfred_voice.models.onnx_constants import float_constants
from alfred_voice.models.silero_weights import FRAME, FRAMES, HEARD_SAMPLES, HIDDEN, HOP, SileroWeights


_CONTEXT = HEARD_SAMPLES - WINDOW_SAMPLES
_HALF = FRAME // 2
_STRIDES = (1, 2, 2, 1)
"""Of the convolutions."""
_SQUASHED = 3 * HIDDEN
"""Gates that are between 0 and 1."""


class RecordingSilero:
    """The network's weights; :meth:`new_run` for each recording."""

    name = "silero"

    def __init__(self, weights: SileroWeights) -> None:
        self.weights = weights
        # Input, forget and output gate first, then the candidate. The sigmoid of x is (1 + tanh(x / 2)) / 2: with
        # the halves taken here, one call of tanh does for all gates.
        entry, forget, candidate, leave = np.split(np.arange(4 * HIDDEN), 4)
        order = np.concatenate([entry, forget, leave, candidate])
        half = np.where(np.arange(4 * HIDDEN) < _SQUASHED, np.float32(0.5), np.float32(1))
        self.entering = np.ascontiguousarray(weights.gates[:HIDDEN, order] * half)
        self.recurring = np.ascontiguousarray(weights.gates[HIDDEN:, order] * half)
        self.gate_bias: Float32 = weights.gate_bias[order] * half

    @classmethod
    def load(cls, path: Path) -> RecordingSilero:
        """With the weights of the stock graph at ``path``.

        Raises:
            ModelMissing: there is no such file.
            ModelCorrupt: it is not that graph.
        """
        return cls(SileroWeights.of(float_constants(path)))

    def new_run(self) -> SileroRun:
        """The state of one recording."""
        return SileroRun(self)

    def gates(self, heard: Float32) -> Float32:
        """What the windows by themselves say to the LSTM's gates: float32, shape (windows, 512).

        Args:
            heard: float32, shape (windows, 576): context and window, 16 kHz, [-1, 1).
        """
        values = self._spectrum(heard)
        weights = self.weights
        for kernel, bias, stride in zip(weights.kernels, weights.biases, _STRIDES, strict=True):
            values = _convolved(values, kernel, bias, stride)
        product: Float32 = values[:, 0] @ self.entering + self.gate_bias
        return product

    def _spectrum(self, heard: Float32) -> Float32:
        """Magnitudes: float32, shape (windows, 4, 129)."""
        padded = np.concatenate([heard, heard[:, -2 : -2 - _CONTEXT : -1]], axis=1)
        frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP][:, :FRAMES]
        rising, falling = frames[..., 1 : _HALF + 1], frames[..., : _HALF - 1 : -1]
        # One product for all frames: of an array of more dimensions NumPy makes many small ones.
        real = (rising + falling).reshape(-1, _HALF) @ self.weights.cosines
        imaginary = (rising - falling).reshape(-1, _HALF) @ self.weights.sines
        real *= real
        imaginary *= imaginary
        real += imaginary
        magnitudes: Float32 = np.sqrt(real, out=real).reshape(len(heard), FRAMES, -1)
        return magnitudes


class SileroRun:
    """One recording's way through the network; what it remembers of the windows before."""

    def __init__(self, network: RecordingSilero) -> None:
        self._network = network
        self._context: Float32 = np.zeros(_CONTEXT, np.float32)
        self._output: Float32 = np.zeros(HIDDEN, np.float32)
        self._cell: Float32 = np.zeros(HIDDEN, np.float32)

    def reset(self) -> None:
        """As before the first window."""
        for part in (self._context, self._output, self._cell):
            part[:] = 0

    def hear(self, windows: Float32) -> Float32:
        """The probability of speech in the next windows, float32, shape (n, 512) -> (n,).

        Raises:
            EngineFailure: a probability is no number.
        """
        if not len(windows):
            return np.zeros(0, np.float32)
        contexts = np.concatenate([self._context[np.newaxis], windows[:-1, -_CONTEXT:]])
        gates = self._network.gates(np.concatenate([contexts, windows], axis=1))
        outputs = np.empty((len(windows), HIDDEN), np.float32)
        for gate, output in zip(gates, outputs, strict=True):
            self._step(gate, output)
        self._context = windows[-1, -_CONTEXT:].copy()
        weights = self._network.weights
        scores = np.maximum(outputs, 0) @ weights.out + np.float32(weights.out_bias)
        probabilities: Float32 = ((np.tanh(scores / 2) + 1) / 2).astype(np.float32)
        if not np.isfinite(probabilities).all():
            raise EngineFailure("silero answered no number")
        return probabilities

    def _step(self, gate: Float32, output: Float32) -> None:
        """The LSTM, once; ``gate`` is used up, ``output`` filled."""
        gate += self._output @ self._network.recurring
        np.tanh(gate, out=gate)
        squashed = gate[:_SQUASHED]
        squashed += 1
        squashed *= 0.5
        self._cell *= gate[HIDDEN : 2 * HIDDEN]
        self._cell += gate[:HIDDEN] * gate[_SQUASHED:]
        np.tanh(self._cell, out=output)
        output *= gate[2 * HIDDEN : _SQUASHED]
        self._output = output


def _convolved(values: Float32, kernel: Float32, bias: Float32, stride: int) -> Float32:
    """A convolution of width 3 and its rectifier: float32, shape (windows, positions, channels)."""
    windows, positions, channels = values.shape
    padded = np.zeros((windows, positions + 2, channels), np.float32)
    padded[:, 1:-1] = values
    # Three neighbours lie side by side, so that each row is a view.
    flat = padded.reshape(windows, -1)
    rows = np.lib.stride_tricks.sliding_window_view(flat, 3 * channels, axis=1)[:, :: stride * channels]
    product = np.ascontiguousarray(rows).reshape(-1, 3 * channels) @ kernel
    product += bias
    return np.maximum(product, 0, out=product).reshape(windows, -1, kernel.shape[1])
