"""The weights of Moonshine, taken out of the published graphs and put in the order of its layers.

The graphs name what they compute after the layer that computes it, and the weights after nothing: so
each weight is found through the operator that uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import ModelCorrupt
from alfred_voice.models.ort_format import OrtGraph, read_ort


LAYERS = 6
"""Of the encoder and of the decoder each. With the sizes below: the shapes of the published weights."""
WIDTH = 288
HEADS = 8
HEAD_WIDTH = WIDTH // HEADS
ROTARY_WIDTH = 32
"""Of each head's 36 values: those that are turned by the position."""

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A matrix product with 8-bit weights: y = x @ ((weight - zero_point) * scale) + bias."""

    weight: UInt8
    """uint8, shape (inputs, outputs)."""
    scale: Float32
    """float32, shape (outputs,)."""
    zero_point: UInt8
    """uint8, shape (outputs,)."""
    bias: Float32 | None = None
    """float32, shape (outputs,)."""

    def dequantised(self) -> Float32:
        """The weights as numbers: float32, shape (inputs, outputs)."""
        return (self.weight.astype(np.float32) - self.zero_point) * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """The four products of an attention."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear


@dataclass(frozen=True, slots=True, eq=False)
class EncoderLayer:
    """One layer of the encoder; norms are scales without a shift, shape (width,)."""

    attention_norm: Float32
    attention: Attention
    feed_norm: Float32
    feed_in: Linear
    feed_out: Linear


@dataclass(frozen=True, slots=True, eq=False)
class DecoderLayer:
    """One layer of the decoder."""

    self_norm: Float32
    self_attention: Attention
    cross_norm: Float32
    cross_attention: Attention
    feed_norm: Float32
    feed_in: Linear
    """Gives the values, then as many gates."""
    feed_out: Linear


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution over time."""

    weight: Float32
    """float32, shape (outputs, inputs, width)."""
    bias: Float32 | None
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """What makes states out of samples."""

    first: Convolution
    group_scale: Float32
    """float32, shape (width,); of the normalisation over all channels and the whole window."""
    group_shift: Float32
    second: Convolution
    third: Convolution
    layers: tuple[EncoderLayer, ...]
    norm: Float32
    inverse_frequencies: Float32
    """float32, shape (16,): radians by which a position turns each pair of values."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """What makes tokens out of states."""

    embedding: Linear
    """Rows are tokens: weight has shape (vocabulary, width)."""
    layers: tuple[DecoderLayer, ...]
    norm: Float32
    vocabulary: Linear
    inverse_frequencies: Float32


def read_encoder(path: Path) -> Encoder:
    """The encoder in ``encoder_model.ort``."""
    graph = read_ort(path)
    return Encoder(
        first=_convolution(graph, 1, stride=64),
        group_scale=_of_width(graph.constant(_operand(graph, "/groupnorm/Mul"))),
        group_shift=_of_width(graph.constant(_operand(graph, "/groupnorm/Add"))),
        second=_convolution(graph, 2, stride=3),
        third=_convolution(graph, 3, stride=2),
        layers=tuple(_encoder_layer(graph, f"/layers.{at}") for at in range(LAYERS)),
        norm=_norm(graph, "SkipLayerNormalization"),
        inverse_frequencies=_frequencies(graph, "/rotary_emb"),
    )


def read_decoder(path: Path) -> Decoder:
    """The decoder in ``decoder_model_merged.ort``."""
    graph = read_ort(path)
    root = "/model/decoder"
    table = graph.node(f"{root}/embed_tokens/Gather").inputs[0].removesuffix("_quantized")
    return Decoder(
        embedding=_quantised(graph, table, None),
        layers=tuple(_decoder_layer(graph, f"{root}/layers.{at}") for at in range(LAYERS)),
        norm=_norm(graph, f"{root}/norm/LayerNormalization"),
        vocabulary=_linear(graph, "/proj_out"),
        inverse_frequencies=_frequencies(graph, f"{root}/rotary_emb"),
    )


def _encoder_layer(graph: OrtGraph, root: str) -> EncoderLayer:
    return EncoderLayer(
        attention_norm=_norm(graph, f"{root}/input_layernorm/LayerNormalization"),
        attention=_attention(graph, f"{root}/self_attn"),
        feed_norm=_norm(graph, f"{root}/post_attention_layernorm/LayerNormalization"),
        feed_in=_linear(graph, f"{root}/mlp/fc1"),
        feed_out=_linear(graph, f"{root}/mlp/fc2"),
    )


def _decoder_layer(graph: OrtGraph, root: str) -> DecoderLayer:
    return DecoderLayer(
        self_norm=_norm(graph, f"{root}/input_layernorm/LayerNormalization"),
        self_attention=_attention(graph, f"{root}/self_attn"),
        cross_norm=_norm(graph, f"{root}/post_attention_layernorm/LayerNormalization"),
        cross_attention=_attention(graph, f"{root}/encoder_attn"),
        feed_norm=_norm(graph, f"{root}/final_layernorm/LayerNormalization"),
        feed_in=_linear(graph, f"{root}/mlp/fc1"),
        feed_out=_linear(graph, f"{root}/mlp/fc2"),
    )


def _attention(graph: OrtGraph, root: str) -> Attention:
    return Attention(*(_linear(graph, f"{root}/{part}_proj") for part in ("q", "k", "v", "o")))


def _linear(graph: OrtGraph, root: str) -> Linear:
    """The product that the operator ``<root>/MatMul_quant`` computes, in either of two forms."""
    node = graph.node(f"{root}/MatMul_quant")
    # github.com/microsoft/onnxruntime docs/ContribOperators.md: the bias is the last input of both operators.
    last = {"DynamicQuantizeMatMul": 4, "MatMulIntegerToFloat": 6}.get(node.op_type)
    if last is None:
        raise ModelCorrupt(f"{graph.label} computes {root} with {node.op_type}, which is not known here")
    bias = node.inputs[last] if len(node.inputs) > last else ""
    return _quantised(graph, node.inputs[1].removesuffix("_quantized"), graph.constant(bias) if bias else None)


def _quantised(graph: OrtGraph, name: str, bias: Float32 | None) -> Linear:
    """The weights of that name; the published graphs have one scale for each matrix, ours one for each column."""
    weight = graph.constant(f"{name}_quantized")
    outputs = weight.shape[1]
    return Linear(
        weight=weight,
        scale=np.full(outputs, graph.constant(f"{name}_scale"), np.float32),
        zero_point=np.full(outputs, graph.constant(f"{name}_zero_point"), np.uint8),
        bias=bias,
    )


def _norm(graph: OrtGraph, name: str) -> Float32:
    """The scale of the layer normalisation of that name, whose shift has to be nothing."""
    *_, scale, shift = graph.node(name).inputs
    if graph.constant(shift).any():
        raise ModelCorrupt(f"{graph.label} shifts in {name}, which is not expected")
    return _of_width(graph.constant(scale))


def _convolution(graph: OrtGraph, number: int, stride: int) -> Convolution:
    inputs = graph.node(f"/conv{number}/Conv").inputs
    bias = graph.constant(inputs[2]) if len(inputs) > 2 and inputs[2] else None
    return Convolution(graph.constant(inputs[1]), bias, stride)


def _frequencies(graph: OrtGraph, root: str) -> Float32:
    frequencies = graph.constant(graph.node(f"{root}/Expand").inputs[0])
    if frequencies.size != ROTARY_WIDTH // 2:
        raise ModelCorrupt(f"{graph.label} turns {2 * frequencies.size} values of each head, not {ROTARY_WIDTH}")
    return frequencies.reshape(-1)


def _operand(graph: OrtGraph, name: str) -> str:
    """The constant that an operator of two inputs takes."""
    (constant,) = (given for given in graph.node(name).inputs if given in graph.constants)
    return constant


def _of_width(values: Float32) -> Float32:
    if values.size != WIDTH:
        raise ModelCorrupt(f"Expected {WIDTH} values of a normalisation, but found {values.size}")
    return values.reshape(-1)
