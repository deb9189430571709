from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from alfred_voice.config import Config, load, presets
from alfred_voice.errors import ConfigError


ROOT = Path(__file__).parents[1]


def test_every_preset_loads_and_says_what_it_is_for() -> None:
    assert list(presets()) == ["default", "dictation", "low_latency", "small_machine", "telephony", "throughput"]
    for name, line in presets().items():
        load(preset=name)
        assert line.endswith(".")


@pytest.mark.parametrize("name", list(presets()))
def test_a_preset_sets_only_what_it_changes(name: str) -> None:
    loaded = load(preset=name)

    assert {loaded.origins[path] for path in loaded.changed()} <= {f"preset {name}"}
    assert [path for path in loaded.changed() if loaded.value(path) == load().value(path)] == []
    assert bool(loaded.changed()) == (name != "default")


def test_presets_lean_the_way_that_they_are_named() -> None:
    quick, many, usual = load(preset="low_latency").config, load(preset="throughput").config, Config()

    assert quick.stt.partial_interval_ms < usual.stt.partial_interval_ms < many.stt.partial_interval_ms
    assert quick.pipeline.batch_deadline_ms < usual.pipeline.batch_deadline_ms < many.pipeline.batch_deadline_ms
    assert quick.turn.max_silence_ms < usual.turn.max_silence_ms < load(preset="dictation").config.turn.max_silence_ms
    assert many.sessions.max_concurrent > usual.sessions.max_concurrent
    assert load(preset="small_machine").config.sessions.max_concurrent < usual.sessions.max_concurrent


@pytest.mark.parametrize("name", ["low-latency", "", "../default", "default.yaml", "nosuch"])
def test_an_unknown_preset_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ConfigError, match="there are default, dictation, low_latency"):
        load(preset=name)


def test_an_unknown_preset_comes_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'low-latency'; did you mean low_latency\?"):
        load(preset="low-latency")


def test_the_documents_name_every_preset() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")

    assert [name for name in presets() if f"| `{name}` |" not in text] == []
    assert {
        file.name for file in files("alfred_voice").joinpath("presets").iterdir() if not file.name.startswith(".")
    } == {f"{name}.yaml" for name in presets()}
