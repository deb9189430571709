"""One level of load on a running daemon: so many clients for so long, and what it came to on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from yarl import URL

from alfred_voice.bench.daemon import RunningDaemon
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.journal import Figures, merged
from alfred_voice.bench.load import Crowd, LoadFigures, loads, plans_for
from alfred_voice.bench.pacing import FRAME_S, Lateness
from alfred_voice.bench.script import ScriptOptions, Turn
from alfred_voice.bench.stopwatch import percentile
from alfred_voice.clock import SystemClock


POLL_S = 1.0
"""How often the daemon is asked for its own figures."""
BEGIN_IN_S = 0.5
"""From the last session's opening to the first frame."""
CALM_WITHIN_S = 60.0
_KB_PER_MB = 1024


@dataclass(slots=True)
class Watched:
    """What the daemon's process cost, and what it told about itself, while the load lasted."""

    seconds: float = 0.0
    """How long it was watched, after the warm-up."""
    cpu_s: float = 0.0
    rss_before_mb: float = 0.0
    """Before the first session was opened."""
    rss_opened_mb: float = 0.0
    """With all sessions open, before the first frame."""
    rss_mb: list[float] = field(default_factory=list)
    """Once a second."""
    loop_lag_ms: list[float] = field(default_factory=list)
    """Of its event loop, smoothed by the daemon; once a second."""
    judged_per_s: list[float] = field(default_factory=list)
    """Frames, over the last two seconds; once a second."""
    vad_wait_ms: list[float] = field(default_factory=list)
    """95th percentile of the detector's queue; once a second."""


@dataclass(frozen=True, slots=True)
class Level:
    """What came of one level."""

    sessions: int
    figures: Figures
    lateness: Lateness
    generator_cores: float
    """Processor time of the generator for each second of sending."""
    watched: Watched

    @property
    def cores(self) -> float:
        """Processor time of the daemon for each second."""
        return self.watched.cpu_s / self.watched.seconds if self.watched.seconds else float("nan")

    @property
    def us_per_frame(self) -> float:
        """Processor time of the daemon for each frame that it judged, microseconds."""
        return self.cores * 1e6 / self.judged_per_s

    @property
    def judged_per_s(self) -> float:
        """Frames that the daemon judged in a second; as many as were due, when it told nothing yet."""
        told = [figure for figure in self.watched.judged_per_s if figure > 0]
        return fmean(told) if told else self.sessions / FRAME_S

    @property
    def cores_per_speaker(self) -> float:
        """Processor time of the daemon for a second of speech; NaN when nobody spoke."""
        return self.cores / (self.sessions * self.duty) if self.duty else float("nan")

    @property
    def peak_mb(self) -> float:
        """The most resident memory that was seen."""
        return max(self.watched.rss_mb, default=float("nan"))

    @property
    def kb_per_session(self) -> float:
        """Growth of resident memory since before the first session, for each session."""
        return (self.peak_mb - self.watched.rss_before_mb) * _KB_PER_MB / self.sessions

    @property
    def duty(self) -> float:
        """Share of the frames that belong to turns."""
        return self.figures.speech_frames / max(1, self.figures.frames_sent)

    def percentile_ms(self, delays: str, percent: float) -> float:
        """A percentile of those delays, which are a field of the figures; NaN when there was none."""
        return percentile(getattr(self.figures, delays), percent)


async def run_level(daemon: RunningDaemon, crowd: Crowd, options: ScriptOptions, turns: Sequence[Turn] = ()) -> Level:
    """Open the sessions, send, stop, and count.

    Raises:
        CallRefused: the daemon does not take so many sessions.
        BenchmarkFailed: the load could not be generated.
    """
    url = URL(daemon.base_url)
    if url.host is None or url.port is None:
        raise AssertionError("a running daemon has an address")
    watched = Watched(rss_before_mb=daemon.rss_mb())
    with loads(plans_for((url.host, url.port), crowd, options, turns)) as parts:
        await asyncio.gather(*(part.open() for part in parts))
        watched.rss_opened_mb = daemon.rss_mb()
        begin_s = SystemClock().now() + BEGIN_IN_S
        end_s = begin_s + options.frames * FRAME_S
        *answers, _ = await asyncio.gather(
            *(part.run(begin_s) for part in parts), _watch(daemon, watched, begin_s + crowd.warm_up_s, end_s)
        )
    found = [answer for answer in answers if isinstance(answer, LoadFigures)]
    return Level(
        crowd.sessions,
        merged(part.figures for part in found),
        Lateness([wake for part in found for wake in part.lateness.wakes]),
        sum(part.cpu_s for part in found) / (options.frames * FRAME_S),
        watched,
    )


async def wait_until_calm(daemon: RunningDaemon) -> None:
    """Return once no session is open and the daemon degrades nothing any more.

    Raises:
        BenchmarkFailed: that takes a minute.
    """
    clock = SystemClock()
    deadline = clock.now() + CALM_WITHIN_S
    while True:
        state = (await daemon.metrics()).get("pipelineState", {})
        if state.get("sessionsActive") == 0 and state.get("degradationStep") == "none":
            return
        if clock.now() > deadline:
            raise BenchmarkFailed(f"the daemon has not calmed down within {CALM_WITHIN_S:g} s: {state}")
        await asyncio.sleep(POLL_S / 4)


async def _watch(daemon: RunningDaemon, watched: Watched, from_s: float, to_s: float) -> None:
    """Look at the daemon between two moments."""
    clock = SystemClock()
    await asyncio.sleep(from_s - clock.now())
    started_s, cpu_before = clock.now(), daemon.cpu_s()
    while (left_s := to_s - clock.now()) > 0:
        await asyncio.sleep(min(POLL_S, left_s))
        watched.rss_mb.append(daemon.rss_mb())
        if left_s > POLL_S:
            _note(watched, await daemon.metrics())
    watched.seconds, watched.cpu_s = clock.now() - started_s, daemon.cpu_s() - cpu_before


def _note(watched: Watched, metrics: Mapping[str, Any]) -> None:
    watched.loop_lag_ms.append(_figure(metrics, "load", "event_loop_lag_ms"))
    watched.judged_per_s.append(_figure(metrics, "performanceMetrics", "throughput"))
    watched.vad_wait_ms.append(_figure(metrics, "lanes", "vad", "wait_ms", "p95"))


def _figure(metrics: Mapping[str, Any], *path: str) -> float:
    """A number out of nested objects.

    Raises:
        BenchmarkFailed: it is not there.
    """
    found: Any = metrics
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, int | float):
        raise BenchmarkFailed(f"/metrics has no {'.'.join(path)}")
    return float(found)
