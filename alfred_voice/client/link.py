"""One connection to the daemon: a WebSocket that carries payloads, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import aiohttp

from alfred_voice.client.errors import ConversationLost, DaemonSilent


NORMAL_CLOSURE = 1000
GOING_AWAY = 1001
ABNORMAL_CLOSURE = 1006
"""Close codes (RFC 6455, 7.4.1): a proper end, one side leaves, nobody said anything."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a conversation waits, in seconds."""

    connect_s: float = 10.0
    """For the connection and its handshake."""
    receive_s: float | None = None
    """For the next event; None for ever. A daemon with nothing else to tell sends its health once a second.
    In a resumable conversation silence is a loss, and ``ReturnPlan.silence_s`` holds beside this."""
    send_s: float = 30.0
    """For a message to be taken; a daemon that is behind lets its clients wait."""
    close_s: float = 10.0
    """For the answer to a close."""
    heartbeat_s: float = 30.0
    """Between two pings that find out whether the other end is still there."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes over a connection."""

    code: int
    """Of the close; 1006 when the connection just went away."""
    reason: str = ""
    """What the daemon said with it."""
    cause: BaseException | None = None


class Link:
    """A connection; one task reads it, one writes it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def receive(self, limit_s: float | None) -> str | bytes | Ended:
        """The next payload, or how the connection ended; after its end that again.

        Raises:
            DaemonSilent: nothing came within ``limit_s`` seconds.
        """
        try:
            message = await self._socket.receive(limit_s)
        except TimeoutError as exc:
            raise DaemonSilent(f"the daemon sent nothing for {limit_s} s") from exc
        code = self._socket.close_code or ABNORMAL_CLOSURE
        match message.type:
            case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                payload: str | bytes = message.data
                return payload
            case aiohttp.WSMsgType.ERROR:
                return Ended(code, str(message.data), message.data)
            case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                return Ended(code, message.extra if isinstance(message.extra, str) else "")
        raise AssertionError(f"aiohttp answers pings itself, and gave {message.type}")

    async def send(self, payload: str | bytes, limit_s: float | None) -> None:
        """Send one message: text, or bytes.

        Raises:
            DaemonSilent: it was not taken within ``limit_s`` seconds; None for as long as the connection lives.
            ConversationLost: the connection has ended.
        """
        try:
            async with asyncio.timeout(limit_s):
                if isinstance(payload, str):
                    await self._socket.send_str(payload)
                else:
                    await self._socket.send_bytes(payload)
        except TimeoutError as exc:
            raise DaemonSilent(f"the daemon took no message for {limit_s} s") from exc
        except (ConnectionError, aiohttp.ClientError) as exc:
            raise ConversationLost(self._socket.close_code or ABNORMAL_CLOSURE, str(exc)) from exc

    async def close(self) -> None:
        """Leave for good, and tell the daemon so; again does nothing."""
        # A connection that is gone already needs no goodbye.
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.close()

    async def abandon(self) -> None:
        """Let go of a connection without waiting for an answer, and without the code that would end its session."""
        with contextlib.suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
            async with asyncio.timeout(0):
                await self._socket.close(code=GOING_AWAY)
