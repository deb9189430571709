"""What the figures mean: health in a word, alerts, and the body of ``/pipeline/status``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alfred_voice.pipeline.backpressure import LoadParts, Step
from alfred_voice.pipeline.options import AlertOptions, CoordinatorOptions


@dataclass(frozen=True, slots=True)
class Figures:
    """The daemon's state at one moment."""

    load: LoadParts
    step: Step
    memory_mb: float
    sessions: int
    frames_queued: int
    frame_time_ms: float
    throughput: float
    """Frames a second."""
    error_rate: float
    """Failed requests to the engines, percent of the last minute's."""
    gc_triggered: int
    sessions_cleaned: int
    memory_optimisations: int
    backpressure_events: int
    has_failed: bool = False
    """An engine is gone: it could not be loaded, or has failed and could not be started again yet."""


def health_of(figures: Figures, options: CoordinatorOptions) -> str:
    """``healthy``, ``stressed``, ``overloaded`` or ``failed``."""
    if figures.has_failed:
        return "failed"
    if figures.step >= Step.DROP_FRAMES:
        return "overloaded"
    if figures.step is Step.REDUCE_QUALITY or figures.load.load >= options.backpressure.threshold:
        return "stressed"
    return "healthy"


def alerts_of(figures: Figures, options: AlertOptions) -> list[dict[str, Any]]:
    """What is beyond its limit now."""
    rules = (
        ("frame_time", "ms", figures.frame_time_ms, options.frame_time_ms, "frames take too long"),
        ("memory", "MB", figures.memory_mb, options.memory_mb, "resident memory is high"),
        ("load", "percent", figures.load.load * 100, options.load_percent, "load is high"),
        ("error_rate", "percent", figures.error_rate, options.error_rate_percent, "engines fail"),
        ("queue", "frames", figures.frames_queued, options.queued_frames, "frames pile up"),
    )
    return [
        {
            "code": code,
            "message": f"{meaning}: {value:.1f} {unit}, limit {limit:g}",
            "value": round(value, 2),
            "limit": limit,
        }
        for code, unit, value, limit, meaning in rules
        if value > limit
    ]


def status_of(figures: Figures, options: CoordinatorOptions) -> dict[str, Any]:
    """The body of ``GET /pipeline/status``; its objects are also the fields of ``pipelineHealth``."""
    performance = {
        "averageFrameTime": round(figures.frame_time_ms, 3),
        "throughput": round(figures.throughput, 1),
        "errorRate": round(figures.error_rate, 3),
        "memoryEfficiency": round(max(0.0, 100 * (1 - figures.memory_mb / options.memory.limit_mb)), 1),
    }
    return {
        "pipelineState": {
            "health": health_of(figures, options),
            "processingLoad": round(figures.load.load * 100, 1),
            "memoryUsage": round(figures.memory_mb, 1),
            "sessionsActive": figures.sessions,
            "framesInQueue": figures.frames_queued,
            "degradationStep": figures.step.wire_name,
        },
        "performanceMetrics": performance,
        # Older clients read the same figures under this name.
        "performanceMonitor": dict(performance),
        "resourceOptimization": {
            "gcTriggered": figures.gc_triggered,
            "sessionsCleanedUp": figures.sessions_cleaned,
            "memoryOptimizations": figures.memory_optimisations,
            "backpressureEvents": figures.backpressure_events,
        },
        "alerts": alerts_of(figures, options.alerts),
    }
