"""Recordings from the store and from a folder with a manifest."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from alfred_voice.bench.recordings import SpokenWord, load_recordings
from alfred_voice.bench.words import words_of
from alfred_voice.errors import ConfigError, ModelMissing
from alfred_voice.models.store import Store


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def manifest(folder: Path, *files: object) -> Path:
    (folder / "manifest.json").write_text(json.dumps({"about": "trials", "files": files}), "utf-8")
    return folder


def test_a_folder_gives_its_recordings_in_the_manifests_order(tmp_path: Path) -> None:
    samples = np.arange(1600, dtype=np.int16)
    write_wav(tmp_path / "a.wav", samples)
    write_wav(tmp_path / "b.wav", -samples)
    folder = manifest(
        tmp_path,
        {"file": "b.wav", "text": "", "source": "a noise"},
        {"file": "a.wav", "text": "turn on", "words": [{"word": "turn", "start": 0.01, "end": 0.04}]},
    )

    noise, speech = load_recordings(Store(tmp_path / "none"), folder)

    assert (noise.name, noise.text, noise.words) == ("b.wav", "", ())
    assert (speech.name, speech.text, speech.words) == ("a.wav", "turn on", (SpokenWord("turn", 0.01, 0.04),))
    assert speech.samples.dtype == np.int16
    np.testing.assert_array_equal(speech.samples, samples)
    assert speech.seconds == 0.1


def test_a_recording_at_another_rate_comes_at_16_khz(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(44_100), 44_100)
    (recording,) = load_recordings(Store(tmp_path), manifest(tmp_path, {"file": "a.wav"}))
    assert recording.seconds == pytest.approx(1.0, abs=0.001)
    assert recording.text is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "expected recordings with a manifest.json"),
        ("{", "manifest.json"),
        ('{"files": [{"text": "no file"}]}', "required field `file`"),
        ('{"files": [{"file": "absent.wav"}]}', "absent.wav cannot be read"),
        ('{"files": [{"file": "manifest.json"}]}', "manifest.json"),
    ],
    ids=["no manifest", "no JSON", "no file name", "no such file", "no sound"],
)
def test_a_folder_that_cannot_be_used_is_a_configuration_error(content: str | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=told):
        load_recordings(Store(tmp_path), tmp_path)


def test_without_models_the_default_recordings_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        load_recordings(Store(tmp_path))


@pytest.mark.models
def test_the_default_recordings_have_a_text_where_it_is_free(models: Store) -> None:
    two_cities, beckett = load_recordings(models)
    assert (two_cities.name, beckett.name) == ("two_cities.wav", "beckett.wav")
    assert two_cities.seconds == pytest.approx(44.4, abs=0.1)
    assert len(words_of(two_cities.text or "")) == 119
    assert beckett.text is None
