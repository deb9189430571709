"""What is in the store, and that a pull brings it there whatever goes wrong on the way."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.errors import ModelCorrupt, ModelFetchFailed, ModelMissing
from alfred_voice.models.catalog import Address, Catalogue, Member, Package
from alfred_voice.models.store import FileState, Store
from tests.models.stored import DECODER, ENCODER, PACKAGE


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, whoever turns to the network fails the test."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("alfred_voice.models.fetch.download_file", refuse)
    monkeypatch.setattr("alfred_voice.models.fetch.download_package", refuse)


# What is here


def test_a_missing_file_is_named_with_the_command_that_fetches_it(make: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.model("m", make.file("f", b"1")),)))
    with pytest.raises(ModelMissing) as caught:
        store.path("m", "f")
    assert "m/f is not in the model folder" in str(caught.value)
    assert str(root) in str(caught.value)
    assert "'alfred-voice models pull m'" in str(caught.value)


def test_the_path_of_a_file_is_its_models_folder_and_its_name(make: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.model("m", make.file("f", b"1")),)))
    (root / "m").mkdir(parents=True)
    (root / "m" / "f").write_bytes(b"1")
    assert store.path("m", "f") == root / "m" / "f"


def test_a_truncated_file_is_corrupt_and_not_handed_out(make: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.model("m", make.file("f", b"12")),)))
    (root / "m").mkdir(parents=True)
    (root / "m" / "f").write_bytes(b"1")
    with pytest.raises(ModelCorrupt, match=r"has 1 bytes, but the catalogue says 2\..*models pull m"):
        store.path("m", "f")


@pytest.mark.parametrize(("model", "file"), [("n", "f"), ("m", "g")])
def test_what_the_catalogue_does_not_know_is_missing(make: Any, root: Path, model: str, file: str) -> None:
    store = Store(root, Catalogue((make.model("m", make.file("f", b"1")),)))
    with pytest.raises(ModelMissing):
        store.path(model, file)


def test_nothing_is_complete_in_a_folder_that_does_not_exist(make: Any, root: Path) -> None:
    catalogue = Catalogue((make.model("m", make.file("f", b"1")), make.model("x", is_default=False)))
    store = Store(root, catalogue)
    assert store.missing() == ("m",)
    assert not store.is_complete("m")
    assert store.remove("m") == 0
    assert not root.exists()


def test_looking_reads_no_weights(make: Any, web: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER}),)))
    store.pull()

    def refuse(*args: object) -> None:
        raise AssertionError("a file was hashed")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    monkeypatch.setattr(hashlib, "sha256", refuse)
    assert store.is_complete("m")
    assert store.missing() == ()


# Pulling


def test_a_pull_from_a_package_takes_each_file_and_throws_the_archive_away(
    make: Any, wheelhouse: Any, watcher: Any, root: Path
) -> None:
    contents = {"encoder": ENCODER, "decoder": DECODER}
    wheelhouse.add(PACKAGE, {f"data/{name}": content for name, content in contents.items()} | {"data/other": b"?"})
    store = Store(root, Catalogue((make.in_package(PACKAGE, "m", contents),)))
    store.pull(progress=watcher)
    assert store.path("m", "encoder").read_bytes() == ENCODER
    assert store.path("m", "decoder").read_bytes() == DECODER
    assert store.is_complete("m")
    assert watcher.completed() == ["tiny-model 1.2", "m/encoder", "m/decoder"]
    assert list((root / ".downloads").iterdir()) == []
    assert sorted(path.name for path in (root / "m").iterdir()) == [".verified.json", "decoder", "encoder"]


def test_one_archive_serves_all_models_that_it_holds(make: Any, wheelhouse: Any, watcher: Any, root: Path) -> None:
    other = Package("other-model", "1", 10_000)
    wheelhouse.add(PACKAGE, {"data/f": ENCODER, "data/h": DECODER})
    wheelhouse.add(other, {"data/g": b"g"})
    store = Store(
        root,
        Catalogue(
            (
                make.in_package(PACKAGE, "m", {"f": ENCODER}),
                make.in_package(other, "n", {"g": b"g"}),
                make.in_package(PACKAGE, "o", {"h": DECODER}),
            )
        ),
    )
    store.pull(progress=watcher)
    assert [item for item in watcher.completed() if " " in item] == ["other-model 1", "tiny-model 1.2"]
    assert store.missing() == ()


def test_a_pull_from_an_address_leaves_no_part_behind(make: Any, web: Any, watcher: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER, "g": DECODER}),)))
    store.pull(progress=watcher)
    assert store.path("m", "f").read_bytes() == ENCODER
    assert watcher.completed() == ["m/f", "m/f", "m/g", "m/g"]
    assert list((root / ".downloads").iterdir()) == []


def test_a_second_pull_uses_no_network_and_takes_no_lock(
    make: Any, web: Any, watcher: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER}),)))
    store.pull()
    offline(monkeypatch)
    (root / ".lock").unlink()
    store.pull(progress=watcher)
    assert watcher.updates == []
    assert not (root / ".lock").exists()


def test_models_that_are_not_default_come_only_when_named(make: Any, web: Any, root: Path) -> None:
    default = make.on_web(web, "m", {"f": ENCODER})
    extra = make.model("x", make.file("f", b"x", Address(web.url("x"))), is_default=False)
    web.files["x"] = b"x"
    store = Store(root, Catalogue((default, extra)))
    store.pull()
    assert not store.is_complete("x")
    store.pull("x")
    assert store.is_complete("x")


def test_an_unknown_model_is_refused_before_anything_is_fetched(make: Any, web: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER}),)))
    with pytest.raises(ModelMissing, match="no model 'n'"):
        store.pull("m", "n")
    assert web.requests == []


def test_a_copied_folder_without_its_record_is_hashed_and_not_fetched(
    make: Any, web: Any, watcher: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER, "g": DECODER}),)))
    store.pull()
    (root / "m" / ".verified.json").unlink()
    assert not store.is_complete("m")
    assert store.state("m").files_present == 2
    offline(monkeypatch)
    store.pull(progress=watcher)
    assert store.is_complete("m")
    assert watcher.completed() == ["m/f", "m/g"]


def test_only_what_is_missing_is_fetched(make: Any, web: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER, "g": DECODER}),)))
    store.pull()
    (root / "m" / "g").unlink()
    web.requests.clear()
    store.pull()
    assert web.requests == [("m/g", None)]


def test_a_newer_catalogue_replaces_the_file_of_the_older_one(make: Any, web: Any, root: Path) -> None:
    Store(root, Catalogue((make.on_web(web, "m", {"f": b"old"}),))).pull()
    newer = Store(root, Catalogue((make.on_web(web, "m", {"f": b"new"}),)))
    assert newer.missing() == ("m",)
    newer.pull()
    assert newer.path("m", "f").read_bytes() == b"new"


def test_the_next_source_is_asked_when_one_fails(make: Any, web: Any, wheelhouse: Any, root: Path) -> None:
    web.files["good"] = ENCODER
    file = make.file("f", ENCODER, Member(PACKAGE, "data/f"), Address(web.url("absent")), Address(web.url("good")))
    store = Store(root, Catalogue((make.model("m", file),)))
    store.pull()
    assert store.is_complete("m")
    assert [name for name, _ in web.requests] == ["absent", "good"]


def test_the_next_source_is_asked_when_one_delivers_another_file(make: Any, web: Any, root: Path) -> None:
    web.files["bad"], web.files["good"] = ENCODER[::-1], ENCODER
    file = make.file("f", ENCODER, Address(web.url("bad")), Address(web.url("good")))
    store = Store(root, Catalogue((make.model("m", file),)))
    store.pull()
    assert store.path("m", "f").read_bytes() == ENCODER


# Verifying and removing


def test_verification_finds_what_sizes_cannot_show_and_a_pull_mends_it(make: Any, web: Any, root: Path) -> None:
    store = Store(root, Catalogue((make.on_web(web, "m", {"f": ENCODER, "g": DECODER}),)))
    store.pull()
    assert store.verify("m").is_ok
    (root / "m" / "g").write_bytes(DECODER[::-1])
    assert store.is_complete("m")
    report = store.verify("m")
    assert not report.is_ok
    assert [found.state for found in report.files] == [FileState.OK, FileState.WRONG_HASH]
    assert report.files[1].sha256 == hashlib.sha256(DECODER[::-1]).hexdigest()
    assert not store.is_complete("m")
    web.requests.clear()
    store.pull()
    assert [name for name, _ in web.requests] == ["m/g"]
    assert store.verify("m").is_ok


def test_verification_of_nothing_finds_every_file_absent(make: Any, root: Path) -> None:
    report = Store(root, Catalogue((make.model("m", make.file("f", b"1")),))).verify("m")
    assert [found.state for found in report.files] == [FileState.ABSENT]
    assert not root.exists()


def test_removal_frees_the_bytes_of_one_model_only(make: Any, web: Any, root: Path) -> None:
    catalogue = Catalogue((make.on_web(web, "m", {"f": ENCODER}), make.on_web(web, "n", {"f": DECODER})))
    store = Store(root, catalogue)
    store.pull()
    assert store.remove("m") == len(ENCODER)
    assert not (root / "m").exists()
    assert store.missing() == ("m",)


# The real thing


@pytest.mark.models
def test_the_default_models_have_the_hashes_of_the_catalogue(models: Store) -> None:
    for model in models.catalogue.defaults():
        assert models.verify(model).is_ok


# What is made of the files


def derived_model(make: Any, store_of: dict[str, bytes], made: list[str], *, fails: bool = False) -> Any:
    """A model of which something is made; ``made`` notes each time."""
    from dataclasses import replace

    from alfred_voice.models.derived import Derived

    def bake(source: Path, target: Path) -> None:
        made.append(source.name)
        if fails:
            raise OSError(errno.EROFS, "Read-only file system", str(target))
        (target / "bread").write_bytes((source / "flour").read_bytes() * 2)

    model = make.model("m", *(make.file(name, content) for name, content in store_of.items()))
    return replace(model, derived=Derived("1", ("flour",), ("bread",), bake))


def test_a_pull_makes_what_is_made_of_the_files(make: Any, root: Path, watcher: Any) -> None:
    made: list[str] = []
    store = Store(root, Catalogue((derived_model(make, {"flour": b"flour"}, made),)))
    (root / "m").mkdir(parents=True)
    (root / "m" / "flour").write_bytes(b"flour")
    assert store.missing() == ("m",)
    store.pull(progress=watcher)
    assert (root / "m" / "bread").read_bytes() == b"flourflour"
    assert store.missing() == ()
    assert any("Preparing m" in note for note in watcher.notes)
    store.pull()
    assert made == ["m"]


def test_complete_files_of_which_nothing_is_made_yet_are_complete_but_wanted(make: Any, root: Path) -> None:
    store = Store(root, Catalogue((derived_model(make, {"flour": b"flour"}, []),)))
    (root / "m").mkdir(parents=True)
    (root / "m" / "flour").write_bytes(b"flour")
    store.pull()
    (root / "m" / "bread").unlink()
    assert store.is_complete("m")
    assert store.missing() == ("m",)
    assert store.verify("m").files[-1].state is FileState.ABSENT


def test_verification_hashes_what_was_made_and_a_pull_mends_it(make: Any, root: Path) -> None:
    store = Store(root, Catalogue((derived_model(make, {"flour": b"flour"}, []),)))
    (root / "m").mkdir(parents=True)
    (root / "m" / "flour").write_bytes(b"flour")
    assert [found.file.name for found in store.verify("m").files] == ["flour"]
    store.pull()
    report = store.verify("m")
    assert [found.file.name for found in report.files] == ["flour", "bread"]
    assert report.is_ok
    (root / "m" / "bread").write_bytes(b"flourstone")
    report = store.verify("m")
    assert not report.is_ok
    assert report.files[-1].state is FileState.WRONG_HASH
    store.pull()
    assert store.verify("m").is_ok


def test_what_was_made_goes_with_the_model(make: Any, root: Path) -> None:
    store = Store(root, Catalogue((derived_model(make, {"flour": b"flour"}, []),)))
    (root / "m").mkdir(parents=True)
    (root / "m" / "flour").write_bytes(b"flour")
    store.pull()
    assert store.remove("m") == 15
    assert not (root / "m").exists()


def test_a_folder_that_cannot_be_changed_says_what_to_do(make: Any, root: Path) -> None:
    store = Store(root, Catalogue((derived_model(make, {"flour": b"flour"}, [], fails=True),)))
    (root / "m").mkdir(parents=True)
    (root / "m" / "flour").write_bytes(b"flour")
    with pytest.raises(ModelFetchFailed, match="ALFRED_MODELS"):
        store.pull()
    assert store.is_complete("m")
