from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from alfred_voice.config import Config, Loaded, load, misnamed, reference, room_titles
from alfred_voice.errors import ConfigError


# The table of keys that clients and operators may rely on.
PROMISED = {
    "server.host": "127.0.0.1",
    "server.port": 8015,
    "sessions.max_concurrent": 512,
    "sessions.max_duration_s": 3600,
    "sessions.idle_timeout_s": 120,
    "sessions.cleanup_interval_s": 30,
    "pipeline.queue_frames": 500,
    "pipeline.max_batch": 64,
    "pipeline.batch_deadline_ms": 10,
    "pipeline.frame_target_ms": 10,
    "backpressure.threshold": 0.8,
    "backpressure.recovery": 0.6,
    "memory.limit_mb": 300,
    "memory.gc_trigger_mb": 250,
    "vad.threshold": 0.5,
    "vad.min_speech_ms": 96,
    "vad.min_silence_ms": 200,
    "vad.pre_roll_ms": 300,
    "vad.endpoint_ms": 600,
    "stt.engine": "moonshine",
    "stt.partial_interval_ms": 200,
    "stt.language": "en",
    "turn.engine": "smart_turn",
    "turn.threshold": 0.5,
    "turn.silence_ms": 200,
    "turn.max_silence_ms": 2000,
    "tts.engine": "espeak",
    "tts.voice": "en-us",
    "tts.speed": 1.0,
    "interruption.enabled": True,
    "interruption.min_speech_ms": 100,
}
ALERTS = {
    "alerts.frame_time_ms": 20,
    "alerts.memory_mb": 300,
    "alerts.load_percent": 80,
    "alerts.error_rate_percent": 5,
    "alerts.queued_frames": 100,
}


def load_text(folder: Path, text: str) -> Loaded:
    path = folder / "alfred.yaml"
    path.write_text(text, "utf-8")
    return load(file=path)


def problems_of(folder: Path, text: str) -> list[str]:
    """The lines of the error that a file gives, with the folder cut away."""
    with pytest.raises(ConfigError) as refused:
        load_text(folder, text)
    lines = str(refused.value).replace(f"{folder}{os.sep}", "").splitlines()
    return [line.removeprefix("- ") for line in lines if not line.endswith("settings are wrong:")]


# Defaults


@pytest.mark.parametrize(("path", "value"), (PROMISED | ALERTS).items(), ids=lambda value: str(value))
def test_the_promised_defaults_hold(path: str, value: object) -> None:
    assert load().value(path) == value


def test_without_layers_everything_is_the_default() -> None:
    loaded = load()

    assert loaded.config == Config()
    assert set(loaded.origins) == {key.path for key in reference()}
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.changed() == []


def test_the_tree_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().config.server.port = 1  # type: ignore[misc]


def test_the_rooms_are_those_of_the_design() -> None:
    assert list(room_titles()) == [
        "server", "security", "webrtc", "sessions", "pipeline", "backpressure", "memory", "alerts",
        "vad", "stt", "turn", "tts", "interruption", "recording", "log", "tracing", "models",
        "whisper", "openai", "post_processing",
    ]  # fmt: skip
    assert all(title.endswith(".") for title in room_titles().values())


# Precedence


def test_each_layer_wins_over_the_one_before_it(tmp_path: Path) -> None:
    file = tmp_path / "alfred.yaml"
    environ = {"ALFRED_STT__PARTIAL_INTERVAL_MS": "501"}

    file.write_text("stt:\n  partial_interval_ms: 401\n")
    layers: list[tuple[Loaded, int, str]] = [
        (load(), 200, "default"),
        (load(preset="low_latency"), 120, "preset low_latency"),
        (load(preset="low_latency", file=file), 401, f"file {file}"),
        (load(preset="low_latency", file=file, environ=environ), 501, "environment ALFRED_STT__PARTIAL_INTERVAL_MS"),
        (
            load(preset="low_latency", file=file, environ=environ, sets=["stt.partial_interval_ms=601"]),
            601,
            "--set",
        ),
    ]

    for loaded, value, origin in layers:
        assert loaded.config.stt.partial_interval_ms == value
        assert loaded.origins["stt.partial_interval_ms"] == origin


def test_a_layer_leaves_the_keys_it_does_not_name(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "tts:\n  speed: 2\nserver: {port: 0}\n")

    assert loaded.config.tts.speed == 2.0
    assert isinstance(loaded.config.tts.speed, float)
    assert loaded.changed() == ["server.port", "tts.speed"]
    assert dataclasses.replace(loaded.config.tts, speed=1.0) == Config().tts


def test_a_key_set_to_its_default_is_still_known_to_be_set() -> None:
    assert load(sets=["server.port=8015"]).origins["server.port"] == "--set"


def test_the_last_of_two_sets_wins() -> None:
    assert load(sets=["server.port=1", "server.port=2"]).config.server.port == 2


def test_a_set_value_may_hold_equals_signs_and_spaces() -> None:
    assert load(sets=["log.file=/a b/c=d.log"]).config.log.file == "/a b/c=d.log"


# Environment and command line


def test_other_variables_are_left_alone() -> None:
    environ = {"ALFRED_MODELS": "/models", "ALFRED_": "", "PATH": "/bin", "MY_ALFRED_STT__X": "1", "STT__ENGINE": "x"}

    assert load(environ=environ).changed() == []


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("ALFRED_STT__ENGIN", "stt.engin: unknown key; did you mean stt.engine?"),
        (
            "ALFRED_SST__ENGINE",
            "sst.engine: unknown key; did you mean vad.engine or stt.engine or turn.engine or tts.engine?",
        ),
        ("ALFRED_FOO__BAR", "foo.bar: unknown key; there are alerts, backpressure,"),
        ("ALFRED_SESSIONS__", "sessions.: unknown key; sessions has max_concurrent, max_duration_s,"),
        ("ALFRED_STT__ENGINE__NAME", "stt.engine__name: unknown key; "),
        ("ALFRED___PORT", ".port: unknown key; did you mean server.port?"),
    ],
)
def test_a_variable_that_names_no_key_is_refused(variable: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(environ={variable: "x"})

    assert str(refused.value).startswith(problem)
    assert str(refused.value).endswith(f"(environment {variable})")


@pytest.mark.parametrize("word", ["", "none", "NULL"])
def test_an_optional_key_can_be_emptied_again(word: str) -> None:
    loaded = load(environ={"ALFRED_LOG__FILE": "a.log"}, sets=[f"log.file={word}"])

    assert loaded.config.log.file is None
    assert loaded.origins["log.file"] == "--set"


@pytest.mark.parametrize("setting", ["", "x", "stt", "stt.engine", "=1", "port=1", "stt=moonshine"])
def test_a_set_that_is_not_a_key_and_a_value_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(sets=[setting])

    assert str(refused.value) == f"--set: expected room.key=value, got {setting!r}"


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("stt.engin", "stt.engine"),
        ("server.prot", "server.port"),
        ("vad.min_silence", "vad.min_silence_ms"),
        ("stt.silence_ms", "turn.silence_ms"),
        ("sever.port", "server.port"),
        ("sesions.max_concurent", "sessions.max_concurrent"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(path: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"^{path}: unknown key; did you mean {nearest}\\?"):
        load(sets=[f"{path}=1"])


def test_an_unknown_room_comes_with_the_nearest_known_one(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "sever: {port: 1}") == [
        "sever: unknown room; did you mean server? (file alfred.yaml, line 1)"
    ]
    assert problems_of(tmp_path, "port: 1") == [
        "port: unknown room; did you mean server.port? (file alfred.yaml, line 1)"
    ]


# Rules between keys


@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        (["vad.negative_threshold=0.5"], "vad: negative_threshold (0.5) must be below threshold (0.5) "),
        (["vad.min_silence_ms=601"], "vad: min_silence_ms (601) must not be above endpoint_ms (600) "),
        (["stt.tail_ms=97"], "stt: tail_ms (97) must not be above speculate_ms (96) "),
        (["turn.silence_ms=2001"], "turn: silence_ms (2001) must not be above max_silence_ms (2000) "),
        (["memory.limit_mb=249"], "memory: gc_trigger_mb (250) must not be above limit_mb (249) "),
        (["backpressure.recovery=0.8"], "backpressure: recovery (0.8) must be below threshold (0.8) "),
    ],
)
def test_keys_that_bound_each_other_are_checked(sets: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(sets=sets)

    assert str(refused.value).startswith(problem)
    assert "--set" in str(refused.value)
    assert "default" in str(refused.value)


@pytest.mark.parametrize(
    "sets",
    [
        ["vad.negative_threshold=0.49"],
        ["vad.min_silence_ms=600"],
        ["stt.tail_ms=32", "stt.speculate_ms=32"],
        ["turn.silence_ms=2000"],
        ["memory.limit_mb=250"],
        ["backpressure.recovery=0.79"],
    ],
)
def test_keys_at_each_others_bound_are_fine(sets: list[str]) -> None:
    assert len(load(sets=sets).changed()) == len(sets)


def test_a_rule_is_judged_on_all_layers_together(tmp_path: Path) -> None:
    file = tmp_path / "alfred.yaml"
    file.write_text("memory:\n  limit_mb: 200\n")

    assert load(file=file, sets=["memory.gc_trigger_mb=150"]).config.memory.limit_mb == 200
    with pytest.raises(ConfigError) as refused:
        load(file=file)
    assert str(refused.value).endswith(f"(limit_mb: file {file}, gc_trigger_mb: default)")


# All at once


def test_all_mistakes_of_all_layers_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "alfred.yaml"
    file.write_text("stt:\n  engin: x\n  language: no\nvad: []\nmemory:\n  limit_mb: 100\n")

    with pytest.raises(ConfigError) as refused:
        load(preset="fast", file=file, environ={"ALFRED_TTS__SPEED": "9"}, sets=["turn", "turn.threshold=2"])

    first, *rest = str(refused.value).splitlines()
    assert first == "8 settings are wrong:"
    assert [line.split(":")[0] for line in rest] == [
        "- preset",
        "- stt.engin",
        "- stt.language",
        "- vad",
        "- tts.speed",
        "- --set",
        "- turn.threshold",
        "- memory",
    ]


def test_a_rule_is_not_judged_where_a_value_is_already_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        load(sets=["memory.limit_mb=100", "memory.gc_trigger_mb=lots"])

    assert str(refused.value) == ("memory.gc_trigger_mb: expected a whole number (50 to 1048576), got 'lots' (--set)")


def test_a_wrong_value_is_told_even_when_a_later_layer_overrides_it() -> None:
    with pytest.raises(ConfigError, match=r"tts\.speed"):
        load(environ={"ALFRED_TTS__SPEED": "fast"}, sets=["tts.speed=1"])


def test_a_variable_that_all_but_names_a_key_is_told_and_others_are_not() -> None:
    environ = {"ALFRED_STT_LANGUAGE": "de", "ALFRED_STT__ENGINE": "x", "ALFRED_MODELS": "y", "STT_LANGUAGE": "z",
               "alfred_tts_voice": "1"}  # fmt: skip
    assert misnamed(environ) == [
        "the environment variable ALFRED_STT_LANGUAGE is not read; did you mean ALFRED_STT__LANGUAGE?",
        "the environment variable alfred_tts_voice is not read; did you mean ALFRED_TTS__VOICE?",
    ]
