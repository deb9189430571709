"""Silero's network as lean graphs: equal to the stock graph, in a third of its time or less.

One is for a window of each of many sessions:

    heard: float32, shape (rows, 576): context and window, 16 kHz, [-1, 1).
    output, cell: float32, shape (rows, 128): the LSTM's, from the window before; come back as new_output, new_cell.
    probability: float32, shape (rows,): of speech.

The other is for many windows of one recording, one after the other. There is then one output and one cell, shape
(1, 1, 128): from before the first row, and after the last.

The stock graph is run by ONNX Runtime in forty small steps, most of which do not gain by a batch. All of them are
products with constant matrices and a few functions of single numbers, so here each is one product for all rows:

- The spectrum: windowed cosines and sines of 256 samples, four times per window. Cosines are symmetric about the
  middle of the frame and sines antisymmetric, so the frame is folded first and the products halve.
- Four convolutions over the four positions in time, one product for each position that comes out. What they multiply
  at their borders is padding, so those parts of the matrices are left out.
- The LSTM cell: input and output of the window before side by side, all four gates in one product. Over one recording
  it is ONNX's own operator, which goes from row to row by itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alfred_voice.models.engine import Float32
from alfred_voice.models.onnx_constants import float_constants
from alfred_voice.models.onnx_writer import GraphWriter
from alfred_voice.models.silero_weights import FRAME, FRAMES, HEARD_SAMPLES, HIDDEN, HOP, SileroWeights


_HALF = FRAME // 2
_REFLECTED = 64
"""So many samples at the end are heard once more, backwards, so that four frames fit."""
_STRIDES = (1, 2, 2, 1)
"""Of the convolutions."""
_TO_THE_FIRST = np.iinfo(np.int64).min
"""The end of a slice that runs backwards and takes the first one, too."""


def write_lean_graphs(source: Path, sessions: Path, recording: Path) -> None:
    """Write both graphs with the weights of the stock one.

    Args:
        source: the stock graph.
        sessions: where that for one window of many sessions comes to lie.
        recording: where that for many windows of one recording does.

    Raises:
        ModelMissing: there is no file ``source``.
        ModelCorrupt: it is not the stock graph.
    """
    weights = SileroWeights.of(float_constants(source))
    write_graph(weights, sessions)
    write_recording_graph(weights, recording)


def write_graph(weights: SileroWeights, path: Path) -> None:
    """Write the graph for one window of many sessions with these weights."""
    graph = GraphWriter()
    heard = graph.input("heard", np.float32, ("rows", HEARD_SAMPLES))
    output = graph.input("output", np.float32, ("rows", HIDDEN))
    cell = graph.input("cell", np.float32, ("rows", HIDDEN))
    output, cell = _lstm_cell(graph, weights, _features(graph, weights, heard), output, cell)
    graph.output(_probability(graph, weights, output), "probability", np.float32, ("rows",))
    graph.output(output, "new_output", np.float32, ("rows", HIDDEN))
    graph.output(cell, "new_cell", np.float32, ("rows", HIDDEN))
    graph.write(path)


def write_recording_graph(weights: SileroWeights, path: Path) -> None:
    """Write the graph for many windows of one recording with these weights."""
    graph = GraphWriter()
    heard = graph.input("heard", np.float32, ("rows", HEARD_SAMPLES))
    output = graph.input("output", np.float32, (1, 1, HIDDEN))
    cell = graph.input("cell", np.float32, (1, 1, HIDDEN))
    outputs, output, cell = _lstm(graph, weights, _features(graph, weights, heard), output, cell)
    graph.output(_probability(graph, weights, outputs), "probability", np.float32, ("rows",))
    graph.output(output, "new_output", np.float32, (1, 1, HIDDEN))
    graph.output(cell, "new_cell", np.float32, (1, 1, HIDDEN))
    graph.write(path)


def _features(graph: GraphWriter, weights: SileroWeights, heard: str) -> str:
    """What each window says by itself, shape (rows, 128)."""
    values, positions = _spectrum(graph, weights, heard), FRAMES
    for kernel, bias, stride in zip(weights.kernels, weights.biases, _STRIDES, strict=True):
        values, positions = _convolution(graph, values, positions, kernel, bias, stride)
    return values


def _probability(graph: GraphWriter, weights: SileroWeights, output: str) -> str:
    """Of speech, from the LSTM's output, shape (rows,)."""
    score = graph.add(
        "Gemm",
        graph.add("Relu", output),
        graph.constant(weights.out.reshape(HIDDEN, 1)),
        graph.constant(np.array([weights.out_bias])),
    )
    return graph.add("Reshape", graph.add("Sigmoid", score), graph.constant([-1], np.int64))


def _slice(graph: GraphWriter, value: str, start: int, end: int, step: int = 1, axis: int = 1) -> str:
    bounds = [graph.constant([bound], np.int64) for bound in (start, end, axis, step)]
    return graph.add("Slice", value, *bounds)


def _spectrum(graph: GraphWriter, weights: SileroWeights, heard: str) -> str:
    """Magnitudes, shape (rows, 4 * 129)."""
    last = HEARD_SAMPLES - 2
    padded = graph.add("Concat", heard, _slice(graph, heard, last, last - _REFLECTED, -1), axis=1)
    frames = graph.constant([-1, FRAMES, _HALF], np.int64)
    span = FRAMES * HOP
    # Samples 1 to 128 of each frame, and 255 down to 128.
    rising = graph.add("Reshape", _slice(graph, padded, 1, 1 + span), frames)
    later = graph.add("Reshape", _slice(graph, padded, _HALF, _HALF + span), frames)
    falling = _slice(graph, later, -1, _TO_THE_FIRST, -1, axis=2)
    real = graph.add("MatMul", graph.add("Add", rising, falling), graph.constant(weights.cosines))
    imaginary = graph.add("MatMul", graph.add("Sub", rising, falling), graph.constant(weights.sines))
    power = graph.add("Add", graph.add("Mul", real, real), graph.add("Mul", imaginary, imaginary))
    return graph.add("Reshape", graph.add("Sqrt", power), graph.constant([0, -1], np.int64))


def _convolution(
    graph: GraphWriter, values: str, positions: int, kernel: Float32, bias: Float32, stride: int
) -> tuple[str, int]:
    """A convolution of width 3 and its rectifier; the new values, position by position, and how many those are."""
    channels = len(kernel) // 3
    outputs = []
    for first in range(-1, positions - 1, stride):
        start, end = max(0, first), min(positions, first + 3)
        part = values if end - start == positions else _slice(graph, values, start * channels, end * channels)
        used = kernel[(start - first) * channels : (end - first) * channels]
        product = graph.add("Gemm", part, graph.constant(used), graph.constant(bias))
        outputs.append(graph.add("Relu", product))
    return outputs[0] if len(outputs) == 1 else graph.add("Concat", *outputs, axis=1), len(outputs)


def _lstm_cell(graph: GraphWriter, weights: SileroWeights, values: str, output: str, cell: str) -> tuple[str, str]:
    """The new output and cell."""
    both = graph.add("Concat", values, output, axis=1)
    gates = graph.add("Gemm", both, graph.constant(weights.gates), graph.constant(weights.gate_bias))
    entry, forget, candidate, leave = graph.add_many("Split", gates, results=4, axis=1, num_outputs=4)
    kept = graph.add("Mul", graph.add("Sigmoid", forget), cell)
    added = graph.add("Mul", graph.add("Sigmoid", entry), graph.add("Tanh", candidate))
    new_cell = graph.add("Add", kept, added)
    new_output = graph.add("Mul", graph.add("Sigmoid", leave), graph.add("Tanh", new_cell))
    return new_output, new_cell


def _lstm(graph: GraphWriter, weights: SileroWeights, values: str, output: str, cell: str) -> tuple[str, str, str]:
    """The output behind each row, shape (rows, 128), and the output and cell behind the last."""
    # One row of an LSTM's batch; the gates in the operator's order; its bias has a second half for the output's part.
    rows = graph.add("Unsqueeze", values, graph.constant([1], np.int64))
    entry, forget, candidate, leave = np.split(np.arange(4 * HIDDEN), 4)
    order = np.concatenate([entry, leave, forget, candidate])
    entering, recurring = weights.gates[:HIDDEN, order].T, weights.gates[HIDDEN:, order].T
    bias = np.concatenate([weights.gate_bias[order], np.zeros(4 * HIDDEN, np.float32)])
    constants = [graph.constant(value[np.newaxis]) for value in (entering, recurring, bias)]
    outputs, output, cell = graph.add_many("LSTM", rows, *constants, "", output, cell, results=3, hidden_size=HIDDEN)
    return graph.add("Reshape", outputs, graph.constant([-1, HIDDEN], np.int64)), output, cell
