"""How a session over a WebSocket ends: by either side, by a limit, or with the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from alfred_voice.server.options import ServerOptions
from tests.server.websocket.talking import ReadAll, Sound, next_event, send, send_frames, types


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


async def test_a_name_is_free_again_when_its_session_has_ended(door: Any, read_all: ReadAll) -> None:
    for _ in range(3):
        socket = await door.connect("?session_id=again")
        await send(socket, type="stop")
        assert types(await read_all(socket)) == ["sessionStarted", "sessionEnded"]


async def test_an_idle_session_is_told_its_end_and_closed(make_door: Any, read_all: ReadAll) -> None:
    limits = SessionsOptions(idle_timeout_s=1, cleanup_interval_s=0.1)
    door = await make_door(pipeline=CoordinatorOptions(sessions=limits))
    socket = await door.connect()
    await send(socket, type="start")

    events = await read_all(socket)

    assert (events[-1]["type"], events[-1]["reason"]) == ("sessionEnded", "idle")
    assert socket.close_code == 1000


async def test_a_message_beyond_the_limit_closes_with_1009_and_ends_the_session(
    make_door: Any, eventually: Eventually, read_all: ReadAll
) -> None:
    door = await make_door(ServerOptions(max_message_bytes=4096))
    socket = await door.connect()
    other = await door.connect()
    await send(socket, type="start")
    await send(other, type="start")
    await next_event(socket)
    await next_event(other)
    assert len(door.coordinator.roster.all()) == 2
    await socket.send_bytes(bytes(4097))

    events = await read_all(socket)

    assert types(events) == ["error", "sessionEnded"]
    assert (events[0]["code"], events[0]["fatal"]) == ("message_too_large", True)
    assert "4096 bytes" in events[0]["message"]
    assert events[1]["reason"] == "error"
    assert socket.close_code == 1009
    await eventually(lambda: len(door.coordinator.roster.all()) == 1)
    errors = door.coordinator.metrics.registry.get_sample_value("alfred_errors_total", {"code": "message_too_large"})
    assert errors == 1
    await send(other, type="ping", id=1)
    assert (await next_event(other))["type"] == "pong"


async def test_the_largest_message_that_is_allowed_is_taken(make_door: Any, read_all: ReadAll) -> None:
    door = await make_door(ServerOptions(max_message_bytes=64_000))
    socket = await door.connect()
    await socket.send_bytes(bytes(64_000))
    await send(socket, type="stop")

    events = await read_all(socket)

    assert events[0]["limits"]["max_message_bytes"] == 64_000
    assert events[-1]["stats"]["frames_received"] == 100


async def test_a_client_that_vanishes_leaves_nothing_behind(door: Any, tone: Sound, eventually: Eventually) -> None:
    sockets = [await door.connect() for _ in range(5)]
    for socket in sockets:
        await socket.send_bytes(tone(500))
        await next_event(socket)
    for socket in sockets:
        assert socket._response.connection is not None
        transport = socket._response.connection.transport
        assert transport is not None
        transport.abort()

    await eventually(lambda: not door.coordinator.roster.all())
    active = door.coordinator.metrics.registry.get_sample_value("alfred_sessions_active", {"transport": "websocket"})
    assert active == 0
    for socket in sockets:
        await socket.close()


async def test_a_client_that_closes_in_the_middle_is_answered_and_forgotten(
    door: Any, tone: Sound, eventually: Eventually
) -> None:
    socket = await door.connect()
    await socket.send_bytes(tone(500))
    await next_event(socket)
    await socket.close(code=1000)

    assert socket.close_code == 1000
    await eventually(lambda: not door.coordinator.roster.all())


async def test_a_session_is_told_of_the_shutdown_and_closed_with_1001(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start")
    await next_event(socket)
    await door.coordinator.drain(5)

    events = await read_all(socket)

    assert (events[-1]["type"], events[-1]["reason"]) == ("sessionEnded", "shutdown")
    assert socket.close_code == 1001
    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()
    assert caught.value.status == 503


async def test_a_session_that_is_ended_over_http_while_it_speaks_is_told_and_closed(
    door: Any, tone: Sound, read_all: ReadAll
) -> None:
    socket = await door.connect("?session_id=victim")
    await send_frames(socket, tone(600))
    answer = await door.client.delete("/session/victim")

    events = await read_all(socket)

    assert answer.status == 200
    assert (await answer.json()) == {"session_id": "victim", "ended": True}
    assert types(events).count("finalTranscription") == 1
    assert (events[-1]["type"], events[-1]["reason"]) == ("sessionEnded", "stop")
    assert socket.close_code == 1000
