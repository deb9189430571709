"""A server whose connections each follow a script and may break, and conversations that come back to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgpack
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from alfred_voice.client import Absence, Conversation, ReturnPlan
from alfred_voice.clock import ManualClock


Event = dict[str, Any]
Script = Callable[["Line"], Awaitable[None]]

STATS = {"frames_received": 1, "frames_processed": 1, "frames_dropped": 0, "utterances": 0, "speech_ms": 0.0}
AT_ONCE = ReturnPlan(jitter=lambda: 0.0)


class Line:
    """One connection, from the server's side."""

    def __init__(self, ws: web.WebSocketResponse, query: dict[str, str]) -> None:
        self.ws = ws
        self.query = query
        self.got: list[Any] = []
        self.is_msgpack = ws.ws_protocol == "alfred.v1.msgpack"

    async def tell(self, kind: str, seq: int | None = None, **fields: Any) -> None:
        event = {"type": kind, "session_id": "s-1", **({} if seq is None else {"seq": seq}), **fields}
        await (self.ws.send_bytes(msgpack.packb(event)) if self.is_msgpack else self.ws.send_json(event))

    async def hear(self, messages: int = 1) -> None:
        """Keep so many messages: audio as bytes, others as dicts."""
        for _ in range(messages):
            message = await self.ws.receive(5)
            assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
            if self.is_msgpack:
                data = msgpack.unpackb(message.data)
                self.got.append(data["audio"] if data["type"] == "audio" else data)
            else:
                self.got.append(json.loads(message.data) if message.type is WSMsgType.TEXT else message.data)

    async def open(self, *, grace_s: float = 30.0) -> None:
        """Answer ``start``."""
        await self.hear()
        audio = {"sample_rate": 16_000, "encoding": "pcm_s16le"}
        await self.tell("sessionStarted", 0, resume={"token": "secret", "grace_s": grace_s}, **audio)

    async def end(self, seq: int) -> None:
        """End the session properly."""
        await self.tell("sessionEnded", seq, reason="stop", stats=STATS)
        await self.ws.close()

    def lose(self) -> None:
        """Break the connection without a word."""
        assert self.ws._req is not None
        assert self.ws._req.transport is not None
        self.ws._req.transport.abort()


class Server:
    """Gives each connection the next script."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.lines: list[Line] = []
        self.refusals: list[web.Response] = []
        """Answers to the next handshakes, the first connection's excepted."""
        self.failures: list[BaseException] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self.lines and self.refusals:
            return self.refusals.pop(0)
        ws = web.WebSocketResponse(protocols=("alfred.v1.json", "alfred.v1.msgpack"))
        await ws.prepare(request)
        line = Line(ws, dict(request.query))
        self.lines.append(line)
        try:
            await self.scripts.pop(0)(line)
        except (AssertionError, IndexError) as error:
            self.failures.append(error)
        return ws


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """A server whose scripts must all have gone as they should."""
    one = Server()
    application = web.Application()
    application.router.add_get("/ws", one.serve)
    http = TestServer(application)
    await http.start_server()
    one.url = f"ws://127.0.0.1:{http.port}/ws"
    try:
        yield one
    finally:
        await http.close()
    assert not one.failures, one.failures


async def lost_after_started(line: Line) -> None:
    await line.open()
    line.lose()


class Held:
    """Keeps a conversation away until it may return, and notes what is told of that."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.may_return = asyncio.Event()
        self.absences: list[Absence] = []
        self.plan = ReturnPlan(watch=self._watch, sleep=self._sleep)

    def _watch(self, absence: Absence) -> None:
        self.absences.append(absence)
        self.left.set()

    async def _sleep(self, _seconds: float) -> None:
        await self.may_return.wait()


async def rest_of(talk: Conversation) -> list[Event]:
    return [event async for event in talk]


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


class Waits:
    """Time that goes by only where it is waited for."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.waited: list[float] = []
        self.absences: list[Absence] = []
        self.plan = ReturnPlan(
            clock=self.clock, sleep=self._sleep, watch=self.absences.append, **{"jitter": lambda: 1.0, **options}
        )

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(round(seconds, 3))
        self.clock.advance(seconds)
