"""A client that loses its connection again and again and goes on, and the wire that is cut between it and the daemon.

Written from the protocol's page with aiohttp and the standard library alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMsgType


Event = dict[str, Any]

BYTES_A_SECOND = 32_000
CHUNK_BYTES = 640


class Wire:
    """A way to the daemon that can be cut, in the middle of a message as well."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._is_cutting = False
        self.port = 0

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection now."""
        for near, far in self._pairs:
            near.transport.abort()
            far.transport.abort()
        self._pairs.clear()
        self._is_cutting = False

    def cut_in_the_next_message(self) -> None:
        """Pass half of what comes next from the client, and break then."""
        self._is_cutting = True

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._to)
        self._pairs.append((writer, far_writer))
        with contextlib.suppress(ConnectionError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, far_writer, can_cut=True))
                tasks.create_task(self._pass(far_reader, writer, can_cut=False))
        for each in (writer, far_writer):
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, can_cut: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if can_cut and self._is_cutting:
                    writer.write(data[: len(data) // 2])
                    self.cut()
                    return
                writer.write(data)
                await writer.drain()
            writer.close()


@dataclass
class Returning:
    """One session over as many connections as it takes."""

    session_id: str
    audio: bytes
    pace: float = 4.0
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    token: str = ""
    sent: int = 0
    start: dict[str, Any] = field(default_factory=dict)

    @property
    def last_seq(self) -> int:
        return int(self.events[-1]["seq"]) if self.events else -1

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def is_over(self) -> bool:
        return bool(self.of("sessionEnded"))

    async def run(self, url: str, on_progress: Callable[[int], None] = lambda sent: None) -> None:
        """Stream everything, coming back whenever the connection is lost; ``on_progress`` may cut it."""
        async with asyncio.timeout(120), aiohttp.ClientSession() as http:
            while not self.is_over:
                with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                    await self._connect(http, url, on_progress)
        # The transport is closed in a later turn of the loop, which must not be closed before.
        await asyncio.sleep(0.1)

    async def _connect(self, http: aiohttp.ClientSession, url: str, on_progress: Callable[[int], None]) -> None:
        # The name in the address lets it in where new sessions are refused.
        async with http.ws_connect(f"{url}?session_id={self.session_id}") as socket:
            self.connections += 1
            if self.token:
                await socket.send_json(
                    {
                        "type": "start",
                        "session_id": self.session_id,
                        "resume_token": self.token,
                        "last_seq": self.last_seq,
                    }
                )
            else:
                await socket.send_json(
                    {"type": "start", "session_id": self.session_id, "resumable": True, **self.start}
                )
            ready = asyncio.Event()
            reading = asyncio.ensure_future(self._read(socket, ready))
            try:
                waiting = asyncio.ensure_future(ready.wait())
                await asyncio.wait((reading, waiting), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if not reading.done():
                    await self._send(socket, reading, on_progress)
                await reading
            finally:
                reading.cancel()

    async def _send(
        self, socket: aiohttp.ClientWebSocketResponse, reading: asyncio.Future[None], on_progress: Callable[[int], None]
    ) -> None:
        while self.sent < len(self.audio) and not reading.done():
            chunk = self.audio[self.sent : self.sent + CHUNK_BYTES]
            await socket.send_bytes(chunk)
            self.sent += len(chunk)
            on_progress(self.sent)
            await asyncio.sleep(len(chunk) / BYTES_A_SECOND / self.pace)
        if not reading.done():
            await socket.send_json({"type": "stop"})

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, ready: asyncio.Event) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            event = message.json()
            if event["type"] == "error" and event["code"] == "resume_refused":
                raise AssertionError(f"{self.session_id}: {event['message']} after {self.connections} connections")
            assert event["seq"] == self.last_seq + 1, f"{self.last_seq} was followed by {event}"
            self.events.append(event)
            if event["type"] == "sessionStarted":
                self.token = event["resume"]["token"]
                ready.set()
            elif event["type"] == "sessionResumed":
                self.sent = event["audio_bytes"]
                ready.set()


def wire_to(url: str) -> Wire:
    """A wire to the daemon at that address."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return Wire(parts.hostname, parts.port)
