"""One client of a load: a WebSocket connection that costs its process next to nothing.

It speaks just as much of HTTP and WebSocket as the daemon asks of a client. Messages come framed and masked already
and go straight to the transport; what arrives is noted with its time where it arrives, without waking a task.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Sequence
from typing import cast

import msgspec

from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.journal import Journal
from alfred_voice.bench.websocket_frames import CLOSE, PING, PONG, TEXT, ServerFrames, client_frame
from alfred_voice.clock import Clock


_SWITCHING = 101
_RETRY_AFTER = re.compile(rb"(?i)\r\nretry-after: *(\d+)\r\n")
_HEAD_END = b"\r\n\r\n"
_MASK_BYTES = 4
_QUOTED_CHARS = 300


class CallRefused(BenchmarkFailed):
    """The daemon does not take this many sessions.

    Attributes:
        status: the HTTP status, or ``error`` where it was told otherwise.
        retry_after_s: when to come again, where that was told.
    """

    code = "call_refused"

    def __init__(self, message: str, status: str = "error", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Caller(asyncio.Protocol):
    """A session seen from its client; :meth:`open` it, write, and wait until it is :attr:`over`."""

    def __init__(self, clock: Clock, host: str, events: Sequence[str] = ()) -> None:
        loop = asyncio.get_running_loop()
        self.journal = Journal()
        self.started: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        """Done when the connection has ended, however it did."""
        self._clock = clock
        self._host = host
        self._start = msgspec.json.encode({"type": "start", **({"events": list(events)} if events else {})})
        self._mask = os.urandom(_MASK_BYTES)
        self._frames = ServerFrames()
        self._head: bytes | None = b""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, clock: Clock, host: str, port: int, within_s: float, events: Sequence[str] = ()) -> Caller:
        """A session that has started.

        Raises:
            CallRefused: the daemon does not take it, or not in time.
        """
        caller = cls(clock, f"{host}:{port}", events)
        try:
            async with asyncio.timeout(within_s):
                await asyncio.get_running_loop().create_connection(lambda: caller, host, port)
                await caller.started
        except TimeoutError as exc:
            caller.abort()
            raise CallRefused(f"a session was not opened within {within_s:g} s") from exc
        except OSError as exc:
            raise CallRefused(f"{host}:{port} takes no connection: {exc}") from exc
        except BaseException:
            caller.abort()
            raise
        return caller

    def write(self, message: bytes) -> None:
        """Send frames that are ready to be sent; nothing once the connection has gone."""
        if self._transport is not None:
            self._transport.write(message)

    def stop(self) -> None:
        """Ask for the session's end, which comes with all that is still to be told."""
        self._send(TEXT, b'{"type":"stop"}')

    def abort(self) -> None:
        """Leave without a word."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        # uvloop's transports can do all that asyncio's can, and say so only in its documentation.
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.write(request.encode())

    def data_received(self, data: bytes) -> None:
        """Note what has come."""
        now = self._clock.now()
        try:
            if self._head is not None:
                data = self._upgrade(data)
            for opcode, payload in self._frames.feed(data):
                self._receive(opcode, payload, now)
        except CallRefused as exc:
            if not self.started.done():
                self.started.set_exception(exc)
            self._fail(str(exc))
        except (BenchmarkFailed, msgspec.DecodeError) as exc:
            self._fail(str(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why, if the session had not ended."""
        self._transport = None
        if self.journal.end_reason is None and not self.journal.lost:
            self.journal.lost = str(exc) if exc else "closed by the daemon"
        if not self.started.done():
            message = f"a session was not opened: {self.journal.lost}"
            self.started.set_exception(CallRefused(message, retry_after_s=self.journal.retry_after_s))
        if not self.over.done():
            self.over.set_result(None)

    def _upgrade(self, data: bytes) -> bytes:
        """Read the answer's head; what comes behind it."""
        self._head = head = (self._head or b"") + data
        end = head.find(_HEAD_END)
        if end < 0:
            return b""
        status = head[:end].split(b" ", 2)[1:2]
        if status != [str(_SWITCHING).encode()]:
            raise _refusal(head, b"".join(status).decode(errors="replace"))
        self._head = None
        self._send(TEXT, self._start)
        return head[end + len(_HEAD_END) :]

    def _receive(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == TEXT:
            self.journal.receive(payload, now)
            if self.journal.is_started and not self.started.done():
                self.started.set_result(None)
        elif opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE:
            if self.journal.end_reason is None:
                code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")
                self.journal.lost = f"closed with {code} {reason}".rstrip()
            self._send(CLOSE, payload[:2])
            if self._transport is not None:
                self._transport.close()

    def _send(self, opcode: int, payload: bytes) -> None:
        self.write(client_frame(opcode, payload, self._mask))

    def _fail(self, reason: str) -> None:
        self.journal.lost = reason
        self.abort()


def _refusal(head: bytes, status: str) -> CallRefused:
    found = _RETRY_AFTER.search(head)
    message = f"the daemon answered {head[:_QUOTED_CHARS].decode(errors='replace')!r}"
    return CallRefused(message, status, float(found[1]) if found else None)
