"""What a level of load is held to: a ramp ends at the first level that breaks a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.level import Level
from alfred_voice.bench.report import Check
from alfred_voice.bench.script import Mix


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a level that can have a limit."""

    title: str
    unit: str
    of: Callable[[Level], float]


MEASURES: Mapping[str, Measure] = {
    "frame_age_p99": Measure("frame age, p99", "ms", lambda level: level.percentile_ms("frame_age_ms", 99)),
    "partial_p95": Measure("partial lag, p95", "ms", lambda level: level.percentile_ms("partial_lag_ms", 95)),
    "final_p95": Measure("final latency, p95", "ms", lambda level: level.percentile_ms("final_ms", 95)),
    "prompt_final_p95": Measure(
        "final latency where the turn model did not wait, p95",
        "ms",
        lambda level: level.percentile_ms("final_prompt_ms", 95),
    ),
    "turn_p95": Measure("turn latency, p95", "ms", lambda level: level.percentile_ms("turn_ms", 95)),
    "interruption_p95": Measure(
        "interruption latency, p95", "ms", lambda level: level.percentile_ms("interruption_ms", 95)
    ),
    "drops": Measure("frames dropped or lost", "", lambda level: dropped(level)),
    "lost_finals": Measure("finals lost", "", lambda level: float(level.figures.finals_lost)),
    "cpu": Measure("daemon's processor time", "cores", lambda level: level.cores),
    "memory": Measure("daemon's resident memory", "MB", lambda level: level.peak_mb),
}
"""Name on the command line -> what it is."""

DEFAULTS: Mapping[Mix, Mapping[str, float]] = {
    Mix.LISTEN: {"drops": 0, "frame_age_p99": 40, "cpu": 1},
    Mix.TALK: {"drops": 0, "lost_finals": 0, "final_p95": 700},
    Mix.MIXED: {"drops": 0, "lost_finals": 0, "final_p95": 700},
}
"""What is held to when nothing is asked for."""


def dropped(level: Level) -> float:
    """Frames that were not judged, by the daemon's account or because it gave none."""
    return float(level.figures.frames_dropped + level.figures.frames_unaccounted)


def limits_of(mix: Mix, words: Sequence[str]) -> dict[str, float]:
    """The limits of a mix, or instead of them those that are given as ``name=value``.

    Raises:
        BenchmarkFailed: one of them is no limit.
    """
    limits: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in MEASURES:
            raise BenchmarkFailed(f"--limit: expected NAME=VALUE with one of {', '.join(MEASURES)}, got {word!r}")
        try:
            limits[name] = float(value)
        except ValueError as exc:
            raise BenchmarkFailed(f"--limit {name}: expected a number, got {value!r}") from exc
    return limits or dict(DEFAULTS[mix])


def checks_of(level: Level, limits: Mapping[str, float], prefix: str) -> tuple[Check, ...]:
    """Each limit as a target, named with a prefix."""
    measures = ((MEASURES[name], limit) for name, limit in limits.items())
    return tuple(
        Check(f"{prefix}, {measure.title}", measure.of(level), limit, measure.unit) for measure, limit in measures
    )


def broken(level: Level, limits: Mapping[str, float]) -> list[str]:
    """Names of the limits that the level breaks."""
    return [name for name, limit in limits.items() if not MEASURES[name].of(level) <= limit]
