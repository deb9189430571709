"""Pulls that are broken off, fail, find no space, or meet each other."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.errors import ModelCorrupt, ModelFetchFailed
from alfred_voice.models.catalog import Address, Catalogue, Member, Package
from alfred_voice.models.store import Store
from tests.models.stored import DECODER, ENCODER, PACKAGE


def test_a_broken_pull_goes_on_where_it_stopped(make: Any, web: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": DECODER, "g": ENCODER}),)))
    web.break_after = 100_000
    web.knows_ranges = False
    with pytest.raises(ModelFetchFailed):
        store.pull()
    assert store.state("m").files_present == 1
    web.break_after = None
    web.knows_ranges = True
    web.requests.clear()
    store.pull()
    assert web.requests == [("m/g", "bytes=100000-")]
    assert store.path("m", "g").read_bytes() == ENCODER


def test_parts_of_two_different_files_are_noticed_and_the_file_is_fetched_afresh(
    make: Any, web: Any, root: Path
) -> None:
    model = make.on_web(web, "m", {"f": ENCODER})
    part = root / ".downloads" / f".{model.files[0].sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 1000)
    store = Store(root, Catalogue((model,)))
    store.pull()
    assert store.path("m", "f").read_bytes() == ENCODER
    assert web.requests == [("m/f", "bytes=1000-"), ("m/f", None)]


class Interrupting:
    """Presses Ctrl-C when an item is complete."""

    def __init__(self, item: str) -> None:
        self._item = item

    def update(self, item: str, done: int, total: int) -> None:
        if item == self._item and done == total:
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        raise AssertionError(message)


@pytest.mark.parametrize("item", ["tiny-model 1.2", "m/f"])
def test_an_archive_is_kept_until_all_that_is_wanted_has_been_taken(
    make: Any, wheelhouse: Any, watcher: Any, root: Path, item: str
) -> None:
    wheel = wheelhouse.add(PACKAGE, {"data/f": ENCODER, "data/g": DECODER})
    store = Store(root, Catalogue((make.in_package(PACKAGE, "m", {"f": ENCODER, "g": DECODER}),)))
    with pytest.raises(KeyboardInterrupt):
        store.pull(progress=Interrupting(item))
    wheel.unlink()  # nothing to fetch it from any more
    store.pull(progress=watcher)
    assert store.is_complete("m")
    assert "tiny-model 1.2" not in watcher.completed()
    assert list((root / ".downloads").iterdir()) == []


@pytest.mark.parametrize("damage", ["not an archive", "cut short", "a bit turned", "a member missing"])
def test_a_bad_archive_of_an_earlier_pull_is_replaced(
    make: Any, wheelhouse: Any, root: Path, tmp_path: Path, damage: str
) -> None:
    wheel = wheelhouse.add(PACKAGE, {"data/f": ENCODER})
    kept = root / ".downloads" / PACKAGE.archive_name
    kept.parent.mkdir(parents=True)
    whole = wheel.read_bytes()
    match damage:
        case "not an archive":
            kept.write_bytes(b"<html>")
        case "cut short":
            kept.write_bytes(whole[:-30])
        case "a bit turned":
            kept.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        case _:
            with zipfile.ZipFile(kept, "w") as opened:
                opened.writestr("data/g", b"")
    store = Store(root, Catalogue((make.in_package(PACKAGE, "m", {"f": ENCODER}),)))
    store.pull()
    assert store.path("m", "f").read_bytes() == ENCODER


# What is said when it fails


def test_a_wrong_file_in_a_package_is_corrupt_and_not_kept(make: Any, wheelhouse: Any, root: Path) -> None:
    wheelhouse.add(PACKAGE, {"data/f": DECODER})
    store = Store(root, Catalogue((make.in_package(PACKAGE, "m", {"f": ENCODER}),)))
    with pytest.raises(ModelCorrupt) as caught:
        store.pull()
    assert "m/f" in str(caught.value)
    assert hashlib.sha256(ENCODER).hexdigest() in str(caught.value)
    assert hashlib.sha256(DECODER).hexdigest() in str(caught.value)
    assert list((root / ".downloads").iterdir()) == []
    assert not store.is_complete("m")


def test_a_package_without_the_file_is_corrupt(make: Any, wheelhouse: Any, root: Path) -> None:
    wheelhouse.add(PACKAGE, {"data/g": DECODER})
    store = Store(root, Catalogue((make.in_package(PACKAGE, "m", {"f": ENCODER}),)))
    with pytest.raises(ModelCorrupt, match=r"archive of tiny-model 1\.2 is damaged or lacks data/f"):
        store.pull()


def test_without_a_network_the_error_names_the_file_what_was_tried_and_what_to_do(
    make: Any, web: Any, wheelhouse: Any, root: Path
) -> None:
    url = web.url("f")
    web.close()
    file = make.file("f", ENCODER, Member(PACKAGE, "data/f"), Address(url))
    with pytest.raises(ModelFetchFailed) as caught:
        Store(root, Catalogue((make.model("m", file),))).pull()
    message = str(caught.value)
    assert message.startswith("Could not fetch m/f. Tried:\n  package tiny-model 1.2: ")
    assert "No matching distribution found" in message
    assert f"{url}: no connection" in message
    for hint in ("HTTPS_PROXY", "PIP_INDEX_URL", str(root), "ALFRED_MODELS", "alfred-voice models pull"):
        assert hint in message


def test_a_file_without_a_source_cannot_be_fetched(make: Any, root: Path) -> None:
    with pytest.raises(ModelFetchFailed, match="no source is known"):
        Store(root, Catalogue((make.model("m", make.file("f", b"1")),))).pull()


DiskUsage = namedtuple("DiskUsage", "total used free")


def test_too_little_space_is_told_before_anything_is_fetched(
    make: Any, web: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**9, 10**9 - 10**5, 10**5))
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER}),)))
    with pytest.raises(ModelFetchFailed) as caught:
        store.pull()
    assert f"Not enough space in {root}: 0 MB are needed, 0 MB are free." in str(caught.value)
    assert web.requests == []


@pytest.mark.parametrize("spare", [-1, 0])
def test_the_space_for_the_largest_archive_is_counted_twice_and_only_while_it_is_needed(
    make: Any, wheelhouse: Any, root: Path, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    """pip holds an archive twice for a moment; archives come one after the other."""
    other = Package("other-model", "1", 7_000)
    wheelhouse.add(PACKAGE, {"data/f": ENCODER})
    wheelhouse.add(other, {"data/g": DECODER})
    needed = len(ENCODER) + len(DECODER) + 2 * PACKAGE.size
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**9, 0, needed + spare))
    store = Store(
        root,
        Catalogue((make.in_package(PACKAGE, "m", {"f": ENCODER}), make.in_package(other, "n", {"g": DECODER}))),
    )
    if spare < 0:
        with pytest.raises(ModelFetchFailed, match="Not enough space"):
            store.pull()
    else:
        store.pull()
        assert store.missing() == ()


def test_a_disk_that_becomes_full_is_told_and_leaves_no_half_file(
    make: Any, web: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = make.file("f", ENCODER, Address(web.url("m/f")), Address(web.url("mirror")))
    web.files["m/f"] = web.files["mirror"] = ENCODER
    store = Store(root, Catalogue((make.model("m", second),)))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ModelFetchFailed, match=r"The disk is full: no space in .* for m/f\. Make room"):
            store.pull()
    assert list((root / "m").iterdir()) == []
    assert [name for name, _ in web.requests] == ["m/f"]  # a mirror would not help
    store.pull()
    assert store.is_complete("m")
    assert [name for name, _ in web.requests] == ["m/f"]  # nor was it fetched twice


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_device_under_a_part_is_told(make: Any, web: Any, root: Path) -> None:
    model = make.on_web(web, "m", {"f": ENCODER})
    part = root / ".downloads" / f".{model.files[0].sha256}.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(ModelFetchFailed, match="The disk is full"):
        Store(root, Catalogue((model,))).pull()


def test_a_folder_that_cannot_be_made_is_told(make: Any, web: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    root = tmp_path / "file" / "models"
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER}),)))
    with pytest.raises(ModelFetchFailed, match=r"Cannot change the models in .*Not a directory"):
        store.pull()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(make: Any, web: Any, root: Path) -> None:
    root.mkdir()
    root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER}),)))
    with pytest.raises(ModelFetchFailed, match="Permission denied"):
        store.pull()


# Two at once


PULLER = """
    import json, sys
    from pathlib import Path
    from alfred_voice.models.catalog import Address, Catalogue, Model, ModelFile
    from alfred_voice.models.store import Store
    class Told:
        def update(self, item, done, total):
            if done == total:
                print("complete", item, flush=True)
        def note(self, message):
            print("note", message, flush=True)
    root, name, size, sha256, url = json.loads(sys.argv[1])
    model = Model("m", "1", "", "MIT", 0, (ModelFile(name, size, sha256, (Address(url),)),))
    Store(Path(root), Catalogue((model,))).pull(progress=Told())
    print("done", flush=True)
"""


def test_two_processes_that_pull_at_once_fetch_once_and_both_find_the_model(make: Any, web: Any, root: Path) -> None:
    """The web server holds its answer back until the second process has said that it waits."""
    model = make.on_web(web, "m", {"f": ENCODER})
    file = model.files[0]
    arguments = json.dumps([str(root), file.name, file.size, file.sha256, web.url("m/f")])
    command = [sys.executable, "-c", textwrap.dedent(PULLER), arguments]
    web.gate.clear()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert web.asked.wait(60)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            said = second.stdout.readline()
            assert said == f"note Another process is changing {root}; waiting for it to finish.\n"
            web.gate.set()
            assert second.stdout.read() == "done\n"
        assert first.stdout is not None
        assert first.stdout.read().endswith("done\n")
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(web.requests) == 1
    assert Store(root, Catalogue((model,))).verify("m").is_ok


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_pull_does_not_lock_the_others_out(make: Any, web: Any, root: Path) -> None:
    model = make.on_web(web, "m", {"f": ENCODER})
    file = model.files[0]
    arguments = json.dumps([str(root), file.name, file.size, file.sha256, web.url("m/f")])
    web.gate.clear()
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(PULLER), arguments]) as killed:
        assert web.asked.wait(60)
        killed.kill()
    web.gate.set()
    store = Store(root, Catalogue((model,)))
    store.pull()
    assert store.is_complete("m")
