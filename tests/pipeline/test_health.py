"""What the figures mean, and the body of /pipeline/status to the letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alfred_voice.pipeline.backpressure import LoadParts, Step
from alfred_voice.pipeline.health import Figures, alerts_of, health_of, status_of
from alfred_voice.pipeline.options import AlertOptions, CoordinatorOptions


WELL = Figures(
    load=LoadParts(),
    step=Step.NONE,
    memory_mb=150.0,
    sessions=3,
    frames_queued=7,
    frame_time_ms=1.2344,
    throughput=150.04,
    error_rate=0.0,
    gc_triggered=1,
    sessions_cleaned=2,
    memory_optimisations=3,
    backpressure_events=4,
)
OPTIONS = CoordinatorOptions()


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({}, "healthy"),
        ({"load": LoadParts(finals=0.79)}, "healthy"),
        ({"load": LoadParts(finals=0.8)}, "stressed"),
        ({"step": Step.REDUCE_QUALITY}, "stressed"),
        ({"step": Step.DROP_FRAMES}, "overloaded"),
        ({"step": Step.PAUSE_PROCESSING}, "overloaded"),
        ({"step": Step.PAUSE_PROCESSING, "has_failed": True}, "failed"),
    ],
)
def test_health_in_a_word(changes: dict[str, Any], health: str) -> None:
    assert health_of(replace(WELL, **changes), OPTIONS) == health


def test_all_well_raises_no_alert() -> None:
    assert alerts_of(WELL, AlertOptions()) == []


@pytest.mark.parametrize(
    ("changes", "code", "limit"),
    [
        ({"frame_time_ms": 20.5}, "frame_time", 20.0),
        ({"memory_mb": 301.0}, "memory", 300.0),
        ({"load": LoadParts(loop=0.81)}, "load", 80.0),
        ({"error_rate": 5.1}, "error_rate", 5.0),
        ({"frames_queued": 101}, "queue", 100),
    ],
)
def test_each_figure_beyond_its_limit_raises_its_alert(changes: dict[str, Any], code: str, limit: float) -> None:
    (alert,) = alerts_of(replace(WELL, **changes), AlertOptions())
    assert set(alert) == {"code", "message", "value", "limit"}
    assert (alert["code"], alert["limit"]) == (code, limit)
    assert alert["value"] > limit
    assert f"limit {limit:g}" in alert["message"]


def test_a_figure_at_its_limit_raises_none() -> None:
    at = replace(WELL, frame_time_ms=20.0, memory_mb=300.0, load=LoadParts(loop=0.8), error_rate=5.0, frames_queued=100)
    assert alerts_of(at, AlertOptions()) == []


def test_several_alerts_stand_side_by_side() -> None:
    alerts = alerts_of(replace(WELL, frame_time_ms=99.0, frames_queued=999), AlertOptions())
    assert [alert["code"] for alert in alerts] == ["frame_time", "queue"]


def test_the_status_is_as_the_protocol_has_it() -> None:
    performance = {"averageFrameTime": 1.234, "throughput": 150.0, "errorRate": 0.0, "memoryEfficiency": 50.0}
    assert status_of(replace(WELL, load=LoadParts(loop=0.256)), OPTIONS) == {
        "pipelineState": {
            "health": "healthy",
            "processingLoad": 25.6,
            "memoryUsage": 150.0,
            "sessionsActive": 3,
            "framesInQueue": 7,
            "degradationStep": "none",
        },
        "performanceMetrics": performance,
        "performanceMonitor": performance,
        "resourceOptimization": {
            "gcTriggered": 1,
            "sessionsCleanedUp": 2,
            "memoryOptimizations": 3,
            "backpressureEvents": 4,
        },
        "alerts": [],
    }


def test_memory_beyond_the_limit_is_no_efficiency_below_nothing() -> None:
    status = status_of(replace(WELL, memory_mb=900.0), OPTIONS)
    assert status["performanceMetrics"]["memoryEfficiency"] == 0.0
    assert [alert["code"] for alert in status["alerts"]] == ["memory"]
