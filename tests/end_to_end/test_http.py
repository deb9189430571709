"""The routes that tell about the daemon."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from tests.sounds import Int16
from tests.support import Daemon, stream


STATUS: dict[str, dict[str, Any]] = {
    "pipelineState": {
        "health": str, "processingLoad": (int, float), "memoryUsage": (int, float), "sessionsActive": int,
        "framesInQueue": int, "degradationStep": str, "degradationRung": int,
    },
    "performanceMetrics": {
        "averageFrameTime": (int, float), "throughput": (int, float), "errorRate": (int, float),
        "memoryEfficiency": (int, float),
    },
    "resourceOptimization": {
        "gcTriggered": (bool, int), "sessionsCleanedUp": int, "memoryOptimizations": int, "backpressureEvents": int,
    },
}  # fmt: skip
PROMETHEUS = "text/plain; version=0.0.4; q=0.5, */*; q=0.1"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
async def http(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(daemon.base) as session:
        yield session


async def get_json(http: aiohttp.ClientSession, path: str, **request: Any) -> Any:
    async with http.get(path, **request) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/json"
        return await response.json()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
async def test_a_daemon_that_is_well_says_so(http: aiohttp.ClientSession, path: str) -> None:
    assert isinstance(await get_json(http, path), dict)


async def test_readiness_names_every_engine(http: aiohttp.ClientSession) -> None:
    assert {"vad", "stt", "turn", "tts"} <= set((await get_json(http, "/readyz"))["checks"])


async def test_the_pipelines_status_has_exactly_the_documented_keys(http: aiohttp.ClientSession) -> None:
    status = await get_json(http, "/pipeline/status")
    assert set(status) == {*STATUS, "performanceMonitor", "alerts"}
    assert status["performanceMonitor"] == status["performanceMetrics"]
    assert isinstance(status["alerts"], list)
    for name, fields in STATUS.items():
        assert set(status[name]) == set(fields)
        for field, kind in fields.items():
            value = status[name][field]
            assert isinstance(value, kind), f"{name}.{field}: {value!r}"
            assert isinstance(value, str) or (math.isfinite(value) and value >= 0)
    assert status["pipelineState"]["health"] in ("healthy", "stressed", "overloaded", "failed")
    assert status["pipelineState"]["degradationStep"] in (
        "none", "reduce_quality", "drop_frames", "pause_processing",
    )  # fmt: skip
    assert 0 <= status["pipelineState"]["processingLoad"] <= 100
    assert 20 < status["pipelineState"]["memoryUsage"] < 2_000


async def test_open_sessions_are_listed_shown_and_ended(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect("/ws") as ws:
        await ws.send_json({"type": "start", "session_id": "listed"})
        assert (await ws.receive_json())["type"] == "sessionStarted"
        await ws.send_bytes(bytes(640 * 25))
        await ws.send_json({"type": "ping", "id": 1})
        while (await ws.receive_json())["type"] != "pong":
            pass
        listed = json.dumps(await get_json(http, "/sessions"))
        status = await get_json(http, "/session/listed/status")
        active = (await get_json(http, "/pipeline/status"))["pipelineState"]["sessionsActive"]
        async with http.delete("/session/listed") as response:
            assert response.status == 200
        events = [json.loads(message.data) async for message in ws]
        close_code = ws.close_code

    assert '"listed"' in listed
    assert status["session_id"] == "listed"
    assert "25" in json.dumps(status), status
    assert active >= 1
    assert events[-1]["type"] == "sessionEnded"
    assert events[-1]["stats"]["frames_received"] == 25
    assert close_code == 1000
    async with http.get("/session/listed/status") as response:
        assert response.status == 404
    assert '"listed"' not in json.dumps(await get_json(http, "/sessions"))


async def test_metrics_are_json_unless_text_is_asked_for(http: aiohttp.ClientSession) -> None:
    assert isinstance(await get_json(http, "/metrics"), dict)
    assert isinstance(await get_json(http, "/metrics", headers={"Accept": "*/*"}), dict)
    assert isinstance(await get_json(http, "/metrics", headers={"Accept": "application/json"}), dict)


async def test_metrics_in_prometheus_text_can_be_parsed_and_count(
    daemon: Daemon, http: aiohttp.ClientSession, sentence: Int16
) -> None:
    async def frames() -> float:
        async with http.get("/metrics", headers={"Accept": PROMETHEUS}) as response:
            assert response.status == 200
            assert response.content_type == "text/plain"
            families = list(parse_prometheus(await response.text()))
        assert len(families) >= 10
        assert all(family.documentation for family in families)
        assert all(family.name.startswith(("alfred_", "http_", "python_", "process_")) for family in families)
        counters = [s for f in families if f.type == "counter" and "frame" in f.name for s in f.samples]
        return max(sample.value for sample in counters if sample.name.endswith("_total"))

    before = await frames()
    heard = await stream(daemon.ws, sentence, pace=4)
    assert await frames() >= before + heard.frames_sent


async def test_metrics_in_openmetrics_can_be_parsed(http: aiohttp.ClientSession) -> None:
    async with http.get("/metrics", headers={"Accept": OPENMETRICS}) as response:
        assert response.status == 200
        assert response.content_type == "application/openmetrics-text"
        families = list(parse_openmetrics(await response.text()))  # type: ignore[no-untyped-call]
    assert len(families) >= 10


@pytest.mark.parametrize(
    "body", [None, {}, {"triggerGC": True}, {"cleanupSessions": False, "optimizeBuffers": True}], ids=str
)
async def test_optimise_tells_what_it_did_and_the_memory_before_and_after(
    http: aiohttp.ClientSession, body: dict[str, bool] | None
) -> None:
    async with http.post("/optimize", json=body) if body is not None else http.post("/optimize") as response:
        assert response.status == 200, await response.text()
        done = await response.json()
    figures = [value for key, value in done.items() if "memory" in key.lower() and isinstance(value, (int, float))]
    assert len(figures) >= 2, done
    assert all(value >= 0 for value in figures)
    assert min(done["memoryBefore"], done["memoryAfter"]) > 0


async def test_the_monitor_is_a_page_and_its_feed_goes_on(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    async with http.get("/monitor") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        page = await response.text()
    assert "<html" in page.lower()
    for asset in _assets_of(page):
        async with http.get(asset) as response:
            assert response.status == 200, asset

    told: dict[str, list[dict[str, Any]]] = {}
    kind = ""
    async with http.get("/monitor/feed") as response, asyncio.timeout(20):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        async for line in response.content:
            if line.startswith(b"event:"):
                kind = line[6:].strip().decode()
            if line.startswith(b"data:"):
                told.setdefault(kind, []).append(json.loads(line[5:]))
            if len(told.get("now", [])) == 3:
                break
    assert next(iter(told)) == "hello"
    for figures in told["now"]:
        assert set(figures) >= set(STATUS)
    for listed in told["sessions"]:
        assert listed["total"] >= len(listed["sessions"])


def _assets_of(page: str) -> list[str]:
    """Scripts and styles that a page names."""
    return [name for name in re.findall(r'(?:src|href)="([^"#]+)"', page) if not name.startswith(("http", "data:"))]
