"""``alfred-voice models`` as a person sees it."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from alfred_voice.commands import models as command
from alfred_voice.errors import ModelFetchFailed
from alfred_voice.models.catalog import Catalogue, Model, ModelFile
from alfred_voice.models.progress import Progress
from alfred_voice.models.shelf import Shelf
from alfred_voice.models.store import Store
from alfred_voice.models.whisper_catalog import PUBLISHED
from alfred_voice.models.whisper_files import WhisperFiles
from tests.models.whisper_models import ENGLISH


def entry(model_id: str, content: bytes, *, is_default: bool = True) -> Model:
    file = ModelFile("weights", len(content), hashlib.sha256(content).hexdigest(), ())
    return Model(model_id, "1", f"The {model_id} model", "MIT", 12, (file,), is_default)


EAR, TONGUE, EXTRA = b"e" * 2_000_000, b"t" * 1_000, b"x"
CATALOGUE = Catalogue((entry("ear", EAR), entry("tongue", TONGUE), entry("extra", EXTRA, is_default=False)))
CONTENTS = {"ear": EAR, "tongue": TONGUE, "extra": EXTRA}


class Shop:
    """The command on a folder of its own, and a network that delivers at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pulled: list[str] = []
        self.failure: BaseException | None = None

    def run(self, *words: str) -> int:
        parser = argparse.ArgumentParser()
        command.add_parser(parser.add_subparsers())
        args = parser.parse_args(["models", *words])
        args.loaded = SimpleNamespace(config=SimpleNamespace(models=SimpleNamespace(cache_dir=str(self.root))))
        return command.run(args)

    def put(self, model: str, content: bytes) -> None:
        (self.root / model).mkdir(parents=True, exist_ok=True)
        (self.root / model / "weights").write_bytes(content)

    def pull(self, store: Store, *models: str, progress: Progress) -> None:
        if self.failure:
            progress.update("ear/weights", 1, len(EAR))
            raise self.failure
        for model in models:
            self.put(model, CONTENTS[model])
            progress.update(f"{model}/weights", len(CONTENTS[model]), len(CONTENTS[model]))
            self.pulled.append(model)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop(tmp_path / "models")
    monkeypatch.setattr(command, "Store", lambda root: Store(root, CATALOGUE))
    monkeypatch.setattr(Store, "pull", lambda store, *models, progress: shop.pull(store, *models, progress=progress))
    return shop


def settle(shop: Shop, *models: str) -> None:
    """Make models complete: there, and recorded as verified."""
    for model in models:
        shop.put(model, CONTENTS[model])
        found = CATALOGUE.model(model)
        Shelf(shop.root).confirm(found, found.files[0])


def make_whisper(shop: Shop) -> Path:
    """A Whisper whose graphs are a few letters, made of a checkpoint that lay elsewhere; its folder."""
    folder = shop.root / "whisper-mine"
    folder.mkdir(parents=True)
    contents = {f"{part}.{kind}.onnx": b"weights" for kind in ("int8", "float32") for part in ("encoder", "decoder")}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()}
    WhisperFiles(folder, "mine", ENGLISH, (), (), "ab", files, {}, "/far/mine.pt").write_record()
    return folder


def test_the_list_tells_state_size_and_licence_of_every_model(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settle(shop, "ear")
    shop.put("tongue", TONGUE)
    assert shop.run("list") == 0
    sizes = ", ".join(one.name for one in PUBLISHED)
    assert capsys.readouterr().out.splitlines() == [
        "ID      VERSION  LICENCE  SIZE    MEMORY  STATE               WHAT IT IS",
        "ear     1        MIT      2.0 MB  12 MB   complete            The ear model",
        "tongue  1        MIT      0.0 MB  12 MB   not verified        The tongue model",
        "extra   1        MIT      0.0 MB  12 MB   absent, on request  The extra model",
        "",
        f"More with 'alfred-voice models pull whisper-SIZE'; SIZE is one of {sizes}.",
        f"Folder: {shop.root}",
    ]


def test_the_path_is_printed_alone(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.run("path") == 0
    assert capsys.readouterr().out == f"{shop.root}\n"


def test_the_configured_folder_outweighs_the_environment(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALFRED_MODELS", str(tmp_path / "elsewhere"))
    shop.run("path")
    assert capsys.readouterr().out == f"{shop.root}\n"


def test_a_pull_fetches_the_default_models_that_are_missing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settle(shop, "ear")
    assert shop.run("pull") == 0
    assert shop.pulled == ["tongue"]
    out, err = capsys.readouterr()
    assert out == f"Complete in {shop.root}: ear, tongue\n"
    assert err.splitlines() == [f"Fetching tongue into {shop.root}", "tongue/weights: 0.0 MB"]


def test_a_pull_of_named_models_fetches_only_these(shop: Shop) -> None:
    assert shop.run("pull", "extra", "tongue") == 0
    assert shop.pulled == ["extra", "tongue"]


@pytest.mark.parametrize(("flags", "says"), [([], True), (["--quiet-if-complete"], False)])
def test_a_pull_of_nothing_can_be_silent(
    shop: Shop, capsys: pytest.CaptureFixture[str], flags: list[str], says: bool
) -> None:
    settle(shop, "ear", "tongue")
    assert shop.run("pull", *flags) == 0
    assert shop.pulled == []
    out, err = capsys.readouterr()
    assert bool(out) == says
    assert err == ""


def test_a_pull_that_fails_tells_why_and_exits_1(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.failure = ModelFetchFailed("Could not fetch ear/weights.")
    assert shop.run("pull") == 1
    assert capsys.readouterr().err.endswith("error: Could not fetch ear/weights.\n")


def test_an_interrupted_pull_says_that_nothing_is_lost_and_exits_130(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.failure = KeyboardInterrupt()
    assert shop.run("pull") == 130
    assert "Interrupted; what has come so far is kept" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["pull", "verify", "remove"])
def test_an_unknown_model_is_an_error_that_names_the_known_ones(
    shop: Shop, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    assert shop.run(action, "nose") == 1
    assert "error: There is no model 'nose' in the catalogue; there are ear, tongue" in capsys.readouterr().err


def test_verification_of_good_models_exits_0(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settle(shop, "ear", "tongue")
    assert shop.run("verify") == 0
    assert capsys.readouterr().out.splitlines() == ["ear/weights     ok", "tongue/weights  ok"]


def test_verification_shows_both_hashes_of_a_bad_file_and_exits_1(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(shop, "ear", "tongue")
    shop.put("tongue", TONGUE.upper())
    assert shop.run("verify") == 1
    out, err = capsys.readouterr()
    assert "tongue/weights  wrong hash" in out
    assert hashlib.sha256(TONGUE).hexdigest() in out
    assert hashlib.sha256(TONGUE.upper()).hexdigest() in out
    assert "alfred-voice models pull tongue" in err


def test_a_pull_by_hand_mends_what_was_damaged_in_its_size(shop: Shop) -> None:
    settle(shop, "ear", "tongue")
    shop.put("tongue", TONGUE.upper())
    assert shop.run("pull", "--quiet-if-complete") == 0
    assert shop.pulled == []
    assert shop.run("pull") == 0
    assert shop.pulled == ["tongue"]


def test_verification_of_nothing_named_is_of_all_that_is_here(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settle(shop, "ear", "tongue", "extra")
    make_whisper(shop)
    assert shop.run("verify") == 0
    assert sorted(line.split()[0] for line in capsys.readouterr().out.splitlines()) == [
        "ear/weights", "extra/weights", "tongue/weights",
        "whisper-mine/decoder.float32.onnx", "whisper-mine/decoder.int8.onnx",
        "whisper-mine/encoder.float32.onnx", "whisper-mine/encoder.int8.onnx",
    ]  # fmt: skip


def test_a_damaged_whisper_is_mended_by_its_checkpoint(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settle(shop, "ear", "tongue")
    (make_whisper(shop) / "encoder.int8.onnx").write_bytes(b"damaged")
    assert shop.run("verify") == 1
    out, err = capsys.readouterr()
    assert "whisper-mine/encoder.int8.onnx     not what was made" in out
    assert err.endswith("Mend with: alfred-voice models pull /far/mine.pt\n")


def test_a_whisper_without_a_readable_record_does_not_end_verification(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(shop, "ear", "tongue")
    (make_whisper(shop) / "whisper.json").write_text("{", "utf-8")
    assert shop.run("verify") == 1
    assert "whisper.json cannot be used" in capsys.readouterr().out
    assert shop.run("list") == 0
    assert "damaged; see 'models verify whisper-mine'" in capsys.readouterr().out


def test_the_list_tells_a_precision_whose_files_are_missing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_whisper(shop)
    assert shop.run("list") == 0
    assert " float32, int8 " in capsys.readouterr().out
    (folder / "decoder.float32.onnx").unlink()
    assert shop.run("list") == 0
    assert " (float32 is damaged), int8 " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tiny", "base.en", "turbo"])
def test_a_whisper_without_its_prefix_is_recognised(shop: Shop, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert shop.run("pull", name) == 1
    assert f"did you mean whisper-{name}?" in capsys.readouterr().err


def test_removal_tells_what_it_freed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    settle(shop, "ear")
    assert shop.run("remove", "ear", "tongue") == 0
    assert capsys.readouterr().out.splitlines() == ["ear: 2.0 MB freed", "tongue: was not here"]
    assert not (shop.root / "ear").exists()


@pytest.mark.parametrize("words", [["models"], ["models", "remove"], ["models", "fetch"]])
def test_a_wrong_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(words)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
