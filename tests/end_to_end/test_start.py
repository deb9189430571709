"""``start_unified.sh`` with the environment that is already there: in the background, asked, and stopped."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from alfred_voice.models.store import Store
from tests.support import clean_environment, free_port, status_of


ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "start_unified.sh"
PID_FILE = ROOT / "logs" / "unified-voice-processor.pid"
LOG_FILE = ROOT / "logs" / "unified-voice-processor.log"
NOT_RUNNING = 3


def start_unified(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=cwd,
        env=clean_environment(),
    )


@pytest.fixture
def nothing_running(models: Store) -> Iterator[None]:
    """The script knows one daemon per checkout: somebody's own is not to be ended by a test."""
    assert models.root.is_dir()
    if not list((ROOT / ".venv").glob(".installed*")):
        pytest.skip("the environment of the script has not been set up")
    if start_unified("--status").returncode != NOT_RUNNING:
        pytest.skip("a daemon of this checkout is running")
    yield
    start_unified("--stop")


@pytest.mark.usefixtures("nothing_running")
def test_it_starts_in_the_background_tells_its_status_and_stops(tmp_path: Path) -> None:
    port = free_port()
    started = start_unified("--background", "--port", str(port), cwd=tmp_path)
    assert started.returncode == 0, started.stdout + started.stderr
    assert f"http://127.0.0.1:{port}/monitor" in started.stdout
    assert status_of(f"http://127.0.0.1:{port}/readyz") == 200
    assert status_of(f"http://127.0.0.1:{port}/monitor") == 200

    pid = int(PID_FILE.read_text())
    assert Path(f"/proc/{pid}").exists() or not Path("/proc").exists()
    status = start_unified("--status")
    assert status.returncode == 0
    assert f"process {pid}" in status.stdout
    assert LOG_FILE.stat().st_size > 0

    again = start_unified("--background", "--port", str(free_port()))
    assert again.returncode == 1
    assert "already running" in again.stderr

    stopped = start_unified("--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not PID_FILE.exists()
    assert status_of(f"http://127.0.0.1:{port}/readyz") is None
    assert start_unified("--status").returncode == NOT_RUNNING


@pytest.mark.usefixtures("nothing_running")
def test_a_start_that_fails_says_why_and_leaves_nothing_behind() -> None:
    failed = start_unified("--background", "--port", str(free_port()), "--set", "stt.engine=no-such-engine")
    assert failed.returncode != 0
    assert "no-such-engine" in failed.stdout + failed.stderr
    assert start_unified("--status").returncode == NOT_RUNNING


@pytest.mark.usefixtures("nothing_running")
def test_stopping_nothing_is_no_error() -> None:
    assert start_unified("--stop").returncode == 0


def test_help_names_the_options() -> None:
    shown = start_unified("--help")
    assert shown.returncode == 0
    for option in ("--background", "--stop", "--status", "--port"):
        assert option in shown.stdout
