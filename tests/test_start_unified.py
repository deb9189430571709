"""The script that sets up and starts, on a checkout of its own with a stand-in for Python, pip and the daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the script is for bash")

BASE = """#!/bin/sh
# The system's Python: can make an environment, whose Python is the stand-in beside this file.
echo "base $*" >>"{calls}"
case "$*" in
"-m venv --clear "*) mkdir -p "$4/bin" && cp "{venv_python}" "$4/bin/python" ;;
*) exec "{python}" "$@" ;;
esac
"""

VENV = """#!/bin/sh
# The environment's Python: pip and the models cost nothing, the daemon is another one.
echo "$*" >>"{calls}"
case "$*" in
"-m pip --version") exit 0 ;;
"-m pip install "*"[webrtc]") exit "${{PIP_WEBRTC_STATUS:-${{PIP_STATUS:-0}}}}" ;;
"-m pip install "*) exit "${{PIP_STATUS:-0}}" ;;
*" models pull "*) exit "${{PULL_STATUS:-0}}" ;;
*"-m alfred_voice serve"*) exec "{python}" "{daemon}" "$@" ;;
*) exec "{python}" "$@" ;;
esac
"""

DAEMON = """
import signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

if "--crash" in sys.argv:
    sys.exit("the engine has exploded")

asked = 0

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        is_ready = self.path == "/readyz" and asked > 2 and "--never" not in sys.argv
        self.send_response(200 if is_ready else 503)
        self.end_headers()
        self.wfile.write(b"ready" if is_ready else b"loading the recogniser")
    def log_message(self, *args):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("arguments:", *sys.argv[1:], flush=True)
server.serve_forever()
"""


class Checkout:
    """A checkout in a folder with a space, and what was called in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my checkout"
        (self.root / "scripts").mkdir(parents=True)
        for name in ("start_unified.sh", "scripts/setup", "scripts/ready.py", "setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        self._calls = folder / "calls"
        self.environment = {**os.environ, "PYTHON": str(folder / "base-python")}
        texts = {
            "daemon.py": DAEMON,
            "venv-python": VENV.format(calls=self._calls, python=sys.executable, daemon=folder / "daemon.py"),
            "base-python": BASE.format(calls=self._calls, python=sys.executable, venv_python=folder / "venv-python"),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
            (folder / name).chmod(0o755)

    @property
    def log(self) -> Path:
        return self.root / "logs" / "unified-voice-processor.log"

    @property
    def pid_file(self) -> Path:
        return self.root / "logs" / "unified-voice-processor.pid"

    def start(
        self, *arguments: str, script: Path | None = None, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(script or self.root / "start_unified.sh"), *arguments],
            cwd=cwd,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def take_calls(self) -> list[str]:
        """What was asked of either Python since the last time."""
        if not self._calls.exists():
            return []
        calls = self._calls.read_text("utf-8").splitlines()
        self._calls.unlink()
        return calls


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path)
    yield checkout
    checkout.start("--stop")


def installs(calls: list[str]) -> int:
    return sum(call.startswith("-m pip install") for call in calls)


def test_the_first_start_makes_the_environment_installs_pulls_and_starts(checkout: Checkout) -> None:
    done = checkout.start("--background", "--port", "9000")
    assert done.returncode == 0, done.stderr
    calls = checkout.take_calls()
    assert f"base -m venv --clear {checkout.root}/.venv" in calls
    assert f"-m pip install --quiet --disable-pip-version-check --editable {checkout.root}[webrtc]" in calls
    assert "-P -m alfred_voice models pull --quiet-if-complete" in calls
    assert "-P -m alfred_voice serve --port 9000" in calls


def test_the_address_that_is_printed_is_the_one_where_the_daemon_answers(checkout: Checkout) -> None:
    done = checkout.start("--background")
    pid = checkout.pid_file.read_text().strip()
    line = done.stdout.splitlines()[-1]
    url = line.split()[-1].removesuffix("/monitor")
    assert url.startswith("http://127.0.0.1:")
    assert line == f"Alfred Voice is ready (process {pid}): talk at {url}/, watch it at {url}/monitor"
    with urllib.request.urlopen(f"{url}/readyz", timeout=10) as response:  # noqa: S310 - this machine
        assert response.status == 200


def test_the_second_start_installs_nothing(checkout: Checkout) -> None:
    checkout.start("--background")
    checkout.start("--stop")
    checkout.take_calls()
    checkout.start("--background")
    calls = checkout.take_calls()
    assert [call for call in calls if "pip" in call or "venv --clear" in call] == []


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml"])
def test_a_changed_project_file_is_installed_again(checkout: Checkout, name: str) -> None:
    checkout.start("--background")
    checkout.start("--stop")
    with (checkout.root / name).open("a") as file:
        file.write("# another dependency\n")
    checkout.take_calls()
    checkout.start("--background")
    calls = checkout.take_calls()
    assert installs(calls) == 1
    assert not any(call.startswith("base -m venv") for call in calls)


def test_a_moved_checkout_is_installed_again(checkout: Checkout) -> None:
    checkout.start("--background")
    checkout.start("--stop")
    checkout.take_calls()
    moved = checkout.root.with_name("moved checkout")
    checkout.root.rename(moved)
    checkout.root = moved
    checkout.start("--background")
    assert installs(checkout.take_calls()) == 1


def test_a_failed_installation_is_told_and_tried_again(checkout: Checkout) -> None:
    done = checkout.start("--background", PIP_STATUS="1")
    assert done.returncode == 1
    assert "error: the installation failed" in done.stderr
    assert not checkout.pid_file.exists()
    checkout.take_calls()
    assert checkout.start("--background").returncode == 0
    assert installs(checkout.take_calls()) == 1


def test_it_runs_without_webrtc_where_its_packages_cannot_be_had(checkout: Checkout) -> None:
    done = checkout.start("--background", PIP_WEBRTC_STATUS="1")
    assert done.returncode == 0, done.stderr
    assert "Installed without WebRTC" in done.stderr
    assert "[webrtc]" in done.stderr
    calls = [call for call in checkout.take_calls() if call.startswith("-m pip install")]
    assert [call.endswith("[webrtc]") for call in calls] == [True, False]
    checkout.start("--stop")
    checkout.take_calls()
    checkout.start("--background")
    assert installs(checkout.take_calls()) == 0


def test_an_environment_that_was_only_half_made_is_made_again(checkout: Checkout) -> None:
    """Its Python is there, but pip is not: what Ctrl-C leaves during the very first step."""
    half = checkout.root / ".venv" / "bin" / "python"
    half.parent.mkdir(parents=True)
    half.write_text("#!/bin/sh\nexit 1\n")
    half.chmod(0o755)
    assert checkout.start("--background").returncode == 0
    assert f"base -m venv --clear {checkout.root}/.venv" in checkout.take_calls()


def test_the_environment_of_the_tests_serves_the_daemon_too(checkout: Checkout) -> None:
    setup = [str(checkout.root / "scripts" / "setup"), "--dev"]
    for expected in (1, 0):
        subprocess.run(setup, env=checkout.environment, check=True, capture_output=True)
        calls = checkout.take_calls()
        assert installs(calls) == expected
    checkout.start("--background")
    assert installs(checkout.take_calls()) == 0


def test_the_environment_of_the_daemon_does_not_serve_the_tests(checkout: Checkout) -> None:
    for arguments in ([], ["--dev"]):
        setup = [str(checkout.root / "scripts" / "setup"), *arguments]
        subprocess.run(setup, env=checkout.environment, check=True, capture_output=True)
        assert installs(checkout.take_calls()) == 1


def test_without_a_python_that_is_new_enough_it_says_which_one_is_needed(checkout: Checkout, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        (old / name).write_text("#!/bin/sh\nexit 1\n")
        (old / name).chmod(0o755)
    done = checkout.start("--background", PYTHON="", PATH=f"{old}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "PYTHON=/path/to/python" in done.stderr


def test_models_that_cannot_be_had_stop_the_start(checkout: Checkout) -> None:
    done = checkout.start("--background", PULL_STATUS="1")
    assert done.returncode == 1
    assert not checkout.pid_file.exists()


def test_settings_that_may_move_the_models_reach_the_pull(checkout: Checkout) -> None:
    arguments = ["--port", "1", "--set", "models.cache_dir=/a b", "--config=my file.yaml", "--preset", "low_latency"]
    checkout.start("--background", *arguments)
    calls = checkout.take_calls()
    expected = "--set models.cache_dir=/a b --config=my file.yaml --preset low_latency models pull --quiet-if-complete"
    assert f"-P -m alfred_voice {expected}" in calls
    assert f"-P -m alfred_voice serve {' '.join(arguments)}" in calls


def test_it_works_from_another_folder_and_through_symbolic_links(checkout: Checkout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "direct").symlink_to(checkout.root / "start_unified.sh")
    (tmp_path / "alfred").symlink_to(Path("else where") / "direct")
    done = checkout.start("--background", script=tmp_path / "alfred", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert checkout.log.exists()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["direct"]


def test_starting_twice_says_so_and_leaves_the_first_alone(checkout: Checkout) -> None:
    checkout.start("--background")
    pid = checkout.pid_file.read_text()
    for arguments in (["--background"], []):
        done = checkout.start(*arguments)
        assert done.returncode == 1
        assert f"already running (process {pid.strip()})" in done.stderr
    assert checkout.pid_file.read_text() == pid
    assert psutil.pid_exists(int(pid))


def test_a_daemon_that_dies_at_start_shows_the_end_of_its_log_only(checkout: Checkout) -> None:
    checkout.start("--background")
    checkout.start("--stop")
    done = checkout.start("--background", "--crash")
    assert done.returncode == 1
    assert "the engine has exploded" in done.stderr
    assert "arguments:" not in done.stderr  # that was the run before
    assert not checkout.pid_file.exists()


def test_status_tells_running_from_not_running(checkout: Checkout) -> None:
    done = checkout.start("--status")
    assert (done.returncode, done.stdout) == (3, "Alfred Voice is not running.\n")
    checkout.start("--background")
    done = checkout.start("--status")
    assert done.returncode == 0
    assert "is running" in done.stdout
    assert "ready: talk at http://127.0.0.1:" in done.stdout


def test_status_tells_why_it_is_not_ready(checkout: Checkout) -> None:
    """Started in the foreground, which leaves its process id, too."""
    with subprocess.Popen(
        [str(checkout.root / "start_unified.sh"), "--never"],
        env=checkout.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as foreground:
        assert foreground.stdout is not None
        while not foreground.stdout.readline().startswith("arguments:"):
            assert foreground.poll() is None
        done = checkout.start("--status")
        assert done.returncode == 0
        assert f"(process {foreground.pid}), but not ready: loading the recogniser" in done.stdout
        assert checkout.start("--stop").returncode == 0
    assert foreground.returncode == 0


def test_the_foreground_daemon_takes_the_place_of_the_script_and_is_told_its_log(checkout: Checkout) -> None:
    with subprocess.Popen(
        [str(checkout.root / "start_unified.sh"), "--host", "::1"],
        env=checkout.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as foreground:
        assert foreground.stdout is not None
        while not (line := foreground.stdout.readline()).startswith("arguments:"):
            assert foreground.poll() is None
        assert line.strip().endswith(f"-m alfred_voice serve --log-file {checkout.log} --host ::1")
        foreground.send_signal(signal.SIGTERM)
    assert foreground.returncode == 0


def test_stop_ends_it_and_can_be_repeated(checkout: Checkout) -> None:
    checkout.start("--background")
    pid = int(checkout.pid_file.read_text())
    done = checkout.start("--stop")
    assert (done.returncode, done.stdout) == (0, f"Alfred Voice has ended (process {pid}).\n")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    done = checkout.start("--stop")
    assert (done.returncode, done.stdout) == (0, "Alfred Voice is not running.\n")


@pytest.mark.parametrize("content", ["", "not a number\n", "99999999\n", "own"])
def test_a_stale_process_id_is_nobody(checkout: Checkout, content: str) -> None:
    """Also the id of a living process that is something else: this test's own."""
    checkout.pid_file.parent.mkdir()
    checkout.pid_file.write_text(f"{os.getpid()}\n" if content == "own" else content)
    assert checkout.start("--status").returncode == 3
    assert checkout.start("--stop").returncode == 0
    assert checkout.start("--background").returncode == 0


def test_help_explains_without_setting_anything_up(checkout: Checkout) -> None:
    done = checkout.start("--help")
    assert done.returncode == 0
    for word in ("--background", "--stop", "--status", "--set room.key=value", "unified-voice-processor.log"):
        assert word in done.stdout
    assert checkout.take_calls() == []
