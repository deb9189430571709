"""Reading graphs that ONNX Runtime keeps in its own format: their nodes and their constants.

The runtime can run such a file but does not tell what is in it; its flatbuffers bindings do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.onnx import bound_graph


_DTYPES: dict[int, type[np.generic]] = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_}
"""ONNX's numbers for element types, github.com/onnx/onnx onnx.proto TensorProto.DataType."""
_GRAPH = 5  # AttributeType.GRAPH of ONNX Runtime's ort.fbs
_MAGIC = b"ORTM"
"""Bytes 4 to 8 of every file of this format."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OrtGraph:
    """A graph with its branches laid side by side."""

    label: str
    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    """Name -> value; read-only views of the file."""

    def constant(self, name: str) -> NDArray[Any]:
        """The constant of that name, or :exc:`~alfred_voice.errors.ModelCorrupt`."""
        try:
            return self.constants[name]
        except KeyError:
            raise ModelCorrupt(f"{self.label} has no constant {name!r}") from None

    def node(self, name: str) -> Node:
        """The first node of that name, or :exc:`~alfred_voice.errors.ModelCorrupt`."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ModelCorrupt(f"{self.label} has no operator {name!r}")


def read_ort(path: Path) -> OrtGraph:
    """Read a file in ORT format.

    Raises:
        ModelMissing: there is no such file.
        ModelCorrupt: it is in another format, or damaged.
    """
    if not path.is_file():
        raise ModelMissing(f"No model file at {path}")
    data = path.read_bytes()
    if data[4:8] != _MAGIC:
        raise ModelCorrupt(f"{path} is not in ORT format")
    try:
        outer = bound_graph(data)
        graphs = list(_with_branches(outer))
        nodes = tuple(_node(graph.Nodes(at)) for graph in graphs for at in range(graph.NodesLength()))
        tensors = [graph.Initializers(at) for graph in graphs for at in range(graph.InitializersLength())]
        constants = {tensor.Name().decode(): _array(tensor) for tensor in tensors if tensor.DataType() in _DTYPES}
    except Exception as exc:  # what the bindings raise on a damaged file depends on where the damage is
        raise ModelCorrupt(f"{path} cannot be read: {exc!r}") from exc
    return OrtGraph(path.name, nodes, constants)


def _with_branches(graph: Any) -> Iterator[Any]:
    """``graph`` and the graphs inside its nodes."""
    yield graph
    for at in range(graph.NodesLength()):
        node = graph.Nodes(at)
        for index in range(node.AttributesLength()):
            attribute = node.Attributes(index)
            if attribute.Type() == _GRAPH:
                yield from _with_branches(attribute.G())


def _node(node: Any) -> Node:
    """A node of the bindings as ours."""
    return Node(
        name=node.Name().decode(),
        op_type=node.OpType().decode(),
        inputs=tuple(node.Inputs(at).decode() for at in range(node.InputsLength())),
        outputs=tuple(node.Outputs(at).decode() for at in range(node.OutputsLength())),
    )


def _array(tensor: Any) -> NDArray[Any]:
    """The value of a tensor of the bindings."""
    shape = [tensor.Dims(at) for at in range(tensor.DimsLength())]
    raw = tensor.RawDataAsNumpy() if tensor.RawDataLength() else np.empty(0, np.uint8)
    return np.frombuffer(raw, _DTYPES[tensor.DataType()]).reshape(shape)
