"""A small server that follows a script; the real daemon is in the end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.lost_lines import Server, serving


Script = Callable[[web.WebSocketResponse], Awaitable[None]]
Serve = Callable[[Script], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that runs a script on each connection; gives its address."""
    servers: list[TestServer] = []

    async def start(script: Script, protocols: tuple[str, ...] = ("alfred.v1.json", "alfred.v1.msgpack")) -> str:
        async def handle(request: web.Request) -> web.WebSocketResponse:
            ws = web.WebSocketResponse(protocols=protocols)
            await ws.prepare(request)
            await script(ws)
            return ws

        application = web.Application()
        application.router.add_get("/ws", handle)
        server = TestServer(application)
        await server.start_server()
        servers.append(server)
        return f"ws://127.0.0.1:{server.port}/ws"

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Its scripts are to be set before anybody connects."""
    async with serving() as one:
        yield one
