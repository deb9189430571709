from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.onnx_constants import float_constants
from alfred_voice.models.store import Store


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def content(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, values: list[float], *shape: int, data_type: int = 1) -> bytes:
    """A TensorProto as onnx.proto numbers its fields."""
    dims = b"".join(number(1, size) for size in shape)
    return (
        dims + number(2, data_type) + content(8, name.encode()) + content(9, struct.pack(f"<{len(values)}f", *values))
    )


def model(*tensors: bytes) -> bytes:
    node = content(1, content(4, b"Relu"))
    graph = node + b"".join(content(5, one) for one in tensors)
    return number(1, 10) + content(2, b"maker") + content(7, graph)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.onnx"


def test_each_constant_has_its_name_shape_and_values(file: Path) -> None:
    file.write_bytes(model(tensor("a.weight", [1.5, -2, 3, 4, 5, 6], 2, 3), tensor("b", [0.25])))
    found = float_constants(file)
    assert list(found) == ["a.weight", "b"]
    assert found["a.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["a.weight"], [[1.5, -2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(found["b"], np.float32(0.25))


def test_shapes_may_come_packed(file: Path) -> None:
    packed = content(1, varint(2) + varint(150)) + number(2, 1) + content(8, b"w") + content(9, bytes(1200))
    file.write_bytes(model(packed))
    assert float_constants(file)["w"].shape == (2, 150)


def test_what_is_not_float_is_left_out(file: Path) -> None:
    file.write_bytes(model(tensor("integers", [0.0], 1, data_type=7), tensor("w", [1.0], 1)))
    assert list(float_constants(file)) == ["w"]


def test_fields_of_fixed_width_are_passed_over(file: Path) -> None:
    strange = varint(99 << 3 | 1) + bytes(8) + varint(98 << 3 | 5) + bytes(4)
    file.write_bytes(strange + model(strange + tensor("w", [1.0], 1)))
    assert list(float_constants(file)) == ["w"]


@pytest.mark.parametrize("length", range(1, 40, 3))
def test_a_file_that_is_cut_off_is_corrupt_or_has_nothing(file: Path, length: int) -> None:
    whole = model(tensor("w", [1.0, 2.0], 2))
    file.write_bytes(whole[:-length])
    with pytest.raises(ModelCorrupt, match="cannot be read as ONNX"):
        float_constants(file)


@pytest.mark.parametrize(
    "data", [b"\xff" * 40, b"not a model at all", bytes([0x0B]) * 9], ids=["ones", "text", "groups"]
)
def test_another_file_is_corrupt(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(ModelCorrupt):
        float_constants(file)


def test_a_wrong_shape_is_corrupt(file: Path) -> None:
    file.write_bytes(model(tensor("w", [1.0, 2.0], 3)))
    with pytest.raises(ModelCorrupt):
        float_constants(file)


def test_no_file_is_missing(file: Path) -> None:
    with pytest.raises(ModelMissing):
        float_constants(file)


@pytest.mark.models
def test_a_real_model_is_read_as_its_own_package_reads_it(models: Store) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import numpy_helper

    path = models.path("silero-vad", "silero_vad_op18_ifless.onnx")
    graph = onnx.load(str(path)).graph
    expected = {one.name: numpy_helper.to_array(one) for one in graph.initializer if one.data_type == 1}
    found = float_constants(path)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
