"""Graphs that are written here run in ONNX Runtime and are what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from alfred_voice.errors import ModelCorrupt
from alfred_voice.models.onnx import open_session
from alfred_voice.models.onnx_writer import MICROSOFT, GraphWriter


def test_a_graph_computes_what_its_operators_say(tmp_path: Path) -> None:
    graph = GraphWriter()
    x = graph.input("x", np.float32, ("rows", 3))
    doubled = graph.add("Mul", x, graph.constant(2.0))
    low, high = graph.add_many("Split", doubled, graph.constant([1, 2], np.int64), results=2, axis=1)
    graph.output(low, "low", np.float32, ("rows", 1))
    graph.output(graph.add("Neg", high), "high", np.float32, ("rows", 2))
    graph.write(tmp_path / "g.onnx")
    session = open_session(tmp_path / "g.onnx")
    assert (session.input_names, session.output_names) == (("x",), ("low", "high"))
    first, second = session.run({"x": np.array([[1, 2, 3], [4, 5, 6]], np.float32)})
    np.testing.assert_array_equal(first, [[2], [8]])
    np.testing.assert_array_equal(second, [[-4, -6], [-10, -12]])


def test_a_value_that_goes_out_may_be_used_before_and_after(tmp_path: Path) -> None:
    graph = GraphWriter()
    x = graph.add("Neg", graph.input("x", np.float32, (2,)))
    before = graph.add("Abs", x)
    graph.output(x, "middle", np.float32, (2,))
    graph.output(graph.add("Add", x, before), "end", np.float32, (2,))
    graph.write(tmp_path / "g.onnx")
    middle, end = open_session(tmp_path / "g.onnx").run({"x": np.array([1, -2], np.float32)})
    np.testing.assert_array_equal(middle, [-1, 2])
    np.testing.assert_array_equal(end, [0, 4])


def test_nothing_is_added_only_to_name_a_result(tmp_path: Path) -> None:
    graph = GraphWriter()
    graph.output(graph.add("Neg", graph.input("x", np.float32, (2,))), "y", np.float32, (2,))
    graph.write(tmp_path / "g.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "g.onnx").graph.node] == ["Neg"]


def test_small_constants_are_kept_once_and_different_ones_apart() -> None:
    graph = GraphWriter()
    assert graph.constant(1.0) == graph.constant(1.0)
    names = [
        graph.constant(1.0),
        graph.constant([1.0]),
        graph.constant(1, np.int64),
        graph.constant(2.0),
        graph.constant(0.0),
        graph.constant(-0.0),
    ]
    assert len(set(names)) == len(names)


def test_large_constants_are_each_their_own(tmp_path: Path) -> None:
    graph = GraphWriter()
    weights = np.arange(200, dtype=np.float32)
    assert graph.constant(weights) != graph.constant(weights + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8])
def test_constants_of_all_types_come_back_as_they_were(tmp_path: Path, dtype: type[np.generic]) -> None:
    graph = GraphWriter()
    values = np.arange(6, dtype=dtype).reshape(2, 3)
    x = graph.input("x", dtype, (2, 3))
    graph.output(graph.add("Concat", x, graph.constant(values, dtype), axis=0), "y", dtype, (4, 3))
    graph.write(tmp_path / "g.onnx")
    (found,) = open_session(tmp_path / "g.onnx").run({"x": values})
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.concatenate([values, values]))


def test_operators_of_the_runtime_can_be_used(tmp_path: Path) -> None:
    graph = GraphWriter()
    x = graph.input("x", np.float32, (3,))
    graph.output(graph.add("QuickGelu", x, domain=MICROSOFT, alpha=1.0), "y", np.float32, (3,))
    graph.write(tmp_path / "g.onnx")
    given = np.array([-1, 0, 2], np.float32)
    (found,) = open_session(tmp_path / "g.onnx").run({"x": given})
    np.testing.assert_allclose(found, given / (1 + np.exp(-given)), rtol=1e-6)


def test_an_operator_that_does_not_exist_is_found_out_when_the_graph_is_opened(tmp_path: Path) -> None:
    graph = GraphWriter()
    graph.output(graph.add("Sing", graph.input("x", np.float32, (3,))), "y", np.float32, (3,))
    graph.write(tmp_path / "g.onnx")
    with pytest.raises(ModelCorrupt, match="Sing"):
        open_session(tmp_path / "g.onnx")
