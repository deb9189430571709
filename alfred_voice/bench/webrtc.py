"""``alfred-voice bench webrtc``: what a listener costs the daemon by WebRTC, beside one by WebSocket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from alfred_voice.bench.arguments import positive, whole
from alfred_voice.bench.daemon import RunningDaemon, daemon_arguments, running_daemon
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.listener import listening_by_webrtc, listening_by_websocket
from alfred_voice.bench.load import run_event_loop
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.report import Cell, Column, Report, Table
from alfred_voice.clock import SystemClock
from alfred_voice.config import Config


HELP = (
    "The processor time and the memory of a daemon of its own: with nobody there, with clients that send silence by "
    "WebSocket, and with as many by WebRTC that publish only, or hear the daemon's track as well. What the clients "
    "cost is not counted, but they are on the same machine: a few are enough."
)

SETTLE_S = 3.0
"""Behind the last connection, and before the first figure."""

Entering = Callable[[RunningDaemon, int, int], contextlib.AbstractAsyncContextManager[None]]
_WAYS: dict[str, Entering] = {
    "WebSocket": lambda daemon, number, of: listening_by_websocket(daemon.base_url, number * FRAME_S / of),
    "WebRTC, publishes": lambda daemon, _number, _of: listening_by_webrtc(daemon.base_url, hears=False),
    "WebRTC, both ways": lambda daemon, _number, _of: listening_by_webrtc(daemon.base_url, hears=True),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the daemon needed with one kind of clients."""

    way: str
    clients: int
    cpu_percent: float
    """Of one core, all of them together and what it needs by itself."""
    memory_mb: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--listeners", type=whole(1), default=6, metavar="N", help="clients at once (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=15.0, metavar="S", help="for each kind (%(default)g)")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure; about a minute."""
    if not config.webrtc.enabled or find_spec("aiortc") is None:
        raise BenchmarkFailed("needs WebRTC: .venv/bin/pip install -e '.[webrtc]', and webrtc.enabled")
    stages = run_event_loop(_measure(args))
    return Report("webrtc", args.command_line, describe_machine(), (_table(stages),))


async def _measure(args: argparse.Namespace) -> list[Stage]:
    async with running_daemon(arguments=daemon_arguments(args)) as daemon:
        await asyncio.sleep(SETTLE_S)
        stages = [await _observe(daemon, "nobody", 0, args.seconds)]
        for way, enter in _WAYS.items():
            async with contextlib.AsyncExitStack() as stack:
                for number in range(args.listeners):
                    await stack.enter_async_context(enter(daemon, number, args.listeners))
                await asyncio.sleep(SETTLE_S)
                stages.append(await _observe(daemon, way, args.listeners, args.seconds))
            await asyncio.sleep(SETTLE_S)
    return stages


async def _observe(daemon: RunningDaemon, way: str, clients: int, seconds: float) -> Stage:
    clock = SystemClock()
    began_s, cpu_s = clock.now(), daemon.cpu_s()
    await asyncio.sleep(seconds)
    share = (daemon.cpu_s() - cpu_s) / (clock.now() - began_s)
    return Stage(way, clients, share * 100, daemon.rss_mb())


def _table(stages: list[Stage]) -> Table:
    alone, *rest = stages
    rows: list[dict[str, Cell]] = [_row(alone, float("nan"))]
    rows += [_row(stage, (stage.cpu_percent - alone.cpu_percent) / stage.clients) for stage in rest]
    columns = (
        Column("clients", "clients"),
        Column("count", "at once"),
        Column("cpu_percent", "processor", "% of a core"),
        Column("each_percent", "for each", "% of a core", 2),
        Column("memory_mb", "memory", "MB"),
    )
    note = "For each: above what the daemon needs with nobody there."
    return Table("What listeners cost", columns, tuple(rows), note)


def _row(stage: Stage, each_percent: float) -> dict[str, Cell]:
    return {
        "clients": stage.way,
        "count": stage.clients,
        "cpu_percent": stage.cpu_percent,
        "each_percent": each_percent,
        "memory_mb": stage.memory_mb,
    }
