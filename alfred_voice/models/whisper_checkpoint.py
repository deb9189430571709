"""Checkpoints of openai-whisper, read without the library that wrote them.

Such a file is a zip archive: a pickle that names the tensors, and beside it the numbers of each
(pytorch.org/docs/stable/notes/serialization.html). A pickle may call whatever it likes; here it can
call nothing but the three functions that checkpoints need, so that a stranger's file does no harm.
"""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import ModelCorrupt, ModelMissing


Float32 = NDArray[np.float32]

_STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "BFloat16Storage": "<u2"}
"""How the numbers of each kind of storage lie in their file."""
_LARGEST_BYTES = 16 << 30
"""Of all tensors of a file; the largest that is published has 3 GB."""
_NOTING = ("PUT", "BINPUT", "LONG_BINPUT")
"""Instructions of a pickle that name the place of a thing that is used again."""
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, OSError, LookupError, ValueError, TypeError),
    *(AttributeError, ArithmeticError, RuntimeError, MemoryError),
)
"""What a damaged archive or pickle comes to, depending on where the damage is."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes of a Whisper; the names are the checkpoint's own (openai/whisper, model.py, ModelDimensions)."""

    n_mels: int
    n_audio_ctx: int
    """Encoder states of 30 s."""
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or not 0 < value < 1_000_000:
                raise ModelCorrupt(f"{field.name}: expected a size, got {value!r}")
        if self.n_mels not in (80, 128):
            raise ModelCorrupt(f"n_mels: expected 80 or 128, got {self.n_mels}")
        for state, head in ((self.n_audio_state, self.n_audio_head), (self.n_text_state, self.n_text_head)):
            if state % head:
                raise ModelCorrupt(f"{head} heads cannot share a width of {state}")
        if self.n_audio_state != self.n_text_state:
            raise ModelCorrupt(f"a decoder of width {self.n_text_state} cannot look at states of {self.n_audio_state}")

    @property
    def is_multilingual(self) -> bool:
        """Whether it knows more than English; the multilingual vocabulary is larger by one token or two."""
        return self.n_vocab >= 51865

    @property
    def languages(self) -> int:
        """How many languages have a token."""
        return self.n_vocab - 51765 - int(self.is_multilingual)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Sizes and weights of a Whisper."""

    dimensions: Dimensions
    weights: Mapping[str, Float32]
    """By the name that openai-whisper gives each, in float32 whatever they were stored as."""

    def __getitem__(self, name: str) -> Float32:
        try:
            return self.weights[name]
        except KeyError:
            raise ModelCorrupt(f"The checkpoint has no tensor {name!r}") from None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelMissing: there is no such file.
        ModelCorrupt: it is none, or is damaged.
    """
    if not path.is_file():
        raise ModelMissing(f"No checkpoint at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            found = _load(archive)
    except _UNREADABLE as exc:
        raise ModelCorrupt(f"{path} is no checkpoint of openai-whisper: {exc}") from exc
    sizes, weights = (found.get("dims"), found.get("model_state_dict")) if isinstance(found, dict) else (None, None)
    if not isinstance(sizes, dict) or not isinstance(weights, dict):
        raise ModelCorrupt(f"{path} is no checkpoint of openai-whisper: expected dims and model_state_dict in it")
    try:
        dimensions = Dimensions(**sizes)
    except TypeError as exc:
        raise ModelCorrupt(f"{path}: the sizes are not those of a Whisper: {exc}") from exc
    for name, weight in weights.items():
        if not isinstance(weight, np.ndarray):
            raise ModelCorrupt(f"{path}: {name!r} is no tensor")
    return Checkpoint(dimensions, weights)


def _load(archive: zipfile.ZipFile) -> Any:
    (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    total = sum(entry.file_size for entry in archive.infolist())
    if total > _LARGEST_BYTES:
        raise ValueError(f"{total} bytes of tensors are more than any Whisper has")
    instructions = archive.read(pickled)
    _check_memo(instructions)
    return _TensorUnpickler(io.BytesIO(instructions), archive, folder).load()


def _check_memo(instructions: bytes) -> None:
    """Refuse a pickle that notes things in places far away: room is made for all places up to there."""
    for opcode, argument, _ in pickletools.genops(instructions):
        if opcode.name in _NOTING and (argument or 0) > len(instructions):
            raise pickle.UnpicklingError(f"it notes something in place {argument}")


@dataclass(frozen=True, slots=True)
class _Storage:
    """The name of a class of the library, which only says how numbers are stored."""

    dtype: str


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors, ordered dictionaries and nothing else."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, Float32] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle may call by that name."""
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return _tensor
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _parameter
        if module == "collections" and name == "OrderedDict":
            return collections.OrderedDict
        if module == "torch" and name in _STORAGES:
            return _Storage(_STORAGES[name])
        raise pickle.UnpicklingError(f"it wants to call {module}.{name}")

    def persistent_load(self, pid: Any) -> Float32:
        """The numbers that lie in a file of their own."""
        kind, storage, key, *_ = pid
        if kind != "storage" or not isinstance(storage, _Storage):
            raise pickle.UnpicklingError(f"it refers to {kind!r}")
        if key not in self._storages:
            raw = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), storage.dtype)
            self._storages[key] = _widened(raw)
        return self._storages[key]


def _widened(raw: NDArray[Any]) -> Float32:
    if raw.dtype == np.uint16:  # bfloat16 is the upper half of a float32
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)


def _tensor(storage: Float32, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Float32:
    """A tensor out of its storage."""
    if storage.ndim != 1:
        # A tensor in a storage's place may be long without having numbers.
        raise TypeError("a tensor is made of a tensor")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if offset < 0 or min(stride, default=0) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches past its numbers")
    if prod(size) > len(storage):
        # Steps of nothing repeat a number as often as one likes.
        raise ValueError("a tensor has more than its numbers")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()


def _parameter(data: Float32, *_: Any) -> Float32:
    return data
