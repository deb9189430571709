"""Silero's constants, taken out of the stock file and laid out for products over a batch of windows.

Layer names and sizes are those of the stock file (snakers4/silero-vad, silero_vad_op18_ifless.onnx). What becomes of
them: :mod:`alfred_voice.models.silero_graph`.
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
FRAME, HOP, FRAMES = 256, 128, 4
"""Samples of a frame of the spectrum, samples from one to the next, and frames in a window."""
BINS = FRAME // 2 + 1

_HALF = FRAME // 2
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
    """(256, 512): new input above old output -> input, forget, cell and output gate."""
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
            basis = constants["model.stft.forward_basis_buffer"].reshape(2, BINS, FRAME)
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
        return cls(
            _folded(basis[0], 1),
            _folded(basis[1], -1),
            (kernels[0], kernels[1], kernels[2], kernels[3]),
            (biases[0], biases[1], biases[2], biases[3]),
            np.ascontiguousarray(gates),
            gate_bias,
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
