"""Load, measured: one number for the ladder, and the parts that it is made of."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict

from alfred_voice.clock import Clock
from alfred_voice.pipeline.backpressure import LoadParts
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.memory import Memory
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions
from alfred_voice.pipeline.stream import Stream


FRAME_TARGETS = 4
"""A window that has waited four times the target counts as full load."""
FINAL_LIMIT_S = 1.0
TURN_LIMIT_S = 1.0
PARTIAL_LIMIT_S = 1.0
LOOP_LIMIT_S = 0.1
MEMORY_EVERY_S = 0.5
RATE_WINDOW_S = 60.0
THROUGHPUT_WINDOW_S = 2.0


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
        # (time, frames processed, requests, failed requests)
        self._history: deque[tuple[float, int, int, int]] = deque()

    def watch(self, dispatch: Dispatch) -> None:
        """Measure these lanes from now on."""
        self._dispatch = dispatch

    def measure(self, streams: list[Stream], lag_s: float, now: float) -> LoadParts:
        """Take the figures of this moment; ``lag_s`` is by how much the event loop was late."""
        if self._dispatch is None:
            return self.parts
        dispatch, options = self._dispatch, self._options
        if now - self._memory_at >= MEMORY_EVERY_S:
            self._memory_at, self.memory_mb = now, self._memory.resident_mb()
        # A single late turn is no load; a loop that is late again and again is.
        self._lag_s += (lag_s - self._lag_s) * 0.2
        dispatch.detect_queue.speakers = sum(stream.is_sending(now) for stream in streams)
        trigger, limit = options.memory.gc_trigger_mb, options.memory.limit_mb
        self.parts = LoadParts(
            queue=max((s.frames_queued for s in streams if s.transport != "http"), default=0)
            / options.pipeline.queue_frames,
            frame_time=dispatch.detect_queue.age_s(now) * 1000 / (FRAME_TARGETS * options.pipeline.frame_target_ms),
            finals=dispatch.transcribe_queue.age_s(now) / FINAL_LIMIT_S,
            turns=dispatch.judge_queue.age_s(now) / TURN_LIMIT_S,
            partials=dispatch.transcribe_queue.partial_age_s(now) / PARTIAL_LIMIT_S,
            loop=self._lag_s / LOOP_LIMIT_S,
            memory=max(0.0, (self.memory_mb - trigger) / max(1, limit - trigger)),
        )
        self._note_rates(now)
        self._publish(streams, now)
        return self.parts

    def _note_rates(self, now: float) -> None:
        metrics = self._metrics
        self._history.append((now, metrics.frames_processed, metrics.requests, metrics.failed_requests))
        while now - self._history[0][0] > RATE_WINDOW_S:
            self._history.popleft()

    @property
    def throughput(self) -> float:
        """Frames a second, over the last two seconds."""
        if not self._history:
            return 0.0
        newest = self._history[-1]
        start = next(entry for entry in self._history if newest[0] - entry[0] <= THROUGHPUT_WINDOW_S)
        seconds = newest[0] - start[0]
        return (newest[1] - start[1]) / seconds if seconds > 0 else 0.0

    @property
    def error_rate(self) -> float:
        """Failed requests to the engines in a hundred, over the last minute."""
        if not self._history:
            return 0.0
        oldest, newest = self._history[0], self._history[-1]
        requests = newest[2] - oldest[2]
        return 100 * (newest[3] - oldest[3]) / requests if requests else 0.0

    def describe(self) -> dict[str, float]:
        """The parts as JSON."""
        return {name: round(value, 4) for name, value in asdict(self.parts).items()} | {
            "event_loop_lag_ms": round(self._lag_s * 1000, 2)
        }

    def _publish(self, streams: list[Stream], now: float) -> None:
        metrics = self._metrics
        for name, value in asdict(self.parts).items():
            metrics.load.labels(name).set(value)
        metrics.load.labels("total").set(self.parts.load)
        metrics.loop_lag.set(self._lag_s)
        metrics.queued.set(sum(stream.frames_queued for stream in streams))
        if self._dispatch is not None:
            for lane in self._dispatch.lanes:
                metrics.lane_age.labels(lane.name).set(lane.queue.age_s(now))
