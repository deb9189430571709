"""The constants of an ONNX file, without the package ``onnx``.

That package takes a quarter of a second and tens of megabytes to import, which every start of the daemon would pay
for a dozen arrays. The format is Protocol Buffers: a row of fields, each a number, a kind and its content
(protobuf.dev/programming-guides/encoding); the fields' numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import ModelCorrupt, ModelMissing


# onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto's fields, and TensorProto.DataType.FLOAT.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
_FLOAT = 1

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def float_constants(path: Path) -> dict[str, NDArray[np.float32]]:
    """All float32 constants of the graph at ``path`` by name; those inside of branches are not among them.

    Raises:
        ModelMissing: there is no such file.
        ModelCorrupt: it is not an ONNX file.
    """
    if not path.is_file():
        raise ModelMissing(f"No model file at {path}")
    try:
        return dict(_tensors(memoryview(path.read_bytes())))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelCorrupt(f"{path} cannot be read as ONNX: {error}") from error


def _tensors(model: memoryview) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for number, graph in _fields(model):
        if number != _GRAPH or isinstance(graph, int):
            continue
        for inner, tensor in _fields(graph):
            if inner == _INITIALIZER and not isinstance(tensor, int):
                yield from _tensor(tensor)


def _tensor(data: memoryview) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The tensor's name and values, if they are float32 and stand in the file as they are in memory."""
    shape: list[int] = []
    data_type, name, raw = 0, "", None
    for number, content in _fields(data):
        match number, content:
            case _ if number == _DIMS and isinstance(content, int):
                shape.append(content)
            case _ if number == _DIMS and not isinstance(content, int):
                shape += _packed(content)
            case _ if number == _DATA_TYPE and isinstance(content, int):
                data_type = content
            case _ if number == _NAME and not isinstance(content, int):
                name = bytes(content).decode()
            case _ if number == _RAW_DATA and not isinstance(content, int):
                raw = content
    if data_type == _FLOAT and raw is not None:
        yield name, np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each field's number with its content: a number, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED_64, _FIXED_32):
            length = 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError(f"there is no field of kind {kind}, as at byte {at}")
        if at + length > len(data):
            raise ValueError(f"a field of {length} bytes ends beyond the last byte")
        yield key >> 3, data[at : at + length]
        at += length


def _packed(data: memoryview) -> list[int]:
    numbers: list[int] = []
    at = 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at byte ``at``, seven bits in each byte, the lowest first; and where the next begins."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"the number at byte {at} is too long")
