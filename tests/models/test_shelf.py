"""Files on the disk: where the folder is, and that a file with its name is always whole."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.errors import ModelCorrupt, ModelFetchFailed
from alfred_voice.models.shelf import FileState, Shelf, Unwritable, models_folder


HOME = Path.home()


@pytest.mark.parametrize(
    ("setting", "environ", "platform", "expected"),
    [
        ("/set", {"ALFRED_MODELS": "/env", "XDG_CACHE_HOME": "/xdg"}, "linux", Path("/set")),
        (None, {"ALFRED_MODELS": "/env", "XDG_CACHE_HOME": "/xdg"}, "linux", Path("/env")),
        (None, {"XDG_CACHE_HOME": "/xdg"}, "linux", Path("/xdg/alfred-voice/models")),
        (None, {}, "linux", HOME / ".cache/alfred-voice/models"),
        (None, {"ALFRED_MODELS": "", "XDG_CACHE_HOME": ""}, "linux", HOME / ".cache/alfred-voice/models"),
        (None, {"XDG_CACHE_HOME": "/xdg"}, "darwin", HOME / "Library/Caches/alfred-voice/models"),
        (None, {"LOCALAPPDATA": "/local"}, "win32", Path("/local/alfred-voice/models")),
        (None, {}, "win32", HOME / "AppData/Local/alfred-voice/models"),
        ("~/models", {}, "linux", HOME / "models"),
        ("models", {}, "linux", Path.cwd() / "models"),
    ],
)
def test_the_folder_is_set_or_named_by_the_environment_or_in_the_users_cache(
    setting: str | None, environ: dict[str, str], platform: str, expected: Path
) -> None:
    assert models_folder(setting, environ, platform) == expected


def test_a_placed_file_is_there_under_its_name_alone(make: Any, tmp_path: Path) -> None:
    model = make.model("m", make.file("f", b"content"))
    shelf = Shelf(tmp_path)
    shelf.place(model, model.files[0], io.BytesIO(b"content"))
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["f"]
    assert shelf.path(model, model.files[0]).read_bytes() == b"content"


@pytest.mark.parametrize("content", [b"", b"contenT", b"content and more", b"conte"])
def test_wrong_content_never_gets_the_name(make: Any, tmp_path: Path, content: bytes) -> None:
    model = make.model("m", make.file("f", b"content"))
    with pytest.raises(ModelCorrupt) as caught:
        Shelf(tmp_path).place(model, model.files[0], io.BytesIO(content))
    assert list((tmp_path / "m").iterdir()) == []
    message = str(caught.value)
    assert "m/f" in message
    assert hashlib.sha256(b"content").hexdigest() in message
    assert hashlib.sha256(content).hexdigest() in message
    assert "alfred-voice models pull m" in message


def test_wrong_content_leaves_the_file_that_was_there(make: Any, tmp_path: Path) -> None:
    model = make.model("m", make.file("f", b"content"))
    shelf = Shelf(tmp_path)
    shelf.place(model, model.files[0], io.BytesIO(b"content"))
    with pytest.raises(ModelCorrupt):
        shelf.place(model, model.files[0], io.BytesIO(b"other"))
    assert shelf.examine(model, model.files[0]).state is FileState.OK


def test_a_file_is_flushed_to_the_disk_before_it_gets_its_name(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make.model("m", make.file("f", b"content"))
    steps = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("fsync")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    Shelf(tmp_path).place(model, model.files[0], io.BytesIO(b"content"))
    assert steps[:2] == ["fsync", "replace"]


@pytest.mark.parametrize(
    ("there", "state"),
    [
        (b"content", FileState.OK),
        (None, FileState.ABSENT),
        (b"conten", FileState.WRONG_SIZE),
        (b"", FileState.WRONG_SIZE),
        (b"contenT", FileState.WRONG_HASH),
    ],
)
def test_a_file_is_examined_by_size_and_hash(make: Any, tmp_path: Path, there: bytes | None, state: FileState) -> None:
    model = make.model("m", make.file("f", b"content"))
    if there is not None:
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "f").write_bytes(there)
    assert Shelf(tmp_path).examine(model, model.files[0]).state is state


def test_verified_means_the_right_size_and_a_record_of_this_very_hash(make: Any, tmp_path: Path) -> None:
    model = make.model("m", make.file("f", b"content"))
    newer = make.model("m", make.file("f", b"CONTENT"))
    shelf = Shelf(tmp_path)
    shelf.place(model, model.files[0], io.BytesIO(b"content"))
    assert not shelf.is_verified(model, model.files[0])
    shelf.confirm(model, model.files[0])
    assert shelf.is_verified(model, model.files[0])
    assert not shelf.is_verified(newer, newer.files[0])
    shelf.path(model, model.files[0]).write_bytes(b"conten")
    assert not shelf.is_verified(model, model.files[0])


def test_confirming_one_file_keeps_what_is_known_of_the_others(make: Any, tmp_path: Path) -> None:
    model = make.model("m", make.file("f", b"1"), make.file("g", b"2"))
    shelf = Shelf(tmp_path)
    for file, content in zip(model.files, (b"1", b"2"), strict=True):
        shelf.place(model, file, io.BytesIO(content))
        shelf.confirm(model, file)
    assert all(shelf.is_verified(model, file) for file in model.files)
    shelf.doubt(model)
    assert not any(shelf.is_verified(model, file) for file in model.files)


@pytest.mark.parametrize("stamp", ["", "{", "[]", "null", '"f"', json.dumps({"f": 1})])
def test_an_unusable_record_counts_as_none(make: Any, tmp_path: Path, stamp: str) -> None:
    model = make.model("m", make.file("f", b"content"))
    shelf = Shelf(tmp_path)
    shelf.place(model, model.files[0], io.BytesIO(b"content"))
    (tmp_path / "m" / ".verified.json").write_text(stamp)
    assert not shelf.is_verified(model, model.files[0])
    shelf.confirm(model, model.files[0])
    assert shelf.is_verified(model, model.files[0])


def test_removal_touches_only_what_the_catalogue_names(make: Any, tmp_path: Path) -> None:
    model = make.model("m", make.file("f", b"content"))
    shelf = Shelf(tmp_path)
    shelf.place(model, model.files[0], io.BytesIO(b"content"))
    shelf.confirm(model, model.files[0])
    (tmp_path / "m" / "diary").write_text("mine")
    assert shelf.remove(model) == len(b"content")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["diary"]
    (tmp_path / "m" / "diary").unlink()
    assert shelf.remove(model) == 0
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full: no space in {root} for m/f"),
        (errno.EACCES, "Cannot change m/f in {root}: Permission denied"),
        (errno.EROFS, "Cannot change m/f in {root}: Read-only file system"),
    ],
)
def test_the_file_systems_refusals_name_the_file_the_folder_and_the_way_out(
    tmp_path: Path, number: int, words: str
) -> None:
    with (
        pytest.raises(Unwritable) as caught,
        Shelf(tmp_path).translated("m/f"),
    ):
        raise OSError(number, os.strerror(number))
    assert words.format(root=tmp_path) in str(caught.value)
    assert "ALFRED_MODELS or --set models.cache_dir=" in str(caught.value)
    assert isinstance(caught.value, ModelFetchFailed)


def test_what_a_killed_pip_left_behind_is_swept_away(watcher: Any, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    (shelf.downloads / "pip-abc" / "tmp").mkdir(parents=True)
    (shelf.downloads / "pip-abc" / "tmp" / "half").write_bytes(b"?")
    (shelf.downloads / "kept-1.zip").write_bytes(b"!")
    with shelf.locked(watcher):
        assert [path.name for path in shelf.downloads.iterdir()] == ["kept-1.zip"]
    assert watcher.notes == []
