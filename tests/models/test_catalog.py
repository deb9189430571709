from __future__ import annotations

import hashlib

import pytest

from alfred_voice.errors import ModelMissing
from alfred_voice.models.catalog import CATALOG, Address, Catalogue, Member, Model, ModelFile, Package


HASH = hashlib.sha256(b"").hexdigest()


def test_set_up_fetches_detector_recogniser_and_turn_model() -> None:
    assert CATALOG.defaults() == ("silero-vad", "moonshine-tiny-en", "smart-turn-v3.2")


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("silero-vad", "silero_vad_op18_ifless.onnx"),
        ("silero-vad", "silero_vad_16k_op15.onnx"),
        ("moonshine-tiny-en", "encoder_model.ort"),
        ("moonshine-tiny-en", "decoder_model_merged.ort"),
        ("moonshine-tiny-en", "tokenizer.bin"),
        ("moonshine-tiny-en", "beckett.wav"),
        ("moonshine-tiny-en", "two_cities.wav"),
        ("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx"),
        ("references", "whisper_features.py"),
    ],
)
def test_every_file_that_engines_and_tests_ask_for_is_listed(model: str, file: str) -> None:
    assert CATALOG.model(model).file(file).name == file


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
def test_each_model_says_what_it_is_under_which_licence_and_whence_it_comes(model: Model) -> None:
    assert model.description
    assert model.licence in {"MIT", "BSD-2-Clause"}
    assert model.size == sum(file.size for file in model.files) > 0
    assert len({file.name for file in model.files}) == len(model.files)
    assert all(file.sources for file in model.files)


def test_files_of_one_package_version_agree_on_its_archive() -> None:
    packages: dict[str, Package] = {}
    for model in CATALOG.models:
        for source in (source for file in model.files for source in file.sources):
            assert isinstance(source, Member)
            assert packages.setdefault(source.package.archive_name, source.package) == source.package


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelMissing, match=r"no model 'silero'.*silero-vad, moonshine-tiny-en"):
        CATALOG.model("silero")


def test_an_unknown_file_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelMissing, match=r"silero-vad has no file 'vad\.onnx'; it has silero_vad_op18_ifless\.onnx"):
        CATALOG.model("silero-vad").file("vad.onnx")


def test_two_models_cannot_have_one_id() -> None:
    model = Model("twin", "1", "", "MIT", 0, ())
    with pytest.raises(ValueError, match="each id once"):
        Catalogue((model, model))


@pytest.mark.parametrize("name", ["../escape", "folder/file", "folder\\file", ".hidden", "", ".."])
def test_a_file_name_cannot_lead_out_of_its_folder_or_hide(name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        ModelFile(name, 1, HASH, ())


@pytest.mark.parametrize("sha256", ["", HASH[:-1], HASH.upper(), "g" * 64])
def test_a_hash_is_64_lower_case_hexadecimal_digits(sha256: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        ModelFile("file", 1, sha256, ())


@pytest.mark.parametrize("size", [0, -1])
def test_a_file_has_at_least_one_byte(size: int) -> None:
    with pytest.raises(ValueError, match="a size of file in bytes"):
        ModelFile("file", size, HASH, ())


@pytest.mark.parametrize("url", ["https://example.org/m", "http://127.0.0.1:8000/m", "http://localhost/m"])
def test_an_address_is_encrypted_or_on_this_machine(url: str) -> None:
    assert str(Address(url)) == url


@pytest.mark.parametrize(
    "url", ["http://example.org/m", "ftp://example.org/m", "file:///etc/passwd", "m", "http://localhost.example.org/"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="Expected an https address"):
        Address(url)
