"""What Whisper's graphs are made of: products, normalisations with biases, attention."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.onnx_writer import MICROSOFT, GraphWriter
from alfred_voice.models.whisper_checkpoint import Checkpoint


Float32 = NDArray[np.float32]

EPSILON = 1e-5
"""Of every normalisation; the default of the library that the weights were trained with."""
_STEPS = 63
"""Steps of a weight on either side of nothing. Two products of 8 by 7 bits fit the 16 bits in which processors without
VNNI add them up; of 8 by 8 bits a sum can be cut off, and the text would depend on the machine."""


class Precision(Enum):
    """How weights are kept and products computed."""

    FLOAT32 = "float32"
    """As trained; for comparison, and where memory does not matter."""
    INT8 = "int8"
    """Weights in 8 bits with a scale for each column, activations in 8 bits with a scale for each row, so that no row
    depends on another. Convolutions, normalisations and attention stay in float32. For processors."""
    FLOAT16 = "float16"
    """Half of the memory of float32; for graphics cards."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A product with a matrix, and what is added to it."""

    weight: Float32
    """float32, shape (in, out)."""
    bias: Float32 | None


class Weights:
    """The weights of one block of layers, by what they are for."""

    def __init__(self, checkpoint: Checkpoint, prefix: str) -> None:
        self._checkpoint = checkpoint
        self._prefix = prefix

    def linear(self, name: str, *, scale: float = 1.0) -> Linear:
        """A product; ``scale`` is taken into it."""
        bias = self._checkpoint.weights.get(f"{self._prefix}{name}.bias")
        weight = self._checkpoint[f"{self._prefix}{name}.weight"].T * np.float32(scale)
        return Linear(weight, None if bias is None else bias * np.float32(scale))

    def beside(self, *names: str) -> Linear:
        """Several products of the same input as one."""
        linears = [self.linear(name) for name in names]
        biases = [np.zeros(one.weight.shape[1], np.float32) if one.bias is None else one.bias for one in linears]
        return Linear(np.concatenate([one.weight for one in linears], axis=1), np.concatenate(biases))

    def norm(self, name: str) -> tuple[Float32, Float32]:
        """Scale and bias of a normalisation."""
        return self._checkpoint[f"{self._prefix}{name}.weight"], self._checkpoint[f"{self._prefix}{name}.bias"]


class Layers:
    """Adds the parts of layers to a graph; every method returns the name of its result.

    Attributes:
        graph: what they are added to.
        dtype: of the activations between them.
    """

    def __init__(self, precision: Precision) -> None:
        self.graph = GraphWriter()
        self._precision = precision
        self.dtype: type[np.generic] = np.float16 if precision is Precision.FLOAT16 else np.float32

    def constant(self, value: Float32) -> str:
        """Numbers of the graph's own, in the precision of the activations."""
        return self.graph.constant(value, self.dtype)

    def product(self, x: str, linear: Linear, *, with_bias: bool = True) -> str:
        """``x`` times a matrix."""
        if self._precision is Precision.INT8:
            y = self._row_product(x, linear.weight)
        else:
            y = self.graph.add("MatMul", x, self.constant(linear.weight))
        if linear.bias is None or not with_bias:
            return y
        return self.graph.add("Add", y, self.constant(linear.bias))

    def norm(self, x: str, norm: tuple[Float32, Float32]) -> str:
        """``x``, normalised over its width."""
        scale, bias = map(self.constant, norm)
        return self.graph.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)

    def add_and_norm(self, x: str, more: str, bias: Float32 | None, norm: tuple[Float32, Float32]) -> tuple[str, str]:
        """``x`` plus ``more`` plus ``bias``, and that normalised."""
        normal, _, _, total = self.graph.add_many(
            "SkipLayerNormalization", x, more, *map(self.constant, norm), "" if bias is None else self.constant(bias),
            results=4, domain=MICROSOFT, epsilon=EPSILON,
        )  # fmt: skip
        return total, normal

    def feed_forward(self, x: str, weights: Weights) -> tuple[str, Float32 | None]:
        """The two products with the bend between them; the second one's bias is left to the caller."""
        inner, outer = weights.linear("mlp.0"), weights.linear("mlp.2")
        if inner.bias is None:
            raise AssertionError("the first product of a feed-forward layer has a bias")
        raised = self.product(x, inner, with_bias=False)
        bent = self.graph.add("BiasGelu", raised, self.constant(inner.bias), domain=MICROSOFT)
        return self.product(bent, outer, with_bias=False), outer.bias

    def split(self, x: str, *widths: int, axis: int = -1) -> tuple[str, ...]:
        """``x`` in parts of these widths."""
        return self.graph.add_many("Split", x, self.graph.constant(widths, np.int64), results=len(widths), axis=axis)

    def attend(self, query: str, key: str, value: str, heads: int, *, mask: str = "", bias: str = "") -> str:
        """What the queries find.

        Args:
            query: shape (rows, places, width).
            key: shape (rows, others, width), or (rows, heads, others, head width).
            value: likewise.
            heads: how many.
            mask: int32, shape (rows, others): 1 for those that may be looked at.
            bias: shape (rows, 1, places, others): is added to how well they fit.
        """
        return self.graph.add(
            "MultiHeadAttention", query, key, value, "", mask, bias, domain=MICROSOFT, num_heads=heads
        )

    def _row_product(self, x: str, weight: Float32) -> str:
        """Each row from -peak to peak in whole numbers from 1 to 255; 128 is nothing."""
        graph = self.graph
        steps, scale = quantised(weight)
        peak = graph.add("ReduceMax", graph.add("Abs", x), graph.constant([-1], np.int64), keepdims=1)
        # A row of nothing must not be divided by nothing.
        peak = graph.add("Max", peak, graph.constant(1e-12))
        stretched = graph.add("Mul", x, graph.add("Div", graph.constant(127.0), peak))
        nothing = graph.constant(128, np.uint8)
        whole = graph.add("QuantizeLinear", stretched, graph.constant(1.0), nothing)
        y = graph.add(
            "MatMulIntegerToFloat", whole, graph.constant(steps, np.int8), graph.constant(1.0),
            graph.constant(scale / np.float32(127)), nothing, graph.constant(np.zeros(len(scale)), np.int8),
            domain=MICROSOFT,
        )  # fmt: skip
        return graph.add("Mul", y, peak)


def quantised(weight: Float32) -> tuple[NDArray[np.int8], Float32]:
    """A matrix in whole numbers from -63 to 63, and what one step of each column (the last axis) is worth."""
    scale = np.maximum(np.abs(weight).max(axis=0), np.float32(1e-12)) / np.float32(_STEPS)
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)
