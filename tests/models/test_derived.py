"""What is made of a model's files: when, from what, and what happens when something is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from alfred_voice.models.derived import RECORD_NAME, Derived


class Kitchen:
    """Makes one file out of two, and counts how often."""

    def __init__(self) -> None:
        self.made = 0
        self.fails = False

    def make(self, source: Path, target: Path) -> None:
        self.made += 1
        (target / "soup").write_bytes((source / "water").read_bytes() + (source / "salt").read_bytes())
        if self.fails:
            raise OSError("the pot fell down")

    def derived(self, version: str = "1") -> Derived:
        return Derived(version, ("water", "salt"), ("soup",), self.make)


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "water").write_bytes(b"water")
    (tmp_path / "salt").write_bytes(b"salt")
    return tmp_path


def test_it_is_made_once(kitchen: Kitchen, folder: Path) -> None:
    assert not kitchen.derived().is_ready(folder)
    assert kitchen.derived().prepare(folder)
    assert kitchen.derived().is_ready(folder)
    assert not kitchen.derived().prepare(folder)
    assert kitchen.made == 1
    assert (folder / "soup").read_bytes() == b"watersalt"


def test_nothing_else_is_left_behind(kitchen: Kitchen, folder: Path) -> None:
    kitchen.derived().prepare(folder)
    assert {path.name for path in folder.iterdir()} == {"water", "salt", "soup", RECORD_NAME}


def test_another_version_makes_it_anew(kitchen: Kitchen, folder: Path) -> None:
    kitchen.derived().prepare(folder)
    assert not kitchen.derived("2").is_ready(folder)
    assert kitchen.derived("2").prepare(folder)
    assert kitchen.made == 2


@pytest.mark.parametrize("content", [b"sand", b"much more salt"], ids=["same size", "other size"])
def test_another_source_makes_it_anew(kitchen: Kitchen, folder: Path, content: bytes) -> None:
    kitchen.derived().prepare(folder)
    (folder / "salt").write_bytes(content)
    os.utime(folder / "salt", ns=(1, 1))
    assert not kitchen.derived().is_ready(folder)
    kitchen.derived().prepare(folder)
    assert (folder / "soup").read_bytes() == b"water" + content


def test_the_same_source_copied_anew_does_not(kitchen: Kitchen, folder: Path) -> None:
    kitchen.derived().prepare(folder)
    os.utime(folder / "salt", ns=(1, 1))
    assert kitchen.derived().is_ready(folder)


def test_a_missing_source_is_not_ready(kitchen: Kitchen, folder: Path) -> None:
    kitchen.derived().prepare(folder)
    (folder / "salt").unlink()
    assert not kitchen.derived().is_ready(folder)


@pytest.mark.parametrize("content", [None, b"watersal", b""])
def test_a_result_that_is_gone_or_cut_is_made_anew(kitchen: Kitchen, folder: Path, content: bytes | None) -> None:
    kitchen.derived().prepare(folder)
    (folder / "soup").unlink()
    if content is not None:
        (folder / "soup").write_bytes(content)
    assert kitchen.derived().prepare(folder)
    assert (folder / "soup").read_bytes() == b"watersalt"


@pytest.mark.parametrize(
    "record", ["", "{", "[]", "3", '{"version": "1"}', '{"version": "1", "sources": 3, "results": {"soup": 4}}']
)
def test_a_record_that_makes_no_sense_counts_as_none(kitchen: Kitchen, folder: Path, record: str) -> None:
    kitchen.derived().prepare(folder)
    (folder / RECORD_NAME).write_text(record)
    assert not kitchen.derived().is_ready(folder)
    assert kitchen.derived().expected(folder) == {}
    assert kitchen.derived().prepare(folder)


def test_a_failure_leaves_what_was_there(kitchen: Kitchen, folder: Path) -> None:
    kitchen.derived().prepare(folder)
    before = sorted(path.name for path in folder.iterdir())
    kitchen.fails = True
    with pytest.raises(OSError, match="pot"):
        kitchen.derived("2").prepare(folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert kitchen.derived().is_ready(folder)


def test_the_record_tells_size_and_hash(kitchen: Kitchen, folder: Path) -> None:
    kitchen.derived().prepare(folder)
    size, sha256 = kitchen.derived().expected(folder)["soup"]
    assert size == 9
    # printf watersalt | sha256sum
    assert sha256 == "3577d7dd462818bb4c7e397de20011d2a4b9b2482373df1a251409fb6125b081"
    assert json.loads((folder / RECORD_NAME).read_text())["sources"]["salt"]["size"] == 4


def test_it_can_be_read_where_nothing_can_be_written(
    kitchen: Kitchen, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Derived, place: Path) -> bool:
        raise PermissionError(13, "Read-only file system")

    monkeypatch.setattr(Derived, "prepare", refuse)
    with kitchen.derived().opened(folder) as place:
        assert place != folder
        assert (place / "soup").read_bytes() == b"watersalt"
    assert not place.exists()
    assert not (folder / "soup").exists()


def test_it_is_read_where_it_lies(kitchen: Kitchen, folder: Path) -> None:
    with kitchen.derived().opened(folder) as place:
        assert place == folder
    assert kitchen.derived().is_ready(folder)


def test_a_reader_that_fails_is_not_taken_for_a_folder_that_does(kitchen: Kitchen, folder: Path) -> None:
    with pytest.raises(OSError, match="mine"), kitchen.derived().opened(folder):
        raise OSError("mine")
    assert kitchen.made == 1


def test_what_is_removed_is_gone_and_counted(kitchen: Kitchen, folder: Path) -> None:
    assert kitchen.derived().remove(folder) == 0
    kitchen.derived().prepare(folder)
    assert kitchen.derived().remove(folder) == 9
    assert {path.name for path in folder.iterdir()} == {"water", "salt"}
