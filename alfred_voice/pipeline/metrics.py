"""What the daemon counts and times, for operators: one registry per daemon, none global.

Names and units follow the conventions of Prometheus: one prefix, base units, ``_total`` on
counters. The same figures are at hand in the process for load, status and the monitor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from alfred_voice.audio.pcm import FRAME_MS
from alfred_voice.errors import AlfredVoiceError, TooManySessionsOfAddress, TooManySessionsOfKey
from alfred_voice.pipeline.families import (
    FRAME_BUCKETS,
    LOOP_BUCKETS,
    RESPONSE_BUCKETS,
    DoorFamilies,
    LaneFamilies,
    NoticeFamilies,
    SpeechFamilies,
    WebRtcFamilies,
)
from alfred_voice.pipeline.recent import Recent


NEWEST_WEIGHT = 0.1
"""Of the newest value in a running mean."""


class Times:
    """Durations counted by bucket, many at a time: there are thirty a second for every session."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self.count = 0
        self.total_s = 0.0

    def add(self, seconds: Sequence[float]) -> None:
        """Count these durations."""
        buckets = np.searchsorted(self._bounds_s, seconds)
        for bucket, count in zip(*np.unique(buckets, return_counts=True), strict=True):
            self._counts[bucket] += int(count)
        self.count += len(seconds)
        self.total_s += sum(seconds)

    def cumulative(self) -> list[tuple[str, float]]:
        """How many lie at or below each bound, as Prometheus wants to have it."""
        names = [*(str(bound) for bound in self._bounds_s), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


class FrameCollector(Collector):
    """The figures of the frames, when somebody asks for them: they change too often to be kept in the registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """The counters of frames and the histogram of their times."""
        metrics = self._metrics
        frames = CounterMetricFamily("alfred_audio_frames", "20 ms frames by their fate", labels=["fate"])
        frames.add_metric(["processed"], metrics.frames_processed)
        frames.add_metric(["dropped"], metrics.frames_dropped)
        yield frames
        dropped = CounterMetricFamily("alfred_audio_frames_dropped", "20 ms frames dropped, by why", labels=["reason"])
        for reason, count in metrics.dropped.items():
            dropped.add_metric([reason], count)
        yield dropped
        seconds = CounterMetricFamily(
            "alfred_audio_seconds", "Audio of clients that was taken (in), and of speeches that was sent (out)",
            labels=["direction"],
        )  # fmt: skip
        seconds.add_metric(["in"], (metrics.frames_processed + metrics.frames_dropped) * FRAME_MS / 1000)
        seconds.add_metric(["out"], metrics.spoken_s)
        yield seconds
        times = metrics.frame_times
        yield HistogramMetricFamily(
            "alfred_frame_processing_seconds",
            "From a window being handed on to the detector's answer, its wait for a batch included",
            buckets=times.cumulative(),
            sum_value=times.total_s,
        )


class LaneMetrics:
    """The figures of one lane."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self.jobs = 0
        self.batches = 0
        self.failures = 0
        self.restarts = 0
        self.rows_failed = 0
        self.timeouts = 0
        self.busy_s = 0.0
        self.urgent_busy_s = 0.0
        """Of that, what was not for partials, which there may be less of."""
        self.seconds_per_job = 0.0
        """Of late."""
        self.batch_sizes = Recent()
        self.waits_ms = Recent()
        self._metrics = metrics
        self._batch_size = metrics.lane.batch_size.labels(name)
        self._batch_seconds = metrics.lane.batch_seconds.labels(name)
        self._wait_seconds = metrics.lane.wait_seconds.labels(name)
        self._failures = metrics.lane.failures.labels(name)
        self._restarts = metrics.lane.restarts.labels(name)
        self._rows_failed = metrics.lane.rows_failed.labels(name)
        self._timeouts = metrics.lane.timeouts.labels(name)
        self._up = metrics.lane.up.labels(name)
        self.state = "up"

    @property
    def state(self) -> str:
        """``up``, ``restarting`` while the engine is made anew, ``down`` when the first attempt has failed."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        self._state = state
        self._up.set(state == "up")

    def record_batch(self, size: int, seconds: float, waited_s: float, *, is_urgent: bool = True) -> None:
        """Note a batch that the engine has answered: its size, its time, and how long its oldest job had waited."""
        self.jobs += size
        self.batches += 1
        self.busy_s += seconds
        if is_urgent:
            self.urgent_busy_s += seconds
        weight = NEWEST_WEIGHT if self.batches > 1 else 1.0
        self.seconds_per_job += (seconds / size - self.seconds_per_job) * weight
        self.batch_sizes.add(size)
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)
        self.waits_ms.add(waited_s * 1000)
        self._wait_seconds.observe(waited_s)
        self._metrics.requests += size

    def record_failures(self, jobs: int) -> None:
        """Note jobs that the engine could not answer."""
        self.failures += jobs
        self._failures.inc(jobs)
        self._metrics.failed_requests += jobs

    def record_rows_failed(self, rows: int) -> None:
        """Note jobs that the engine could not bear, though it answered others."""
        self.rows_failed += rows
        self._rows_failed.inc(rows)

    def record_restart(self) -> None:
        """Note that the engine has been made anew."""
        self.state = "up"
        self.restarts += 1
        self._restarts.inc()

    def record_timeout(self) -> None:
        """Note a call of the engine that was given up."""
        self.timeouts += 1
        self._timeouts.inc()

    def record_first_audio(self, engine: str, seconds: float) -> None:
        """Note when the first piece of a text was there, from its being asked for."""
        self._metrics.speech.first_audio.labels(engine).observe(seconds)

    def describe(self) -> dict[str, object]:
        """The figures as JSON."""
        return {
            "jobs": self.jobs,
            "batches": self.batches,
            "failures": self.failures,
            "state": self.state,
            "restarts": self.restarts,
            "rows_failed": self.rows_failed,
            "timeouts": self.timeouts,
            "busy_s": round(self.busy_s, 3),
            "seconds_per_job": round(self.seconds_per_job, 6),
            "batch_size": self.batch_sizes.summary(),
            "wait_ms": self.waits_ms.summary(),
        }


class Metrics:
    """All figures of one daemon."""

    def __init__(self, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Info("alfred_build", "What runs here", registry=registry).info({"version": version})
        self.frame_times = Times(FRAME_BUCKETS)
        registry.register(FrameCollector(self))
        self._count(registry)
        self._time(registry)
        self._gauge(registry)
        self.lane = LaneFamilies(registry)
        self.speech = SpeechFamilies(registry)
        self.door = DoorFamilies(registry)
        self.notices = NoticeFamilies(registry)
        self.webrtc = WebRtcFamilies(registry)
        self.requests = 0
        self.failed_requests = 0
        self.frames_processed = 0
        self.dropped = {"load": 0, "lost": 0, "ended": 0}
        """Frames by why: silence given up under load, more than a session can hold, left over at a session's end."""
        self.heard_s = 0.0
        """Of the speech that finals were told of."""
        self.spoken_s = 0.0
        """Of the daemon's own speech."""
        self.frame_ms = Recent()
        self.final_ms = Recent()
        self.turn_ms = Recent()
        self.gc_triggered = 0
        self.sessions_cleaned = 0
        self.memory_optimisations = 0
        self.backpressure_events = 0

    def note_refusal(self, error: AlfredVoiceError) -> None:
        """Count a session that was not opened: limits of a key or an address with the requests, all else by code."""
        if isinstance(error, TooManySessionsOfKey | TooManySessionsOfAddress):
            self.requests_refused.labels(error.code).inc()
        else:
            self.refused.labels(error.code).inc()

    def _count(self, registry: CollectorRegistry) -> None:
        self.sessions_active = Gauge("alfred_sessions_active", "Open sessions", ["transport"], registry=registry)
        self.sessions = Counter(
            "alfred_sessions", "Sessions that have ended", ["transport", "reason"], registry=registry
        )
        self.refused = Counter("alfred_sessions_refused", "Sessions refused", ["code"], registry=registry)
        self.requests_refused = Counter(
            "alfred_requests_refused", "Requests and connections refused, by why", ["reason"], registry=registry
        )
        self.turns = Counter("alfred_turns", "Turns by what ended them", ["reason"], registry=registry)
        self.interruptions = Counter(
            "alfred_interruptions", "Speeches of the daemon's that a speaker has talked over", registry=registry
        )
        self.sessions_detached = Counter(
            "alfred_sessions_detached", "Sessions that lost their connection and were kept", registry=registry
        )
        self.sessions_resumed = Counter(
            "alfred_sessions_resumed", "Sessions to which a client has come back", registry=registry
        )
        self.turns_unjudged = Counter(
            "alfred_turns_unjudged", "Pauses for which the turn model had no time", registry=registry
        )
        self.utterances = Counter("alfred_utterances", "Finals told", ["outcome"], registry=registry)
        self.errors = Counter("alfred_errors", "Errors told to clients", ["code"], registry=registry)
        self.backpressure_steps = Counter(
            "alfred_backpressure_changes", "Changes of the degradation step", ["step"], registry=registry
        )

    def _time(self, registry: CollectorRegistry) -> None:
        self.final_seconds = Histogram(
            "alfred_stt_final_latency_seconds",
            "From the last speech sample's arrival to the final text",
            buckets=RESPONSE_BUCKETS,
            registry=registry,
        )
        self.loop_delay = Histogram(
            "alfred_event_loop_delay_seconds",
            "By how much the event loop was late, ten times a second",
            buckets=LOOP_BUCKETS,
            registry=registry,
        )
        self.turn_seconds = Histogram(
            "alfred_turn_latency_seconds",
            "From the last speech sample's arrival to the end of the turn being told",
            buckets=RESPONSE_BUCKETS,
            registry=registry,
        )
        self.interruption_seconds = Histogram(
            "alfred_interruption_latency_seconds",
            "From the first sample of speech over the daemon's own to its being stopped",
            buckets=RESPONSE_BUCKETS,
            registry=registry,
        )

    def _gauge(self, registry: CollectorRegistry) -> None:
        self.step = Gauge("alfred_backpressure_step", "Degradation step in force, 0 to 3", registry=registry)
        self.rung = Gauge("alfred_backpressure_rung", "Rung of the ladder in force, 0 to 5", registry=registry)
        self.alerts = Gauge("alfred_alert_active", "1 while an alert is up", ["code"], registry=registry)
        self.alerts_raised = Counter("alfred_alerts", "Alerts that have been raised", ["code"], registry=registry)
        self.load = Gauge("alfred_load_ratio", "Load, 0 to 1, and its parts", ["part"], registry=registry)
        self.demand = Gauge(
            "alfred_demand_ratio",
            "Share of its time that the busiest engine will need for those who are speaking, by what speech has cost",
            registry=registry,
        )
        self.partial_factor = Gauge(
            "alfred_partial_interval_factor", "By how much partials come less often than configured", registry=registry
        )
        self.partial_factor.set(1)
        self.queued = Gauge("alfred_audio_queue_frames", "Frames waiting, all sessions", registry=registry)
        self.loop_lag = Gauge(
            "alfred_event_loop_lag_seconds", "Lag of the event loop, smoothed as load takes it", registry=registry
        )

    @property
    def frames_dropped(self) -> int:
        """Frames dropped, whatever for."""
        return sum(self.dropped.values())

    @property
    def windows_timed(self) -> int:
        """How many windows the detector has answered."""
        return self.frame_times.count

    @property
    def window_ms_total(self) -> float:
        """How long they took, added up."""
        return self.frame_times.total_s * 1000

    def record_windows(self, answers: Sequence[tuple[int, float]]) -> None:
        """Note that the detector has answered sessions: each one's number of windows, and the seconds it waited."""
        each_s = [waited_s / windows for windows, waited_s in answers for _ in range(windows)]
        if each_s:
            self.frame_times.add(each_s)
            self.frame_ms.add(max(each_s) * 1000)

    def record_interruption(self, latency_ms: float) -> None:
        """Note that a speaker has talked over the daemon's own speech."""
        self.interruptions.inc()
        self.interruption_seconds.observe(max(0.0, latency_ms / 1000))

    def record_final(self, latency_ms: float, *, has_words: bool) -> None:
        """Note a final."""
        self.final_ms.add(latency_ms)
        self.final_seconds.observe(latency_ms / 1000)
        self.utterances.labels("words" if has_words else "empty").inc()

    def record_turn(self, latency_ms: float, reason: str) -> None:
        """Note the end of a turn."""
        self.turn_ms.add(latency_ms)
        self.turn_seconds.observe(latency_ms / 1000)
        self.turns.labels(reason).inc()
