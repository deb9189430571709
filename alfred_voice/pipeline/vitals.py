"""The daemon's figures for people who watch it: those of this moment, and a row of them kept every second."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alfred_voice.clock import Clock
from alfred_voice.pipeline.alerts import AlertChange
from alfred_voice.pipeline.backpressure import LoadParts, Rung
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.history import History, Mark, MarkKind
from alfred_voice.pipeline.load import LoadMeter
from alfred_voice.pipeline.metrics import LaneMetrics


ROW_S = 1.0
"""Between two rows."""
SPAN_ROWS = 5
"""Rows over which shares of time are told: a single second holds a batch or none."""
FIGURES = (
    "load", "rung", "sessions", "throughput", "frame_time_ms", "queue_frames", "queue_age_ms", "memory_mb",
    "cpu_percent", "loop_lag_ms",
)  # fmt: skip
"""Columns of the history; each lane's real-time factor follows, as ``lane.NAME``."""


@dataclass(slots=True)
class _Worst:
    """The largest values since the last row: what was bad for a moment shows, too."""

    load: float = 0.0
    rung: int = 0
    queue_frames: int = 0
    queue_age_ms: float = 0.0
    loop_lag_ms: float = 0.0

    def note(self, load: float, rung: Rung, meter: LoadMeter) -> None:
        """Take the figures of a tick."""
        self.load = max(self.load, load)
        self.rung = max(self.rung, rung)
        self.queue_frames = max(self.queue_frames, meter.frames_queued)
        self.queue_age_ms = max(self.queue_age_ms, meter.oldest_s * 1000)
        self.loop_lag_ms = max(self.loop_lag_ms, meter.loop_lag_s * 1000)


@dataclass(frozen=True, slots=True)
class _Spent:
    """Time that has been spent up to a moment."""

    at: float
    cpu_s: float
    busy_s: tuple[float, ...]
    """By each lane."""


class Vitals:
    """Looks at the daemon ten times a second, and keeps a row each second. Lives on the event loop."""

    def __init__(self, clock: Clock, meter: LoadMeter) -> None:
        self.history = History(FIGURES)
        self._clock = clock
        self._meter = meter
        self._dispatch: Dispatch | None = None
        self._lanes: Mapping[str, LaneMetrics] = {}
        self._worst = _Worst()
        self._rung = Rung.NONE
        self._spent: deque[_Spent] = deque([self._spent_now()], maxlen=SPAN_ROWS + 1)

    def watch(self, dispatch: Dispatch, speech: LaneMetrics) -> None:
        """Look at these lanes, and at that of the synthesiser, from now on."""
        self._dispatch = dispatch
        self._lanes = {**dispatch.lane_metrics, "tts": speech}
        self.history = History((*FIGURES, *(f"lane.{name}" for name in self._lanes)))
        self._spent.clear()
        self._spent.append(self._spent_now())

    def note(self, parts: LoadParts, rung: Rung, sessions: int) -> None:
        """Take a tick's figures; makes a row when a second is over."""
        if rung is not self._rung:
            self._mark_rung(rung, parts)
        self._worst.note(parts.load, rung, self._meter)
        now = self._clock.now()
        if now - self._spent[-1].at >= ROW_S:
            self._spent.append(self._spent_now())
            self._add_row(sessions)

    def note_alert(self, change: AlertChange) -> None:
        """Mark an alert that was raised or cleared."""
        alert = change.alert
        word = "raised" if change.is_raised else "cleared"
        text = f"alert {alert.code} {word}: {change.message}"
        kind: MarkKind = "alert_raised" if change.is_raised else "alert_cleared"
        self.history.mark(Mark(self._clock.wall(), kind, alert.code, text))

    def note_admission(self, *, admits: bool, reason: str) -> None:
        """Mark that new sessions are refused from now on, and why, or let in again."""
        kind: MarkKind = "sessions_admitted" if admits else "sessions_refused"
        text = "new sessions are let in again" if admits else reason
        self.history.mark(Mark(self._clock.wall(), kind, "admission", text))

    def _mark_rung(self, rung: Rung, parts: LoadParts) -> None:
        was, self._rung = self._rung, rung
        text = f"rung {int(was)} to {int(rung)}: load {parts.load * 100:.0f} %, most of it {parts.worst}"
        self.history.mark(Mark(self._clock.wall(), "rung_up" if rung > was else "rung_down", str(int(rung)), text))

    def _add_row(self, sessions: int) -> None:
        meter, worst, self._worst = self._meter, self._worst, _Worst()
        before, last = self._spent[-2], self._spent[-1]
        passed = last.at - before.at
        shares = [(b - a) / passed for a, b in zip(before.busy_s, last.busy_s, strict=True)]
        self.history.add(
            self._clock.wall(),
            (
                worst.load, worst.rung, sessions, meter.throughput, meter.frame_time_ms, worst.queue_frames,
                worst.queue_age_ms, meter.memory_mb, 100 * (last.cpu_s - before.cpu_s) / passed, worst.loop_lag_ms,
                *shares,
            ),
        )  # fmt: skip

    def _spent_now(self) -> _Spent:
        times, now = os.times(), self._clock.now()
        # A batch counts in a lane's own figures when it is done; one may take longer than a row.
        engaged = {} if self._dispatch is None else {lane.name: lane.engaged_s(now) for lane in self._dispatch.lanes}
        busy_s = tuple(lane.busy_s + engaged.get(name, 0.0) for name, lane in self._lanes.items())
        return _Spent(now, times.user + times.system, busy_s)

    @property
    def cpu_percent(self) -> float:
        """Of one core, all threads together, over the last five seconds."""
        first, last = self._spent[0], self._spent[-1]
        return 100 * (last.cpu_s - first.cpu_s) / (last.at - first.at) if last.at > first.at else 0.0

    def describe(self) -> dict[str, Any]:
        """The figures of this moment as JSON, beside those that tell of load."""
        meter = self._meter
        return {
            "at": round(self._clock.wall(), 3),
            "cpu_percent": round(self.cpu_percent, 1),
            "queue": {"frames": meter.frames_queued, "age_ms": round(meter.oldest_s * 1000, 1)},
            "lanes": self._describe_lanes(),
        }

    def _describe_lanes(self) -> dict[str, Any]:
        first, last = self._spent[0], self._spent[-1]
        passed = last.at - first.at
        queues = {} if self._dispatch is None else {lane.name: lane.queue for lane in self._dispatch.lanes}
        now = self._clock.now()
        told = {}
        for place, (name, lane) in enumerate(self._lanes.items()):
            share = (last.busy_s[place] - first.busy_s[place]) / passed if passed > 0 else 0.0
            queue = queues.get(name)
            told[name] = lane.describe() | {
                "real_time_factor": round(share, 4),
                "queued": 0 if queue is None else len(queue),
                "queue_age_ms": 0.0 if queue is None else round(queue.age_s(now) * 1000, 1),
            }
        return told
