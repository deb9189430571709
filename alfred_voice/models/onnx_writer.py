"""Writing graphs for ONNX Runtime, operator by operator.

Uses the package ``onnx``, which only the call that builds a graph imports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


Axes = Sequence[int | str]
"""The axes of an input or output: a length, or a name where it varies."""

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators, github.com/microsoft/onnxruntime docs/ContribOperators.md."""
_OPSET = 21
_IR_VERSION = 10  # the one that goes with opset 21, onnx docs/Versioning.md


class GraphWriter:
    """One graph in the making; every method that adds something returns the name of its value."""

    def __init__(self) -> None:
        import onnx
        import onnx.numpy_helper

        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._names: dict[str, str] = {}
        self._scalars: dict[tuple[str, bytes, tuple[int, ...]], str] = {}

    def input(self, name: str, dtype: type[np.generic], axes: Axes) -> str:
        """A value that the caller gives."""
        self._inputs.append(self._value(name, dtype, axes))
        return name

    def output(self, value: str, name: str, dtype: type[np.generic], axes: Axes) -> None:
        """Give ``value`` to the caller under that name."""
        self._names[value] = name
        self._outputs.append(self._value(name, dtype, axes))

    def constant(self, value: Any, dtype: type[np.generic] = np.float32) -> str:
        """A value of the graph's own; small equal ones are kept once."""
        array: NDArray[Any] = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        key = (array.dtype.str, array.tobytes() if array.size <= 64 else b"", array.shape)
        if array.size <= 64 and key in self._scalars:
            return self._scalars[key]
        name = f"constant_{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        if array.size <= 64:
            self._scalars[key] = name
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """An operator with one result."""
        (result,) = self.add_many(operator, *inputs, results=1, domain=domain, **attributes)
        return result

    def add_many(
        self, operator: str, *inputs: str, results: int, domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """An operator with several results."""
        names = tuple(f"{operator}_{len(self._nodes)}_{at}" for at in range(results))
        self._nodes.append(
            self._onnx.helper.make_node(operator, list(inputs), list(names), domain=domain, **attributes)
        )
        return names

    def write(self, path: Path) -> None:
        """Save the graph; nothing can be added afterwards."""
        helper = self._onnx.helper
        # An operator that only renames would copy; so the values that go out take their names themselves.
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [self._names.get(name, name) for name in names]
        graph = helper.make_graph(self._nodes, path.stem, self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        path.write_bytes(model.SerializeToString())

    def _value(self, name: str, dtype: type[np.generic], axes: Axes) -> Any:
        element = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._onnx.helper.make_tensor_value_info(name, element, list(axes))
