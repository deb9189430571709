"""The record of a Whisper in the store, and what is missing or wrong beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.whisper_files import (
    RECORD_NAME,
    VERSION,
    VOCABULARY_NAME,
    WhisperFiles,
    find_whisper,
    whisper_folder,
    whispers,
)
from alfred_voice.models.whisper_layers import Precision
from tests.models.whisper_models import ENGLISH, spellings, write_vocabulary


CONTENTS = {"decoder.int8.onnx": b"decoder", "encoder.int8.onnx": b"the encoder"}


@pytest.fixture
def files(tmp_path: Path) -> WhisperFiles:
    """A Whisper whose graphs are a few letters, and its record."""
    folder = whisper_folder(tmp_path, "tiny.en")
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    found = WhisperFiles(
        folder=folder,
        name="tiny.en",
        dimensions=ENGLISH,
        unspoken=(1, 2, 50258),
        blank=(220,),
        source="ab" * 32,
        files={name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()},
        parity={"int8": {"states": 0.01, "logits": 0.02}},
    )
    found.write_record()
    return found


def changed(found: WhisperFiles, **fields: Any) -> None:
    path = found.folder / RECORD_NAME
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")


class TestRecord:
    @pytest.mark.parametrize("name", ["tiny.en", "whisper-tiny.en"])
    def test_what_is_put_down_is_found_again(self, files: WhisperFiles, tmp_path: Path, name: str) -> None:
        assert find_whisper(tmp_path, name) == files
        assert sorted(path.name for path in files.folder.iterdir()) == sorted([*CONTENTS, RECORD_NAME])

    def test_none_is_missing_and_how_to_get_it_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ModelMissing, match=r"whisper-base is not in the model folder .*pull whisper-base"):
            find_whisper(tmp_path, "base")

    def test_another_version_is_to_be_made_anew(self, files: WhisperFiles, tmp_path: Path) -> None:
        changed(files, version=VERSION + 1)
        with pytest.raises(ModelCorrupt, match=f"version {VERSION + 1}, expected {VERSION}.*to make it again"):
            find_whisper(tmp_path, "tiny.en")

    @pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", json.dumps({"version": VERSION}), "\x00"])
    def test_what_cannot_be_read_is_told(self, files: WhisperFiles, tmp_path: Path, text: str) -> None:
        (files.folder / RECORD_NAME).write_text(text, "utf-8")
        with pytest.raises(ModelCorrupt, match=r"whisper\.json cannot be used"):
            find_whisper(tmp_path, "tiny.en")

    @pytest.mark.parametrize(
        "fields",
        [{"files": []}, {"files": {"a": [1]}}, {"files": {"a": None}}, {"dimensions": {}}, {"dimensions": 3},
         {"unspoken": 3}, {"blank": None}],
    )  # fmt: skip
    def test_other_forms_are_told(self, files: WhisperFiles, tmp_path: Path, fields: dict[str, Any]) -> None:
        changed(files, **fields)
        with pytest.raises(ModelCorrupt, match=r"whisper\.json cannot be used"):
            find_whisper(tmp_path, "tiny.en")

    def test_those_that_are_here_are_listed(self, files: WhisperFiles, tmp_path: Path) -> None:
        (tmp_path / "whisper-unfinished").mkdir()
        (tmp_path / "moonshine").mkdir()
        replace(files, folder=files.folder.rename(tmp_path / "whisper-own")).write_record()
        assert whispers(tmp_path) == ["own"]
        assert whispers(tmp_path / "nowhere") == []


class TestGraphs:
    def test_they_are_told_by_precision(self, files: WhisperFiles) -> None:
        assert files.precisions == (Precision.INT8,)
        encoder, decoder = files.graphs(Precision.INT8)
        assert encoder.read_bytes() == CONTENTS["encoder.int8.onnx"]
        assert decoder.read_bytes() == CONTENTS["decoder.int8.onnx"]
        assert files.size == sum(map(len, CONTENTS.values()))

    def test_another_precision_is_missing(self, files: WhisperFiles) -> None:
        with pytest.raises(ModelMissing, match=r"not here in float32\. .*--precision float32"):
            files.graphs(Precision.FLOAT32)

    def test_a_graph_that_is_gone_is_missing(self, files: WhisperFiles) -> None:
        (files.folder / "decoder.int8.onnx").unlink()
        with pytest.raises(ModelMissing, match="not here in int8"):
            files.graphs(Precision.INT8)

    def test_a_graph_of_another_size_is_corrupt(self, files: WhisperFiles) -> None:
        (files.folder / "decoder.int8.onnx").write_bytes(b"dec")
        with pytest.raises(ModelCorrupt, match=r"has 3 bytes, but 7 were written\. .*to make it again"):
            files.graphs(Precision.INT8)

    def test_an_examination_finds_what_has_changed(self, files: WhisperFiles) -> None:
        assert files.examine() == dict.fromkeys(CONTENTS, True)
        (files.folder / "encoder.int8.onnx").write_bytes(b"the encodes")
        (files.folder / "decoder.int8.onnx").unlink()
        assert files.examine() == dict.fromkeys(CONTENTS, False)

    def test_the_vocabulary_lies_beside_them(self, files: WhisperFiles) -> None:
        with pytest.raises(ModelMissing, match="No vocabulary at"):
            files.vocabulary()
        write_vocabulary(files.folder / VOCABULARY_NAME, spellings(400))
        assert files.vocabulary().text([300]) == spellings(400)[300].decode()
