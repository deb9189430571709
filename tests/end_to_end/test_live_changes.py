"""Settings and models that change in a running daemon, by the command, over HTTP and by SIGHUP."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.event_loop import run_to_end
from tests.sounds import Int16
from tests.support import Daemon, check_session, clean_environment, running_daemon, stream, words


def settings_of(daemon: Daemon) -> dict[str, Any]:
    with urllib.request.urlopen(f"{daemon.base}/config", timeout=5) as answer:  # noqa: S310 - our own address
        told: dict[str, Any] = json.load(answer)
        return told


def value_of(daemon: Daemon, path: str) -> Any:
    return settings_of(daemon)["keys"][path]["value"]


def command(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alfred_voice", "config", *arguments, "--daemon", daemon.base],
        capture_output=True, text=True, timeout=60, check=False, env=clean_environment(),
    )  # fmt: skip


def wait_for(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("setting", "lane"), [("stt.final_model=moonshine", "stt")])
def test_a_session_speaks_across_a_change_of_models_and_its_transcript_is_complete(
    start_daemon: Any, reading: Int16, reading_text: str, setting: str, lane: str
) -> None:
    async def speak_and_change(daemon: Daemon) -> Any:
        speaking = asyncio.ensure_future(stream(daemon.ws, reading, tail_s=1.0))
        await asyncio.sleep(3.0)
        changed = await asyncio.to_thread(command, daemon, "set", setting)
        assert changed.returncode == 0, changed.stderr
        assert "stt.final_model: null -> moonshine" in changed.stdout
        assert not speaking.done(), "the change came when all had been said"
        return await speaking

    with start_daemon() as daemon:
        heard = run_to_end(speak_and_change(daemon))
        assert settings_of(daemon)["swap"]["state"] == "done"
        log = daemon.log_tail(10_000)

    check_session(heard)
    assert words(heard.text) == words(reading_text)
    assert f"engine_replaced lane={lane}" in log


def test_a_hangup_reads_files_and_keys_again_and_a_broken_file_changes_nothing(models: Any, tmp_path: Path) -> None:
    file = tmp_path / "alfred.yaml"
    file.write_text("vad: {threshold: 0.4}\n")
    with running_daemon(tmp_path, "--config", str(file), "--set", "turn.threshold=0.6") as daemon:
        file.write_text("vad: {threshold: 0.45}\nserver: {heartbeat_s: 9}\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: value_of(daemon, "vad.threshold") == 0.45)
        assert value_of(daemon, "turn.threshold") == 0.6
        assert value_of(daemon, "server.heartbeat_s") == 25.0

        file.write_text("vad: {threshold: 45}\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "config_not_reloaded" in daemon.log_tail())
        assert value_of(daemon, "vad.threshold") == 0.45
        log = daemon.log_tail()

    assert 'restart_needed keys=["server.heartbeat_s"]' in log
    assert "keys_reloaded" not in log, "there are none"
    assert log.count("key=vad.threshold old=0.4 new=0.45") == 1


def test_the_command_shows_what_is_set_and_tells_what_is_refused(start_daemon: Any) -> None:
    with start_daemon("--set", "tts.voice=en-gb") as daemon:
        assert "voice: en-gb" in command(daemon, "show", "--changed").stdout
        told = json.loads(command(daemon, "show", "--json").stdout)
        assert told["keys"]["tts.voice"]["origin"] == "--set"

        refused = command(daemon, "set", "vad.threshold=0.6", "server.port=1")
        assert refused.returncode == 2
        assert "server.port: cannot change while the daemon runs" in refused.stderr
        wrong = command(daemon, "set", "vad.threshold=loud")
        assert wrong.returncode == 2
        assert "vad.threshold: expected a number (0 to 1), got 'loud'" in wrong.stderr
        missing = command(daemon, "set", "stt.engine=whisper")
        assert missing.returncode == 2
        assert "whisper-base" in missing.stderr
        assert value_of(daemon, "vad.threshold") == 0.5
        assert value_of(daemon, "stt.engine") == "moonshine"
