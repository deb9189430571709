"""``alfred-voice bench memory``: what the daemon keeps in memory, by sessions and over time."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from alfred_voice import workshop
from alfred_voice.bench.arguments import positive, whole
from alfred_voice.bench.caller import Caller
from alfred_voice.bench.daemon import RunningDaemon, daemon_arguments, running_daemon
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.footprint import KB, MB, Footprint, footprint_of
from alfred_voice.bench.load import run_event_loop
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.pacing import Schedule, pace
from alfred_voice.bench.recordings import load_recordings
from alfred_voice.bench.report import Axis, Cell, Check, Column, Curve, Report, Table
from alfred_voice.bench.stopwatch import percentile
from alfred_voice.bench.websocket_frames import BINARY, client_frame
from alfred_voice.client.conversation import Conversation
from alfred_voice.client.link import Timeouts
from alfred_voice.clock import SystemClock
from alfred_voice.config import Config
from alfred_voice.models.engine import SAMPLE_RATE, Int16


HELP = (
    "Resident memory of a daemon of its own: ready, with sessions that listen, for each further idle session, over a "
    "thousand sessions that are opened, used and closed, and over a long stretch of speech that is sent faster than "
    "real time, as fast as the daemon takes it."
)

MOST_MB, MOST_IDLE_KB = 250.0, 300.0
MOST_GROWTH_MB = 5.0
"""What counts as flat: less than one batch's worth."""
TALKED, FURTHER = "sessions that listen, two of them have talked", "further sessions that have sent nothing"
LISTENING_S = 8.0
SETTLE_S = 2.0
_LEAD_S = 0.3
_BURST_S = 0.8
_AT_ONCE = 20
_WITHIN_S = 60.0
_STEPS = 10
_LOOKS = 5
_FRAME_BYTES = 640
_MASK = b"\x5a\xc3\x96\x3c"
"""Any will do: it hides nothing from anyone here."""
_PATIENT = Timeouts(receive_s=60.0, send_s=600.0)
"""A daemon that is behind lets its clients wait, which is the point here."""
_OVERRIDES = ("sessions.max_concurrent=4000", "sessions.idle_timeout_s=3600", "sessions.max_duration_s=86400")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--listeners", type=whole(2), default=50, metavar="N", help="who listen (default: 50)")
    parser.add_argument("--idle", type=whole(1), default=200, metavar="N", help="further idle sessions (default: 200)")
    parser.add_argument("--churn", type=whole(1), default=1000, metavar="N", help="sessions opened, used and closed")
    parser.add_argument("--minutes", type=positive, default=5.0, metavar="M", help="speech that is sent (default: 5)")
    parser.add_argument("--hours", type=positive, metavar="H", help="the same in hours; 1 takes a while")
    parser.add_argument("--speakers", type=whole(1), default=4, metavar="N", help="who send it at once (default: 4)")


@dataclass(slots=True)
class _Found:
    """What was measured, in the order of the run."""

    stages: list[tuple[str, int, Footprint]] = field(default_factory=list)
    """What the daemon was doing, with how many sessions, and its memory."""
    churn: list[tuple[int, Footprint]] = field(default_factory=list)
    """Memory after so many sessions."""
    speech: list[tuple[float, Footprint]] = field(default_factory=list)
    """Memory after so many minutes of speech."""
    speech_took_s: float = 0.0


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure; a minute or two, and the time that the speech takes."""
    recordings = [recording for recording in load_recordings(workshop.open_store(config), args.audio) if recording.text]
    if not recordings:
        raise BenchmarkFailed("expected recordings whose texts are known, but there is none")
    speech = np.concatenate([recording.samples for recording in recordings])
    found = run_event_loop(_measure(args, speech))
    return Report(
        "memory",
        args.command_line,
        describe_machine(),
        (_stage_table(found), _churn_table(found), _speech_table(found, args.speakers)),
        _curves(found),
        _checks(found, args),
    )


async def _measure(args: argparse.Namespace, speech: Int16) -> _Found:
    found = _Found()
    minutes = args.minutes if args.hours is None else 60 * args.hours
    async with running_daemon(_OVERRIDES, arguments=daemon_arguments(args)) as daemon:
        await _stage(found, daemon, "ready", 0)
        callers = await _opened(daemon, args.listeners)
        await _stage(found, daemon, "sessions that have sent nothing", len(callers))
        await _listen(callers, speech)
        await _stage(found, daemon, TALKED, len(callers))
        callers += await _opened(daemon, args.idle)
        await _stage(found, daemon, FURTHER, len(callers))
        await _send_at_once(callers[args.listeners :], _noise(LISTENING_S))
        await _stage(found, daemon, "the same, each has listened for a while", len(callers))
        await _close(callers)
        await _stage(found, daemon, "all of them closed", 0)
        await _churn(daemon, args.churn, speech, found)
        await _long_speech(daemon, minutes, args.speakers, speech, found)
        await _stage(found, daemon, "at the end", 0)
    return found


async def _stage(found: _Found, daemon: RunningDaemon, what: str, sessions: int) -> None:
    """Note the memory once the daemon has come to rest."""
    await asyncio.sleep(SETTLE_S)
    found.stages.append((what, sessions, footprint_of(daemon.pid)))


async def _lowest(daemon: RunningDaemon) -> Footprint:
    """The least memory within a second: what a call of a model takes for its own time is no growth."""
    found = []
    for _ in range(_LOOKS):
        await asyncio.sleep(1.0 / _LOOKS)
        found.append(footprint_of(daemon.pid))
    return min(found, key=lambda footprint: footprint.rss)


# What clients do


async def _opened(daemon: RunningDaemon, count: int) -> list[Caller]:
    host, _, port = daemon.base_url.removeprefix("http://").rpartition(":")
    callers: list[Caller] = []
    for first in range(0, count, _AT_ONCE):
        some = range(first, min(count, first + _AT_ONCE))
        callers += await asyncio.gather(*(Caller.open(SystemClock(), host, int(port), _WITHIN_S) for _ in some))
    return callers


async def _listen(callers: Sequence[Caller], speech: Int16) -> None:
    """All hear a quiet room in real time, but two, so that every model has worked."""
    clock = SystemClock()
    room, talk = _messages(_noise(LISTENING_S)), _messages(np.resize(speech, round(LISTENING_S * SAMPLE_RATE)))
    messages = [talk if number < 2 else room for number in range(len(callers))]
    schedule = Schedule(clock.now() + _LEAD_S, len(callers), len(room))
    await pace(schedule, messages, [caller.write for caller in callers], clock)


async def _send_at_once(callers: Sequence[Caller], samples: Int16) -> None:
    """All send the same, faster than real time, a few of them at a time."""
    message = b"".join(_messages(samples))
    for first in range(0, len(callers), _AT_ONCE):
        for caller in callers[first : first + _AT_ONCE]:
            caller.write(message)
        await asyncio.sleep(_AT_ONCE * len(samples) / SAMPLE_RATE / 100)


async def _close(callers: Sequence[Caller]) -> None:
    for caller in callers:
        caller.stop()
    await asyncio.wait_for(asyncio.gather(*(caller.over for caller in callers)), _WITHIN_S)


async def _churn(daemon: RunningDaemon, count: int, speech: Int16, found: _Found) -> None:
    """Sessions that come, say something and go, a few at once."""
    length = round(_BURST_S * SAMPLE_RATE)
    done, noted = 0, 0
    while done < count:
        callers = await _opened(daemon, min(_AT_ONCE, count - done))
        for number, caller in enumerate(callers):
            start = (done + number) * length // 2 % (len(speech) - length)
            for message in _messages(speech[start : start + length]):
                caller.write(message)
        await _close(callers)
        done += len(callers)
        if done * _STEPS // count > noted:
            noted = done * _STEPS // count
            found.churn.append((done, await _lowest(daemon)))


async def _long_speech(daemon: RunningDaemon, minutes: float, speakers: int, speech: Int16, found: _Found) -> None:
    """Speech without end from a few sessions, each as fast as the daemon takes it."""
    clock = SystemClock()
    began = clock.now()
    share = round(60 * minutes * SAMPLE_RATE / speakers / _STEPS)
    async with contextlib.AsyncExitStack() as stack:
        connecting = [Conversation.connect(daemon.ws_url, timeouts=_PATIENT) for _ in range(speakers)]
        talks = [await stack.enter_async_context(one) for one in connecting]
        readers = [asyncio.create_task(_read(talk)) for talk in talks]
        stack.push_async_callback(_cancel, readers)
        for step in range(_STEPS):
            parts = [_share(speech, number, speakers, step * share, share) for number in range(speakers)]
            await asyncio.gather(*(talk.send_audio(part) for talk, part in zip(talks, parts, strict=True)))
            found.speech.append((minutes * (step + 1) / _STEPS, await _lowest(daemon)))
        for talk in talks:
            await talk.stop()
        await asyncio.gather(*readers)
    found.speech_took_s = clock.now() - began


def _share(speech: Int16, number: int, speakers: int, start: int, count: int) -> bytes:
    """What one speaker says next; each begins elsewhere, and goes round."""
    first = number * len(speech) // speakers + start
    return speech.take(range(first, first + count), mode="wrap").astype("<i2").tobytes()


async def _read(talk: Conversation) -> None:
    async for _ in talk:
        pass


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# Audio


def _messages(samples: Int16) -> list[bytes]:
    """Its 20 ms frames as WebSocket messages; what does not fill one is left out."""
    data = samples.astype("<i2").tobytes()
    whole = len(data) // _FRAME_BYTES
    return [client_frame(BINARY, data[at * _FRAME_BYTES : (at + 1) * _FRAME_BYTES], _MASK) for at in range(whole)]


def _noise(seconds: float) -> Int16:
    """A quiet room, -60 dBFS."""
    return np.random.default_rng(0).normal(0, 33, round(seconds * SAMPLE_RATE)).astype(np.int16)


# Tables


_MEMORY = (Column("rss_mb", "resident", "MB"), Column("pss_mb", "proportional", "MB"), Column("uss_mb", "own", "MB"))


def _stage_table(found: _Found) -> Table:
    rows: list[dict[str, Cell]] = []
    for number, (what, sessions, footprint) in enumerate(found.stages):
        more = sessions - found.stages[number - 1][1] if number else 0
        grown = footprint.rss - found.stages[number - 1][2].rss if number else 0
        rows.append(
            {
                "what": what,
                "sessions": sessions,
                **footprint.cells,
                "each_kb": grown / more / KB if more > 0 else None,
            }
        )
    columns = (
        Column("what", "the daemon"),
        Column("sessions", "sessions"),
        *_MEMORY,
        Column("each_kb", "for each further session", "kB"),
    )
    note = f"1 MB is a million bytes. Each figure after {SETTLE_S:g} s of rest."
    return Table("Memory by what the daemon does", columns, tuple(rows), note)


def _churn_table(found: _Found) -> Table:
    rows = tuple({"sessions": count, **footprint.cells} for count, footprint in found.churn)
    note = f"Each says {_BURST_S:g} s of speech and gets its final; {_AT_ONCE} at a time."
    return Table("Sessions opened, used and closed", (Column("sessions", "sessions"), *_MEMORY), rows, note)


def _speech_table(found: _Found, speakers: int) -> Table:
    rows = tuple({"minutes": minutes, **footprint.cells} for minutes, footprint in found.speech)
    speed = 60 * found.speech[-1][0] / found.speech_took_s if found.speech and found.speech_took_s else float("nan")
    note = f"From {speakers} speakers at once, {speed:.1f} times as fast as they would speak."
    return Table("A long stretch of speech", (Column("minutes", "speech", "min"), *_MEMORY), rows, note)


def _curves(found: _Found) -> tuple[Curve, ...]:
    memory = Axis("resident memory", "MB")
    churn = tuple((float(count), footprint.rss / MB) for count, footprint in found.churn)
    speech = tuple((minutes, footprint.rss / MB) for minutes, footprint in found.speech)
    return (
        Curve("Memory over sessions that come and go", Axis("sessions so far"), memory, {"resident": churn}),
        Curve("Memory over speech", Axis("speech so far", "min"), memory, {"resident": speech}),
    )


def _checks(found: _Found, args: argparse.Namespace) -> tuple[Check, ...]:
    rss = {what: footprint.rss for what, _, footprint in found.stages}
    idle_kb = (rss[FURTHER] - rss[TALKED]) / args.idle / KB if args.idle else float("nan")
    return (
        Check(f"resident with {args.listeners} sessions that listen", rss[TALKED] / MB, MOST_MB, "MB"),
        Check("a further idle session", idle_kb, MOST_IDLE_KB, "kB"),
        Check(f"growth over {args.churn} sessions", growth_mb([one for _, one in found.churn]), MOST_GROWTH_MB, "MB"),
        Check("growth over the speech", growth_mb([one for _, one in found.speech]), MOST_GROWTH_MB, "MB"),
    )


def growth_mb(points: Sequence[Footprint]) -> float:
    """By how much the second half of a run lies above the first, by their medians, its first tenth left out."""
    resident = [point.rss / MB for point in points[max(1, len(points) // 10) :]]
    if len(resident) < 2:
        return float("nan")
    middle = len(resident) // 2
    return percentile(resident[middle:], 50) - percentile(resident[:middle], 50)
