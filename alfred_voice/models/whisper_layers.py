"""What Whisper's graphs are made of: products, normalisations with biases, attention."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.onnx_writer import MICROSOFT, GraphWriter
from alfred_voice.models.whisper_checkpoint import Checkpoint


Float32 = NDArray[np.float32]

FLOAT = 1
FLOAT16 = 10
"""ONNX's numbers for float32 and float16, onnx.proto TensorProto.DataType."""
EPSILON = 1e-5
"""Of every normalisation; the default of the library that the weights were trained with."""
_STEPS = 63
"""Steps of a weight on either side of nothing. Two products of 8 by 7 bits fit the 16 bits in which processors without
VNNI add them up; of 8 by 8 bits a sum can be cut off, and the text would depend on the machine."""

_HIDDEN = -3e4
"""Beside what fits; near the lowest that float16 can say."""


class Precision(Enum):
    """How weights are kept and products computed."""

    FLOAT32 = "float32"
    """As trained, in ONNX's own operators only; for OpenVINO, for comparison, and where memory does not matter."""
    INT8 = "int8"
    """Weights in 8 bits with a scale for each column, activations in 8 bits with a scale for each row, so that no row
    depends on another. Convolutions, normalisations and attention stay in float32. For processors."""
    FLOAT16 = "float16"
    """Half of the memory of float32, in ONNX's own operators only; for graphics cards."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Of an attention."""

    count: int
    width: int


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
        # ONNX Runtime's fused operators are quicker on its own processor provider; others do not know them all.
        self._is_fused = precision is Precision.INT8
        self.dtype: type[np.generic] = np.float16 if precision is Precision.FLOAT16 else np.float32
        self._element = FLOAT16 if precision is Precision.FLOAT16 else FLOAT

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
        graph = self.graph
        if not self._is_fused:
            total = graph.add("Add", x, more if bias is None else graph.add("Add", more, self.constant(bias)))
            return total, self.norm(total, norm)
        normal, _, _, total = graph.add_many(
            "SkipLayerNormalization", x, more, *map(self.constant, norm), "" if bias is None else self.constant(bias),
            results=4, domain=MICROSOFT, epsilon=EPSILON,
        )  # fmt: skip
        return total, normal

    def feed_forward(self, x: str, weights: Weights) -> tuple[str, Float32 | None]:
        """The two products with the bend between them; the second one's bias is left to the caller."""
        inner, outer = weights.linear("mlp.0"), weights.linear("mlp.2")
        if inner.bias is None:
            raise AssertionError("the first product of a feed-forward layer has a bias")
        if self._is_fused:
            raised = self.product(x, inner, with_bias=False)
            bent = self.graph.add("BiasGelu", raised, self.constant(inner.bias), domain=MICROSOFT)
        else:
            bent = self.graph.add("Gelu", self.product(x, inner))
        return self.product(bent, outer, with_bias=False), outer.bias

    def split(self, x: str, *widths: int, axis: int = -1) -> tuple[str, ...]:
        """``x`` in parts of these widths."""
        return self.graph.add_many("Split", x, self.graph.constant(widths, np.int64), results=len(widths), axis=axis)

    def attend(
        self, query: str, key: str, value: str, heads: Heads, *, mask: str = "", bias: str = "", is_apart: bool = False
    ) -> str:
        """What the queries find.

        Args:
            query: shape (rows, places, width).
            key: shape (rows, others, width), or where ``is_apart`` (rows, heads, others, head width).
            value: likewise.
            heads: how many, and how wide.
            mask: int32, shape (rows, others): 1 for those that may be looked at.
            bias: shape (rows, 1, places, others): is added to how well they fit.
            is_apart: whether keys and values are in heads already.
        """
        graph = self.graph
        if self._is_fused:
            return graph.add(
                "MultiHeadAttention", query, key, value, "", mask, bias, domain=MICROSOFT, num_heads=heads.count
            )
        if not is_apart:
            key, value = (self.apart(one, heads) for one in (key, value))
        fit = graph.add("MatMul", self.apart(query, heads), graph.add("Transpose", key, perm=[0, 1, 3, 2]))
        fit = graph.add("Mul", fit, self.constant(np.array(heads.width**-0.5, np.float32)))
        if bias:
            fit = graph.add("Add", fit, bias)
        if mask:
            fit = graph.add("Add", fit, self._bias_of(mask))
        found = graph.add("MatMul", graph.add("Softmax", fit, axis=-1), value)
        together = graph.add("Transpose", found, perm=[0, 2, 1, 3])
        return graph.add("Reshape", together, graph.constant([0, 0, heads.count * heads.width], np.int64))

    def apart(self, x: str, heads: Heads) -> str:
        """Shape (rows, places, width) as (rows, heads, places, head width)."""
        shape = self.graph.constant([0, 0, heads.count, heads.width], np.int64)
        return self.graph.add("Transpose", self.graph.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    def _bias_of(self, mask: str) -> str:
        """Nothing for what may be looked at, else so much that the softmax makes nothing of it."""
        graph = self.graph
        hidden = graph.add("Sub", self.constant(np.array(1, np.float32)), graph.add("Cast", mask, to=self._element))
        low = graph.add("Mul", hidden, self.constant(np.array(_HIDDEN, np.float32)))
        return graph.add("Unsqueeze", low, graph.constant([1, 2], np.int64))

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
