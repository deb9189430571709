"""What the figures mean, and the body of /pipeline/status to the letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alfred_voice.pipeline.backpressure import LoadParts, Rung
from alfred_voice.pipeline.health import Figures, health_of, status_of
from alfred_voice.pipeline.options import CoordinatorOptions


WELL = Figures(
    load=LoadParts(),
    rung=Rung.NONE,
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
        ({"rung": Rung.SLOWER_PARTIALS}, "stressed"),
        ({"rung": Rung.RATIONED_PARTIALS}, "stressed"),
        ({"rung": Rung.DROP_FRAMES}, "overloaded"),
        ({"rung": Rung.PAUSE_PROCESSING}, "overloaded"),
        ({"rung": Rung.PAUSE_PROCESSING, "has_failed": True}, "failed"),
    ],
)
def test_health_in_a_word(changes: dict[str, Any], health: str) -> None:
    assert health_of(replace(WELL, **changes), OPTIONS) == health


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
            "degradationRung": 0,
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


def test_the_alerts_that_are_up_are_told() -> None:
    assert status_of(replace(WELL, alerts=({"code": "load"},)), OPTIONS)["alerts"] == [{"code": "load"}]


def test_memory_beyond_the_limit_is_no_efficiency_below_nothing() -> None:
    status = status_of(replace(WELL, memory_mb=900.0), OPTIONS)
    assert status["performanceMetrics"]["memoryEfficiency"] == 0.0
