"""The command line as a whole; each command has tests of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alfred_voice import __version__
from alfred_voice.cli import COMMANDS, main, make_parser


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ALFRED_") and "__" in name:
            monkeypatch.delenv(name)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])

    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"alfred-voice {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])

    assert stopped.value.code == 0
    assert f"alfred-voice {command}" in capsys.readouterr().out


def test_a_call_without_a_command_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])

    assert stopped.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_global_options_are_taken_before_and_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", "tts.voice=de", "config", "show", "--changed"]) == 0
    before = capsys.readouterr().out
    assert main(["config", "--set", "tts.voice=de", "show", "--changed"]) == 0
    after = capsys.readouterr().out

    assert "voice: de" in before
    assert before == after


def test_global_options_are_taken_after_the_action_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--changed", "--set", "tts.voice=de"]) == 0
    assert "voice: de" in capsys.readouterr().out

    assert main(["models", "path", "--set", f"models.cache_dir={tmp_path}"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"


def test_settings_in_several_places_add_up_and_the_last_one_wins(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", "stt.language=fr", "--set", "tts.voice=fr", "config", "--set", "tts.voice=de", "show"]

    assert main([*words, "--changed", "--set", "tts.speed=1.5"]) == 0
    shown = capsys.readouterr().out
    assert "language: fr" in shown
    assert "voice: de" in shown
    assert "speed: 1.5" in shown


def test_options_before_the_command_are_not_lost_when_others_follow_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--preset", "low_latency", "config", "--set", "tts.voice=de", "show", "--changed"]) == 0

    shown = capsys.readouterr().out
    assert "preset low_latency" in shown
    assert "voice: de" in shown


def test_a_wrong_setting_is_a_usage_error_that_names_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", "stt.engin=whisper", "config", "show"]) == 2

    message = capsys.readouterr().err
    assert "stt.engin" in message
    assert "did you mean stt.engine" in message
    assert "Traceback" not in message


def test_a_missing_file_is_a_usage_error_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "absent.yaml"), "config", "show"]) == 2

    assert "absent.yaml" in capsys.readouterr().err


def test_the_parser_knows_each_command_once() -> None:
    assert len(set(COMMANDS)) == len(COMMANDS)
    assert make_parser().parse_args(["serve", "--port", "9000"]).port == 9000


def test_the_module_is_the_console_script() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "alfred_voice", "--version"], capture_output=True, text=True, timeout=60, check=True
    )

    assert result.stdout == f"alfred-voice {__version__}\n"


def test_a_command_does_not_import_what_only_others_need() -> None:
    script = (
        "import sys; from alfred_voice.cli import main; main(['config', 'presets']);"
        "print(sorted({'aiohttp', 'av', 'numpy', 'onnxruntime', 'soxr'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.splitlines()[-1] == "[]"


def test_a_value_that_is_the_name_of_another_command_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--set", "models.cache_dir=say", "show", "--changed"]) == 0
    assert "cache_dir: say" in capsys.readouterr().out

    assert main(["--preset", "models", "config", "show"]) == 2
    assert "unknown preset" in capsys.readouterr().err


def test_output_into_a_closed_pipe_is_no_crash() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "alfred_voice", "config", "reference"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        assert b"Traceback" not in process.stderr.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("words", [("config", "reference"), ("models", "path")])
def test_output_to_a_full_disk_is_a_sentence(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(
            [sys.executable, "-m", "alfred_voice", *words], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert found.returncode == 1
    assert found.stderr == b"error: standard output cannot be written: No space left on device\n"
