"""A throw-away Python environment for other people's packages, so that nothing of theirs gets into ours."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from alfred_voice.bench import peer_probe
from alfred_voice.bench.errors import BenchmarkFailed


INSTALL_WITHIN_S = 1800.0
PROBE_WITHIN_S = 900.0
_TAIL_CHARS = 600


class PeerFailed(BenchmarkFailed):
    """A package could not be installed or measured; the others can be."""

    code = "peer_failed"


class PeerEnvironment:
    """An environment of its own in a folder. Made by :func:`peer_environment`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def create(self) -> None:
        """Make the environment, unless it is there from an earlier time.

        Raises:
            PeerFailed: it cannot be made.
        """
        if not self._python.exists():
            self._run([sys.executable, "-m", "venv", str(self._folder)], INSTALL_WITHIN_S)

    def install(self, requirements: Sequence[str]) -> None:
        """Install packages by pip, which looks where its own settings (``PIP_INDEX_URL`` and so on) say.

        Raises:
            PeerFailed: they cannot be had, or not for this machine.
        """
        pip = [str(self._python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self._run([*pip, *requirements], INSTALL_WITHIN_S)

    def probe(self, name: str, job: Mapping[str, Any], script: ModuleType = peer_probe) -> dict[str, Any]:
        """What a script, which uses nothing of ours, finds of one package.

        Raises:
            PeerFailed: the package does not do what is asked.
        """
        with tempfile.TemporaryDirectory(prefix="alfred-voice-bench-") as folder:
            file = Path(folder, "job.json")
            file.write_text(json.dumps(dict(job)), "utf-8")
            # Isolated: neither the folder of the script nor what the user has elsewhere may stand in for a package.
            printed = self._run([str(self._python), "-I", str(script.__file__), name, str(file)], PROBE_WITHIN_S)
        try:
            found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise PeerFailed(f"{name}: expected figures, got {printed[-_TAIL_CHARS:]!r}") from error
        return found

    def _run(self, command: Sequence[str], within_s: float) -> str:
        """What a command prints."""
        try:
            done = subprocess.run(  # noqa: S603  our own interpreter, and arguments that we make
                command, capture_output=True, text=True, timeout=within_s, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerFailed(f"{' '.join(command[:4])}: {error}") from error
        if done.returncode:
            tail = (done.stderr.strip() or done.stdout.strip())[-_TAIL_CHARS:]
            raise PeerFailed(f"{' '.join(command[:4])} ended with exit code {done.returncode}: {tail}")
        return done.stdout


@contextlib.contextmanager
def peer_environment(folder: Path | None) -> Iterator[PeerEnvironment]:
    """An environment in ``folder``, which is kept; or in a temporary one, which is gone afterwards."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alfred-voice-peers-")))
        environment = PeerEnvironment(folder)
        environment.create()
        yield environment
