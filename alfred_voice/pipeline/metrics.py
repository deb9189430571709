"""What the daemon counts and times, for operators: one registry per daemon, none global.

Names and units follow the conventions of Prometheus: one prefix, base units, ``_total`` on
counters. The same figures are at hand in the process for load, status and the monitor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import fmean, median, quantiles

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector


# A frame comes every 20 ms: the buckets are dense below that.
FRAME_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
RESPONSE_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
NEWEST_WEIGHT = 0.1
"""Of the newest value in a running mean."""
RECENT = 512
"""How many of the newest values a figure is drawn from."""


class Recent:
    """The newest values of one figure."""

    def __init__(self, size: int = RECENT) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        """Add the newest value."""
        self._values.append(value)

    @property
    def mean(self) -> float:
        """Their mean; 0 when there is none."""
        return fmean(self._values) if self._values else 0.0

    def summary(self) -> dict[str, float]:
        """Count, median, 95th percentile and largest; zeros when there is none."""
        if not self._values:
            return {"count": 0, "p50": 0.0, "p95": 0.0, "max": 0.0}
        values = list(self._values)
        p95 = quantiles(values, n=20, method="inclusive")[18] if len(values) > 1 else values[0]
        return {
            "count": len(values),
            "p50": round(median(values), 3),
            "p95": round(p95, 3),
            "max": round(max(values), 3),
        }


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
        """The counter of frames and the histogram of their times."""
        metrics = self._metrics
        frames = CounterMetricFamily("alfred_audio_frames", "20 ms frames by their fate", labels=["fate"])
        frames.add_metric(["processed"], metrics.frames_processed)
        frames.add_metric(["dropped"], metrics.frames_dropped)
        yield frames
        times = metrics.frame_times
        yield HistogramMetricFamily(
            "alfred_frame_processing_seconds",
            "From a window being handed on to the detector's answer, its wait for a batch included",
            buckets=times.cumulative(),
            sum_value=times.total_s,
        )


class LaneFamilies:
    """What is kept of every lane in the registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.age = Gauge(
            "alfred_lane_queue_age_seconds", "Age of a lane's oldest urgent job", ["lane"], registry=registry
        )
        self.batch_size = Histogram(
            "alfred_lane_batch_jobs", "Jobs in a batch", ["lane"], buckets=BATCH_BUCKETS, registry=registry
        )
        self.batch_seconds = Histogram(
            "alfred_lane_batch_seconds", "Time of a batch", ["lane"], buckets=FRAME_BUCKETS, registry=registry
        )
        self.wait_seconds = Histogram(
            "alfred_lane_wait_seconds", "Longest wait in a batch", ["lane"], buckets=FRAME_BUCKETS, registry=registry
        )
        self.failures = Counter(
            "alfred_lane_failures", "Jobs that an engine could not answer", ["lane"], registry=registry
        )
        self.restarts = Counter(
            "alfred_lane_restarts", "Engines made anew after they had failed", ["lane"], registry=registry
        )
        self.rows_failed = Counter(
            "alfred_lane_rows_failed", "Jobs that failed alone while others went well", ["lane"], registry=registry
        )
        self.timeouts = Counter(
            "alfred_lane_timeouts", "Calls of an engine that were given up", ["lane"], registry=registry
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
        self.state = "up"
        """``restarting`` while the engine is made anew, ``down`` when the first attempt has failed."""
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
        self.sessions_active = Gauge("alfred_sessions_active", "Open sessions", ["transport"], registry=registry)
        self.sessions = Counter(
            "alfred_sessions", "Sessions that have ended", ["transport", "reason"], registry=registry
        )
        self.refused = Counter("alfred_sessions_refused", "Sessions refused", ["code"], registry=registry)
        self.requests_refused = Counter(
            "alfred_requests_refused", "Requests and connections refused, by why", ["reason"], registry=registry
        )
        self.frame_times = Times(FRAME_BUCKETS)
        registry.register(FrameCollector(self))
        self.final_seconds = Histogram(
            "alfred_stt_final_latency_seconds",
            "From the last speech sample's arrival to the final text",
            buckets=RESPONSE_BUCKETS,
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
        self.turns = Counter("alfred_turns", "Turns by what ended them", ["reason"], registry=registry)
        self.turns_unjudged = Counter(
            "alfred_turns_unjudged", "Pauses for which the turn model had no time", registry=registry
        )
        self.utterances = Counter("alfred_utterances", "Finals told", ["outcome"], registry=registry)
        self.errors = Counter("alfred_errors", "Errors told to clients", ["code"], registry=registry)
        self.backpressure_steps = Counter(
            "alfred_backpressure_changes", "Changes of the degradation step", ["step"], registry=registry
        )
        self.step = Gauge("alfred_backpressure_step", "Degradation step in force, 0 to 3", registry=registry)
        self.rung = Gauge("alfred_backpressure_rung", "Rung of the ladder in force, 0 to 5", registry=registry)
        self.alerts = Gauge("alfred_alert_active", "1 while an alert is up", ["code"], registry=registry)
        self.alerts_raised = Counter("alfred_alerts", "Alerts that have been raised", ["code"], registry=registry)
        self.load = Gauge("alfred_load_ratio", "Load, 0 to 1, and its parts", ["part"], registry=registry)
        self.partial_factor = Gauge(
            "alfred_partial_interval_factor", "By how much partials come less often than configured", registry=registry
        )
        self.partial_factor.set(1)
        self.queued = Gauge("alfred_audio_queue_frames", "Frames waiting, all sessions", registry=registry)
        self.loop_lag = Gauge("alfred_event_loop_lag_seconds", "Lag of the event loop", registry=registry)
        self.lane = LaneFamilies(registry)
        self.requests = 0
        self.failed_requests = 0
        self.frames_processed = 0
        self.frames_dropped = 0
        self.frame_ms = Recent()
        self.final_ms = Recent()
        self.turn_ms = Recent()
        self.gc_triggered = 0
        self.sessions_cleaned = 0
        self.memory_optimisations = 0
        self.backpressure_events = 0

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
