"""``alfred-voice bench monitor``: what it costs the daemon that somebody looks at it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from alfred_voice.bench.arguments import positive
from alfred_voice.bench.arrivals import Crowding, check_sessions
from alfred_voice.bench.daemon import RunningDaemon, daemon_arguments, running_daemon
from alfred_voice.bench.errors import BenchmarkFailed, DaemonFailed
from alfred_voice.bench.load import run_event_loop
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.recordings import load_recordings
from alfred_voice.bench.report import Axis, Check, Column, Curve, Report, Table
from alfred_voice.bench.script import Mix, Script, ScriptOptions, ScriptWriter, turns_of
from alfred_voice.clock import SystemClock


if TYPE_CHECKING:
    from alfred_voice.config import Config

HELP = """\
Listeners at a daemon of its own, and in every second stretch of time somebody who reads /monitor/feed.

The daemon itself counts the processor time of each step that it takes for viewers (alfred_monitor_seconds_total):
hundredths of a percent can be told. Beside it stands the processor time of the whole process, with and without a
viewer, whose difference holds what is not counted, too, and the chance of the moment."""

SETTLE_S = 10.0
"""Before the first stretch: all have come, and memory and caches are what they will be."""
LIMIT_PERCENT = 1.0
METRIC = "alfred_monitor_seconds_total"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--sessions", type=int, default=100, metavar="N", help="that are open (%(default)s)")
    parser.add_argument("--viewers", type=int, default=1, metavar="N", help="that look (%(default)s)")
    parser.add_argument("--stretches", type=int, default=8, metavar="N", help="with viewers (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=10.0, metavar="S", help="of each (%(default)g)")
    parser.add_argument("--duty", type=float, default=0.0, metavar="SHARE", help="of the time is speech (%(default)g)")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure."""
    from alfred_voice import workshop

    if args.stretches < 1 or args.viewers < 1:
        raise BenchmarkFailed(f"expected at least one stretch and one viewer, got {args.stretches} and {args.viewers}")
    whole_s = SETTLE_S + 2 * args.stretches * args.seconds
    options = ScriptOptions(Mix.MIXED if args.duty else Mix.LISTEN, round(whole_s / FRAME_S), args.duty or 1.0)
    writer = ScriptWriter(turns_of(load_recordings(workshop.open_store(config), args.audio)), options)
    scripts = [writer.write(number) for number in range(check_sessions(args.sessions, 1))]
    found = run_event_loop(_measure(args, scripts, whole_s))
    return Report("monitor", args.command_line, describe_machine(), (_table(found),), (_curve(found),), _checks(found))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some seconds without viewers, and as many with."""

    alone_percent: float
    """Of one core, the whole process, while nobody looks."""
    watched_percent: float
    counted_percent: float
    """Of one core, what the daemon counts as done for viewers."""


async def _measure(args: argparse.Namespace, scripts: Sequence[Script], whole_s: float) -> list[Stretch]:
    clock = SystemClock()
    async with running_daemon(arguments=daemon_arguments(args)) as daemon:
        url = URL(daemon.base_url)
        if url.host is None or url.port is None:
            raise AssertionError("a running daemon has an address")
        crowding = Crowding(clock, (url.host, url.port), scripts, SETTLE_S / 2)
        now = clock.now()
        load = asyncio.create_task(crowding.run(now, now + whole_s))
        try:
            await asyncio.sleep(SETTLE_S)
            found = [await _stretch(daemon, args.viewers, args.seconds) for _ in range(args.stretches)]
        finally:
            load.cancel()
            await asyncio.wait((load,))
            await crowding.finish()
    return found


async def _stretch(daemon: RunningDaemon, viewers: int, seconds: float) -> Stretch:
    alone, _ = await _spent(daemon, seconds)
    async with _watching(daemon, viewers):
        watched, counted = await _spent(daemon, seconds)
    return Stretch(alone, watched, counted)


async def _spent(daemon: RunningDaemon, seconds: float) -> tuple[float, float]:
    """What the process takes from now on, and what it counts for viewers; percent of a core."""
    clock = SystemClock()
    counted, begin_s, before = await _counted_s(daemon), clock.now(), daemon.cpu_s()
    await asyncio.sleep(seconds)
    passed, used = clock.now() - begin_s, daemon.cpu_s() - before
    return 100 * used / passed, 100 * (await _counted_s(daemon) - counted) / passed


async def _counted_s(daemon: RunningDaemon) -> float:
    """The daemon's own account.

    Raises:
        DaemonFailed: it does not answer, or does not count.
    """
    try:
        async with (
            aiohttp.ClientSession(raise_for_status=True) as http,
            http.get(f"{daemon.base_url}/metrics", headers={"Accept": "text/plain"}) as answer,
        ):
            return counted_in(await answer.text())
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DaemonFailed(f"GET /metrics: {error!r}{daemon.log_tail()}") from error


def counted_in(exposition: str) -> float:
    """The seconds for viewers in what Prometheus reads.

    Raises:
        DaemonFailed: they are not there.
    """
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == METRIC:
                return float(sample.value)
    raise DaemonFailed(f"the daemon does not tell {METRIC}")


@contextlib.asynccontextmanager
async def _watching(daemon: RunningDaemon, viewers: int) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(raise_for_status=True, timeout=aiohttp.ClientTimeout(total=None)) as http:
        looking = [asyncio.create_task(_look(http, f"{daemon.base_url}/monitor/feed")) for _ in range(viewers)]
        try:
            yield
        finally:
            for task in looking:
                task.cancel()
            await asyncio.wait(looking)
        if failed := [task for task in looking if not task.cancelled()]:
            raise DaemonFailed(f"a viewer was cut off: {failed[0].exception()!r}{daemon.log_tail()}")


async def _look(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(url) as answer:
        async for _ in answer.content.iter_any():
            pass


def _table(found: Sequence[Stretch]) -> Table:
    rows = {
        "counted for viewers": [stretch.counted_percent for stretch in found],
        "the process, nobody looks": [stretch.alone_percent for stretch in found],
        "the process, looked at": [stretch.watched_percent for stretch in found],
        "difference within a pair": [stretch.watched_percent - stretch.alone_percent for stretch in found],
    }
    return Table(
        "Processor time",
        (
            Column("what", "what"), Column("mean", "mean", "% of a core"), Column("least", "least", "%"),
            Column("most", "most", "%"), Column("error", "error of the mean", "%"),
        ),
        tuple(
            {"what": name, "mean": statistics.fmean(values), "least": min(values), "most": max(values),
             "error": error_of_mean(values)}
            for name, values in rows.items()
        ),
        "The error is a standard deviation over the root of the number of stretches.",
    )  # fmt: skip


def error_of_mean(values: Sequence[float]) -> float:
    """How far their mean may be off by chance; NaN for one alone."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _curve(found: Sequence[Stretch]) -> Curve:
    points = tuple((float(number), stretch.counted_percent) for number, stretch in enumerate(found, 1))
    return Curve("Counted for viewers", Axis("stretch"), Axis("processor time", "% of a core"), {"counted": points})


def _checks(found: Sequence[Stretch]) -> tuple[Check, ...]:
    most = max(stretch.counted_percent for stretch in found)
    return (Check("processor time counted for viewers, in any stretch", most, LIMIT_PERCENT, "% of a core"),)
