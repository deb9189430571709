"""Done again and again: load is measured and the rung follows from it, limits are looked at, memory is kept low."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from alfred_voice.clock import Clock
from alfred_voice.errors import Overloaded
from alfred_voice.events import AudioAcknowledged, PipelineHealth
from alfred_voice.pipeline.alerts import AlertBook, AlertChange, Readings
from alfred_voice.pipeline.backpressure import Rung
from alfred_voice.pipeline.degradation import Degradation
from alfred_voice.pipeline.demand import TALK_WINDOW_S
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.drain import drain_s
from alfred_voice.pipeline.growth import Growth
from alfred_voice.pipeline.health import Figures, status_of
from alfred_voice.pipeline.load import LoadMeter
from alfred_voice.pipeline.memory import Memory
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import CoordinatorOptions
from alfred_voice.pipeline.roster import Roster
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.vitals import Vitals


log = logging.getLogger(__name__)

TICK_S = 0.1
HEALTH_TICKS = 10
"""Each session is told the state of health at every tenth tick, once a second."""
ALERT_SPAN_S = 60.0
"""What counts only now and then is counted over so long for the alerts."""
ADMISSION_TOLD_EVERY_S = 10.0
"""The log is told no more often that new sessions are refused, or let in again."""
COLLECT_EVERY_S = 30.0
COLLECT_PRESSING_S = 3.0
"""While the daemon degrades, be it for memory itself or for the work that memory was taken for."""


class Upkeep:
    """The daemon's housekeeping. Lives on the event loop; :meth:`run` and :meth:`clean_up` are its two tasks."""

    def __init__(self, options: CoordinatorOptions, clock: Clock, metrics: Metrics, roster: Roster) -> None:
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._roster = roster
        self._memory = Memory()
        self._alerts = AlertBook(options.alerts)
        self.degradation = Degradation(options, metrics, clock.now())
        self.meter = LoadMeter(options, clock, metrics, self._memory)
        self.vitals = Vitals(clock, self.meter)
        self.on_alert: Callable[[AlertChange], None] | None = None
        """Is told of each alert that is raised or cleared."""
        self.log_failures: Callable[[], int] = lambda: 0
        """Says how many log records could not be written."""
        self._dropped = Growth(ALERT_SPAN_S)
        self._lost_records = Growth(ALERT_SPAN_S)
        self._engine_states: Callable[[], Mapping[str, str]] = dict
        self._dispatch: Dispatch | None = None
        self._clear_cache: Callable[[], int] = lambda: 0
        self._collected_at = self._admission_told_at = float("-inf")
        self._admitted = True
        self._tick = -1
        self._reconfigured = asyncio.Event()

    def watch(
        self,
        dispatch: Dispatch,
        speech: LaneMetrics,
        clear_cache: Callable[[], int],
        engine_states: Callable[[], Mapping[str, str]],
    ) -> None:
        """Look after these lanes from now on.

        Args:
            dispatch: the lanes.
            speech: the figures of the synthesiser.
            clear_cache: frees what can be made again and says how many bytes.
            engine_states: each engine's state, the synthesiser's too.
        """
        self._dispatch = dispatch
        self._clear_cache = clear_cache
        self._engine_states = engine_states
        self._memory.settle()
        self.degradation.watch(dispatch)
        self.meter.watch(dispatch)
        self.vitals.watch(dispatch, speech)

    def reconfigure(self, options: CoordinatorOptions) -> None:
        """Go by other limits from now on."""
        self._options = options
        self._alerts.reconfigure(options.alerts)
        self.degradation.reconfigure(options)
        self.meter.reconfigure(options)
        self._reconfigured.set()

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
            self._reconfigured.clear()
            # Another interval begins when it is set: the old one may be an hour.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.sessions.cleanup_interval_s):
                    await self._reconfigured.wait()
                continue
            try:
                self.end_expired(self._clock.now())
            except Exception:  # as in run
                log.exception("cleanup_failed")

    def tick(self, lag_s: float, now: float) -> None:
        """Measure, and do what follows; ``lag_s`` is by how much the event loop was late."""
        streams = self._roster.all()
        for stream in streams:
            stream.note_progress()
        parts = self.meter.measure(streams, lag_s, now, rationed=self.degradation.measures.partial_share < 1)
        self.degradation.update(parts, streams, now)
        if self.meter.memory_mb >= self._options.memory.gc_trigger_mb:
            every_s = COLLECT_EVERY_S if self.degradation.rung is Rung.NONE else COLLECT_PRESSING_S
            if now - self._collected_at >= every_s:
                self._collected_at = now
                self._free()
        self._watch_limits(now)
        self._watch_admission(now)
        self.vitals.note(parts, self.degradation.rung, len(streams))
        self._tell_health(streams)

    def _tell_health(self, streams: list[Stream]) -> None:
        """Tell a tenth of the sessions: to tell hundreds at once would hold up everybody's audio once a second."""
        self._tick = (self._tick + 1) % HEALTH_TICKS
        due = [stream for stream in streams if stream.row % HEALTH_TICKS == self._tick]
        if due:
            event = PipelineHealth(status_of(self.figures(), self._options))
            for stream in due:
                stream.tell(event)
                if stream.settings.resumable and stream.detached_at is None:
                    stream.tell(AudioAcknowledged(stream.audio_bytes))

    def _watch_limits(self, now: float) -> None:
        meter, dropped = self.meter, self._metrics.dropped
        readings = Readings(
            frame_time_ms=meter.frame_time_ms,
            memory_mb=meter.memory_mb,
            load_percent=meter.parts.load * 100,
            error_rate_percent=meter.error_rate,
            queued_frames=meter.frames_queued,
            dropped_frames=self._dropped.update(dropped["load"] + dropped["lost"], now),
            lost_records=self._lost_records.update(self.log_failures(), now),
            engines_down=tuple(name for name, state in self._engine_states().items() if state == "down"),
        )
        for change in self._alerts.update(readings, now):
            alert = change.alert
            self._metrics.alerts.labels(alert.code).set(change.is_raised)
            if change.is_raised:
                self._metrics.alerts_raised.labels(alert.code).inc()
            news = {"code": alert.code, "value": round(alert.value, 2), "limit": alert.limit}
            self.vitals.note_alert(change)
            log.warning("alert_raised" if change.is_raised else "alert_cleared", extra=news)
            if self.on_alert is not None:
                self.on_alert(change)

    def _watch_admission(self, now: float) -> None:
        admits = self.admits()
        if admits == self._admitted or now - self._admission_told_at < ADMISSION_TOLD_EVERY_S:
            return
        self._admitted, self._admission_told_at = admits, now
        sessions = len(self._roster)
        demand = round(self.meter.demand.share(sessions + 1), 2)
        news = {"sessions": sessions, "rung": int(self.degradation.rung), "demand": demand}
        reason = "" if admits else self.refusal()
        self.vitals.note_admission(admits=admits, reason=reason)
        if admits:
            log.info("sessions_admitted", extra=news)
        else:
            log.warning("sessions_refused", extra={**news, "reason": reason})

    def refusal(self) -> str:
        """Why nobody is let in now, for those who are refused and for the log."""
        if self._can_serve_more:
            return "the daemon is overloaded and takes no new sessions now"
        sessions = len(self._roster) + 1
        share, most = self.meter.demand.share(sessions), self._options.backpressure.recovery
        return (
            "the daemon is overloaded and takes no new sessions now: going by who speaks, "
            f"{sessions} would need {share:.0%} of an engine's time, and at most {most:.0%} is given away"
        )

    def admits(self) -> bool:
        """Whether one more session may be let in: nothing is paused, and all speakers together can be served."""
        return self._can_serve_more and self.degradation.admits(self._clock.now())

    def describe_admission(self, admit: Callable[[], None]) -> dict[str, Any]:
        """Whether one more session would be let in now, and why not, as JSON.

        Args:
            admit: raises what one more would be refused with.
        """
        reason = ""
        try:
            admit()
        except Overloaded as error:
            reason = str(error)
        demand, most = self.meter.demand.share(len(self._roster) + 1), self._options.backpressure.recovery
        return {"admits": not reason, "reason": reason, "demand": round(demand, 4), "most": most}

    @property
    def _can_serve_more(self) -> bool:
        """Up to the recovery level, so that there is room for moments in which more of them speak than usual."""
        return self.meter.demand.share(len(self._roster) + 1) < self._options.backpressure.recovery

    def retry_after_s(self) -> int:
        """When somebody who is refused now may be let in, in whole seconds, from what the lanes have before them."""
        if self._dispatch is None:
            return 2
        waiting = [
            (len(lane.queue), self._dispatch.lane_metrics[lane.name].seconds_per_job) for lane in self._dispatch.lanes
        ]
        # Who speaks now may have paused by then; more is not known of when there will be room.
        talk_s = 0.0 if self._can_serve_more else TALK_WINDOW_S
        return max(math.ceil(talk_s), drain_s(waiting, self.degradation.rung, self._options.backpressure))

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

    def end_idle(self, idle_s: float, may_end: Callable[[Stream], bool]) -> int:
        """End the sessions that have been idle for so many seconds and that ``may_end`` allows; returns how many."""
        now = self._clock.now()
        idle = [
            stream
            for stream in self._roster.all()
            if stream.stopped_at is None and stream.idle_s(now) >= idle_s and may_end(stream)
        ]
        for stream in idle:
            stream.stop("idle")
        self._metrics.sessions_cleaned += len(idle)
        return len(idle)

    def optimise(self, *, trigger_gc: bool, cleanup_sessions: bool, optimise_buffers: bool) -> dict[str, Any]:
        """Give back what can be given back; says what was done, and the memory before and after."""
        before_mb = self._memory.resident_mb()
        report: dict[str, Any] = {"memoryBefore": round(before_mb, 1)}
        if cleanup_sessions:
            report["sessionsCleanedUp"] = self.end_expired(self._clock.now())
        if optimise_buffers:
            report["bytesFreed"] = self._clear_buffers()
        if trigger_gc:
            report["objectsCollected"] = self._collect()
        if trigger_gc or optimise_buffers:
            report["heapTrimmed"] = self._trim()
        after_mb = self._memory.resident_mb()
        report["memoryAfter"] = round(after_mb, 1)
        report["memoryFreed"] = round(max(0.0, before_mb - after_mb), 1)
        return report

    def _free(self) -> None:
        """Give back what can be made again or is not needed any more."""
        before_mb = self.meter.memory_mb
        freed = {"buffer_bytes": self._clear_buffers(), "objects": self._collect()}
        self._trim()
        log.info(
            "memory_freed", extra={"from_mb": round(before_mb), "to_mb": round(self._memory.resident_mb()), **freed}
        )

    def _clear_buffers(self) -> int:
        return self._clear_cache() + (0 if self._dispatch is None else self._dispatch.free())

    def _collect(self) -> int:
        self._metrics.gc_triggered += 1
        return self._memory.collect()

    def _trim(self) -> bool:
        self._metrics.memory_optimisations += 1
        return self._memory.trim()

    def figures(self, *, has_failed: bool = False) -> Figures:
        """The daemon's state now."""
        metrics, meter, now = self._metrics, self.meter, self._clock.now()
        return Figures(
            load=meter.parts,
            rung=self.degradation.rung,
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
            alerts=tuple(alert.describe(now) for alert in self._alerts.up),
            has_failed=has_failed or (self._dispatch is not None and "down" in self._dispatch.states.values()),
        )
