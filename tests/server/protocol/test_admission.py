"""Sessions that are refused: each is counted once, whichever way it was asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security
from tests.server.conftest import Door, MakeDoor


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def refusals(registry: CollectorRegistry) -> Mapping[str, float]:
    """How often each refusal has been counted, by the figure and its label."""
    names = ("alfred_sessions_refused_total", "alfred_requests_refused_total")
    return {
        f"{sample.name} {next(iter(sample.labels.values()))}": sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name in names and sample.value
    }


async def handshake(door: Door, query: str = "") -> str:
    """What a handshake is refused with; empty for one that is not."""
    async with door.client.get(f"/ws{query}", headers=UPGRADE) as answer:
        return "" if answer.status == 101 else str((await answer.json(content_type=None))["code"])


async def upload(door: Door, name: str) -> str:
    """Likewise for an upload."""
    form: dict[str, Any] = {"session_id": name, "audio_file": io.BytesIO(bytes(640)), "sample_rate": "16000"}
    async with door.client.post("/process_frame", data=form) as answer:
        return "" if answer.status == 200 else str((await answer.json(content_type=None))["code"])


def three_at_most() -> CoordinatorOptions:
    return CoordinatorOptions(sessions=SessionsOptions(max_concurrent=3))


async def test_handshakes_that_find_no_place_are_counted_once_each(make_door: MakeDoor) -> None:
    door = await make_door(pipeline=three_at_most())
    sockets = [await door.connect() for _ in range(3)]
    for socket in sockets[:2]:
        await socket.send_str('{"type": "start"}')
        await socket.receive_json(timeout=5)

    # The connections are full, with a session in two of them; an upload finds room for the third session.
    assert [await handshake(door) for _ in range(3)] == ["too_many_sessions"] * 3
    assert refusals(door.coordinator.metrics.registry) == {"alfred_sessions_refused_total too_many_sessions": 3}

    assert [await upload(door, "a"), await upload(door, "b")] == ["", "too_many_sessions"]
    assert await handshake(door) == "too_many_sessions"
    assert refusals(door.coordinator.metrics.registry) == {"alfred_sessions_refused_total too_many_sessions": 5}
    for socket in sockets:
        await socket.close()


async def test_a_start_that_comes_too_late_is_counted_as_well(make_door: MakeDoor) -> None:
    door = await make_door(pipeline=three_at_most())
    socket = await door.connect()
    assert [await upload(door, name) for name in "abc"] == [""] * 3
    await socket.send_str('{"type": "start"}')
    assert (await socket.receive_json(timeout=5))["code"] == "too_many_sessions"
    assert refusals(door.coordinator.metrics.registry) == {"alfred_sessions_refused_total too_many_sessions": 1}
    await socket.close()


async def test_a_daemon_that_has_not_loaded_and_a_name_that_is_taken_are_counted(make_door: MakeDoor) -> None:
    door = await make_door(started=False)
    loading = await handshake(door)
    assert loading == "loading"
    assert refusals(door.coordinator.metrics.registry) == {"alfred_sessions_refused_total loading": 1}

    door = await make_door()
    assert await upload(door, "a") == ""
    assert await handshake(door, "?session_id=a") == "session_busy"
    assert refusals(door.coordinator.metrics.registry) == {"alfred_sessions_refused_total session_busy": 1}


async def test_limits_of_an_address_count_as_requests_once_each_from_handshake_start_and_upload(
    make_door: MakeDoor,
) -> None:
    door = await make_door(security=Security(SecurityOptions(max_sessions_per_address=1)))
    waiting = await door.connect()
    assert await handshake(door) == "too_many_sessions_of_address"
    assert [await upload(door, "a"), await upload(door, "b")] == ["", "too_many_sessions_of_address"]
    await waiting.send_str('{"type": "start"}')
    assert (await waiting.receive_json(timeout=5))["code"] == "too_many_sessions_of_address"
    assert refusals(door.coordinator.metrics.registry) == {
        "alfred_requests_refused_total too_many_sessions_of_address": 3
    }
    await waiting.close()
