"""The daemon under test: a process of its own, so that what it costs can be told from what the benchmark costs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import psutil

from alfred_voice.bench.errors import DaemonFailed
from alfred_voice.clock import SystemClock
from alfred_voice.pipeline.memory import MEGABYTE


READY_WITHIN_S = 120.0
EXIT_WITHIN_S = 30.0
_REQUEST_S = 10.0
_OPEN = ("security.keys_file=", "security.tls_cert=", "security.tls_key=")
"""A daemon of the benchmark's own, on this machine only: keys and TLS have nothing to protect there."""
_TAIL_CHARS = 2_000
_ADDRESS = re.compile(rb"ready at (http://[^;\s]+)")
"""In what ``alfred-voice serve`` prints once it takes sessions."""


class RunningDaemon:
    """A daemon that takes sessions. Made by :func:`running_daemon`."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str, ready_s: float, log: Path) -> None:
        self.base_url = base_url
        """``http://host:port``."""
        self.ready_s = ready_s
        """From the start of its process until it took sessions."""
        self._process = process
        self._figures = psutil.Process(process.pid)
        self._log = log

    @property
    def ws_url(self) -> str:
        """``ws://host:port/ws``."""
        return f"ws{self.base_url.removeprefix('http')}/ws"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    def cpu_s(self) -> float:
        """Seconds of processor time up to now, of all its threads, in user and system mode."""
        with self._translated():
            times = self._figures.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Resident memory now, in units of 1024 * 1024 bytes, as the daemon counts it."""
        with self._translated():
            return float(self._figures.memory_info().rss / MEGABYTE)

    async def metrics(self) -> dict[str, Any]:
        """What ``GET /metrics`` answers in JSON."""
        return await self.get("/metrics")

    async def get(self, path: str) -> dict[str, Any]:
        """What it answers in JSON to a GET.

        Raises:
            DaemonFailed: it does not answer, or otherwise than with 200.
        """
        timeout = aiohttp.ClientTimeout(total=_REQUEST_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
                session.get(f"{self.base_url}{path}", headers={"Accept": "application/json"}) as response,
            ):
                answer: dict[str, Any] = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise DaemonFailed(f"GET {path}: {exc!r}{self.log_tail()}") from exc

    def log_tail(self) -> str:
        """The end of its log on lines of its own, to go behind a message; "" when it has logged nothing."""
        return _tail(self._log)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psutil.Error as exc:
            raise DaemonFailed(f"the daemon has gone{self.log_tail()}") from exc


def daemon_arguments(args: argparse.Namespace) -> list[str]:
    """The options of ``alfred-voice serve`` that give the daemon the configuration of this command line."""
    preset, file, sets = (getattr(args, name, None) for name in ("preset", "config", "set"))
    return [
        *(["--preset", str(preset)] if preset else []),
        *(["--config", str(file)] if file else []),
        *(word for setting in sets or [] for word in ("--set", str(setting))),
    ]


@contextlib.asynccontextmanager
async def running_daemon(
    config_overrides: Sequence[str] = (), *, arguments: Sequence[str] = (), ready_within_s: float = READY_WITHIN_S
) -> AsyncIterator[RunningDaemon]:
    """``alfred-voice serve`` as a child process on a free loopback port, ready; stopped cleanly at the end.

    Args:
        config_overrides: settings as ``room.key=value``; they win over those in ``arguments``.
        arguments: further ones of ``serve``, such as :func:`daemon_arguments` gives.
        ready_within_s: how long it may take to get ready.

    Raises:
        DaemonFailed: it does not get ready, or does not leave with exit code 0 when it is told to.
    """
    sets = [word for setting in (*config_overrides, *_OPEN) for word in ("--set", setting)]
    environment = {name: value for name, value in os.environ.items() if name != "ALFRED_API_KEYS"}
    words = ["serve", *arguments, *sets, "--host", "127.0.0.1", "--port", "0"]
    with tempfile.TemporaryDirectory(prefix="alfred-voice-bench-") as folder:
        log = Path(folder, "daemon.log")
        clock = SystemClock()
        started = clock.now()
        with _created(log) as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "alfred_voice", *words),
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env=environment,
            )
        try:
            base_url = await _address(process, ready_within_s, log)
            yield RunningDaemon(process, base_url, clock.now() - started, log)
            await _stop(process, log)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _address(process: asyncio.subprocess.Process, within_s: float, log: Path) -> str:
    """Where it listens, once it says that it is ready."""
    if process.stdout is None:
        raise AssertionError("the process was started with a pipe")
    try:
        async with asyncio.timeout(within_s):
            async for line in process.stdout:
                if found := _ADDRESS.search(line):
                    return found[1].decode()
            code = await process.wait()
    except TimeoutError as exc:
        raise DaemonFailed(f"the daemon was not ready within {within_s:g} s{_tail(log)}") from exc
    raise DaemonFailed(f"the daemon ended with exit code {code} before it was ready{_tail(log)}")


async def _stop(process: asyncio.subprocess.Process, log: Path) -> None:
    """Have it end by itself."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        code = await asyncio.wait_for(process.wait(), EXIT_WITHIN_S)
    except TimeoutError as exc:
        raise DaemonFailed(f"the daemon did not end within {EXIT_WITHIN_S:g} s of SIGTERM{_tail(log)}") from exc
    if code:
        raise DaemonFailed(f"the daemon ended with exit code {code}{_tail(log)}")


def _created(log: Path) -> BinaryIO:
    """An empty file, open for writing."""
    return log.open("wb")


def _tail(log: Path) -> str:
    text = log.read_text("utf-8", "replace")[-_TAIL_CHARS:].strip() if log.exists() else ""
    return f"; its log ends with:\n{text}" if text else ""
