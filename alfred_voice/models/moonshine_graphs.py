"""Moonshine's graphs, written anew: few operators, rows of different lengths in one call, logits only where asked.

Encoder: one clip, alone and unpadded, because it normalises over its whole window. It can go on where it was
with the same clip when that was shorter; whoever wants it whole gives it all samples and nothing else.
    samples: float32, shape (1, 1, samples), 16 kHz, [-1, 1): those not given before, from the first that the next
        step of the first convolution needs.
    sums: float64, shape (3,): number, sum and sum of squares of what the first convolution has answered; come back
        as new_sums.
    bent: float32, shape (1, width, steps): its last steps, which the second convolution still needs; come back with
        the new ones as all_bent.
    folded: float32, shape (1, 2 * width, steps): steps of the second convolution, before the normalisation, from the
        first that the third is to look at; come back with the new ones as all_folded.
    first: int64, shape (1,): the first state that is to be made, anew or for the first time.
    past_key_0, past_value_0 ...: float32, shape (1, first, width): of the states before it, for each layer; come
        back with the new ones as present_key_0 ...
    key_0, value_0 ...: float32, shape (1, heads, states, head width): of the new states, for each layer of the decoder.
    states: float32, shape (1, states, width): what those are made of.

Decoder: any number of rows, each at its own place in its text.
    tokens, positions: int64, shape (rows, fresh): what is read now, and where it belongs.
    places: int64, shape (rows, fresh, 2): row and position, where its keys and values are put.
    bias: float32, shape (rows, 1, fresh, capacity): 0 for what a token may look at, else far below it.
    mask: int32, shape (rows, padded): 1 for real states.
    wanted: int64, shape (wanted,): behind which of all rows' tokens the next one is to be told.
    past_key_0, past_value_0 ...: float32, shape (rows, capacity, width): what has been read; with what is new,
        they come back as present_key_0 ...
    key_0, value_0 ...: what the encoder says.
    best: int64, shape (wanted,): the most probable token.
    log_probability: float32, shape (wanted,): its own; natural logarithm.
    logits: float32, shape (wanted, vocabulary).
    query_3 ...: float32, shape (rows, fresh, width): what the layers that follow the speech look for, for each
        token. They are there anyway and cost nothing; what they find is computed only by whoever wants to know it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alfred_voice.models.moonshine_front import write_front
from alfred_voice.models.moonshine_layers import FLOAT, Arithmetic, Layers
from alfred_voice.models.moonshine_weights import (
    HEAD_WIDTH,
    HEADS,
    WIDTH,
    Decoder,
    DecoderLayer,
    Encoder,
    Float32,
    read_decoder,
    read_encoder,
)
from alfred_voice.models.onnx_writer import MICROSOFT, GraphWriter


MAX_POSITIONS = 2048
"""Tokens that a text may have: five minutes of the quickest speech."""

FOLLOWING = {3: (0, 6, 7), 5: (1, 2, 6)}
"""Layers of the decoder, and their heads that follow the speech: what they look at tells where a word is.

Chosen of all 48 by how near it came to times that are found without a recogniser (bench/alignment.py, by six voices):
in 21 recordings of 101 s, at the 274 starts and ends that the voices agree on, it is 21 ms away in the median and 36 ms
in the mean. The best head alone is 30 and 46 ms away, all heads together 30 and 47 ms. In a minute of a meeting, which
had no part in the choice, cut every 6 s in mid-word, these are 27 ms away in the median.
"""

_CACHE_AXES = ("rows", "capacity", WIDTH)


def write_lean_graphs(source: Path, target: Path) -> None:
    """Rebuild the published graphs in ``source`` as ``encoder.lean.onnx`` and ``decoder.lean.onnx`` in ``target``."""
    encoder = read_encoder(source / "encoder_model.ort")
    decoder = read_decoder(source / "decoder_model_merged.ort")
    write_encoder(encoder, decoder, target / "encoder.lean.onnx")
    write_decoder(decoder, target / "decoder.lean.onnx")


def write_encoder(encoder: Encoder, decoder: Decoder, path: Path, arithmetic: Arithmetic = Arithmetic.TENSOR) -> None:
    """Write the encoder, with the decoder's products that need to be computed once for a clip."""
    layers = Layers(arithmetic)
    graph = layers.graph
    x = write_front(graph, encoder)
    first = graph.input("first", np.int64, (1,))
    cosines, sines = _turns(graph, encoder, x, first)
    after = [layer.attention_norm for layer in encoder.layers[1:]] + [encoder.norm]
    normal = layers.norm(x, encoder.layers[0].attention_norm)
    for number, (layer, next_norm) in enumerate(zip(encoder.layers, after, strict=True)):
        weights = layer.attention
        both, value = layers.split(layers.product(normal, weights.query, weights.key, weights.value), 2 * WIDTH, WIDTH)
        both = layers.turn(both, graph.constant([0], np.int64), cosines, sines)
        query, key = layers.split(both, WIDTH, WIDTH)
        key, value = _behind(graph, f"key_{number}", key), _behind(graph, f"value_{number}", value)
        seen = layers.product(layers.attend(query, key, value), weights.output)
        x, normal = layers.add_and_norm(x, seen, layer.feed_norm)
        fed = graph.add("Gelu", layers.product(normal, layer.feed_in), domain=MICROSOFT)
        x, normal = layers.add_and_norm(x, layers.product(fed, layer.feed_out), next_norm)
    _put_cross(layers, decoder, normal)
    graph.output(normal, "states", np.float32, (1, "states", WIDTH))
    graph.write(path)


def write_decoder(decoder: Decoder, path: Path, arithmetic: Arithmetic = Arithmetic.ROW) -> None:
    """Write the decoder."""
    layers = Layers(arithmetic)
    graph = layers.graph
    tokens = graph.input("tokens", np.int64, ("rows", "fresh"))
    sources = _Sources(graph, decoder.inverse_frequencies)
    wanted = graph.input("wanted", np.int64, ("wanted",))
    table = decoder.embedding
    x = graph.add("Gather", graph.constant(table.weight, np.uint8), tokens)
    zero_point = graph.constant(table.zero_point[0], np.uint8)
    x = graph.add("DequantizeLinear", x, graph.constant(table.scale[0]), zero_point)
    after = [layer.self_norm for layer in decoder.layers[1:]] + [decoder.norm]
    normal = layers.norm(x, decoder.layers[0].self_norm)
    for number, (layer, next_norm) in enumerate(zip(decoder.layers, after, strict=True)):
        x, normal = _decoder_layer(layers, layer, sources, number, (x, normal), next_norm)
    flat = graph.add("Reshape", normal, graph.constant([-1, WIDTH], np.int64))
    logits = layers.product(graph.add("Gather", flat, wanted), decoder.vocabulary)
    chances = graph.add("LogSoftmax", logits, axis=-1)
    best = graph.add("ArgMax", logits, axis=-1, keepdims=0)
    sure = graph.add("ReduceMax", chances, graph.constant([-1], np.int64), keepdims=0)
    graph.output(best, "best", np.int64, ("wanted",))
    graph.output(sure, "log_probability", np.float32, ("wanted",))
    graph.output(logits, "logits", np.float32, ("wanted", decoder.vocabulary.weight.shape[1]))
    graph.write(path)


class _Sources:
    """What every layer of the decoder is given."""

    def __init__(self, graph: GraphWriter, inverse_frequencies: Float32) -> None:
        angles = np.arange(MAX_POSITIONS, dtype=np.float32)[:, np.newaxis] * inverse_frequencies
        self.positions = graph.input("positions", np.int64, ("rows", "fresh"))
        self.places = graph.input("places", np.int64, ("rows", "fresh", 2))
        self.bias = graph.input("bias", np.float32, ("rows", 1, "fresh", "capacity"))
        self.mask = graph.input("mask", np.int32, ("rows", "padded"))
        self.cosines = graph.constant(np.cos(angles))
        self.sines = graph.constant(np.sin(angles))


def _decoder_layer(
    layers: Layers, layer: DecoderLayer, sources: _Sources, number: int, state: tuple[str, str], next_norm: Float32
) -> tuple[str, str]:
    """One layer on ``state``, which is what the layers before have come to, plain and normalised."""
    graph = layers.graph
    x, normal = state
    past_key = graph.input(f"past_key_{number}", np.float32, _CACHE_AXES)
    past_value = graph.input(f"past_value_{number}", np.float32, _CACHE_AXES)
    cross = [
        graph.input(f"{part}_{number}", np.float32, ("rows", HEADS, "padded", HEAD_WIDTH)) for part in ("key", "value")
    ]
    weights = layer.self_attention
    both, value = layers.split(layers.product(normal, weights.query, weights.key, weights.value), 2 * WIDTH, WIDTH)
    query, key = layers.split(layers.turn(both, sources.positions, sources.cosines, sources.sines), WIDTH, WIDTH)
    # Put in their places before anybody looks: then it makes no difference in how many calls a text is read.
    keys = graph.add("ScatterND", past_key, sources.places, key)
    values = graph.add("ScatterND", past_value, sources.places, value)
    read = layers.attend(query, keys, values, bias=sources.bias)
    graph.output(keys, f"present_key_{number}", np.float32, _CACHE_AXES)
    graph.output(values, f"present_value_{number}", np.float32, _CACHE_AXES)
    x, normal = layers.add_and_norm(x, layers.product(read, weights.output), layer.cross_norm)
    weights = layer.cross_attention
    query = layers.product(normal, weights.query)
    if number in FOLLOWING:
        graph.output(query, f"query_{number}", np.float32, ("rows", "fresh", WIDTH))
    heard = layers.attend(query, *cross, mask=sources.mask)
    x, normal = layers.add_and_norm(x, layers.product(heard, weights.output), layer.feed_norm)
    plain, gate = layers.split(layers.product(normal, layer.feed_in), 4 * WIDTH, 4 * WIDTH)
    # With alpha 1 it is the function SiLU.
    fed = graph.add("Mul", graph.add("QuickGelu", gate, domain=MICROSOFT, alpha=1.0), plain)
    return layers.add_and_norm(x, layers.product(fed, layer.feed_out), next_norm)


def _behind(graph: GraphWriter, name: str, values: str) -> str:
    """Keys or values of the states before these, and of these."""
    past = graph.input(f"past_{name}", np.float32, (1, "first", WIDTH))
    present = graph.add("Concat", past, values, axis=1)
    graph.output(present, f"present_{name}", np.float32, (1, "all", WIDTH))
    return present


def _turns(graph: GraphWriter, encoder: Encoder, x: str, first: str) -> tuple[str, str]:
    """Cosines and sines of the turns of all states of ``x``, however many there are."""
    count = graph.add("Shape", x, start=1, end=2)
    start, end = graph.add("Squeeze", first), graph.add("Squeeze", graph.add("Add", first, count))
    places = graph.add("Range", start, end, graph.constant(1, np.int64))
    column = graph.add("Unsqueeze", graph.add("Cast", places, to=FLOAT), graph.constant([1], np.int64))
    angles = graph.add("Mul", column, graph.constant(encoder.inverse_frequencies))
    return graph.add("Cos", angles), graph.add("Sin", angles)


def _put_cross(layers: Layers, decoder: Decoder, states: str) -> None:
    """The keys and values that the decoder's layers make of the states, as outputs."""
    graph = layers.graph
    parts = [part for layer in decoder.layers for part in (layer.cross_attention.key, layer.cross_attention.value)]
    heads = graph.constant([1, -1, HEADS * len(parts), HEAD_WIDTH], np.int64)
    together = graph.add("Transpose", graph.add("Reshape", layers.product(states, *parts), heads), perm=[0, 2, 1, 3])
    for at, values in enumerate(layers.split(together, *[HEADS] * len(parts), axis=1)):
        graph.output(values, f"{('key', 'value')[at % 2]}_{at // 2}", np.float32, (1, HEADS, "states", HEAD_WIDTH))
