"""Alerts: a figure beyond its limit for a while raises one, and it is cleared when the figure is well below again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alfred_voice.pipeline.options import AlertOptions


RAISE_AFTER_S = 1.0
"""A figure that is beyond its limit for a moment only alerts nobody."""
CLEAR_AFTER_S = 5.0
CLEAR_BELOW = 0.9
"""Share of the limit below which a figure has to stay until its alert is cleared."""

_NAMES = {
    "frame_time": "the time of frames",
    "memory": "resident memory",
    "load": "load",
    "error_rate": "the share of failed questions",
    "queue": "the number of waiting frames",
    "dropped": "the number of frames given up",
}
"""The figures, as messages call them that tell of their way back."""
_RIGHT = {"logging": "log records are written", "engine_down": "all engines work"}
"""The same of what has no limit."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The figures that alerts are about."""

    frame_time_ms: float = 0.0
    memory_mb: float = 0.0
    load_percent: float = 0.0
    error_rate_percent: float = 0.0
    queued_frames: float = 0.0
    dropped_frames: float = 0.0
    """Within the last minute, as the next one."""
    lost_records: float = 0.0
    engines_down: tuple[str, ...] = ()
    """Lanes whose engine could not be made anew."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One figure beyond its limit."""

    code: str
    meaning: str
    unit: str
    value: float
    limit: float
    since: float
    """Clock seconds."""

    @property
    def is_beyond(self) -> bool:
        """Whether the figure is beyond its limit now; if not, the alert waits until it has been well below."""
        return self.value > self.limit

    @property
    def message(self) -> str:
        """For people, while it is up."""
        now = f"{self.value:.1f} {self.unit}"
        if self.is_beyond:
            return f"{self.meaning}: {now}, limit {self.limit:g}"
        if self.code in _RIGHT:
            return f"{_RIGHT[self.code]} again; cleared after {CLEAR_AFTER_S:g} s without a fault"
        calm = f"{self.limit * CLEAR_BELOW:g} {self.unit} or less for {CLEAR_AFTER_S:g} s"
        return f"{_NAMES[self.code]} was above its limit {self.limit:g} and is {now} now; cleared after {calm}"

    def describe(self, now: float) -> dict[str, Any]:
        """As JSON."""
        return {
            "code": self.code,
            "message": self.message,
            "value": round(self.value, 2),
            "limit": self.limit,
            "beyond": self.is_beyond,
            "for_s": round(now - self.since, 1),
        }


@dataclass(frozen=True, slots=True)
class AlertChange:
    """An alert that was raised or cleared at this moment."""

    alert: Alert
    is_raised: bool

    @property
    def message(self) -> str:
        """For people."""
        alert = self.alert
        if self.is_raised:
            return alert.message
        if alert.code in _RIGHT:
            return f"{_RIGHT[alert.code]} again"
        return f"{_NAMES[alert.code]} is back below its limit: {alert.value:.1f} {alert.unit}, limit {alert.limit:g}"


class AlertBook:
    """Which alerts are up. Pure: figures and the time come as arguments."""

    def __init__(self, options: AlertOptions) -> None:
        self._options = options
        self._up: dict[str, Alert] = {}
        self._high_since: dict[str, float] = {}
        self._low_since: dict[str, float] = {}

    def reconfigure(self, options: AlertOptions) -> None:
        """Go by other limits from now on."""
        self._options = options

    @property
    def up(self) -> list[Alert]:
        """The alerts that are up, with their newest values."""
        return list(self._up.values())

    def update(self, readings: Readings, now: float) -> list[AlertChange]:
        """Take the figures of this moment; returns what has changed."""
        changes: list[AlertChange] = []
        for code, meaning, unit, value, limit in _rules(readings, self._options):
            alert = Alert(code, meaning, unit, value, limit, now)
            known = self._up.get(code)
            if known is None:
                if self._lasts(self._high_since, code, now, RAISE_AFTER_S, holds=value > limit):
                    self._up[code] = alert
                    changes.append(AlertChange(alert, is_raised=True))
                continue
            self._up[code] = alert = Alert(code, meaning, unit, value, limit, known.since)
            if self._lasts(self._low_since, code, now, CLEAR_AFTER_S, holds=value <= limit * CLEAR_BELOW):
                del self._up[code]
                changes.append(AlertChange(alert, is_raised=False))
        return changes

    @staticmethod
    def _lasts(since: dict[str, float], code: str, now: float, seconds: float, *, holds: bool) -> bool:
        """Whether something has held for so long; forgets about it when it has, or does not hold any more."""
        if not holds:
            since.pop(code, None)
            return False
        if now - since.setdefault(code, now) < seconds:
            return False
        del since[code]
        return True


def _rules(readings: Readings, options: AlertOptions) -> tuple[tuple[str, str, str, float, float], ...]:
    """Code, meaning, unit, value and limit of each alert."""
    return (
        ("frame_time", "frames take too long", "ms", readings.frame_time_ms, options.frame_time_ms),
        ("memory", "resident memory is high", "MB", readings.memory_mb, options.memory_mb),
        ("load", "load is high", "%", readings.load_percent, options.load_percent),
        ("error_rate", "engines fail", "%", readings.error_rate_percent, options.error_rate_percent),
        ("queue", "frames pile up", "frames", readings.queued_frames, options.queued_frames),
        ("dropped", "frames are given up", "frames a minute", readings.dropped_frames, options.dropped_frames),
        ("logging", "log records cannot be written", "a minute", readings.lost_records, 0.0),
        (
            "engine_down",
            f"engines cannot be started: {', '.join(readings.engines_down) or 'none any more'}",
            "engines",
            float(len(readings.engines_down)),
            0.0,
        ),
    )
