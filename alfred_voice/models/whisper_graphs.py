"""Whisper as two graphs of our own: the same weights, without a branch, with nothing computed twice.

They are written operator by operator, as what the library's own modules come to when they are exported
carries assertions on the length of the audio, keeps the cache in hooks and computes logits nobody asked for.

Encoder: one clip or several of the same length.
    mel: float32, shape (rows, mels, frames): 100 frames a second, an even number of them.
    key_0, value_0 ...: float32, shape (rows, heads, frames / 2, head width): what each layer of the decoder looks at.
    states: float32, shape (rows, frames / 2, width): what those are made of.

Decoder: any number of rows, each at its own place in its text.
    tokens, positions: int64, shape (rows, fresh): what is read now, and where it belongs.
    places: int64, shape (rows, fresh, 2): row and position, where its keys and values are put.
    bias: float32, shape (rows, 1, fresh, capacity): 0 for what a token may look at, else far below it.
    mask: int32, shape (rows, padded): 1 for real states.
    wanted: int64, shape (wanted,): behind which of all rows' tokens the next one is to be told.
    past_key_0, past_value_0 ...: float32, shape (rows, capacity, width): what has been read; with what is new,
        they come back as present_key_0 ...
    key_0, value_0 ...: what the encoder says.
    logits: float32, shape (wanted, vocabulary).
    fit: float32, shape (rows, alignment heads, fresh, padded): how well each token's question fits each state in
        the heads that follow the speaker; before the softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alfred_voice.models.whisper_checkpoint import Checkpoint
from alfred_voice.models.whisper_layers import (
    FLOAT,
    FLOAT16,
    Float32,
    Heads,
    Layers,
    Linear,
    Precision,
    Weights,
    quantised,
)


Head = tuple[int, int]
"""Layer and number of one head of the decoder's cross-attention."""


def write_encoder(checkpoint: Checkpoint, path: Path, precision: Precision) -> None:
    """Write the encoder, with the decoder's products that need to be computed once for a clip."""
    sizes = checkpoint.dimensions
    layers = Layers(precision)
    graph = layers.graph
    mel = graph.input("mel", np.float32, ("rows", sizes.n_mels, "frames"))
    x = _convolved(layers, checkpoint, _narrowed(layers, mel))
    blocks = [Weights(checkpoint, f"encoder.blocks.{number}.") for number in range(sizes.n_audio_layer)]
    norms = [block.norm("attn_ln") for block in blocks[1:]] + [Weights(checkpoint, "encoder.").norm("ln_post")]
    width = sizes.n_audio_state
    normal = layers.norm(x, blocks[0].norm("attn_ln"))
    for block, next_norm in zip(blocks, norms, strict=True):
        both = layers.product(normal, block.beside("attn.query", "attn.key", "attn.value"))
        query, key, value = layers.split(both, width, width, width)
        seen = layers.attend(query, key, value, Heads(sizes.n_audio_head, width // sizes.n_audio_head))
        out = block.linear("attn.out")
        x, normal = layers.add_and_norm(x, layers.product(seen, out, with_bias=False), out.bias, block.norm("mlp_ln"))
        fed, bias = layers.feed_forward(normal, block)
        x, normal = layers.add_and_norm(x, fed, bias, next_norm)
    _put_cross(layers, checkpoint, normal)
    graph.output(_widened(layers, normal), "states", np.float32, ("rows", "states", width))
    graph.write(path)


def write_decoder(checkpoint: Checkpoint, path: Path, precision: Precision, heads: Sequence[Head]) -> None:
    """Write the decoder; ``heads`` are those that follow the speaker."""
    sizes = checkpoint.dimensions
    layers = Layers(precision)
    graph = layers.graph
    sources = _Sources(layers, checkpoint, heads)
    wanted = graph.input("wanted", np.int64, ("wanted",))
    x = _embedded(layers, checkpoint, precision, sources)
    blocks = [Weights(checkpoint, f"decoder.blocks.{number}.") for number in range(sizes.n_text_layer)]
    norms = [block.norm("attn_ln") for block in blocks[1:]] + [Weights(checkpoint, "decoder.").norm("ln")]
    state = x, layers.norm(x, blocks[0].norm("attn_ln"))
    for number, (block, next_norm) in enumerate(zip(blocks, norms, strict=True)):
        state = sources.layer(number, block, state, next_norm)
    flat = graph.add("Reshape", state[1], graph.constant([-1, sizes.n_text_state], np.int64))
    head = Linear(checkpoint["decoder.token_embedding.weight"].T, None)
    logits = layers.product(graph.add("Gather", flat, wanted), head)
    graph.output(_widened(layers, logits), "logits", np.float32, ("wanted", sizes.n_vocab))
    fit = graph.add("Concat", *sources.fits, axis=1)
    graph.output(_widened(layers, fit), "fit", np.float32, ("rows", len(heads), "fresh", "padded"))
    graph.write(path)


class _Sources:
    """What every layer of the decoder is given, and the layers themselves."""

    def __init__(self, layers: Layers, checkpoint: Checkpoint, heads: Sequence[Head]) -> None:
        graph = layers.graph
        self._layers = layers
        self._sizes = sizes = checkpoint.dimensions
        self._apart = Heads(sizes.n_text_head, sizes.n_text_state // sizes.n_text_head)
        self._heads = heads
        self.fits: list[str] = []
        self.tokens = graph.input("tokens", np.int64, ("rows", "fresh"))
        self.positions = graph.input("positions", np.int64, ("rows", "fresh"))
        self._places = graph.input("places", np.int64, ("rows", "fresh", 2))
        self._bias = _narrowed(layers, graph.input("bias", np.float32, ("rows", 1, "fresh", "capacity")))
        self._mask = graph.input("mask", np.int32, ("rows", "padded"))

    def layer(
        self, number: int, block: Weights, state: tuple[str, str], next_norm: tuple[Float32, Float32]
    ) -> tuple[str, str]:
        """One layer on ``state``, which is what the layers before have come to, plain and normalised."""
        layers = self._layers
        x, normal = state
        x, normal = layers.add_and_norm(x, *self._read(number, block, normal), block.norm("cross_attn_ln"))
        x, normal = layers.add_and_norm(x, *self._hear(number, block, normal), block.norm("mlp_ln"))
        return layers.add_and_norm(x, *layers.feed_forward(normal, block), next_norm)

    def _read(self, number: int, block: Weights, normal: str) -> tuple[str, Float32 | None]:
        """What the text so far says to each token."""
        layers, sizes = self._layers, self._sizes
        graph, width = layers.graph, sizes.n_text_state
        axes = ("rows", "capacity", width)
        past_key = graph.input(f"past_key_{number}", np.float32, axes)
        past_value = graph.input(f"past_value_{number}", np.float32, axes)
        both = layers.product(normal, block.beside("attn.query", "attn.key", "attn.value"))
        query, key, value = layers.split(both, width, width, width)
        # Put in their places before anybody looks: then it makes no difference in how many calls a text is read.
        keys = graph.add("ScatterND", past_key, self._places, _widened(layers, key))
        values = graph.add("ScatterND", past_value, self._places, _widened(layers, value))
        graph.output(keys, f"present_key_{number}", np.float32, axes)
        graph.output(values, f"present_value_{number}", np.float32, axes)
        read = layers.attend(query, _narrowed(layers, keys), _narrowed(layers, values), self._apart, bias=self._bias)
        out = block.linear("attn.out")
        return layers.product(read, out, with_bias=False), out.bias

    def _hear(self, number: int, block: Weights, normal: str) -> tuple[str, Float32 | None]:
        """What the audio says to each token."""
        layers, sizes = self._layers, self._sizes
        axes = ("rows", sizes.n_text_head, "padded", sizes.n_text_state // sizes.n_text_head)
        cross = [layers.graph.input(f"{part}_{number}", np.float32, axes) for part in ("key", "value")]
        key, value = (_narrowed(layers, one) for one in cross)
        query = layers.product(normal, block.linear("cross_attn.query"))
        chosen = [head for layer, head in self._heads if layer == number]
        if chosen:
            self.fits.append(self._fit(query, key, chosen))
        heard = layers.attend(query, key, value, self._apart, mask=self._mask, is_apart=True)
        out = block.linear("cross_attn.out")
        return layers.product(heard, out, with_bias=False), out.bias

    def _fit(self, query: str, key: str, chosen: Sequence[int]) -> str:
        """How well the questions fit what they look at, in some of the heads."""
        graph = self._layers.graph
        places = graph.constant(chosen, np.int64)
        asked = graph.add("Gather", self._layers.apart(query, self._apart), places, axis=1)
        looked_at = graph.add("Transpose", graph.add("Gather", key, places, axis=1), perm=[0, 1, 3, 2])
        scale = self._layers.constant(np.array(self._apart.width**-0.5, np.float32))
        return graph.add("Mul", graph.add("MatMul", asked, looked_at), scale)


def _convolved(layers: Layers, checkpoint: Checkpoint, mel: str) -> str:
    """The two convolutions, and where each state is in time."""
    graph, sizes = layers.graph, checkpoint.dimensions
    x = mel
    for number, stride in ((1, 1), (2, 2)):
        weights = [layers.constant(checkpoint[f"encoder.conv{number}.{part}"]) for part in ("weight", "bias")]
        folded = graph.add("Conv", x, *weights, kernel_shape=[3], pads=[1, 1], strides=[stride])
        x = graph.add("Gelu", folded)
    x = graph.add("Transpose", x, perm=[0, 2, 1])
    table = layers.constant(checkpoint["encoder.positional_embedding"][: sizes.n_audio_ctx])
    count = graph.add("Shape", x, start=1, end=2)
    zero = graph.constant([0], np.int64)
    return graph.add("Add", x, graph.add("Slice", table, zero, count, zero))


def _put_cross(layers: Layers, checkpoint: Checkpoint, states: str) -> None:
    """The keys and values that the decoder's layers make of the states, as outputs."""
    graph, sizes = layers.graph, checkpoint.dimensions
    heads = Heads(sizes.n_text_head, sizes.n_text_state // sizes.n_text_head)
    for number in range(sizes.n_text_layer):
        block = Weights(checkpoint, f"decoder.blocks.{number}.cross_attn.")
        for part in ("key", "value"):
            apart = _widened(layers, layers.apart(layers.product(states, block.linear(part)), heads))
            graph.output(apart, f"{part}_{number}", np.float32, ("rows", heads.count, "states", heads.width))


def _embedded(layers: Layers, checkpoint: Checkpoint, precision: Precision, sources: _Sources) -> str:
    """What the tokens mean, and where they stand."""
    graph = layers.graph
    table = checkpoint["decoder.token_embedding.weight"]
    if precision is Precision.INT8:
        steps, scale = quantised(table.T)
        whole = graph.add("Gather", graph.constant(steps.T, np.int8), sources.tokens)
        worth = graph.add(
            "Unsqueeze", graph.add("Gather", graph.constant(scale), sources.tokens), graph.constant([-1], np.int64)
        )
        meant = graph.add("Mul", graph.add("Cast", whole, to=FLOAT), worth)
    else:
        meant = graph.add("Gather", layers.constant(table), sources.tokens)
    stand = graph.add("Gather", layers.constant(checkpoint["decoder.positional_embedding"]), sources.positions)
    return graph.add("Add", meant, stand)


def _narrowed(layers: Layers, value: str) -> str:
    """float32 in the precision of the activations."""
    return layers.graph.add("Cast", value, to=FLOAT16) if layers.dtype is np.float16 else value


def _widened(layers: Layers, value: str) -> str:
    """What is in the precision of the activations, in float32."""
    return layers.graph.add("Cast", value, to=FLOAT) if layers.dtype is np.float16 else value
