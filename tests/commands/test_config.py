from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest

from alfred_voice.commands.config import (
    TABLE_BEGIN,
    add_parser,
    reference_env,
    reference_markdown,
    run,
    show_json,
    show_yaml,
)
from alfred_voice.commands.config_live import read_settings
from alfred_voice.config import Config, Loaded, load, presets, reference
from alfred_voice.errors import ConfigError


def run_command(words: list[str], loaded: Loaded | None = None) -> int:
    """The command as the console script runs it."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["config", *words])
    args.loaded = loaded
    code = args.run(args)
    assert args.run is run
    return int(code)


def test_show_prints_every_value_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(preset="low_latency", environ={"ALFRED_SERVER__PORT": "9000"}, sets=["tts.voice=de"])

    assert run_command(["show"], loaded) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "port: 9000 # environment ALFRED_SERVER__PORT" in lines
    assert "voice: de # --set" in lines
    assert "partial_interval_ms: 120 # preset low_latency" in lines
    assert "host: 127.0.0.1 # default" in lines
    assert len(lines) == len(reference()) + len(fields(Config))  # a line for each key and each room


def test_what_show_prints_is_a_file_that_gives_the_same_configuration(tmp_path: Path) -> None:
    loaded = load(
        preset="telephony",
        sets=["log.file=/var/log/a b: #1.log", "stt.language=no", "vad.negative_threshold=0.3", "tts.voice='\"\\"],
    )
    path = tmp_path / "shown.yaml"
    path.write_text(show_yaml(loaded), "utf-8")

    assert load(file=path).config == loaded.config


def test_show_changed_leaves_out_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(sets=["turn.silence_ms=300", "server.port=8015"])

    run_command(["show", "--changed"], loaded)

    assert capsys.readouterr().out == "server:\n  port: 8015  # --set\nturn:\n  silence_ms: 300  # --set\n"


def test_show_changed_says_so_when_nothing_is_set(tmp_path: Path) -> None:
    text = show_yaml(load(), changed_only=True)

    assert text == "# nothing is set: every value is the default\n"
    (tmp_path / "nothing.yaml").write_text(text)
    assert load(file=tmp_path / "nothing.yaml").changed() == []


def test_show_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(sets=["tts.speed=1.5", "interruption.enabled=off"])

    run_command(["show", "--json"], loaded)

    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["tts"]["speed"] == 1.5
    assert shown["config"]["interruption"]["enabled"] is False
    assert shown["config"]["log"]["file"] is None
    assert shown["origins"] == loaded.origins
    assert sum(len(room) for room in shown["config"].values()) == len(reference())


def test_show_json_changed_leaves_out_the_defaults() -> None:
    assert json.loads(show_json(load(sets=["tts.speed=1.5"]), changed_only=True)) == {
        "config": {"tts": {"speed": 1.5}},
        "origins": {"tts.speed": "--set"},
    }
    assert json.loads(show_json(load(), changed_only=True)) == {"config": {}, "origins": {}}


def test_reference_prints_a_row_for_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["reference"]) == 0

    text = capsys.readouterr().out
    assert text.strip() == reference_markdown().strip()
    row = "| `vad.threshold` | number | `0.5` | 0 to 1 | new sessions | probability from which a window is speech |"
    assert row in text
    assert "| `log.file` | text or null | `null` | not empty |  | log file beside the console; null for none |" in text
    for key in reference():
        assert text.count(f"| `{key.path}` |") == 1


def test_every_row_of_the_reference_has_six_cells() -> None:
    rows = [line for line in reference_markdown().splitlines() if line.startswith("|")]

    assert {row.replace("\\|", "").count("|") for row in rows} == {7}


def test_reference_env_prints_a_commented_line_for_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["reference", "--env"]) == 0

    text = capsys.readouterr().out
    assert text == reference_env()
    assert "#ALFRED_STT__ENGINE=moonshine\n" in text
    assert "#ALFRED_INTERRUPTION__ENABLED=true\n" in text
    assert "#ALFRED_LOG__FILE=\n" in text
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == []
    for key in reference():
        assert text.count(f"#{key.variable}=") == 1


def test_reference_into_replaces_what_follows_the_marker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "configuration.md"
    document.write_text(f"# Prose\n\n{TABLE_BEGIN}\n\nan old table\n", "utf-8")

    assert run_command(["reference", "--into", str(document)]) == 0
    once = document.read_text("utf-8")
    run_command(["reference", "--into", str(document)])

    assert once == f"# Prose\n\n{TABLE_BEGIN}\n\n{reference_markdown()}"
    assert document.read_text("utf-8") == once
    assert f"{document}: {len(reference())} keys\n" in capsys.readouterr().out


def test_reference_into_refuses_a_document_without_the_marker(tmp_path: Path) -> None:
    document = tmp_path / "other.md"
    document.write_text("# Something else\n")

    with pytest.raises(ConfigError, match="expected the line <!--"):
        run_command(["reference", "--into", str(document)])

    assert document.read_text() == "# Something else\n"


def test_reference_into_names_a_document_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.md: cannot be rewritten: No such file"):
        run_command(["reference", "--into", str(tmp_path / "gone.md")])


def test_presets_lists_each_with_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["presets"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[name, text] for name, text in presets().items()]


@pytest.mark.parametrize("words", [[], ["nosuch"], ["reference", "--env", "--into", "x"]])
def test_a_wrong_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(words)

    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


SECRET = "https://hooks.example/k3y"  # noqa: S105  made up


@pytest.mark.parametrize("words", [["show"], ["show", "--json"], ["show", "--changed"]])
def test_a_secret_is_not_shown_only_that_it_is_there(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    loaded = load(environ={"ALFRED_ALERTS__WEBHOOK_URL": SECRET})
    assert loaded.config.alerts.webhook_url == SECRET

    assert run_command(words, loaded) == 0

    shown = capsys.readouterr().out
    assert "k3y" not in shown
    assert "(secret)" in shown


def test_what_stands_for_a_secret_is_not_taken_for_one() -> None:
    shown = show_yaml(load(sets=[f"alerts.webhook_url={SECRET}"]), changed_only=True)
    assert "(secret)" in shown
    with pytest.raises(ConfigError, match=r"alerts: webhook_url: expected an address"):
        load(sets=["alerts.webhook_url=(secret)"])


@pytest.mark.parametrize("url", ["ftp://k3y.example", "k3y", "k3y" * 1000])
def test_a_secret_that_is_wrong_is_not_shown_either(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(sets=[f"alerts.webhook_url={url}"])
    assert "k3y" not in str(caught.value)


def test_no_other_key_is_secret_and_none_has_a_default() -> None:
    secrets = [key for key in reference() if key.is_secret]
    assert [(key.path, key.default) for key in secrets] == [("alerts.webhook_url", None)]


def test_all_that_is_wrong_with_what_is_to_be_set_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        read_settings(["vad.threshold=1.5", "stt.foo=1", "nonsense", "stt.words=perhaps"])
    lines = str(refusal.value).splitlines()
    assert lines[0] == "4 settings are wrong:"
    assert lines[1].startswith("- vad.threshold: expected a number (0 to 1), got")
    assert lines[-1] == "- stt.foo: unknown key"
    assert read_settings(["stt.foo=1"]) == {"stt.foo": "1"}, "the daemon may know it"
