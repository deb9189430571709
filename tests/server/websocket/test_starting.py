"""From a client's first messages to its open session, over the real pipeline."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import WSMsgType

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from tests.server.websocket.talking import ReadAll, next_event, send, types


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sample_rate": 7999}, "sample_rate"),
        ({"sample_rate": 48001}, "sample_rate"),
        ({"sample_rate": 2**53 - 1}, "sample_rate"),
        ({"channels": 3}, "channels"),
        ({"encoding": "opus"}, "encoding"),
        ({"session_id": "a b"}, "session_id"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"events": ["nothing"]}, "nothing"),
    ],
    ids=str,
)
async def test_a_start_that_cannot_be_served_is_refused_and_a_better_one_taken(
    door: Any, fields: dict[str, Any], named: str
) -> None:
    socket = await door.connect()
    await send(socket, type="start", **fields)

    refused = await next_event(socket)
    assert (refused["type"], refused["code"], refused["fatal"]) == ("error", "settings_invalid", False)
    assert named in refused["message"]
    assert (refused["session_id"], refused["seq"]) == ("", 0)
    await send(socket, type="start")
    started = await next_event(socket)
    assert (started["type"], started["seq"]) == ("sessionStarted", 1)


async def test_numbers_go_on_over_errors_before_the_session(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await socket.send_str("nonsense")
    await send(socket, type="hello")
    await send(socket, type="start", sample_rate=1)
    await socket.send_bytes(bytes(640))
    await send(socket, type="ping", id="early")
    await send(socket, type="start", session_id="late")
    await send(socket, type="stop")

    events = await read_all(socket)

    told = [(event["seq"], event["type"], event["session_id"], event.get("code")) for event in events]
    assert told == [
        (0, "error", "", "message_malformed"),
        (1, "error", "", "message_unknown"),
        (2, "error", "", "settings_invalid"),
        (3, "error", "", "message_unexpected"),
        (4, "pong", "", None),
        (5, "sessionStarted", "late", None),
        (6, "sessionEnded", "late", None),
    ]


async def test_audio_after_a_refused_start_is_answered_once(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start", encoding="opus")
    for _ in range(50):
        await socket.send_bytes(bytes(640))
    await send(socket, type="start")
    await socket.send_bytes(bytes(640))
    await send(socket, type="stop")

    events = await read_all(socket)

    assert types(events) == ["error", "error", "sessionStarted", "sessionEnded"]
    assert "start" in events[1]["message"]
    assert events[-1]["stats"]["frames_received"] == 1


async def test_a_start_of_the_wrong_types_keeps_audio_from_being_misheard(door: Any) -> None:
    socket = await door.connect()
    await send(socket, type="start", sample_rate="8000")
    await socket.send_bytes(bytes(320))

    assert (await next_event(socket))["code"] == "message_malformed"
    assert (await next_event(socket))["code"] == "message_unexpected"
    assert door.coordinator.roster.all() == []


async def test_a_stop_after_a_refused_start_closes(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start", encoding="opus")
    await send(socket, type="stop")

    assert types(await read_all(socket)) == ["error"]
    assert socket.close_code == 1000


async def test_a_second_start_is_an_error_and_the_session_lives_on(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start")
    await send(socket, type="start", sample_rate=8000)
    await send(socket, type="ping", id=3)
    await send(socket, type="stop")

    events = await read_all(socket)

    assert types(events) == ["sessionStarted", "error", "pong", "sessionEnded"]
    assert (events[1]["code"], events[1]["fatal"]) == ("message_unexpected", False)


async def test_a_start_with_a_name_that_is_taken_is_refused_and_another_one_taken(door: Any) -> None:
    first = await door.connect()
    await send(first, type="start", session_id="mine")
    await next_event(first)
    second = await door.connect()
    await send(second, type="start", session_id="mine")
    await send(second, type="start", session_id="yours")

    refused = await next_event(second)
    assert (refused["code"], refused["fatal"]) == ("session_busy", False)
    assert (await next_event(second))["session_id"] == "yours"
    await send(first, type="ping", id=1)
    assert (await next_event(first))["type"] == "pong"


async def test_a_client_that_never_starts_is_sent_away(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(idle_timeout_s=1)))
    socket = await door.connect()

    message = await socket.receive(timeout=5)

    assert (message.type, message.data) == (WSMsgType.CLOSE, 1008)


async def test_a_first_message_beyond_the_limit_is_told_and_closed_with_1009(door: Any, read_all: ReadAll) -> None:
    """The whole of it can be sent: the connection is not reset under the client's hands."""
    socket = await door.connect()
    await socket.send_bytes(bytes(10_000_000))

    events = await read_all(socket)

    assert [(event["type"], event["code"], event["fatal"]) for event in events] == [
        ("error", "message_too_large", True)
    ]
    assert socket.close_code == 1009
    assert door.coordinator.roster.all() == []


async def test_a_start_while_draining_is_a_fatal_error_and_closes_with_1013(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await door.coordinator.drain(5)
    await send(socket, type="start")

    events = await read_all(socket)

    assert [(event["type"], event["code"], event["fatal"]) for event in events] == [("error", "draining", True)]
    assert socket.close_code == 1013
