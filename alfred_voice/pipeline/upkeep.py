"""Done again and again: load is measured and the step follows from it, limits are looked at, memory is kept low."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from alfred_voice.clock import Clock
from alfred_voice.events import BackpressureRecovered, BackpressureTriggered, PipelineHealth
from alfred_voice.pipeline.backpressure import Ladder, LoadParts, Step
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.health import Figures, status_of
from alfred_voice.pipeline.load import LoadMeter
from alfred_voice.pipeline.memory import Memory
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions
from alfred_voice.pipeline.partial_pace import PartialPace
from alfred_voice.pipeline.roster import Roster
from alfred_voice.pipeline.stream import Stream


log = logging.getLogger(__name__)

TICK_S = 0.1
HEALTH_TICKS = 10
"""Each session is told the state of health at every tenth tick, once a second."""
KEPT_FRAMES = 25
"""Frames that a silent session keeps when waiting ones are dropped: half a second, for an onset."""
COLLECT_EVERY_S = 30.0

_PARTIAL_FACTORS = {Step.NONE: 1, Step.REDUCE_QUALITY: 3, Step.DROP_FRAMES: 0, Step.PAUSE_PROCESSING: 0}


class Upkeep:
    """The daemon's housekeeping. Lives on the event loop; :meth:`run` and :meth:`clean_up` are its two tasks."""

    def __init__(self, options: CoordinatorOptions, clock: Clock, metrics: Metrics, roster: Roster) -> None:
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._roster = roster
        self._memory = Memory()
        self._ladder = Ladder(options.backpressure)
        self.meter = LoadMeter(options, clock, metrics, self._memory)
        self._dispatch: Dispatch | None = None
        self._clear_cache: Callable[[], int] = lambda: 0
        self.partial_pace = PartialPace(clock.now())
        self._collected_at = float("-inf")
        self._tick = -1

    def watch(self, dispatch: Dispatch, clear_cache: Callable[[], int]) -> None:
        """Look after these lanes from now on; ``clear_cache`` frees what can be made again and says how many bytes."""
        self._dispatch = dispatch
        self._clear_cache = clear_cache
        self._memory.settle()
        self.meter.watch(dispatch)

    @property
    def step(self) -> Step:
        """What is given up now."""
        return self._ladder.step

    async def run(self) -> None:
        """Measure ten times a second, for ever."""
        due = self._clock.now() + TICK_S
        while True:
            await asyncio.sleep(max(0.0, due - self._clock.now()))
            now = self._clock.now()
            lag_s, due = max(0.0, now - due), now + TICK_S
            try:
                self.tick(lag_s, now)
            except Exception:  # the top of a task that nobody waits for; the next tick may go well
                log.exception("tick_failed")

    async def clean_up(self) -> None:
        """Look at the sessions' limits, for ever."""
        while True:
            await asyncio.sleep(self._options.sessions.cleanup_interval_s)
            try:
                self.end_expired(self._clock.now())
            except Exception:  # as in run
                log.exception("cleanup_failed")

    def tick(self, lag_s: float, now: float) -> None:
        """Measure, and do what follows; ``lag_s`` is by how much the event loop was late."""
        streams = self._roster.all()
        for stream in streams:
            stream.note_progress()
        self._pace_partials(streams, now)
        self._climb(self.meter.measure(streams, lag_s, now), streams, now)
        if self.meter.memory_mb >= self._options.memory.gc_trigger_mb and now - self._collected_at >= COLLECT_EVERY_S:
            self._collected_at = now
            self._collect()
            self._trim()
        self._tell_health(streams)

    def _tell_health(self, streams: list[Stream]) -> None:
        """Tell a tenth of the sessions: to tell hundreds at once would hold up everybody's audio once a second."""
        self._tick = (self._tick + 1) % HEALTH_TICKS
        due = [stream for stream in streams if stream.row % HEALTH_TICKS == self._tick]
        if due:
            event = PipelineHealth(status_of(self.figures(), self._options))
            for stream in due:
                stream.tell(event)

    def _pace_partials(self, streams: list[Stream], now: float) -> None:
        if self._dispatch is None or not self.partial_pace.update(self._dispatch.lane_metrics["stt"].busy_s, now):
            return
        self._metrics.partial_factor.set(self.partial_pace.factor)
        for stream in streams:
            self.apply_step(stream)

    def _climb(self, parts: LoadParts, streams: list[Stream], now: float) -> None:
        was = self._ladder.step
        step = self._ladder.update(parts.load, now)
        if step >= Step.DROP_FRAMES and self._dispatch is not None:
            for stream in streams:
                if stream.drop_waiting(KEPT_FRAMES):
                    self._dispatch.wake(stream)
        if step is was:
            return
        self._metrics.backpressure_events += 1
        self._metrics.backpressure_steps.labels(step.wire_name).inc()
        self._metrics.step.set(step)
        log.warning("backpressure", extra={"step": step.wire_name, "load": round(parts.load, 2), "part": parts.worst})
        if self._dispatch is not None:
            self._dispatch.reduce_quality(step >= Step.REDUCE_QUALITY)
        if step >= Step.DROP_FRAMES and self._dispatch is not None:
            for queue in self._dispatch.transcribe_queues:
                queue.drop_partials()
        for stream in streams:
            self.apply_step(stream)
            if step > was:
                stream.tell(BackpressureTriggered(step.wire_name, parts.load, stream.buffered_ms))
            else:
                stream.tell(BackpressureRecovered(step.wire_name, parts.load))

    def apply_step(self, stream: Stream) -> None:
        """Let a session give up what is to be given up now."""
        stream.session.slow_partials(_PARTIAL_FACTORS[self._ladder.step] * self.partial_pace.factor)

    def end_expired(self, now: float) -> int:
        """End the sessions that are beyond their limits; returns how many."""
        expired = self._roster.expired(now)
        stuck = self._roster.stuck(now)
        for stream, reason in expired:
            stream.stop(reason)
        for stream in stuck:
            log.error("session_stuck", extra={"session": stream.session_id})
            stream.end_now("error")
        self._metrics.sessions_cleaned += len(expired) + len(stuck)
        return len(expired) + len(stuck)

    def optimise(self, *, trigger_gc: bool, cleanup_sessions: bool, optimise_buffers: bool) -> dict[str, Any]:
        """Give back what can be given back; says what was done, and the memory before and after."""
        report: dict[str, Any] = {"memoryBefore": round(self._memory.resident_mb(), 1)}
        if cleanup_sessions:
            report["sessionsCleanedUp"] = self.end_expired(self._clock.now())
        if optimise_buffers:
            report["bytesFreed"] = self._clear_cache()
        if trigger_gc:
            report["objectsCollected"] = self._collect()
        if trigger_gc or optimise_buffers:
            report["heapTrimmed"] = self._trim()
        report["memoryAfter"] = round(self._memory.resident_mb(), 1)
        return report

    def _collect(self) -> int:
        self._metrics.gc_triggered += 1
        return self._memory.collect()

    def _trim(self) -> bool:
        self._metrics.memory_optimisations += 1
        return self._memory.trim()

    def figures(self, *, has_failed: bool = False) -> Figures:
        """The daemon's state now."""
        metrics, meter = self._metrics, self.meter
        return Figures(
            load=meter.parts,
            step=self._ladder.step,
            memory_mb=self._memory.resident_mb(),
            sessions=len(self._roster),
            frames_queued=sum(stream.frames_queued for stream in self._roster.all()),
            frame_time_ms=meter.frame_time_ms,
            throughput=meter.throughput,
            error_rate=meter.error_rate,
            gc_triggered=metrics.gc_triggered,
            sessions_cleaned=metrics.sessions_cleaned,
            memory_optimisations=metrics.memory_optimisations,
            backpressure_events=metrics.backpressure_events,
            has_failed=has_failed or (self._dispatch is not None and "down" in self._dispatch.states.values()),
        )
