"""Times of requests and codes of closes, with labels that no client can make up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.security import Security
from alfred_voice.server.request_timer import close_code_of, method_of


Read = Callable[[ClientWebSocketResponse], Awaitable[list[dict[str, Any]]]]

KNOWN_LABELS = {
    "lane": {"vad", "stt", "turn", "tts"},
    "engine": {"scripted", "moonshine"},  # the second is what the configuration calls the first here
    "transport": {"websocket", "http"},
    "fate": {"processed", "dropped"},
    "direction": {"in", "out"},
    "method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"},
    "outcome": {"words", "empty", "done", "failed", "unusable", "refused", "gone", "sent", "dropped"},
    "step": {"none", "reduce_quality", "drop_frames", "pause_processing"},
}
"""Values that a label may have. Those below are checked by their form only, or are the client library's own."""
FREE_LABELS = {
    "le",
    "part",
    "code",
    "reason",
    "route",
    "version",
    "implementation",
    "major",
    "minor",
    "patchlevel",
    "generation",
}
MADE_UP = "x" * 9
"""What a client here puts wherever it may choose a word."""


async def use_everything(door: Any, tone: Callable[[int], bytes], silence: Callable[[int], bytes], read: Read) -> None:
    """Do what a client can do, with made-up words wherever there is room for them."""
    socket = await door.connect(f"?session_id={MADE_UP}&language=en")
    await socket.send_bytes(tone(600) + silence(900))
    await socket.send_json({"type": "speak", "text": f"{MADE_UP} is here.", "speech_id": 7})
    await socket.send_json({"type": MADE_UP})
    await socket.send_json({"type": "stop"})
    await read(socket)
    odd = await door.connect()
    await odd.close(code=4999, message=MADE_UP.encode())
    for method, path in (
        ("GET", f"/{MADE_UP}"), ("GET", f"/session/{MADE_UP}/status"), ("DELETE", f"/session/{MADE_UP}"),
        ("PROPFIND", "/livez"), ("GET", "/livez"), ("GET", f"/static/{MADE_UP}"), ("GET", f"/livez?{MADE_UP}=1"),
    ):  # fmt: skip
        await (await door.client.request(method, path)).read()
    await (await door.client.post("/synthesize", json={"text": f"{MADE_UP}.", "voice": MADE_UP})).read()


async def test_no_label_holds_what_a_client_has_chosen(
    door: Any, tone: Callable[[int], bytes], silence: Callable[[int], bytes], read_all: Read
) -> None:
    await use_everything(door, tone, silence, read_all)

    seen: set[str] = set()
    for family in door.coordinator.metrics.registry.collect():
        for sample in family.samples:
            for name, value in sample.labels.items():
                seen.add(name)
                assert MADE_UP not in value.lower(), f"{sample.name} {sample.labels}"
                assert len(value) < 64, f"{sample.name} {sample.labels}"
                if name in KNOWN_LABELS:
                    assert value in KNOWN_LABELS[name], f"{sample.name} {sample.labels}"
                else:
                    assert name in FREE_LABELS, f"{sample.name}: a new label {name}; is it bounded?"
    assert {"route", "code", "engine", "lane", "direction"} <= seen


async def test_what_is_served_is_strictly_what_prometheus_reads(
    door: Any, tone: Callable[[int], bytes], silence: Callable[[int], bytes], read_all: Read
) -> None:
    await use_everything(door, tone, silence, read_all)
    registry = door.coordinator.metrics.registry
    text = generate_latest(registry).decode()
    openmetrics = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]

    plain = {family.name for family in text_string_to_metric_families(text) if not family.name.endswith("_created")}
    strict = {family.name for family in parse_openmetrics(openmetrics)}  # type: ignore[no-untyped-call]

    assert {name.removesuffix("_info") for name in plain} == {name.removesuffix("_info") for name in strict}
    assert openmetrics.endswith("# EOF\n")


async def test_requests_are_timed_by_the_routes_template(door: Any) -> None:
    for path in ("/session/one/status", "/session/two/status", "/nowhere", "/livez"):
        await (await door.client.get(path)).read()

    def count(route: str, code: str) -> float | None:
        labels = {"method": "GET", "route": route, "code": code}
        found: float | None = door.coordinator.metrics.registry.get_sample_value(
            "http_request_duration_seconds_count", labels
        )
        return found

    assert count("/session/{session_id}/status", "404") == 2
    assert count("other", "404") == 1
    assert count("/livez", "200") == 1


async def test_a_redirection_is_timed_too(make_door: Any) -> None:
    key = "a-key-with-enough-letters"
    door = await make_door(security=Security(keys=KeySource(None, {"ALFRED_API_KEYS": f"me:{key}"})))
    await (await door.client.get(f"/?token={key}", allow_redirects=False)).read()
    labels = {"method": "GET", "route": "/", "code": "303"}
    assert door.coordinator.metrics.registry.get_sample_value("http_request_duration_seconds_count", labels) == 1


async def test_a_websocket_is_counted_by_how_it_closed_and_not_timed(
    door: Any, read_all: Read, eventually: Any
) -> None:
    ended = await door.connect()
    await ended.send_json({"type": "start"})
    await ended.send_json({"type": "stop"})
    await read_all(ended)
    left = await door.connect()
    await left.close(code=4321)
    value = door.coordinator.metrics.registry.get_sample_value

    await eventually(lambda: value("alfred_ws_close_total", {"code": "private"}) == 1)
    assert value("alfred_ws_close_total", {"code": "1000"}) == 1
    routes = [sample.labels["route"] for family in door.coordinator.metrics.door.requests.collect()
              for sample in family.samples]  # fmt: skip
    assert "/ws" not in routes


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (None, "1006"),
        (1000, "1000"),
        (1013, "1013"),
        (3000, "private"),
        (4999, "private"),
        (5000, "other"),
        (7, "other"),
    ],
)
def test_close_codes_that_clients_may_choose_share_a_label(code: int | None, label: str) -> None:
    assert close_code_of(code) == label


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("BREW", "other"), ("get", "other")])
def test_methods_that_clients_make_up_share_a_label(method: str, label: str) -> None:
    assert method_of(method) == label
