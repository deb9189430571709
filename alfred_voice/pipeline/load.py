"""Load, measured: one number for the ladder, and the parts that it is made of."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass

from alfred_voice.audio.pcm import FRAME_MS
from alfred_voice.clock import Clock
from alfred_voice.pipeline.backpressure import LoadParts
from alfred_voice.pipeline.demand import Demand
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.memory import Memory
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions
from alfred_voice.pipeline.recent import Recent
from alfred_voice.pipeline.stream import Stream


FRAME_TARGETS = 4
"""A window that has waited four times the target counts as full load."""
FINAL_LIMIT_S = 1.0
TURN_LIMIT_S = 2.0
"""By then a turn ends whatever the model says."""
PARTIAL_LIMIT_S = 2.0
"""The search for a cut in long speech keeps the recogniser busy for a second, without there being any load."""
LOOP_LIMIT_S = 0.1
LOOP_GRAIN_S = 0.002
"""By so much a timer is late when nothing is to be done: its clock has milliseconds, and the system wakes us when it
can."""
NEWEST_LAGS = 600
"""Lags from which their 99th percentile is drawn: a minute's."""
LOOP_SMOOTHING = 0.2
"""Weight of the newest lag."""
MEMORY_EVERY_S = 0.5
ERROR_WINDOW_S = 60.0
FRAME_TIME_WINDOW_S = 10.0
THROUGHPUT_WINDOW_S = 2.0
REAL_TIME_WINDOW_S = 5.0
"""Finals come in clusters: what counts is whether the engine keeps up with them in the long run."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What has been counted up to a moment."""

    at: float
    frames: int = 0
    windows_timed: int = 0
    window_ms: float = 0.0
    requests: int = 0
    failed: int = 0
    busy_s: tuple[float, ...] = ()
    """For each lane of this machine, how long it has been busy with what cannot be given up."""


class LoadMeter:
    """Looks at queues, lanes, loop and memory. :meth:`measure` is called about ten times a second."""

    def __init__(self, options: CoordinatorOptions, clock: Clock, metrics: Metrics, memory: Memory) -> None:
        self._options = options
        self._metrics = metrics
        self._memory = memory
        self._dispatch: Dispatch | None = None
        self.started_at = clock.now()
        self.parts = LoadParts()
        self.memory_mb = memory.resident_mb()
        self._memory_at = float("-inf")
        self._lag_s = 0.0
        self._lags_s = Recent(NEWEST_LAGS)
        self.frames_queued = 0
        """Frames waiting, all sessions."""
        self.oldest_s = 0.0
        """How long the oldest of them has waited."""
        self._history: deque[Totals] = deque((Totals(self.started_at),))
        self.demand = Demand()
        """What the sessions will ask for."""

    def reconfigure(self, options: CoordinatorOptions) -> None:
        """Measure against other limits from now on."""
        self._options = options

    def watch(self, dispatch: Dispatch) -> None:
        """Measure these lanes from now on."""
        self._dispatch = dispatch

    def measure(self, streams: list[Stream], lag_s: float, now: float, *, rationed: bool = False) -> LoadParts:
        """Take the figures of this moment.

        Args:
            streams: the open sessions.
            lag_s: by how much the event loop was late.
            now: clock seconds.
            rationed: partials are made to wait, so that their waiting says nothing about load.
        """
        if self._dispatch is None:
            return self.parts
        if now - self._memory_at >= MEMORY_EVERY_S:
            self._memory_at, self.memory_mb = now, self._memory.resident_mb()
        self._lags_s.add(lag_s)
        self._metrics.loop_delay.observe(lag_s)
        # A single late turn, however late, is no load; a loop that is late again and again is.
        lag_s = min(max(0.0, lag_s - LOOP_GRAIN_S), 2 * LOOP_LIMIT_S)
        self._lag_s += (lag_s - self._lag_s) * LOOP_SMOOTHING
        self._dispatch.detect_queue.speakers = sum(stream.is_sending(now) for stream in streams)
        self._note_totals(self._dispatch, now)
        self._note_demand(streams, now)
        self.parts = self._weigh(self._dispatch, streams, now, rationed=rationed)
        self.frames_queued = sum(stream.frames_queued for stream in streams)
        self._publish(self._dispatch, len(streams), now)
        return self.parts

    def _weigh(self, dispatch: Dispatch, streams: list[Stream], now: float, *, rationed: bool) -> LoadParts:
        pipeline, memory = self._options.pipeline, self._options.memory
        # To wait for company up to the deadline is the plan.
        late_ms = max(0.0, dispatch.detect_queue.age_s(now) * 1000 - pipeline.batch_deadline_ms)
        self.oldest_s = waited_s = max((stream.waiting_s(now) for stream in streams), default=0.0)
        return LoadParts(
            queue=waited_s * 1000 / (pipeline.queue_frames * FRAME_MS),
            frame_time=late_ms / (FRAME_TARGETS * pipeline.frame_target_ms),
            finals=max(queue.age_s(now) for queue in dispatch.transcribe_queues) / FINAL_LIMIT_S,
            turns=dispatch.judge_queue.age_s(now) / TURN_LIMIT_S,
            partials=0.0 if rationed else _oldest_partial_s(dispatch, now) / PARTIAL_LIMIT_S,
            # What engines have done for those who have gone is no load any more.
            real_time=self.real_time_factor if streams else 0.0,
            loop=self._lag_s / LOOP_LIMIT_S,
            memory=max(0.0, (self.memory_mb - memory.gc_trigger_mb) / max(1, memory.limit_mb - memory.gc_trigger_mb)),
        )

    def _note_totals(self, dispatch: Dispatch, now: float) -> None:
        metrics = self._metrics
        self._history.append(
            Totals(
                now,
                metrics.frames_processed,
                metrics.windows_timed,
                metrics.window_ms_total,
                metrics.requests,
                metrics.failed_requests,
                tuple(
                    lane.urgent_busy_s for name, lane in dispatch.lane_metrics.items() if name not in dispatch.far_lanes
                ),
            )
        )
        while now - self._history[0].at > ERROR_WINDOW_S:
            self._history.popleft()

    def _note_demand(self, streams: list[Stream], now: float) -> None:
        self.demand.note(
            now,
            sessions=len(streams),
            # Whose connection was lost in the middle of a word is not speaking on.
            speakers=sum(stream.session.is_speaking and stream.is_sending(now) for stream in streams),
            heard_s=self._metrics.heard_s,
            busy_s=self._history[-1].busy_s,
        )

    def _span(self, seconds: float) -> tuple[Totals, Totals]:
        """The oldest totals that are no older than ``seconds`` before the newest, and the newest."""
        newest = self._history[-1]
        return next(totals for totals in self._history if newest.at - totals.at <= seconds), newest

    @property
    def loop_lag_s(self) -> float:
        """Lag of the event loop, smoothed."""
        return self._lag_s

    @property
    def throughput(self) -> float:
        """Frames a second, over the last two seconds."""
        start, end = self._span(THROUGHPUT_WINDOW_S)
        return (end.frames - start.frames) / (end.at - start.at) if end.at > start.at else 0.0

    @property
    def frame_time_ms(self) -> float:
        """How long a window took on average, over the last ten seconds; 0 when there was none."""
        start, end = self._span(FRAME_TIME_WINDOW_S)
        windows = end.windows_timed - start.windows_timed
        return (end.window_ms - start.window_ms) / windows if windows else 0.0

    @property
    def error_rate(self) -> float:
        """Failed requests to the engines in a hundred, over the last minute."""
        start, end = self._span(ERROR_WINDOW_S)
        requests = end.requests - start.requests
        return 100 * (end.failed - start.failed) / requests if requests else 0.0

    @property
    def real_time_factor(self) -> float:
        """Seconds that the busiest engine computes in a second, partials left out, over the last five."""
        start, end = self._span(REAL_TIME_WINDOW_S)
        if end.at - start.at < REAL_TIME_WINDOW_S / 2 or not start.busy_s:
            return 0.0
        passed = end.at - start.at
        return max((b - a) / passed for a, b in zip(start.busy_s, end.busy_s, strict=True))

    def describe(self, sessions: int) -> dict[str, float]:
        """The parts as JSON, and what so many sessions will ask for."""
        return {name: round(value, 4) for name, value in asdict(self.parts).items()} | {
            "demand": round(self.demand.share(sessions), 4),
            "event_loop_lag_ms": round(self._lag_s * 1000, 2),
            "event_loop_lag_p99_ms": round(self._lags_s.quantile(0.99) * 1000, 2),
        }

    def _publish(self, dispatch: Dispatch, sessions: int, now: float) -> None:
        metrics = self._metrics
        for name, value in asdict(self.parts).items():
            metrics.load.labels(name).set(value)
        metrics.load.labels("total").set(self.parts.load)
        metrics.demand.set(self.demand.share(sessions))
        metrics.loop_lag.set(self._lag_s)
        metrics.queued.set(self.frames_queued)
        for lane in dispatch.lanes:
            metrics.lane.age.labels(lane.name).set(lane.queue.age_s(now))


def _oldest_partial_s(dispatch: Dispatch, now: float) -> float:
    """How long the speaker has waited who waits longest for a partial."""
    return max(queue.partial_age_s(now) for queue in dispatch.transcribe_queues)
