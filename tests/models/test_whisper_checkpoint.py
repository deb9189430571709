"""Checkpoints, read out of files that are written here byte by byte."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.whisper_checkpoint import Checkpoint, Dimensions, read_checkpoint


SIZES = Dimensions(80, 1500, 8, 2, 1, 51864, 448, 8, 2, 1)
STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8"}


@dataclass(frozen=True)
class Global:
    """Something that the pickle names."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """Something that the pickle has called."""

    what: Global
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Kept:
    """Something that lies outside of the pickle."""

    pid: Any


def tensor(
    storage: str, key: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...], length: int = 0
) -> Call:
    """A tensor as torch.save puts it down."""
    kept = Kept(("storage", Global("torch", storage), key, "cpu", length))
    hooks = Call(Global("collections", "OrderedDict"), ())
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), (kept, offset, size, stride, False, hooks))


def pickled(value: Any) -> bytes:
    """Protocol 2, by its definition (CPython, Lib/pickletools.py)."""
    return b"\x80\x02" + opcodes(value) + b"."


def opcodes(value: Any) -> bytes:
    match value:
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case dict():
            return b"}(" + b"".join(opcodes(key) + opcodes(one) for key, one in value.items()) + b"u"
        case Global(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(what, args):
            return opcodes(what) + opcodes(args) + b"R"
        case Kept(pid):
            return opcodes(pid) + b"Q"
    raise AssertionError(f"no opcodes for {value!r}")


def write(path: Path, content: Any, storages: Mapping[str, bytes] | None = None, folder: str = "archive") -> Path:
    return write_pickle(path, pickled(content), storages or {}, folder)


def write_pickle(path: Path, data: bytes, storages: Mapping[str, bytes], folder: str = "archive") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", data)
        archive.writestr(f"{folder}/byteorder", "little")
        for key, numbers in storages.items():
            archive.writestr(f"{folder}/data/{key}", numbers)
        archive.writestr(f"{folder}/version", "3\n")
    return path


def checkpoint(**weights: Any) -> dict[str, Any]:
    return {"dims": asdict(SIZES), "model_state_dict": weights}


def read(path: Path, content: Any, storages: Mapping[str, bytes] | None = None) -> Checkpoint:
    return read_checkpoint(write(path, content, storages))


class TestTensors:
    @pytest.mark.parametrize(("storage", "dtype"), STORAGES.items())
    def test_numbers_of_each_kind_come_as_float32(self, tmp_path: Path, storage: str, dtype: str) -> None:
        numbers = np.random.default_rng(1).normal(size=(3, 4)).astype(dtype)
        content = checkpoint(w=tensor(storage, "0", 0, (3, 4), (4, 1)))
        found = read(tmp_path / "a.pt", content, {"0": numbers.tobytes()})
        assert found["w"].dtype == np.float32
        np.testing.assert_array_equal(found["w"], numbers.astype(np.float32))
        assert found.dimensions == SIZES

    @pytest.mark.parametrize(
        ("bits", "value"),
        [(0x3F80, 1.0), (0xC040, -3.0), (0x3DCD, 0.10009765625), (0x0000, 0.0), (0x7F7F, 3.3895314e38)],
    )
    def test_brain_floats_are_the_upper_half_of_a_float(self, tmp_path: Path, bits: int, value: float) -> None:
        content = checkpoint(w=tensor("BFloat16Storage", "0", 0, (1,), (1,)))
        found = read(tmp_path / "a.pt", content, {"0": bits.to_bytes(2, "little")})
        assert found["w"].tolist() == pytest.approx([value], rel=1e-7)

    def test_tensors_may_share_a_storage_and_lie_in_it_crosswise(self, tmp_path: Path) -> None:
        numbers = np.arange(24, dtype="<f4")
        content = checkpoint(
            whole=tensor("FloatStorage", "7", 0, (2, 3, 4), (12, 4, 1)),
            turned=tensor("FloatStorage", "7", 0, (4, 3), (1, 4)),
            part=tensor("FloatStorage", "7", 5, (2, 2), (12, 2)),
            one=tensor("FloatStorage", "7", 23, (), ()),
            none=tensor("FloatStorage", "7", 0, (0, 3), (3, 1)),
        )
        found = read(tmp_path / "a.pt", content, {"7": numbers.tobytes()})
        np.testing.assert_array_equal(found["whole"], numbers.reshape(2, 3, 4))
        np.testing.assert_array_equal(found["turned"], numbers[:12].reshape(3, 4).T)
        assert found["part"].tolist() == [[5, 7], [17, 19]]
        assert found["one"].tolist() == 23
        assert found["none"].shape == (0, 3)
        assert all(one.flags.c_contiguous for one in found.weights.values())

    def test_parameters_are_their_tensors(self, tmp_path: Path) -> None:
        inner = tensor("FloatStorage", "0", 0, (2,), (1,))
        parameter = Call(Global("torch._utils", "_rebuild_parameter"), (inner, False, ()))
        found = read(tmp_path / "a.pt", checkpoint(w=parameter), {"0": np.array([1, 2], "<f4").tobytes()})
        assert found["w"].tolist() == [1, 2]

    def test_the_folder_in_the_file_may_have_any_name(self, tmp_path: Path) -> None:
        content = checkpoint(w=tensor("FloatStorage", "0", 0, (1,), (1,)))
        path = write(tmp_path / "a.pt", content, {"0": bytes(4)}, folder="tiny.en")
        assert read_checkpoint(path)["w"].tolist() == [0]

    def test_a_tensor_that_is_missing_is_named(self, tmp_path: Path) -> None:
        found = read(tmp_path / "a.pt", checkpoint())
        with pytest.raises(ModelCorrupt, match=r"no tensor 'encoder\.conv1\.weight'"):
            found["encoder.conv1.weight"]


class TestStrangers:
    """Files that somebody made to do harm."""

    @pytest.mark.parametrize(
        ("module", "name"),
        [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("subprocess", "call"), ("torch", "load")],
    )
    def test_what_they_call_is_not_run(self, tmp_path: Path, module: str, name: str) -> None:
        victim = tmp_path / "was-here"
        content = checkpoint(w=Call(Global(module, name), (f"touch {victim}",)))
        with pytest.raises(ModelCorrupt, match=f"wants to call {module}.{name}"):
            read(tmp_path / "a.pt", content)
        assert not victim.exists()

    def test_a_tensor_beyond_its_numbers_is_refused(self, tmp_path: Path) -> None:
        for offset, size, stride in ((0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (3, 1)), (-1, (1,), (1,))):
            content = checkpoint(w=tensor("FloatStorage", "0", offset, size, stride))
            with pytest.raises(ModelCorrupt, match="reaches past its numbers"):
                read(tmp_path / "a.pt", content, {"0": bytes(16)})

    def test_steps_backwards_are_refused(self, tmp_path: Path) -> None:
        content = checkpoint(w=tensor("FloatStorage", "0", 3, (4,), (-1,)))
        with pytest.raises(ModelCorrupt, match="reaches past its numbers"):
            read(tmp_path / "a.pt", content, {"0": bytes(16)})

    def test_a_few_numbers_are_not_made_into_terabytes(self, tmp_path: Path) -> None:
        content = checkpoint(w=tensor("FloatStorage", "0", 0, (1_000_000, 1_000_000), (0, 0)))
        with pytest.raises(ModelCorrupt, match="more than its numbers"):
            read(tmp_path / "a.pt", content, {"0": bytes(16)})

    def test_more_than_any_whisper_has_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("alfred_voice.models.whisper_checkpoint._LARGEST_BYTES", 1_000)
        with pytest.raises(ModelCorrupt, match="bytes of tensors are more than any Whisper has"):
            read(tmp_path / "a.pt", checkpoint(), {"0": bytes(1_000)})

    def test_only_storages_lie_outside(self, tmp_path: Path) -> None:
        for pid in (("module", Global("torch", "FloatStorage"), "0"), ("storage", "float", "0"), ("storage",), 5):
            with pytest.raises(ModelCorrupt):
                read(tmp_path / "a.pt", checkpoint(w=Kept(pid)), {"0": bytes(16)})

    def test_what_is_no_tensor_is_no_weight(self, tmp_path: Path) -> None:
        strangers: list[Any] = [5, "text", {}, Global("collections", "OrderedDict")]
        for odd in strangers:
            with pytest.raises(ModelCorrupt, match="'w' is no tensor"):
                read(tmp_path / "a.pt", checkpoint(w=odd))


class TestDamage:
    def test_a_file_that_is_not_there_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ModelMissing, match="No checkpoint at"):
            read_checkpoint(tmp_path / "a.pt")

    @pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a checkpoint at all" * 10, pickled({})])
    def test_what_is_no_archive_is_refused(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "a.pt"
        path.write_bytes(data)
        with pytest.raises(ModelCorrupt, match="is no checkpoint of openai-whisper"):
            read_checkpoint(path)

    def test_an_archive_without_a_pickle_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
        with pytest.raises(ModelCorrupt, match="is no checkpoint of openai-whisper"):
            read_checkpoint(path)

    def test_a_storage_that_is_missing_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ModelCorrupt, match="archive/data/0"):
            read(tmp_path / "a.pt", checkpoint(w=tensor("FloatStorage", "0", 0, (1,), (1,))))

    @pytest.mark.parametrize(
        "content", [{}, (1, 2), {"dims": {}}, {"dims": 3, "model_state_dict": {}}, {"dims": {}, "model_state_dict": 1}]
    )
    def test_what_holds_something_else_is_refused(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(ModelCorrupt, match="expected dims and model_state_dict"):
            read(tmp_path / "a.pt", content)

    @pytest.mark.parametrize("sizes", [{}, {"n_mels": 80}, asdict(SIZES) | {"n_experts": 8}])
    def test_other_sizes_are_refused(self, tmp_path: Path, sizes: dict[str, int]) -> None:
        with pytest.raises(ModelCorrupt, match="the sizes are not those of a Whisper"):
            read(tmp_path / "a.pt", {"dims": sizes, "model_state_dict": {}})

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_whatever_is_broken_is_told_as_such(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "broken.pt"
        content = checkpoint(
            a=tensor("FloatStorage", "0", 0, (2, 3), (3, 1)), b=tensor("HalfStorage", "1", 2, (4,), (1,))
        )
        storages = {"0": bytes(24), "1": bytes(12)}
        written = bytearray(write(path, content, storages).read_bytes())
        is_pickle = data.draw(st.booleans())
        if is_pickle:
            written = bytearray(pickled(content))
        for _ in range(data.draw(st.integers(1, 4))):
            written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            del written[data.draw(st.integers(0, len(written))) :]
        if is_pickle:
            write_pickle(path, bytes(written), storages)
        else:
            path.write_bytes(bytes(written))
        try:
            found = read_checkpoint(path)
        except ModelCorrupt:
            return
        assert all(one.dtype == np.float32 for one in found.weights.values())


class TestDimensions:
    @pytest.mark.parametrize(
        ("changed", "what"),
        [
            ({"n_mels": 81}, "n_mels: expected 80 or 128, got 81"),
            ({"n_text_layer": 0}, "n_text_layer: expected a size, got 0"),
            ({"n_audio_ctx": -1}, "n_audio_ctx: expected a size, got -1"),
            ({"n_vocab": 10**9}, "n_vocab: expected a size"),
            ({"n_vocab": 51864.0}, "n_vocab: expected a size, got 51864.0"),
            ({"n_audio_head": 3}, "3 heads cannot share a width of 8"),
            ({"n_text_head": 5}, "5 heads cannot share a width of 8"),
            ({"n_text_state": 16}, "a decoder of width 16 cannot look at states of 8"),
        ],
    )
    def test_sizes_that_cannot_be_are_refused(self, changed: dict[str, Any], what: str) -> None:
        with pytest.raises(ModelCorrupt, match=what):
            replace(SIZES, **changed)

    @pytest.mark.parametrize(
        ("tokens", "is_multilingual", "languages"), [(51864, False, 99), (51865, True, 99), (51866, True, 100)]
    )
    def test_the_vocabulary_tells_the_languages(self, tokens: int, is_multilingual: bool, languages: int) -> None:
        sizes = replace(SIZES, n_vocab=tokens)
        assert sizes.is_multilingual is is_multilingual
        assert sizes.languages == languages
