"""The WebSocket's handshake: who gets through it, and with what settings."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from tests.server.websocket.talking import MSGPACK, next_event, send, types


JSON = "alfred.v1.json"


@pytest.mark.parametrize(
    ("protocols", "chosen"),
    [((), None), ((JSON,), JSON), ((MSGPACK,), MSGPACK), (("other", MSGPACK, JSON), MSGPACK), ((JSON, MSGPACK), JSON)],
)
async def test_the_clients_first_sub_protocol_that_is_ours_is_taken(
    door: Any, protocols: tuple[str, ...], chosen: str | None
) -> None:
    socket = await door.connect("", *protocols)

    assert socket.protocol == chosen


async def test_without_a_sub_protocol_messages_are_json(door: Any) -> None:
    socket = await door.connect()
    await send(socket, type="ping", id=1)

    assert (await next_event(socket))["type"] == "sessionStarted"


async def test_a_sub_protocol_that_is_none_of_ours_is_refused(door: Any) -> None:
    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect("", "graphql-ws")

    assert caught.value.status == 400


async def test_the_root_is_the_same_endpoint(door: Any) -> None:
    socket = await door.connect(path="/")
    await send(socket, type="stop")

    assert types([await next_event(socket), await next_event(socket)]) == ["sessionStarted", "sessionEnded"]


async def test_the_endpoint_without_a_websocket_asks_for_one(door: Any) -> None:
    answer = await door.client.get("/ws")

    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert (await answer.json())["code"] == "upgrade_required"


async def test_a_plain_request_is_told_why_a_handshake_would_be_refused(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=1)))
    socket = await door.connect("?session_id=taken")
    await socket.send_str('{"type":"start"}')
    await next_event(socket)

    answer = await door.client.get("/ws")
    assert (answer.status, (await answer.json())["code"]) == (503, "too_many_sessions")
    assert int(answer.headers["Retry-After"]) >= 1
    await socket.send_str('{"type":"stop"}')
    while not (await socket.receive()).type.name.startswith("CLOS"):
        pass
    assert (await door.client.get("/ws")).status == 426


async def test_the_query_gives_defaults_for_start(door: Any) -> None:
    socket = await door.connect("?session_id=from-query&sample_rate=8000&encoding=mulaw&token=secret&cache=7")
    await socket.send_bytes(bytes(160))

    started = await next_event(socket)
    assert (started["session_id"], started["sample_rate"], started["encoding"]) == ("from-query", 8000, "mulaw")


async def test_start_goes_before_the_query(door: Any) -> None:
    socket = await door.connect("?session_id=from-query&sample_rate=8000")
    await send(socket, type="start", session_id="from-start", encoding="alaw")

    started = await next_event(socket)
    assert (started["session_id"], started["sample_rate"], started["encoding"]) == ("from-start", 8000, "alaw")


async def test_a_query_that_is_no_number_is_refused_before_the_upgrade(door: Any) -> None:
    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect("?sample_rate=fast")

    assert caught.value.status == 400


async def test_each_client_that_names_no_session_gets_its_own(door: Any) -> None:
    names = set()
    for _ in range(3):
        socket = await door.connect()
        await send(socket, type="start")
        names.add((await next_event(socket))["session_id"])

    assert len(names) == 3


async def test_a_session_that_is_open_elsewhere_is_refused_before_the_upgrade(door: Any) -> None:
    socket = await door.connect()
    await send(socket, type="start", session_id="mine")
    await next_event(socket)

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect("?session_id=mine")

    assert caught.value.status == 409


async def test_beyond_the_session_limit_the_upgrade_is_refused(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=1)))
    socket = await door.connect()
    await send(socket, type="start")
    await next_event(socket)

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()
    assert caught.value.status == 503
    assert caught.value.headers is not None
    assert int(caught.value.headers["Retry-After"]) > 0

    await send(socket, type="stop")
    await next_event(socket)
    await socket.close()
    again = await door.connect()
    await send(again, type="start")
    assert (await next_event(again))["type"] == "sessionStarted"


async def test_connections_without_a_session_are_limited_too(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=2)))
    held = [await door.connect() for _ in range(2)]

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()

    assert caught.value.status == 503
    for socket in held:
        await socket.close()


async def test_while_loading_the_upgrade_is_refused(make_door: Any) -> None:
    door = await make_door(started=False)

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()

    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("query", "said"),
    [("samplerate=8000", "did you mean sample_rate?"), ("session-id=x", "did you mean session_id?"),
     ("Language=de", "did you mean language?")],
)  # fmt: skip
async def test_a_field_of_the_query_that_is_misspelt_is_refused(door: Any, query: str, said: str) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    async with door.client.get(f"/ws?{query}", headers=headers) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (400, "message_malformed")
    assert said in problem["detail"]
