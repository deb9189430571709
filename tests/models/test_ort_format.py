"""Files in ONNX Runtime's own format, read: those that it has written itself, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.onnx_writer import GraphWriter
from alfred_voice.models.ort_format import read_ort
from alfred_voice.models.store import Store


WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """y = x @ weights, in ORT format."""
    graph = GraphWriter()
    graph.output(
        graph.add("MatMul", graph.input("x", np.float32, ("rows", 3)), graph.constant(WEIGHTS)),
        "y",
        np.float32,
        ("rows", 4),
    )
    graph.write(tmp_path / "small.onnx")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.optimized_model_filepath = str(tmp_path / "small.ort")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    ort.InferenceSession(str(tmp_path / "small.onnx"), options, providers=["CPUExecutionProvider"])
    return tmp_path / "small.ort"


def test_nodes_and_constants_are_those_of_the_graph(small: Path) -> None:
    graph = read_ort(small)
    (node,) = graph.nodes
    assert (node.op_type, node.inputs[0], node.outputs) == ("MatMul", "x", ("y",))
    np.testing.assert_array_equal(graph.constant(node.inputs[1]), WEIGHTS)
    assert graph.node(node.name) is node


def test_what_is_not_there_is_named(small: Path) -> None:
    graph = read_ort(small)
    with pytest.raises(ModelCorrupt, match=r"small\.ort has no constant 'w'"):
        graph.constant("w")
    with pytest.raises(ModelCorrupt, match=r"small\.ort has no operator 'n'"):
        graph.node("n")


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="none"):
        read_ort(tmp_path / "none.ort")


@pytest.mark.parametrize("content", [b"", b"short", b"\x08\x0a plainly something else" * 10])
def test_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ort").write_bytes(content)
    with pytest.raises(ModelCorrupt, match="not in ORT format"):
        read_ort(tmp_path / "x.ort")


def test_a_file_that_was_cut_is_corrupt(small: Path) -> None:
    data = small.read_bytes()
    small.write_bytes(data[:60])
    with pytest.raises(ModelCorrupt, match="cannot be read"):
        read_ort(small)


@pytest.mark.models
def test_the_constants_of_branches_are_found(models: Store) -> None:
    """The published decoder has all its operators in two branches."""
    graph = read_ort(models.path("moonshine-tiny-en", "decoder_model_merged.ort"))
    products = [node for node in graph.nodes if node.name == "/proj_out/MatMul_quant"]
    assert len(products) == 2
    weights = graph.constant(products[0].inputs[1])
    assert weights.dtype == np.uint8
    assert weights.shape == (288, 32_768)
