"""Whispers in the model store: fetched, made, kept, looked after and removed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.bench.random_whisper import random_checkpoint
from alfred_voice.errors import ModelCorrupt, ModelFetchFailed, ModelMissing
from alfred_voice.models import whisper_catalog, whisper_store
from alfred_voice.models.catalog import Catalogue
from alfred_voice.models.store import Store
from alfred_voice.models.whisper_catalog import PublishedWhisper, published
from alfred_voice.models.whisper_checkpoint import Dimensions
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_store import WhisperStore


SIZES = Dimensions(80, 1500, 32, 2, 1, 51864, 448, 32, 2, 1)
CHECKPOINT = b"as good as a checkpoint"
INT8, FLOAT32 = Precision.INT8, Precision.FLOAT32


def vocabulary() -> bytes:
    import base64

    spellings = [bytes([at]) for at in range(256)]
    spellings += [
        bytes([97 + at % 26, 97 + at // 26 % 26, 97 + at // 676 % 26, 97 + at // 17576]) for at in range(50_000)
    ]
    return b"".join(base64.b64encode(one) + b" %d\n" % at for at, one in enumerate(spellings))


@pytest.fixture(scope="module")
def spelling() -> bytes:
    return vocabulary()


@pytest.fixture
def shelf(tmp_path: Path, web: Any, make: Any, spelling: bytes, monkeypatch: pytest.MonkeyPatch) -> WhisperStore:
    """A store whose vocabulary and checkpoints come from a server on this machine."""
    contents = {"gpt2.tiktoken": spelling, "multilingual.tiktoken": spelling}
    catalogue = Catalogue((make.on_web(web, "whisper-vocabulary", contents),))
    monkeypatch.setattr(whisper_catalog, "_SERVER", web.url("models"))
    sha256 = hashlib.sha256(CHECKPOINT).hexdigest()
    entries = (PublishedWhisper("tiny.en", sha256, ((0, 1),), 39), PublishedWhisper("large-v3", sha256, (), 1550))
    monkeypatch.setattr(whisper_catalog, "PUBLISHED", entries)
    monkeypatch.setattr(whisper_store, "read_checkpoint", lambda path: random_checkpoint(SIZES, len(path.read_bytes())))
    web.files[f"models/{sha256}/tiny.en.pt"] = CHECKPOINT
    return WhisperStore(Store(tmp_path / "store", catalogue))


class TestPull:
    def test_fetches_makes_and_keeps_the_graphs_but_not_the_checkpoint(self, shelf: WhisperStore, watcher: Any) -> None:
        files = shelf.pull("whisper-tiny.en", [INT8], watcher)
        assert shelf.names() == ["whisper-tiny.en"]
        assert sorted(path.name for path in files.folder.iterdir()) == [
            "decoder.int8.onnx", "encoder.int8.onnx", "vocabulary.tiktoken", "whisper.json",
        ]  # fmt: skip
        assert files.source == hashlib.sha256(CHECKPOINT).hexdigest()
        assert shelf.is_complete("whisper-tiny.en", [INT8])
        assert not shelf.is_complete("whisper-tiny.en", [INT8, FLOAT32])
        assert not list((shelf.root / ".downloads").glob("*.pt"))
        assert "whisper-tiny.en.pt" in watcher.completed()
        assert any("in int8" in note for note in watcher.notes)

    def test_takes_the_heads_that_were_published(self, shelf: WhisperStore) -> None:
        import onnx

        files = shelf.pull("tiny.en", [INT8])
        graph = onnx.load(str(files.graphs(INT8)[1])).graph
        (fit,) = [output for output in graph.output if output.name == "fit"]
        assert fit.type.tensor_type.shape.dim[1].dim_value == 1

    def test_of_another_precision_keeps_the_one_that_is_here(self, shelf: WhisperStore) -> None:
        shelf.pull("whisper-tiny.en", [FLOAT32])
        assert set(shelf.pull("whisper-tiny.en", [INT8]).precisions) == {INT8, FLOAT32}

    def test_of_a_path_is_called_after_its_file_which_stays(
        self, shelf: WhisperStore, tmp_path: Path, web: Any
    ) -> None:
        path = tmp_path / "mine.pt"
        path.write_bytes(CHECKPOINT)
        assert shelf.pull(str(path), [INT8]).name == "mine"
        assert path.exists()
        assert not any("models/" in asked for asked, _ in web.requests)

    def test_goes_on_with_what_an_earlier_one_received(self, shelf: WhisperStore, web: Any) -> None:
        shelf.pull("whisper-tiny.en", [INT8])
        web.break_after = 10
        shelf.pull("whisper-tiny.en", [FLOAT32])
        assert [ranged for asked, ranged in web.requests if asked.endswith(".pt")] == [
            None,
            None,
            "bytes=10-",
            "bytes=20-",
        ]

    def test_of_what_the_server_does_not_have_says_what_to_do(self, shelf: WhisperStore) -> None:
        with pytest.raises(ModelFetchFailed, match=r"whisper-large-v3 from .*404.*name its path instead"):
            shelf.pull("whisper-large", [INT8])

    def test_of_another_content_is_refused_and_not_kept(self, shelf: WhisperStore, web: Any) -> None:
        sha256 = hashlib.sha256(CHECKPOINT).hexdigest()
        web.files[f"models/{sha256}/tiny.en.pt"] = b"something else, of another length"
        with pytest.raises(ModelCorrupt, match=r"wrong content: expected SHA-256"):
            shelf.pull("whisper-tiny.en", [INT8])
        assert shelf.names() == []
        assert not list((shelf.root / ".downloads").glob("*.pt"))

    def test_of_an_unknown_name_lists_the_known_ones(self, shelf: WhisperStore) -> None:
        with pytest.raises(
            ModelMissing, match=r"no Whisper 'whisper-huge'; there are whisper-tiny.en, whisper-large-v3"
        ):
            shelf.pull("whisper-huge", [INT8])

    def test_that_fails_leaves_the_old_graphs_as_they_were(
        self, shelf: WhisperStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = shelf.pull("whisper-tiny.en", [INT8]).files

        def broken(path: Path) -> None:
            raise ModelCorrupt("not a checkpoint")

        monkeypatch.setattr(whisper_store, "read_checkpoint", broken)
        with pytest.raises(ModelCorrupt):
            shelf.pull("whisper-tiny.en", [FLOAT32])
        assert shelf.find("tiny.en").files == before
        assert all(shelf.verify("tiny.en").values())

    def test_of_a_path_that_has_the_prefix_has_it_once(self, shelf: WhisperStore, tmp_path: Path) -> None:
        path = tmp_path / "whisper-abc.pt"
        path.write_bytes(b"abc")
        assert shelf.pull(str(path), [INT8]).name == "abc"
        assert shelf.names() == ["whisper-abc"]

    def test_of_a_published_checkpoint_by_its_path_takes_the_published_heads(
        self, shelf: WhisperStore, tmp_path: Path
    ) -> None:
        import onnx

        path = tmp_path / "mine.pt"
        path.write_bytes(CHECKPOINT)
        graph = onnx.load(str(shelf.pull(str(path), [INT8]).graphs(INT8)[1])).graph
        (fit,) = [output for output in graph.output if output.name == "fit"]
        assert fit.type.tensor_type.shape.dim[1].dim_value == 1


class TestMending:
    @pytest.fixture
    def mine(self, shelf: WhisperStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A checkpoint of one's own, named by a relative path and made into graphs."""
        path = tmp_path / "my own" / "mine.pt"
        path.parent.mkdir()
        path.write_bytes(b"of one's own")
        monkeypatch.chdir(tmp_path)
        shelf.pull("my own/mine.pt", [INT8])
        return path

    def test_damage_that_keeps_the_size_is_found_by_hashes(self, shelf: WhisperStore) -> None:
        path = shelf.pull("whisper-tiny.en", [INT8]).graphs(INT8)[0]
        assert shelf.is_sound("whisper-tiny.en", [INT8])
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        assert shelf.is_complete("whisper-tiny.en", [INT8])
        assert not shelf.is_sound("whisper-tiny.en", [INT8])
        shelf.pull("whisper-tiny.en", [INT8])
        assert shelf.is_sound("whisper-tiny.en", [INT8])

    def test_a_model_of_ones_own_names_the_path_of_its_checkpoint(self, shelf: WhisperStore, mine: Path) -> None:
        files = shelf.find("whisper-mine")
        assert files.checkpoint == str(mine)
        assert shelf.pulled_as("whisper-mine") == f"'{mine}'"
        files.graphs(INT8)[1].write_bytes(b"short")
        with pytest.raises(ModelCorrupt, match=f"models pull '{mine}'' to make it again"):
            shelf.find("mine").graphs(INT8)
        with pytest.raises(ModelMissing, match=f"models pull '{mine}' --precision float32"):
            shelf.find("mine").graphs(FLOAT32)

    @pytest.mark.parametrize("wanted", ["whisper-mine", "mine"])
    def test_a_model_of_ones_own_is_made_again_by_its_name(self, shelf: WhisperStore, mine: Path, wanted: str) -> None:
        shelf.find("mine").graphs(INT8)[1].write_bytes(b"short")
        assert shelf.pull(wanted, [INT8]).checkpoint == str(mine)
        assert shelf.is_sound("mine", [INT8])

    def test_a_model_whose_checkpoint_has_gone_says_where_it_was(self, shelf: WhisperStore, mine: Path) -> None:
        mine.unlink()
        with pytest.raises(ModelMissing, match=f"No checkpoint at {mine}"):
            shelf.pull("whisper-mine", [INT8])

    def test_a_model_of_ones_own_whose_checkpoint_nobody_noted_says_so(self, shelf: WhisperStore, mine: Path) -> None:
        record = shelf.find("mine").folder / "whisper.json"
        fields = json.loads(record.read_text("utf-8"))
        del fields["checkpoint"]  # as versions before this wrote it
        record.write_text(json.dumps(fields), "utf-8")
        with pytest.raises(ModelMissing, match="Nobody has noted the checkpoint that whisper-mine was made of"):
            shelf.pull("whisper-mine", [INT8])

    def test_what_is_not_here_names_no_command_that_cannot_work(self, shelf: WhisperStore) -> None:
        with pytest.raises(ModelMissing, match=r"models pull CHECKPOINT\.pt'"):
            shelf.find("whisper-mine")
        with pytest.raises(ModelMissing, match=r"models pull whisper-tiny\.en'"):
            shelf.find("tiny.en")


class TestKeeping:
    def test_verification_finds_the_file_that_was_changed(self, shelf: WhisperStore) -> None:
        files = shelf.pull("whisper-tiny.en", [INT8])
        path = files.graphs(INT8)[0]
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        assert [name for name, is_ok in shelf.verify("whisper-tiny.en").items() if not is_ok] == ["encoder.int8.onnx"]

    def test_a_file_of_another_size_is_not_loaded(self, shelf: WhisperStore) -> None:
        files = shelf.pull("whisper-tiny.en", [INT8])
        files.graphs(INT8)[1].write_bytes(b"short")
        with pytest.raises(ModelCorrupt, match=r"has 5 bytes.*models pull whisper-tiny.en"):
            shelf.find("tiny.en").graphs(INT8)
        assert not shelf.is_complete("tiny.en", [INT8])

    def test_removal_tells_what_it_freed_and_leaves_nothing(self, shelf: WhisperStore) -> None:
        size = shelf.pull("whisper-tiny.en", [INT8]).size
        assert shelf.remove("whisper-tiny.en") > size
        assert shelf.names() == []
        assert not (shelf.root / "whisper-tiny.en").exists()
        assert shelf.remove("whisper-tiny.en") == 0

    def test_removal_does_not_touch_what_is_not_ours(self, shelf: WhisperStore) -> None:
        folder = shelf.pull("whisper-tiny.en", [INT8]).folder
        (folder / "notes.txt").write_text("mine")
        shelf.remove("tiny.en")
        assert [path.name for path in folder.iterdir()] == ["notes.txt"]

    @pytest.mark.parametrize("record", ["", "{", "[]", '{"version": 99}', '{"version": 1}'])
    def test_a_record_that_cannot_be_read_says_what_to_do(self, shelf: WhisperStore, record: str) -> None:
        folder = shelf.pull("whisper-tiny.en", [INT8]).folder
        (folder / "whisper.json").write_text(record)
        with pytest.raises(ModelCorrupt, match=r"cannot be used.*models pull whisper-tiny.en"):
            shelf.find("tiny.en")
        shelf.pull("whisper-tiny.en", [INT8])
        assert shelf.find("tiny.en").precisions == (INT8,)


@pytest.mark.parametrize(
    ("wanted", "ours"),
    [
        ("whisper-tiny.en", True),
        ("whisper-of-mine", True),
        ("weights/some.pt", True),
        ("whisper-vocabulary", False),
        ("moonshine-tiny-en", False),
    ],
)
def test_knows_which_names_mean_a_whisper(shelf: WhisperStore, wanted: str, ours: bool) -> None:
    assert shelf.is_ours(wanted) is ours


@pytest.mark.parametrize("name", ["large", "whisper-large", "large-v3", "whisper-large-v3"])
def test_a_whisper_goes_by_several_names(name: str) -> None:
    assert published(name).name == "large-v3"
