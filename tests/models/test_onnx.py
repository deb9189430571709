from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import alfred_voice
from alfred_voice.errors import EngineFailure, EngineFault, ModelCorrupt, ModelMissing, OutOfMemory
from alfred_voice.models.onnx import Session, open_session


# Field numbers and wire types: onnx/onnx.proto and the encoding chapter of Protocol Buffers.
FLOAT = 1


def number(field: int, value: int) -> bytes:
    """A field that holds a number below 128."""
    return bytes([field << 3, value])


def block(field: int, content: bytes | str) -> bytes:
    """A field that holds text or another message of fewer than 128 bytes, or up to 16383 in two length bytes."""
    data = content.encode() if isinstance(content, str) else content
    size = [len(data)] if len(data) < 128 else [len(data) & 127 | 128, len(data) >> 7]
    return bytes([field << 3 | 2, *size]) + data


def vector(name: str) -> bytes:
    """A value of type float32 and shape (n,)."""
    shape = block(1, block(2, "n"))
    return block(1, name) + block(2, block(1, number(1, FLOAT) + block(2, shape)))


def node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join(block(1, name) for name in inputs) + block(2, output) + block(4, operator)


def arithmetic_graph() -> bytes:
    """A graph of ``sum = left + right`` and ``product = left * right``."""
    nodes = (node("Add", ("left", "right"), "sum"), node("Mul", ("left", "right"), "product"))
    graph = b"".join(block(1, each) for each in nodes) + block(2, "arithmetic")
    graph += b"".join(block(11, vector(name)) for name in ("left", "right"))
    graph += b"".join(block(12, vector(name)) for name in ("sum", "product"))
    return number(1, 8) + block(7, graph) + block(8, block(1, "") + number(2, 13))


@pytest.fixture
def arithmetic(tmp_path: Path) -> Path:
    path = tmp_path / "arithmetic.onnx"
    path.write_bytes(arithmetic_graph())
    return path


LEFT = np.array([1, 2, 3], np.float32)
RIGHT = np.array([4, 5, 6], np.float32)


def test_session_names_its_inputs_and_outputs_in_the_order_of_the_graph(arithmetic: Path) -> None:
    session = open_session(arithmetic)
    assert list(session.input_names) == ["left", "right"]
    assert list(session.output_names) == ["sum", "product"]
    assert "arithmetic.onnx" in repr(session)


def test_run_without_names_gives_all_outputs(arithmetic: Path) -> None:
    total, product = open_session(arithmetic).run({"left": LEFT, "right": RIGHT})
    np.testing.assert_array_equal(total, LEFT + RIGHT)
    np.testing.assert_array_equal(product, LEFT * RIGHT)


def test_run_gives_the_outputs_that_were_asked_for_in_that_order(arithmetic: Path) -> None:
    answers = open_session(arithmetic).run({"left": LEFT, "right": RIGHT}, ["product", "sum"])
    np.testing.assert_array_equal(answers, [LEFT * RIGHT, LEFT + RIGHT])


def test_run_accepts_arrays_that_are_not_contiguous(arithmetic: Path) -> None:
    doubled = np.repeat(LEFT, 2)
    (total,) = open_session(arithmetic).run({"left": doubled[::2], "right": RIGHT[::-1]}, ["sum"])
    np.testing.assert_array_equal(total, LEFT + RIGHT[::-1])


@pytest.mark.parametrize(
    ("feeds", "outputs"),
    [
        ({"left": LEFT}, None),
        ({"left": LEFT, "right": RIGHT, "middle": LEFT}, None),
        ({"left": LEFT, "right": RIGHT[:2]}, None),
        ({"left": LEFT, "right": RIGHT.astype(np.float64)}, None),
        ({"left": LEFT, "right": RIGHT[:, None]}, None),
        ({"left": LEFT, "right": RIGHT}, ["difference"]),
    ],
    ids=["input missing", "input unknown", "lengths differ", "wrong type", "wrong rank", "output unknown"],
)
def test_run_that_the_runtime_refuses_is_an_engine_failure_that_names_the_file(
    arithmetic: Path, feeds: dict[str, Any], outputs: list[str] | None
) -> None:
    session = open_session(arithmetic)
    with pytest.raises(EngineFailure, match=r"arithmetic\.onnx") as caught:
        session.run(feeds, outputs)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(session.run({"left": LEFT, "right": RIGHT}, ["sum"])[0], LEFT + RIGHT)


def test_missing_file_is_reported_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"nowhere\.onnx"):
        open_session(tmp_path / "nowhere.onnx")


def test_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        open_session(tmp_path)


@pytest.mark.parametrize("suffix", [".onnx", ".ort"])
@pytest.mark.parametrize(
    "content", [b"", b"not a graph at all", arithmetic_graph()[:-40]], ids=["empty", "text", "truncated"]
)
def test_file_that_is_no_graph_is_corrupt(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelCorrupt, match="broken") as caught:
        open_session(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_thread_at_all_is_refused(arithmetic: Path, threads: int) -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        open_session(arithmetic, threads=threads)


def test_sessions_have_the_options_of_the_house(arithmetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, Any]] = []
    real = ort.InferenceSession

    def recorded(path: str, options: Any, providers: Sequence[str]) -> Any:
        made.append((options, providers))
        return real(path, options, providers=providers)

    monkeypatch.setattr(ort, "InferenceSession", recorded)
    open_session(arithmetic, threads=2)
    ((options, providers),) = made
    assert list(providers) == [("CPUExecutionProvider", {})]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.enable_cpu_mem_arena is False
    assert options.log_severity_level == 3


def test_importing_the_engines_does_not_load_the_runtime() -> None:
    program = (
        "import sys, alfred_voice.models.onnx, alfred_voice.models.silero, alfred_voice.models.smart_turn,"
        " alfred_voice.models.scripted; print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_one_file_alone_imports_the_runtime() -> None:
    (package,) = alfred_voice.__path__
    importers = {
        path.relative_to(package).as_posix()
        for path in Path(package).rglob("*.py")
        if any(name.split(".")[0] == "onnxruntime" for name in imported(path))
    }
    assert importers == {"models/onnx.py"}


def imported(path: Path) -> list[str]:
    """All that a file imports, at its top or further in."""
    names: list[str] = []
    for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(item, ast.Import):
            names += [alias.name for alias in item.names]
        elif isinstance(item, ast.ImportFrom) and item.module is not None:
            names.append(item.module)
    return names


def test_a_provider_that_cannot_be_had_gives_way_to_the_processor_and_is_named(
    arithmetic: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the runtime's own, which says less
        session = open_session(arithmetic, provider=("NoSuchExecutionProvider", {}))
    assert session.output_names
    (warning,) = [record for record in caplog.records if record.message == "provider_missing"]
    assert warning.__dict__["provider"] == "NoSuchExecutionProvider"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("CUDA error cudaErrorMemoryAllocation: out of memory", OutOfMemory),
        ("Failed to allocate memory for requested buffer of size 4096", OutOfMemory),
        ("std::bad_alloc", OutOfMemory),
        ("Got invalid dimensions for input", EngineFault),
    ],
)
def test_a_lack_of_memory_is_told_from_other_failures(said: str, kind: type[EngineFailure]) -> None:
    class Failing:
        def get_inputs(self) -> list[Any]:
            return []

        get_outputs = get_inputs

        def run(self, _outputs: Any, _feeds: Any) -> None:
            raise RuntimeError(said)

    with pytest.raises(EngineFailure) as failure:
        Session(Failing(), "graph.onnx").run({})
    assert type(failure.value) is kind
