"""Silero's network as matrix products over a batch of windows: equal to the stock graph, in a quarter of its time.

The stock graph is run by ONNX Runtime in forty small steps. All of them are products with constant matrices and a few
functions of single numbers, so here each is one product for the whole batch:

- The spectrum: windowed cosines and sines of 256 samples, four times per window. Cosines are symmetric about the
  middle of the frame and sines antisymmetric, so the frame is folded first and the products halve.
- Four convolutions over the four positions in time. What they multiply at their borders is padding, so those parts of
  the matrices are left out.
- The LSTM cell: input and output of the window before side by side, all four gates in one product. tanh(x) is
  2 sigmoid(2x) - 1, with the 2 inside the weights, so that one pass makes all gates.

Layer names and sizes are those of the stock file (snakers4/silero-vad, silero_vad_op18_ifless.onnx).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alfred_voice.errors import ModelCorrupt
from alfred_voice.models.engine import Float32


HEARD_SAMPLES = 576
"""36 ms: the end of the window before, 64 samples, and the window, 512."""
HIDDEN = 128
"""Width of the LSTM."""
LARGEST_BATCH = 256
"""Rows in one pass; more would win nothing and need larger buffers."""

_FRAME, _HOP, _FRAMES = 256, 128, 4
_HALF = _FRAME // 2
_BINS = _HALF + 1
_PADDED_SAMPLES = HEARD_SAMPLES + 64
"""The end is reflected by 64 samples, so that four frames fit."""
_WIDTHS = (128, 64, 64, 128)
"""Channels behind each of the convolutions."""
_SYMMETRY = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class SileroWeights:
    """The network's constants, laid out for the products; all float32."""

    cosines: Float32
    """(128, 129): folded sample 1 to 128 of a frame -> real part of each bin."""
    sines: Float32
    """(128, 129): the same for the imaginary part."""
    kernels: tuple[Float32, Float32, Float32, Float32]
    """Of each convolution, (3 * channels in, channels out): earlier, same and later position one under the other."""
    biases: tuple[Float32, Float32, Float32, Float32]
    gates: Float32
    """(256, 512): new input above old output -> input, forget, cell and output gate, the cell's doubled."""
    gate_bias: Float32
    """(512,)."""
    out: Float32
    """(128,)."""
    out_bias: float

    @classmethod
    def of(cls, constants: Mapping[str, Float32]) -> SileroWeights:
        """From the stock file's constants.

        Raises:
            ModelCorrupt: a constant is missing or is not what this network is made for.
        """
        try:
            basis = constants["model.stft.forward_basis_buffer"].reshape(2, _BINS, _FRAME)
            layers = [f"model.encoder.{layer}.reparam_conv" for layer in range(4)]
            kernels = [
                _unrolled(constants[f"{name}.weight"], width) for name, width in zip(layers, _WIDTHS, strict=True)
            ]
            biases = [constants[f"{name}.bias"].reshape(width) for name, width in zip(layers, _WIDTHS, strict=True)]
            lstm = "model.decoder.rnn"
            both = (constants[f"{lstm}.weight_ih"].reshape(4 * HIDDEN, -1), constants[f"{lstm}.weight_hh"])
            gates = np.concatenate([weight.T for weight in both])
            gate_bias = constants[f"{lstm}.bias_ih"] + constants[f"{lstm}.bias_hh"]
            out = constants["model.decoder.decoder.2.weight"].reshape(HIDDEN)
            out_bias = float(constants["model.decoder.decoder.2.bias"][0])
        except (KeyError, ValueError, IndexError) as error:
            raise ModelCorrupt(f"these are not the weights of Silero VAD v6: {error}") from error
        doubled = np.ones(4 * HIDDEN, np.float32)
        doubled[2 * HIDDEN : 3 * HIDDEN] = 2
        return cls(
            _folded(basis[0], 1),
            _folded(basis[1], -1),
            (kernels[0], kernels[1], kernels[2], kernels[3]),
            (biases[0], biases[1], biases[2], biases[3]),
            np.ascontiguousarray(gates * doubled),
            gate_bias * doubled,
            out,
            out_bias,
        )


def _unrolled(weight: Float32, width: int) -> Float32:
    """A kernel (out, in, 3) as the matrix (3 * in, out)."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, width))


def _folded(basis: Float32, sign: int) -> Float32:
    """The matrix for a folded frame.

    Args:
        basis: float32, shape (129, 256): one part of the spectrum's basis, its window included.
        sign: 1 where samples n and 256 - n are added, -1 where they are subtracted.
    """
    mirrored = sign * basis[:, :_HALF:-1]
    if abs(basis[:, 0]).max() > _SYMMETRY or abs(basis[:, 1:_HALF] - mirrored).max() > _SYMMETRY:
        raise ModelCorrupt("the spectrum's basis is not the windowed one of Silero VAD v6: it is not symmetric")
    matrix = basis[:, 1 : _HALF + 1].T.copy()
    # The middle sample meets itself when it is folded.
    matrix[-1] /= 2
    return matrix


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One position of a convolution's output: which columns it is made of, and by which rows of the kernel."""

    source: slice
    kernel: Float32
    target: slice


class SileroNetwork:
    """Computes one window of each row; keeps nothing between calls but its buffers. For one thread at a time."""

    def __init__(self, weights: SileroWeights) -> None:
        self._weights = weights
        rows = LARGEST_BATCH
        self._padded: Float32 = np.empty((rows, _PADDED_SAMPLES), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(self._padded, _FRAME, axis=1)[:, ::_HOP]
        # Samples 1 to 128 of each frame, and 255 down to 128.
        self._rising, self._falling = frames[:, :, 1 : _HALF + 1], frames[:, :, : _HALF - 1 : -1]
        self._folded: Float32 = np.empty((rows * _FRAMES, _HALF), np.float32)
        self._real: Float32 = np.empty((rows * _FRAMES, _BINS), np.float32)
        self._imaginary: Float32 = np.empty((rows * _FRAMES, _BINS), np.float32)
        positions = (_FRAMES, 2, 1, 1)
        strides = (1, 2, 2, 1)
        before = (_FRAMES, *positions)
        self._parts = [
            _parts(kernel, before[layer], positions[layer], strides[layer])
            for layer, kernel in enumerate(weights.kernels)
        ]
        self._biases = [np.tile(bias, positions[layer]) for layer, bias in enumerate(weights.biases)]
        self._layers = [np.empty((rows, len(bias)), np.float32) for bias in self._biases[:-1]]
        self._rectified: Float32 = np.empty((rows, HIDDEN), np.float32)
        self._cell_input: Float32 = np.empty((rows, 2 * HIDDEN), np.float32)
        self._gates: Float32 = np.empty((rows, 4 * HIDDEN), np.float32)

    def run(self, heard: Float32, output: Float32, cell: Float32) -> Float32:
        """The probability of speech in one window of each row; moves the LSTM's state on.

        Args:
            heard: float32, shape (rows, 576): context and window, 16 kHz, [-1, 1); at most 256 rows.
            output: float32, shape (rows, 128): the LSTM's output, overwritten with the new one.
            cell: float32, shape (rows, 128): its cell, overwritten likewise.

        Returns:
            float32, shape (rows,).
        """
        rows = len(heard)
        cell_input = self._cell_input[:rows]
        # Numbers beyond what float32 can hold come out of absurd input only, and are dealt with by who asks.
        with np.errstate(over="ignore", invalid="ignore"):
            self._encode(self._spectrum(heard), cell_input[:, :HIDDEN])
            cell_input[:, HIDDEN:] = output
            self._step(cell_input, output, cell)
            score: Float32 = np.maximum(output, 0, out=self._rectified[:rows]) @ self._weights.out
            score += self._weights.out_bias
            return _sigmoid(score)

    def _spectrum(self, heard: Float32) -> Float32:
        """Magnitudes, shape (rows, 4 * 129)."""
        rows = len(heard)
        padded = self._padded[:rows]
        padded[:, :HEARD_SAMPLES] = heard
        padded[:, HEARD_SAMPLES:] = heard[:, HEARD_SAMPLES - 2 : HEARD_SAMPLES - 66 : -1]
        rising, falling = self._rising[:rows], self._falling[:rows]
        frames = rows * _FRAMES
        folded, real, imaginary = self._folded[:frames], self._real[:frames], self._imaginary[:frames]
        shaped = folded.reshape(rows, _FRAMES, _HALF)
        np.add(rising, falling, out=shaped)
        np.matmul(folded, self._weights.cosines, out=real)
        np.subtract(rising, falling, out=shaped)
        np.matmul(folded, self._weights.sines, out=imaginary)
        np.multiply(real, real, out=real)
        np.multiply(imaginary, imaginary, out=imaginary)
        np.add(real, imaginary, out=real)
        np.sqrt(real, out=real)
        return real.reshape(rows, -1)

    def _encode(self, spectrum: Float32, out: Float32) -> None:
        """The four convolutions; ``out``, shape (rows, 128), takes the last one's only position."""
        before = spectrum
        after = [*(layer[: len(spectrum)] for layer in self._layers), out]
        for parts, bias, target in zip(self._parts, self._biases, after, strict=True):
            for part in parts:
                np.matmul(before[:, part.source], part.kernel, out=target[:, part.target])
            target += bias
            np.maximum(target, 0, out=target)
            before = target

    def _step(self, cell_input: Float32, output: Float32, cell: Float32) -> None:
        """The LSTM cell."""
        gates = np.matmul(cell_input, self._weights.gates, out=self._gates[: len(cell_input)])
        gates += self._weights.gate_bias
        _sigmoid(gates)
        entry, forget, candidate, exit_ = (gates[:, at * HIDDEN : (at + 1) * HIDDEN] for at in range(4))
        candidate *= 2
        candidate -= 1
        candidate *= entry
        cell *= forget
        cell += candidate
        np.multiply(cell, 2, out=output)
        _sigmoid(output)
        output *= 2
        output -= 1
        output *= exit_


def _parts(kernel: Float32, positions: int, outputs: int, stride: int) -> list[_Part]:
    """How each output position of a convolution is made; beyond the borders are zeros, which are left out."""
    channels, width = len(kernel) // 3, kernel.shape[1]
    parts = []
    for at in range(outputs):
        first = at * stride - 1
        start, end = max(0, first), min(positions, first + 3)
        parts.append(
            _Part(
                slice(start * channels, end * channels),
                kernel[(start - first) * channels : (end - first) * channels],
                slice(at * width, (at + 1) * width),
            )
        )
    return parts


def _sigmoid(values: Float32) -> Float32:
    """In place, and returned."""
    np.negative(values, out=values)
    np.exp(values, out=values)
    values += 1
    return np.reciprocal(values, out=values)
