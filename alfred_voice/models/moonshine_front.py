"""The convolutions in front of Moonshine's encoder, so written that they can go on where they were.

Between the first and the second convolution everything is normalised by its mean and deviation over all
channels and the whole window, so each new sample changes all there is. But that is the same affine map
for every value; so what the second convolution makes of a window without it needs to be computed only once,
and the map is put to its result.
"""

from __future__ import annotations

import numpy as np

from alfred_voice.models.moonshine_layers import DOUBLE, EPSILON, FLOAT
from alfred_voice.models.moonshine_weights import WIDTH, Convolution, Encoder
from alfred_voice.models.onnx_writer import MICROSOFT, GraphWriter


def write_front(graph: GraphWriter, encoder: Encoder) -> str:
    """Add the three convolutions, with their inputs and outputs; returns shape (1, states, width)."""
    samples = graph.input("samples", np.float32, (1, 1, "samples"))
    bent = graph.add("Tanh", _convolve(graph, samples, encoder.first))
    mean, spread = _statistics(graph, bent)
    bent = _behind(graph, "bent", bent, WIDTH)
    second = encoder.second
    weight = second.weight * encoder.group_scale[:, np.newaxis]
    folded = _convolve(graph, bent, Convolution(weight, None, second.stride))
    folded = _behind(graph, "folded", folded, 2 * WIDTH)
    # (x - mean) / spread * scale + shift, put behind the convolution instead of before it
    constant = np.einsum("oiw,i->o", second.weight, encoder.group_shift)
    if second.bias is not None:
        constant = constant + second.bias
    drawn = graph.add("Mul", mean, graph.constant(weight.sum(axis=(1, 2))[:, np.newaxis]))
    x = graph.add("Div", graph.add("Sub", folded, drawn), spread)
    x = graph.add("Add", x, graph.constant(constant[:, np.newaxis]))
    x = graph.add("Gelu", x, domain=MICROSOFT)
    x = graph.add("Gelu", _convolve(graph, x, encoder.third), domain=MICROSOFT)
    return graph.add("Transpose", x, perm=[0, 2, 1])


def _statistics(graph: GraphWriter, new: str) -> tuple[str, str]:
    """Mean and deviation of all there was and is."""
    sums = graph.input("sums", np.float64, (3,))
    one = graph.constant([1], np.int64)
    parts = (
        graph.add("Cast", graph.add("Reshape", graph.add("Size", new), one), to=DOUBLE),
        graph.add("Cast", graph.add("Reshape", graph.add("ReduceSum", new, keepdims=0), one), to=DOUBLE),
        graph.add("Cast", graph.add("Reshape", graph.add("ReduceSumSquare", new, keepdims=0), one), to=DOUBLE),
    )
    total = graph.add("Add", sums, graph.add("Concat", *parts, axis=0))
    graph.output(total, "new_sums", np.float64, (3,))
    count, plain, squares = graph.add_many("Split", total, graph.constant([1, 1, 1], np.int64), results=3, axis=0)
    mean = graph.add("Div", plain, count)
    variance = graph.add("Sub", graph.add("Div", squares, count), graph.add("Mul", mean, mean))
    spread = graph.add("Sqrt", graph.add("Add", variance, graph.constant([EPSILON], np.float64)))
    return graph.add("Cast", mean, to=FLOAT), graph.add("Cast", spread, to=FLOAT)


def _behind(graph: GraphWriter, name: str, new: str, width: int) -> str:
    """The steps of a convolution that were given, and the new ones."""
    past = graph.input(name, np.float32, (1, width, f"{name}_steps"))
    together = graph.add("Concat", past, new, axis=2)
    graph.output(together, f"all_{name}", np.float32, (1, width, f"all_{name}_steps"))
    return together


def _convolve(graph: GraphWriter, x: str, convolution: Convolution) -> str:
    bias = [] if convolution.bias is None else [graph.constant(convolution.bias)]
    return graph.add("Conv", x, graph.constant(convolution.weight), *bias, strides=[convolution.stride])
