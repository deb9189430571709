"""One session with the daemon over a WebSocket.

    async with Conversation.connect("ws://127.0.0.1:8015/ws") as talk:
        await talk.send_audio(pcm)
        await talk.stop()
        async for event in talk:
            print(event["type"], event.get("text", ""))

Sending and reading may go on at the same time in two tasks; two tasks must not read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from alfred_voice.client.errors import (
    ConversationLost,
    ConversationRefused,
    DaemonSilent,
    DaemonUnreachable,
)
from alfred_voice.client.framing import ClientEvent, Framing, Mode, framing_of
from alfred_voice.client.unreachable import unreachable


DEFAULT_URL = "ws://127.0.0.1:8015/ws"
"""Where a daemon listens that was told nothing else."""

_NORMAL_CLOSURE = 1000  # RFC 6455, 7.4.1
_GOING_AWAY = 1001  # RFC 6455, 7.4.1
_ABNORMAL_CLOSURE = 1006  # RFC 6455, 7.4.1
_PIECE_BYTES = 65_536
"""Longest audio message. It divides by the size of every sample and channel pair there is (1 to 8 bytes)."""
_CLOSING = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a conversation waits, in seconds."""

    connect_s: float = 10.0
    """For the connection and its handshake."""
    receive_s: float | None = None
    """For the next event; None for ever. A daemon with nothing else to tell sends its health once a second."""
    send_s: float = 30.0
    """For a message to be taken; a daemon that is behind lets its clients wait."""
    close_s: float = 10.0
    """For the answer to a close."""
    heartbeat_s: float = 30.0
    """Between two pings that find out whether the other end is still there."""


class Conversation:
    """An open session; iterating over it yields its events as dicts. Made by :meth:`connect`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, framing: Framing, timeouts: Timeouts) -> None:
        self.started: ClientEvent | None = None
        """The ``sessionStarted`` event, once it has been read."""
        self.ended: ClientEvent | None = None
        """The ``sessionEnded`` event, once it has been read."""
        self._socket = socket
        self._framing = framing
        self._timeouts = timeouts
        self._last_error = ""
        self._closed_here = False

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        url: str = DEFAULT_URL,
        *,
        mode: Mode = "json",
        start: Mapping[str, Any] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
    ) -> AsyncIterator[Conversation]:
        """Open a session, and close the connection on the way out.

        Leaving does not wait for pending events: call :meth:`stop` and read to the end, or :meth:`finish`, for those.

        Args:
            url: the daemon's, as ``ws://host:port/ws`` or ``http://host:port``; with TLS ``wss`` or ``https``.
            mode: how messages are written.
            start: fields of ``start``, such as ``{"sample_rate": 8000, "encoding": "mulaw"}``.
            key: the daemon's key for this client, where it wants one.
            headers: further HTTP headers.
            timeouts: how long to wait.

        Raises:
            DaemonUnreachable: nothing answers there.
            ConversationRefused: the daemon does not open a session.
        """
        timeouts = timeouts or Timeouts()
        framing = framing_of(mode)
        if key is not None:
            headers = {**(headers or {}), "Authorization": f"Bearer {key}"}
        # Reading the answer inside the session's own check is the one place where a refused upgrade still has a body.
        async with aiohttp.ClientSession(raise_for_status=_raise_for_refusal) as session:
            socket = await _open(session, address_of(url), framing.subprotocol, headers, timeouts)
            conversation = cls(socket, framing, timeouts)
            try:
                await conversation.send({"type": "start", **(start or {})})
                yield conversation
            finally:
                await conversation.close()

    @property
    def session_id(self) -> str | None:
        """The session's name, once ``sessionStarted`` has been read."""
        return None if self.started is None else str(self.started.get("session_id"))

    async def send_audio(self, audio: bytes | bytearray | memoryview) -> None:
        """Send audio of any length, in the format that ``start`` declared."""
        data = bytes(audio)
        for begin in range(0, len(data), _PIECE_BYTES):
            await self._send(self._framing.write_audio(data[begin : begin + _PIECE_BYTES]))

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float | None = None, speech_id: int | None = None
    ) -> None:
        """Have the daemon speak ``text``, after what it is speaking already."""
        fields = {"text": text, "voice": voice, "speed": speed, "speech_id": speech_id}
        await self.send({"type": "speak", **{name: value for name, value in fields.items() if value is not None}})

    async def stop_speaking(self) -> None:
        """Cancel all speech of the daemon now."""
        await self.send({"type": "stopSpeaking"})

    async def flush(self) -> None:
        """End the open utterance now and have it finalised."""
        await self.send({"type": "flush"})

    async def stop(self) -> None:
        """End the session; the events that are pending come before ``sessionEnded``."""
        await self.send({"type": "stop"})

    async def ping(self, ping_id: str | int | None = None) -> None:
        """Ask for a ``pong`` with the same ``id``."""
        await self.send({"type": "ping"} if ping_id is None else {"type": "ping", "id": ping_id})

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one control message as it is."""
        await self._send(self._framing.write_control(message))

    async def finish(self) -> list[ClientEvent]:
        """Stop the session and read it to its end; everything that came."""
        await self.stop()
        return [event async for event in self]

    async def close(self) -> None:
        """Close the connection without waiting for pending events; again does nothing."""
        self._closed_here = True
        # A connection that is gone already needs no goodbye.
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.close()

    def __aiter__(self) -> Conversation:
        return self

    async def __anext__(self) -> ClientEvent:
        """The next event.

        Raises:
            StopAsyncIteration: the connection was closed cleanly.
            ConversationLost: it ended otherwise.
            DaemonSilent: nothing came in time.
            UnreadableMessage: what came is no event.
        """
        message = await self._receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            event = self._framing.read(message.data)
            self._note(event)
            return event
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ConversationLost(self._socket.close_code or _ABNORMAL_CLOSURE, str(message.data)) from message.data
        if message.type not in _CLOSING:
            raise AssertionError(f"aiohttp answers pings itself, and gave {message.type}")
        if self._closed_here or self._socket.close_code in self._clean_codes():
            raise StopAsyncIteration
        reason = message.extra if isinstance(message.extra, str) else ""
        raise ConversationLost(self._socket.close_code or _ABNORMAL_CLOSURE, reason or self._last_error)

    async def _receive(self) -> aiohttp.WSMessage:
        """Whatever comes next."""
        try:
            return await self._socket.receive(self._timeouts.receive_s)
        except TimeoutError as exc:
            raise DaemonSilent(f"the daemon sent nothing for {self._timeouts.receive_s} s") from exc

    def _clean_codes(self) -> tuple[int, ...]:
        """Close codes that are no failure; a daemon that shuts down may go away once it has ended the session."""
        return (_NORMAL_CLOSURE,) if self.ended is None else (_NORMAL_CLOSURE, _GOING_AWAY)

    def _note(self, event: ClientEvent) -> None:
        """Keep what later messages and errors refer to."""
        match event["type"]:
            case "sessionStarted":
                self.started = event
            case "sessionEnded":
                self.ended = event
            case "error":
                self._last_error = f"{event.get('message', '')} ({event.get('code', '')})"

    async def _send(self, payload: str | bytes) -> None:
        """Send one frame."""
        try:
            async with asyncio.timeout(self._timeouts.send_s):
                if isinstance(payload, str):
                    await self._socket.send_str(payload)
                else:
                    await self._socket.send_bytes(payload)
        except TimeoutError as exc:
            raise DaemonSilent(f"the daemon took no message for {self._timeouts.send_s} s") from exc
        except (ConnectionError, aiohttp.ClientError) as exc:
            raise ConversationLost(self._socket.close_code or _ABNORMAL_CLOSURE, self._last_error or str(exc)) from exc


def address_of(url: str) -> URL:
    """The WebSocket address that ``url`` means; the path is ``/ws`` when it has none.

    Raises:
        DaemonUnreachable: it is no address at all.
    """
    try:
        address = URL(url)
        scheme = {"http": "ws", "https": "wss"}.get(address.scheme, address.scheme)
        if scheme not in ("ws", "wss") or not address.host:
            raise DaemonUnreachable(f"expected an address like {DEFAULT_URL}, got {url!r}")
        address = address.with_scheme(scheme)
    except ValueError as exc:
        raise DaemonUnreachable(f"expected an address like {DEFAULT_URL}, got {url!r}: {exc}") from exc
    return address if address.path != "/" else address.with_path("/ws").with_query(address.query)


async def _open(
    session: aiohttp.ClientSession,
    address: URL,
    subprotocol: str,
    headers: Mapping[str, str] | None,
    timeouts: Timeouts,
) -> aiohttp.ClientWebSocketResponse:
    """An upgraded connection in the sub-protocol that was asked for."""
    try:
        async with asyncio.timeout(timeouts.connect_s):
            socket = await session.ws_connect(
                address,
                protocols=(subprotocol,),
                headers=headers,
                max_msg_size=0,
                heartbeat=timeouts.heartbeat_s,
                timeout=aiohttp.ClientWSTimeout(ws_close=timeouts.close_s),
            )
    except TimeoutError as exc:
        raise DaemonUnreachable(f"no answer from {address} within {timeouts.connect_s} s") from exc
    except aiohttp.WSServerHandshakeError as exc:
        raise ConversationRefused(f"{address} does not speak WebSocket: {exc.message}", exc.status) from exc
    except (OSError, aiohttp.ClientError) as exc:
        raise unreachable(address, exc) from exc
    if socket.protocol != subprotocol:
        await socket.close()
        raise ConversationRefused(f"{address} does not offer {subprotocol}, only {socket.protocol}", 101)
    return socket


async def _raise_for_refusal(response: aiohttp.ClientResponse) -> None:
    """Turn an HTTP error, and the problem document (RFC 9457) that explains it, into an exception."""
    if response.status < 400:
        return
    problem: Any = None
    # What a stranger's server says is not ours to read; the status stands on its own.
    with contextlib.suppress(ValueError, aiohttp.ClientError):
        problem = await response.json(content_type=None)
    if not isinstance(problem, dict):
        problem = {}
    explanation = problem.get("detail") or problem.get("title") or response.reason
    retry_after = response.headers.get("Retry-After", "")
    raise ConversationRefused(
        f"{response.url} answers {response.status}: {explanation}",
        response.status,
        str(problem.get("code", "")),
        float(retry_after) if retry_after.isdecimal() else None,
    )
