"""The workshop: names become engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from alfred_voice import config, workshop
from alfred_voice.config import Config
from alfred_voice.errors import ConfigError, ModelMissing
from alfred_voice.models.store import Store


SCRIPTED = ("vad.engine=scripted", "stt.engine=scripted", "turn.engine=scripted", "tts.engine=scripted")


def configured(*sets: str) -> Config:
    return config.load(environ={}, sets=sets).config


def test_scripted_engines_are_built_by_name_and_need_no_models(tmp_path: Path) -> None:
    engines = workshop.build_engines(configured(*SCRIPTED, "tts.voice=en-us"), Store(tmp_path))

    assert engines.names == dict.fromkeys(("vad", "stt", "turn", "tts"), "scripted")


def test_each_engine_can_be_built_anew_under_the_name_of_its_lane(tmp_path: Path) -> None:
    sets = [*SCRIPTED, "tts.voice=en-us", "stt.more_engines=scripted"]
    engines = workshop.build_engines(configured(*sets), Store(tmp_path))
    assert set(engines.builders) == {"vad", "stt", "turn", "tts"}

    builders = workshop.engine_builders(configured(*sets), Store(tmp_path), ("scripted",))
    assert set(builders) == {"vad", "stt", "stt-scripted", "turn", "tts"}
    built = {lane: build() for lane, build in builders.items()}
    assert [engine.name for engine in built.values()] == ["scripted"] * 5
    assert isinstance(built["stt-scripted"], type(engines.stt))
    assert built["stt"] is not engines.stt


def test_what_is_refused_is_refused_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(workshop, "build_vad", lambda _config, _store: loaded.append("vad"))

    with pytest.raises(ConfigError, match=r"stt\.more_engines"):
        workshop.build_engines(configured(*SCRIPTED, "stt.more_engines=kaldi"), Store(tmp_path))
    assert loaded == []


def test_a_device_that_is_missing_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workshop, "device_warning", lambda _config: "cuda cannot be used")
    workshop.build_engines(configured(*SCRIPTED, "tts.voice=en-us"), Store(tmp_path))
    (warning,) = [record for record in caplog.records if record.message == "device_missing"]
    assert warning.__dict__["reason"] == "cuda cannot be used"


@pytest.mark.models
def test_the_default_engines_are_the_real_ones(models: Store) -> None:
    engines = workshop.build_engines(configured(), models)

    assert engines.names == {"vad": "silero", "stt": "moonshine", "turn": "smart_turn", "tts": "espeak"}


@pytest.mark.parametrize("kind", ["vad", "stt", "turn", "tts"])
def test_an_unknown_engine_is_a_configuration_error_that_lists_the_known_ones(kind: str, tmp_path: Path) -> None:
    sets = [*SCRIPTED, f"{kind}.engine=nonesuch"]

    with pytest.raises(ConfigError, match=rf"{kind}\.engine: expected one of .*scripted, got 'nonesuch'"):
        workshop.build_engines(configured(*sets), Store(tmp_path))


def test_a_missing_model_is_named_together_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"silero.*models pull"):
        workshop.build_vad(configured(), Store(tmp_path))
