"""The daemon under test: a real process, ready when it is handed over, gone afterwards."""

from __future__ import annotations

import argparse
from pathlib import Path

import aiohttp
import psutil
import pytest

from alfred_voice.bench.daemon import daemon_arguments, running_daemon
from alfred_voice.bench.errors import DaemonFailed


@pytest.mark.end_to_end
@pytest.mark.models
async def test_a_daemon_is_ready_and_measured_and_leaves(models: object) -> None:
    async with running_daemon(["sessions.max_concurrent=7"]) as daemon:
        process = psutil.Process(daemon.pid)
        assert daemon.is_running
        assert daemon.ready_s > 0
        assert (await daemon.get("/readyz"))["status"] == "ready"
        assert (await daemon.metrics())["pipelineState"]["sessionsActive"] == 0
        assert daemon.cpu_s() > 0
        assert 20 < daemon.rss_mb() < 2000
        async with aiohttp.ClientSession() as session, session.ws_connect(daemon.ws_url) as socket:
            await socket.send_json({"type": "start"})
            assert (await socket.receive_json())["type"] == "sessionStarted"

    assert not process.is_running()
    with pytest.raises(DaemonFailed, match="has gone"):
        daemon.cpu_s()


@pytest.mark.end_to_end
@pytest.mark.models
async def test_a_daemon_for_a_benchmark_needs_no_key_whatever_is_configured_here(
    models: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFRED_API_KEYS", "me:a-key-of-16-letters")
    monkeypatch.setenv("ALFRED_SECURITY__KEYS_FILE", "/nowhere/keys.toml")
    async with running_daemon() as daemon:
        assert (await daemon.metrics())["pipelineState"]["sessionsActive"] == 0


@pytest.mark.end_to_end
@pytest.mark.models
async def test_a_daemon_that_answers_with_an_error_is_one(models: object) -> None:
    async with running_daemon() as daemon:
        with pytest.raises(DaemonFailed, match="GET /nowhere"):
            await daemon.get("/nowhere")


@pytest.mark.end_to_end
@pytest.mark.models
async def test_a_daemon_that_dies_meanwhile_is_an_error_with_its_exit_code(models: object) -> None:
    with pytest.raises(DaemonFailed, match="exit code -9"):
        async with running_daemon() as daemon:
            psutil.Process(daemon.pid).kill()


@pytest.mark.end_to_end
async def test_a_daemon_that_cannot_start_says_why() -> None:
    with pytest.raises(DaemonFailed, match="before it was ready") as failure:
        async with running_daemon(["sessions.no_such_key=1"]):
            pass

    assert "no_such_key" in str(failure.value)


@pytest.mark.end_to_end
async def test_a_daemon_that_takes_too_long_is_an_error_and_leaves_no_process() -> None:
    before = {child.pid for child in psutil.Process().children()}

    with pytest.raises(DaemonFailed, match="not ready within"):
        async with running_daemon(ready_within_s=0.01):
            pass

    assert {child.pid for child in psutil.Process().children()} == before


def test_the_daemon_gets_the_configuration_of_the_command_line() -> None:
    args = argparse.Namespace(preset="low_latency", config=Path("a.yaml"), set=["tts.speed=2", "log.level=info"])

    assert daemon_arguments(args) == [
        *("--preset", "low_latency"),
        *("--config", "a.yaml"),
        *("--set", "tts.speed=2"),
        *("--set", "log.level=info"),
    ]


@pytest.mark.parametrize(
    "args", [argparse.Namespace(), argparse.Namespace(preset=None, config=None, set=None)], ids=["absent", "empty"]
)
def test_a_command_line_without_configuration_gives_it_none(args: argparse.Namespace) -> None:
    assert daemon_arguments(args) == []
