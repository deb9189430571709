"""The composition root: options become a pipeline, a process becomes a daemon."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from alfred_voice import app, cli, config, workshop
from alfred_voice.clock import SystemClock
from alfred_voice.config import Config
from alfred_voice.models.store import Store


SCRIPTED = ("vad.engine=scripted", "stt.engine=scripted", "turn.engine=scripted", "tts.engine=scripted")


def configured(*sets: str) -> Config:
    return config.load(environ={}, sets=sets).config


def test_every_room_of_the_configuration_reaches_the_pipeline(tmp_path: Path) -> None:
    tree = configured(
        *SCRIPTED, "sessions.max_concurrent=3", "pipeline.max_batch=5", "backpressure.threshold=0.9",
        "memory.limit_mb=999", "alerts.memory_mb=7", "tts.max_chars=11", "vad.min_speech_ms=64",
        "stt.min_voiced_ms=33", "turn.recheck_ms=444", "interruption.enabled=false",
    )  # fmt: skip

    options = app.build_coordinator(tree, lambda: workshop.build_engines(tree, Store(tmp_path)), SystemClock()).options

    assert (options.sessions, options.pipeline, options.backpressure) == (
        tree.sessions,
        tree.pipeline,
        tree.backpressure,
    )
    assert (options.memory, options.alerts, options.tts) == (tree.memory, tree.alerts, tree.tts)
    session = options.session
    assert (session.vad, session.stt, session.turn, session.interruption) == (
        tree.vad, tree.stt, tree.turn, tree.interruption,
    )  # fmt: skip


class Daemon:
    """A daemon process on a free port, with scripted engines, its output in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.output = folder / "output"
        sets = [word for name in SCRIPTED for word in ("--set", name)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alfred_voice", "serve", "--port", str(self.port), *sets, *arguments],
                stdout=output, stderr=output, cwd=folder,
            )  # fmt: skip

    def status(self, path: str) -> int | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return None

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 60
        while self.status("/readyz") != 200:
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def wait(self) -> int:
        return self.process.wait(timeout=30)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[list[Daemon]]:
    started: list[Daemon] = []
    yield started
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_tells_its_address_and_ends_with_zero_on_a_signal(
    number: signal.Signals, tmp_path: Path, daemons: list[Daemon]
) -> None:
    daemon = Daemon(tmp_path)
    daemons.append(daemon)
    daemon.wait_ready()

    daemon.process.send_signal(number)

    assert daemon.wait() == 0
    printed = daemon.output.read_text()
    assert f"http://127.0.0.1:{daemon.port}/monitor" in printed
    assert "stopped" in printed
    assert "Traceback" not in printed


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's list of signals that wait")
def test_a_hangup_while_the_daemon_starts_waits_until_it_can_be_taken(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = Daemon(tmp_path)
    daemons.append(daemon)
    status, deadline = Path(f"/proc/{daemon.process.pid}/status"), time.monotonic() + 30
    while not int(status.read_text().partition("SigBlk:")[2].split()[0], 16) & 1:
        assert time.monotonic() < deadline
        time.sleep(0.001)

    daemon.process.send_signal(signal.SIGHUP)

    daemon.wait_ready()
    while "config_reloaded" not in daemon.output.read_text():
        assert time.monotonic() < deadline, daemon.output.read_text()
        time.sleep(0.01)
    daemon.process.terminate()
    assert daemon.wait() == 0


def test_a_port_in_use_ends_the_daemon_with_an_error_that_names_it(tmp_path: Path, daemons: list[Daemon]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path, "--port", str(port))
        daemons.append(daemon)

        assert daemon.wait() == 1

    printed = daemon.output.read_text()
    assert f"127.0.0.1:{port}" in printed
    assert "Traceback" not in printed


def test_missing_models_end_the_daemon_with_the_command_that_gets_them(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = Daemon(
        tmp_path, "--set", "vad.engine=silero", "--set", f"models.cache_dir={tmp_path / 'empty'}"
    )  # fmt: skip
    daemons.append(daemon)

    assert daemon.wait() == 1
    printed = daemon.output.read_text()
    assert "alfred-voice models pull" in printed
    assert "Traceback" not in printed


def test_the_log_goes_to_the_named_file_as_well(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = Daemon(tmp_path, "--log-file", str(tmp_path / "logs" / "daemon.log"))
    daemons.append(daemon)
    daemon.wait_ready()
    daemon.process.send_signal(signal.SIGTERM)

    assert daemon.wait() == 0
    logged = (tmp_path / "logs" / "daemon.log").read_text()
    assert "ready" in logged
    assert "stopped" in logged


def test_all_engines_that_do_not_exist_are_named_at_once_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_hold_hangups", lambda: None)  # this process is the tests'
    sets = ["vad.engine=foo", "stt.engine=bar", "turn.engine=baz"]
    words = [word for setting in sets for word in ("--set", setting)]
    for command in (["serve"], ["config", "show"]):
        assert cli.main([*command, *words]) == 2
        shown = capsys.readouterr().err
        assert "3 settings are wrong" in shown
        assert all(f"{setting.partition('=')[0]}: expected one of" in shown for setting in sets)


def test_an_empty_address_to_listen_on_is_told_as_that(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_hold_hangups", lambda: None)
    assert cli.main(["serve", "--host", ""]) == 2
    assert capsys.readouterr().err == "error: --host: expected an address, not empty, such as 127.0.0.1\n"


def test_a_daemon_that_listens_everywhere_says_so(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = Daemon(tmp_path, "--host", "0.0.0.0", "--insecure")  # noqa: S104
    daemons.append(daemon)
    daemon.wait_ready()
    deadline = time.monotonic() + 10
    while "and at all other addresses of this machine; watch it at http://127.0.0.1:" not in daemon.output.read_text():
        assert time.monotonic() < deadline, daemon.output.read_text()
        time.sleep(0.02)
