"""``alfred-voice bench overload``: several times the sessions that the daemon can serve, and the way back."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yarl import URL

from alfred_voice.bench.arguments import positive
from alfred_voice.bench.arrivals import Arrivals, Crowding, check_sessions
from alfred_voice.bench.daemon import RunningDaemon, daemon_arguments, running_daemon
from alfred_voice.bench.errors import DaemonFailed
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
A daemon of its own, first with as many sessions as it can serve, then with several times as many, then with none.

Clients come within ten seconds, speak part of the time, and go on until the load ends; who is refused comes again when
told to. Counted are the rungs that were seen, finals, frames, refusals, the lag of the daemon's event loop while the
load lasted, how long it takes to be healthy again after it, and memory before and after."""

DEFAULT_SESSIONS = 16
SPREAD_S = 10.0
"""The time over which clients come."""
WARM_UP_S = 15.0
REST_S = 5.0
"""Between the warm-up and the load, so that memory before it is that of a daemon that has worked and rests."""
POLL_S = 0.1
HEALTHY_WITHIN_S = 60.0
AFTERWARDS_S = 15.0
"""How long memory is looked at when all is well again."""
LAG_LIMIT_MS, HEALTHY_LIMIT_S, MEMORY_LIMIT = 100.0, 10.0, 10.0
RUNGS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--sessions", type=int, default=DEFAULT_SESSIONS, metavar="N", help="that it can serve (%(default)s)"
    )
    parser.add_argument("--times", type=float, default=5.0, metavar="X", help="as many of them come (%(default)g)")
    parser.add_argument("--seconds", type=positive, default=60.0, metavar="S", help="of overload (%(default)g)")
    parser.add_argument("--duty", type=float, default=0.4, metavar="SHARE", help="of the time is speech (%(default)g)")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure."""
    from alfred_voice import workshop

    clients = check_sessions(args.sessions, args.times)
    options = ScriptOptions(Mix.MIXED, round(args.seconds / FRAME_S), args.duty)
    writer = ScriptWriter(turns_of(load_recordings(workshop.open_store(config), args.audio)), options)
    found = run_event_loop(_measure(args, [writer.write(number) for number in range(clients)]))
    return Report(
        "overload", args.command_line, describe_machine(), _tables(found, clients), _curves(found), _checks(found)
    )


@dataclass(slots=True)
class Overload:
    """What came of it; times in seconds since the load began."""

    arrivals: Arrivals = field(default_factory=Arrivals)
    polls: list[tuple[float, int, float, float, str]] = field(default_factory=list)
    """When, rung, load in percent, resident megabytes, health."""
    unanswered: int = 0
    """Polls that the daemon did not answer in time."""
    lag_p99_ms: float = float("nan")
    healthy_after_s: float = float("nan")
    """From the last frame to health that is ``healthy`` and stays so."""
    finals_after_s: float = float("nan")
    """From the last frame to the last session's end."""
    before_mb: float = float("nan")
    after_mb: float = float("nan")
    cpu_cores: float = float("nan")
    most_sessions: int = 0

    @property
    def peak_mb(self) -> float:
        """The most resident memory that was seen."""
        return max((poll[3] for poll in self.polls), default=float("nan"))

    @property
    def rungs(self) -> dict[int, float]:
        """Each rung that was seen, and when for the first time."""
        first: dict[int, float] = {}
        for moment, rung, *_ in self.polls:
            first.setdefault(rung, moment)
        return dict(sorted(first.items()))


async def _measure(args: argparse.Namespace, scripts: Sequence[Script]) -> Overload:
    found = Overload()
    async with running_daemon(arguments=daemon_arguments(args)) as daemon:
        await _load(daemon, scripts[: args.sessions], WARM_UP_S)
        await asyncio.sleep(REST_S)
        found.before_mb = daemon.rss_mb()
        await _overload(daemon, found, scripts, args.seconds)
        await asyncio.sleep(AFTERWARDS_S)
        found.after_mb = daemon.rss_mb()
    return found


def _crowding(daemon: RunningDaemon, scripts: Sequence[Script], spread_s: float) -> Crowding:
    url = URL(daemon.base_url)
    if url.host is None or url.port is None:
        raise AssertionError("a running daemon has an address")
    return Crowding(SystemClock(), (url.host, url.port), scripts, spread_s)


async def _load(daemon: RunningDaemon, scripts: Sequence[Script], seconds: float) -> None:
    crowding = _crowding(daemon, scripts, seconds / 3)
    now = SystemClock().now()
    await crowding.run(now, now + seconds)
    await crowding.finish()


async def _overload(daemon: RunningDaemon, found: Overload, scripts: Sequence[Script], seconds: float) -> None:
    clock = SystemClock()
    crowding = _crowding(daemon, scripts, min(SPREAD_S, seconds / 3))
    begin_s, cpu_before = clock.now(), daemon.cpu_s()
    watching = asyncio.create_task(_watch(daemon, found, begin_s))
    try:
        found.arrivals = await crowding.run(begin_s, begin_s + seconds)
        ended_s = clock.now()
        found.cpu_cores = (daemon.cpu_s() - cpu_before) / (ended_s - begin_s)
        found.lag_p99_ms = float((await daemon.metrics())["load"]["event_loop_lag_p99_ms"])
        await crowding.finish()
        found.finals_after_s = clock.now() - ended_s
        found.healthy_after_s = await _healthy_again(found, ended_s - begin_s, clock.now() + HEALTHY_WITHIN_S)
    finally:
        watching.cancel()
        await asyncio.wait((watching,))


async def _watch(daemon: RunningDaemon, found: Overload, begin_s: float) -> None:
    clock = SystemClock()
    while True:
        asked_s = clock.now()
        try:
            state: dict[str, Any] = (await daemon.get("/pipeline/status"))["pipelineState"]
        except DaemonFailed:
            found.unanswered += 1
        else:
            moment = clock.now() - begin_s
            load, memory = float(state["processingLoad"]), float(state["memoryUsage"])
            found.polls.append((moment, int(state["degradationRung"]), load, memory, str(state["health"])))
            found.most_sessions = max(found.most_sessions, int(state["sessionsActive"]))
        await asyncio.sleep(max(0.0, asked_s + POLL_S - clock.now()))


async def _healthy_again(found: Overload, ended: float, deadline_s: float) -> float:
    """How long after the load the daemon was healthy, and has stayed so for a second; NaN when it was not."""
    clock = SystemClock()
    while clock.now() < deadline_s:
        await asyncio.sleep(POLL_S)
        last_ill = max((poll[0] for poll in found.polls if poll[4] != "healthy"), default=ended)
        if found.polls and found.polls[-1][0] >= last_ill + 1:
            return max(0.0, last_ill - ended)
    return float("nan")


def _tables(found: Overload, clients: int) -> tuple[Table, ...]:
    what = Column("what", "what")
    figures, arrivals = found.arrivals.figures(), found.arrivals
    rungs = Table(
        "Rungs of the ladder",
        (Column("rung", "rung"), Column("first_s", "first seen", "s"), Column("share", "of the polls", "%")),
        tuple(
            {"rung": rung, "first_s": first, "share": 100 * sum(p[1] == rung for p in found.polls) / len(found.polls)}
            for rung, first in found.rungs.items()
        ),
        "0 when all is well; 1 to 3 reduce_quality, 4 drop_frames, 5 pause_processing.",
    )
    counts: dict[str, int] = {
        "clients that came": clients,
        "let in": len(arrivals.visits),
        "at the same time, at most": found.most_sessions,
        "never let in": arrivals.never_in,
        **{f"refusals, {status}": count for status, count in sorted(arrivals.refused.items())},
        "refusals without Retry-After": arrivals.unexplained,
        "frames sent": figures.frames_sent,
        "frames processed": figures.frames_processed,
        "frames dropped": figures.frames_dropped,
        "frames not accounted for": figures.frames_unaccounted,
        "sessions without an end": figures.unended,
        "finals due": figures.finals_due,
        "finals received": figures.finals,
        "finals lost": figures.finals_lost,
        "finals received twice": figures.finals_twice,
        "status polls unanswered": found.unanswered,
        **{f"warning {code}": count for code, count in sorted(figures.warnings.items())},
        **{f"error {code}": count for code, count in sorted(figures.errors.items())},
        **{f"connection lost: {why}": count for why, count in sorted(figures.losses.items())},
    }
    account = Table(
        "Account", (what, Column("count", "count")), tuple({"what": name, "count": n} for name, n in counts.items())
    )
    values = (
        ("processor time while overloaded", found.cpu_cores, "cores"),
        ("event loop's lag, p99", found.lag_p99_ms, "ms"),
        ("last final after the last frame", found.finals_after_s, "s"),
        ("healthy after the last frame", found.healthy_after_s, "s"),
        ("memory before", found.before_mb, "MB"),
        ("memory at most", found.peak_mb, "MB"),
        ("memory after", found.after_mb, "MB"),
    )
    cost = Table(
        "Daemon",
        (what, Column("value", "value"), Column("unit", "unit")),
        tuple({"what": name, "value": value, "unit": unit} for name, value, unit in values),
    )
    return rungs, account, cost


def _curves(found: Overload) -> tuple[Curve, ...]:
    time = Axis("time", "s")
    rung = Curve("Rung in force", time, Axis("rung"), {"rung": tuple((p[0], float(p[1])) for p in found.polls)})
    load = Curve("Load", time, Axis("load", "%"), {"load": tuple((p[0], p[2]) for p in found.polls)})
    return rung, load


def _checks(found: Overload) -> tuple[Check, ...]:
    figures = found.arrivals.figures()
    growth = 100 * (found.after_mb / found.before_mb - 1)
    return (
        Check("finals lost", figures.finals_lost, 0, ""),
        Check("frames not accounted for", figures.frames_unaccounted, 0, ""),
        Check("refusals without Retry-After", found.arrivals.unexplained, 0, ""),
        Check("event loop's lag, p99", found.lag_p99_ms, LAG_LIMIT_MS, "ms"),
        Check("healthy after the last frame", found.healthy_after_s, HEALTHY_LIMIT_S, "s"),
        Check("growth of memory", growth, MEMORY_LIMIT, "%"),
        Check("rungs seen", float(len([rung for rung in found.rungs if rung])), RUNGS, "", at_most=False),
    )
