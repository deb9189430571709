"""A client that loses its connection again and again and goes on, and the wire that is cut in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from alfred_voice.client import Absence, Conversation, ConversationRefused, Mode, ReturnPlan


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
    """One session over as many connections as it takes, by the package's own client."""

    session_id: str
    audio: bytes
    pace: float = 4.0
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    """Those over which the session has gone on."""
    sent: int = 0
    """How much of the audio the client has been given."""
    start: dict[str, Any] = field(default_factory=dict)
    mode: Mode = "json"
    plan: ReturnPlan = field(default_factory=lambda: ReturnPlan(jitter=lambda: 0.0))
    """Without waiting, unless the test wants it."""
    waits_for_return: bool = True
    """Whether nothing is given to the client while it has no connection, so that every cut strikes one."""
    _is_there: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    async def run(self, url: str, on_progress: Callable[[int], None] = lambda sent: None) -> None:
        """Stream everything; ``on_progress`` may cut the wire."""
        connection = let_in(
            url,
            mode=self.mode,
            start={"session_id": self.session_id, **self.start},
            resumable=replace(self.plan, watch=self._watch),
        )
        async with asyncio.timeout(120), connection as talk, asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send(talk, on_progress))
            await self._read(talk)
            sending.cancel()
        # The transport is closed in a later turn of the loop, which must not be closed before.
        await asyncio.sleep(0.1)

    def _watch(self, absence: Absence) -> None:
        if absence.lasted_s is None:
            self._is_there.clear()
        else:
            self._note_connection()

    def _note_connection(self) -> None:
        self.connections += 1
        self._is_there.set()

    async def _send(self, talk: Conversation, on_progress: Callable[[int], None]) -> None:
        while self.sent < len(self.audio):
            if self.waits_for_return:
                await self._is_there.wait()
            chunk = self.audio[self.sent : self.sent + CHUNK_BYTES]
            await talk.send_audio(chunk)
            self.sent += len(chunk)
            on_progress(self.sent)
            await asyncio.sleep(len(chunk) / BYTES_A_SECOND / self.pace)
        await talk.stop()

    async def _read(self, talk: Conversation) -> None:
        async for event in talk:
            if event["type"] == "ttsAudio":
                continue
            assert event["seq"] == len(self.events), f"{self.events[-1:]} was followed by {event}"
            self.events.append(event)
            if event["type"] == "sessionStarted":
                self._note_connection()
        assert self.of("sessionEnded"), "the conversation was over before its session"


@contextlib.asynccontextmanager
async def let_in(url: str, **options: Any) -> AsyncIterator[Conversation]:
    """A conversation, as soon as the daemon takes new sessions: on a busy machine it may not do so at once."""
    async with contextlib.AsyncExitStack() as stack:
        while True:
            try:
                talk = await stack.enter_async_context(Conversation.connect(url, **options))
                break
            except ConversationRefused as refused:
                if refused.status != 503:
                    raise
                await asyncio.sleep(0.5)
        yield talk


def wire_to(url: str) -> Wire:
    """A wire to the daemon at that address."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return Wire(parts.hostname, parts.port)
