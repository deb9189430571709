"""The listening socket: where it listens, and how everything behind it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import ClientSession, WSMsgType

from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.server.application import ADMISSION, COORDINATOR, FEED, OPTIONS, Server, make_application
from alfred_voice.server.options import ServerOptions


Eventually = Callable[[Callable[[], object]], Awaitable[None]]

LOCAL = "127.0.0.1"


@pytest.fixture
async def server(played: Any) -> AsyncIterator[Server]:
    """A server over the played pipeline, not listening yet."""
    server = Server(make_application(cast("Coordinator", played), ServerOptions(port=0, grace_s=5)))
    yield server
    await server.close(0)


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


def test_an_application_knows_what_it_was_made_of(played: Any) -> None:
    options = ServerOptions()
    application = make_application(cast("Coordinator", played), options)

    assert application[COORDINATOR] is played
    assert application[OPTIONS] is options
    assert len(application[ADMISSION]) == 0
    assert len(application[FEED].audience) == 0


async def test_port_0_becomes_a_free_one_that_is_told(server: Server, http: ClientSession) -> None:
    port = await server.start()

    assert port > 0
    async with http.get(f"http://{LOCAL}:{port}/livez") as answer:
        assert answer.status == 200


async def test_an_address_that_is_taken_is_an_os_error(server: Server, played: Any) -> None:
    port = await server.start(LOCAL, 0)
    second = Server(make_application(cast("Coordinator", played), ServerOptions()))

    with pytest.raises(OSError, match=str(port)):
        await second.start(LOCAL, port)


async def test_after_stop_accepting_nobody_comes_in_and_who_is_in_stays(server: Server, http: ClientSession) -> None:
    port = await server.start(LOCAL, 0)
    socket = await http.ws_connect(f"http://{LOCAL}:{port}/ws")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    await server.stop_accepting()
    await server.stop_accepting()

    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(f"http://{LOCAL}:{port}/livez")
    await socket.send_str('{"type":"ping","id":1}')
    assert (await socket.receive_json(timeout=5))["type"] == "pong"
    await socket.close()


async def test_closing_lets_a_session_finish_within_the_grace(server: Server, http: ClientSession, played: Any) -> None:
    port = await server.start(LOCAL, 0)
    socket = await http.ws_connect(f"http://{LOCAL}:{port}/ws")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    played.stream.finish("shutdown")

    assert (await socket.receive_json(timeout=5))["reason"] == "shutdown"
    message = await socket.receive(timeout=5)
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    async with asyncio.timeout(5):
        await closing


async def test_a_session_that_does_not_finish_is_closed_with_1001(
    server: Server, http: ClientSession, played: Any
) -> None:
    port = await server.start(LOCAL, 0)
    socket = await http.ws_connect(f"http://{LOCAL}:{port}/ws")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    closing = asyncio.create_task(server.close(0.05))
    message = await socket.receive(timeout=5)

    assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    async with asyncio.timeout(5):
        await closing
    assert played.stream.is_abandoned


async def test_connections_without_a_session_do_not_hold_up_the_end(server: Server, http: ClientSession) -> None:
    port = await server.start(LOCAL, 0)
    socket = await http.ws_connect(f"http://{LOCAL}:{port}/ws")

    closing = asyncio.create_task(server.close(60))
    message = await socket.receive(timeout=5)

    assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    async with asyncio.timeout(5):
        await closing


async def test_viewers_of_the_monitor_do_not_hold_up_the_end(server: Server, http: ClientSession) -> None:
    port = await server.start(LOCAL, 0)
    answer = await http.get(f"http://{LOCAL}:{port}/monitor/feed")
    await answer.content.readline()

    async with asyncio.timeout(5):
        await server.close(60)
        rest = await answer.content.read()

    assert rest.endswith(b"\n\n")


async def test_closing_twice_is_once(server: Server) -> None:
    await server.start(LOCAL, 0)
    await server.close()
    await server.close()


async def test_a_closed_server_leaves_no_task_behind(played: Any) -> None:
    before = asyncio.all_tasks()
    server = Server(make_application(cast("Coordinator", played), ServerOptions()))
    port = await server.start(LOCAL, 0)
    async with ClientSession() as http:
        socket = await http.ws_connect(f"http://{LOCAL}:{port}/ws")
        await socket.send_str('{"type":"start"}')
        await socket.receive_str()
        closing = asyncio.create_task(server.close(0))
        async for _ in socket:
            pass
        await closing

    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before
