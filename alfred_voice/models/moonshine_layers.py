"""What Moonshine's graphs are made of: products with 8-bit weights, normalisations, attention."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.moonshine_weights import HEAD_WIDTH, HEADS, ROTARY_WIDTH, Linear
from alfred_voice.models.onnx_writer import MICROSOFT, GraphWriter


FLOAT = 1
DOUBLE = 11
"""ONNX's numbers for float32 and float64, onnx.proto TensorProto.DataType."""
EPSILON = 1e-5
"""Of every normalisation in the published graphs."""


class Arithmetic(Enum):
    """How products with 8-bit weights are computed."""

    FLOAT = "float"
    """Weights as numbers, activations as they are: what the other two come near to. For tests."""
    TENSOR = "tensor"
    """Activations in 8 bits, scaled by the largest of the whole tensor: what the published graphs do."""
    ROW = "row"
    """Activations in 8 bits, scaled by the largest of each row, so that no row depends on another."""


class Layers:
    """Adds the parts of layers to a graph; every method returns the name of its result.

    Attributes:
        graph: what they are added to.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.graph = GraphWriter()
        self._arithmetic = arithmetic

    def product(self, x: str, *linears: Linear) -> str:
        """``x`` times the matrices side by side; only one that is alone may have a bias."""
        linear = _beside(linears)
        match self._arithmetic:
            case Arithmetic.FLOAT:
                y = self.graph.add("MatMul", x, self.graph.constant(linear.dequantised()))
            case Arithmetic.TENSOR:
                y = self.graph.add("DynamicQuantizeMatMul", x, *self._weights(linear), domain=MICROSOFT)
            case Arithmetic.ROW:
                y = self._row_product(x, linear)
        return y if linear.bias is None else self.graph.add("Add", y, self.graph.constant(linear.bias))

    def norm(self, x: str, scale: NDArray[np.float32]) -> str:
        """``x``, normalised over its width."""
        return self.graph.add("LayerNormalization", x, self.graph.constant(scale), axis=-1, epsilon=EPSILON)

    def add_and_norm(self, x: str, more: str, scale: NDArray[np.float32]) -> tuple[str, str]:
        """``x`` plus ``more``, and that normalised."""
        normal, _, _, total = self.graph.add_many(
            "SkipLayerNormalization",
            x,
            more,
            self.graph.constant(scale),
            results=4,
            domain=MICROSOFT,
            epsilon=EPSILON,
        )
        return total, normal

    def split(self, x: str, *widths: int, axis: int = -1) -> tuple[str, ...]:
        """``x`` in parts of these widths."""
        return self.graph.add_many("Split", x, self.graph.constant(widths, np.int64), results=len(widths), axis=axis)

    def turn(self, x: str, positions: str, cosines: str, sines: str) -> str:
        """Queries and keys side by side, turned by their positions (rotary embedding of neighbouring pairs)."""
        return self.graph.add(
            "RotaryEmbedding",
            x,
            positions,
            cosines,
            sines,
            domain=MICROSOFT,
            interleaved=1,
            num_heads=2 * HEADS,
            rotary_embedding_dim=ROTARY_WIDTH,
        )

    def attend(self, query: str, key: str, value: str, *, mask: str = "", bias: str = "") -> str:
        """What the queries find.

        Args:
            query: shape (rows, places, width).
            key: shape (rows, others, width), or (rows, heads, others, head width).
            value: likewise.
            mask: int32, shape (rows, others): 1 for those that may be looked at.
            bias: float32, shape (rows, 1, places, others): is added to how well they fit.
        """
        return self.graph.add(
            "MultiHeadAttention",
            query,
            key,
            value,
            "",
            mask,
            bias,
            domain=MICROSOFT,
            num_heads=HEADS,
            scale=HEAD_WIDTH**-0.5,
        )

    def _row_product(self, x: str, linear: Linear) -> str:
        """Each row from -peak to peak in whole numbers from 1 to 255; 128 is nothing."""
        graph = self.graph
        weight, scale, zero_point = self._weights(linear, scale=1 / 127)
        peak = graph.add("ReduceMax", graph.add("Abs", x), graph.constant([-1], np.int64), keepdims=1)
        steps = graph.add("Mul", x, graph.add("Div", graph.constant(127.0), peak))
        nothing = graph.constant(128, np.uint8)
        whole = graph.add("QuantizeLinear", steps, graph.constant(1.0), nothing)
        y = graph.add(
            "MatMulIntegerToFloat",
            whole,
            weight,
            graph.constant(1.0),
            scale,
            nothing,
            zero_point,
            domain=MICROSOFT,
        )
        return graph.add("Mul", y, peak)

    def _weights(self, linear: Linear, scale: float = 1.0) -> tuple[str, str, str]:
        graph = self.graph
        return (
            graph.constant(linear.weight, np.uint8),
            graph.constant(_shared(linear.scale * np.float32(scale))),
            graph.constant(_shared(linear.zero_point), np.uint8),
        )


def _shared(values: NDArray[Any]) -> NDArray[Any]:
    """One value where all are the same: the runtime is quicker with it."""
    return values[0] if (values == values[0]).all() else values


def _beside(linears: tuple[Linear, ...]) -> Linear:
    """Several matrices as one that is as wide as all of them."""
    if len(linears) == 1:
        return linears[0]
    if any(linear.bias is not None for linear in linears):
        raise AssertionError("matrices side by side shouldn't have biases")
    return Linear(
        weight=np.concatenate([linear.weight for linear in linears], axis=1),
        scale=np.concatenate([linear.scale for linear in linears]),
        zero_point=np.concatenate([linear.zero_point for linear in linears]),
    )
