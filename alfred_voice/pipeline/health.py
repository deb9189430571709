"""What the figures mean: health in a word, and the body of ``/pipeline/status``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alfred_voice.pipeline.backpressure import LoadParts, Rung
from alfred_voice.pipeline.options import CoordinatorOptions


@dataclass(frozen=True, slots=True)
class Figures:
    """The daemon's state at one moment."""

    load: LoadParts
    rung: Rung
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
    alerts: tuple[dict[str, Any], ...] = ()
    """What is beyond its limit, as JSON."""
    has_failed: bool = False
    """An engine is gone: it could not be loaded, or has failed and could not be started again yet."""


def health_of(figures: Figures, options: CoordinatorOptions) -> str:
    """``healthy``, ``stressed``, ``overloaded`` or ``failed``."""
    if figures.has_failed:
        return "failed"
    if figures.rung >= Rung.DROP_FRAMES:
        return "overloaded"
    if figures.rung > Rung.NONE or figures.load.load >= options.backpressure.threshold:
        return "stressed"
    return "healthy"


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
            "degradationStep": figures.rung.step,
            "degradationRung": int(figures.rung),
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
        "alerts": list(figures.alerts),
    }
