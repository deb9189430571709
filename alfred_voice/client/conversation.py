"""One session with the daemon over a WebSocket.

    async with Conversation.connect("ws://127.0.0.1:8015/ws") as talk:
        await talk.send_audio(pcm)
        await talk.stop()
        async for event in talk:
            print(event["type"], event.get("text", ""))

Sending and reading may go on at the same time in two tasks; two tasks must not read.

**Lost connections.** With ``resumable=True`` the session outlives its connection. Whoever reads comes back by himself:
another connection is opened, with growing pauses, for as long as the daemon keeps the session. Events go on where they
broke off, those that were missed first, none twice; ``sessionResumed`` follows them. Audio that the daemon has not
acknowledged is kept and sent again from the byte that it wants, so that it hears each byte once. What is sent while
there is no connection is kept, too, and goes out afterwards in its place; ``ReturnPlan.keep_bytes`` says how much. When
that is full, sending waits for room, ``Timeouts.send_s`` at most, and then raises ``DaemonSilent``. Somebody must read:
acknowledgements are events, and nobody else notices the loss.

The protocol does not acknowledge control messages, but audio behind one shows that it has arrived, and so do ``pong``
and the beginning or end of a speech. One that was sent just before the loss, which nothing shows to have arrived, is
sent again. So ``flush``, ``stop`` and ``stopSpeaking`` may arrive twice, which changes nothing, and a ``ping`` may be
answered twice. A text to speak gets a ``speech_id`` if it has none, and is not said twice; one that the daemon refused
may be refused again. What the daemon was saying at the moment of the loss is cancelled, as ``ttsEnd`` tells.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from alfred_voice.client.errors import ConversationLost, DaemonSilent
from alfred_voice.client.framing import ClientEvent, Framing, Mode, framing_of
from alfred_voice.client.link import ABNORMAL_CLOSURE, GOING_AWAY, NORMAL_CLOSURE, Ended, Link, Timeouts
from alfred_voice.client.opening import DEFAULT_URL, Door, address_of, raise_for_refusal
from alfred_voice.client.return_plan import ReturnPlan
from alfred_voice.client.returning import Returning
from alfred_voice.client.sending import DirectSending, KeptSending, Sending, error_in


_PIECE_BYTES = 65_536
"""Longest audio message. It divides by the size of every sample and channel pair there is (1 to 8 bytes)."""


class Conversation:
    """An open session; iterating over it yields its events as dicts. Made by :meth:`connect`."""

    def __init__(self, door: Door, link: Link, framing: Framing, plan: ReturnPlan | None) -> None:
        self.started: ClientEvent | None = None
        """The ``sessionStarted`` event, once it has been read."""
        self.ended: ClientEvent | None = None
        """The ``sessionEnded`` event, once it has been read."""
        self._link = link
        self._framing = framing
        self._timeouts = door.timeouts
        self._last_error = ""
        self._lost: ConversationLost | None = None
        self._closing = asyncio.Event()
        self._returning: Returning | None = None
        self._sending: Sending
        if plan is None:
            self._sending = DirectSending(link, framing, door.timeouts.send_s)
        else:
            self._sending = kept = KeptSending(link, framing, plan.keep_bytes, door.timeouts.send_s)
            self._returning = Returning(door, framing, plan, kept)

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
        resumable: bool | ReturnPlan = False,
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
            resumable: whether to come back to the session when the connection is lost, see above; or how.

        Raises:
            DaemonUnreachable: nothing answers there.
            ConversationRefused: the daemon does not open a session.
        """
        framing = framing_of(mode)
        headers = dict(headers or {})
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        plan = resumable if isinstance(resumable, ReturnPlan) else ReturnPlan() if resumable else None
        async with aiohttp.ClientSession(raise_for_status=raise_for_refusal) as http:
            door = Door(http, address_of(url), framing.subprotocol, headers, timeouts or Timeouts())
            link = await door.open()
            fields = {"type": "start", **(start or {}), **({"resumable": True} if plan else {})}
            try:
                await link.send(framing.write_control(fields), door.timeouts.send_s)
                conversation = cls(door, link, framing, plan)
            except BaseException:
                await link.abandon()
                raise
            try:
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
            await self._sending.audio(data[begin : begin + _PIECE_BYTES])

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
        """Send one control message as it is.

        Raises, as everything that sends:
            ConversationLost: the conversation is over.
            DaemonSilent: the message was not taken in time; one of a resumable conversation was not kept either.
        """
        await self._sending.control(message)

    async def finish(self) -> list[ClientEvent]:
        """Stop the session and read it to its end; everything that came."""
        await self.stop()
        return [event async for event in self]

    async def close(self) -> None:
        """Close the connection without waiting for pending events; again does nothing."""
        self._closing.set()
        try:
            await self._sending.close(ConversationLost(NORMAL_CLOSURE, "it was closed here"))
        finally:
            await self._link.close()

    def __aiter__(self) -> Conversation:
        return self

    async def __anext__(self) -> ClientEvent:
        """The next event.

        Raises:
            StopAsyncIteration: the connection was closed cleanly.
            ConversationLost: it ended otherwise; a resumable one for good (``NotResumed`` says why).
            DaemonSilent: nothing came in time.
            UnreadableMessage: what came is no event, or not the next one.
        """
        if self._lost is not None:
            raise self._lost
        try:
            return await self._next()
        except ConversationLost as lost:
            self._lost = lost
            await self._sending.close(lost)
            await self._link.abandon()
            raise

    async def _next(self) -> ClientEvent:
        """The next event, over whatever connection it comes."""
        while True:
            received = await self._receive()
            if not isinstance(received, Ended):
                event = self._framing.read(received)
                self._note(event)
                return event
            if self._is_clean(received):
                await self._sending.close(ConversationLost(received.code, received.reason))
                raise StopAsyncIteration
            if self.ended is not None or self._returning is None or not self._returning.may_follow(received):
                raise ConversationLost(received.code, received.reason or self._last_error) from received.cause
            await self._follow(self._returning, received)

    async def _receive(self) -> str | bytes | Ended:
        """Whatever comes next; in a session that is told something every second silence is an end."""
        if self._returning is None or self.ended is not None:
            return await self._link.receive(self._timeouts.receive_s)
        try:
            return await self._link.receive(self._returning.limit_s(self._timeouts.receive_s))
        except DaemonSilent as silent:
            ended = Ended(ABNORMAL_CLOSURE, str(silent))
            if not self._returning.may_follow(ended):
                raise
            return ended

    async def _follow(self, returning: Returning, ended: Ended) -> None:
        """Come back, unless the conversation is closed meanwhile."""
        coming = asyncio.ensure_future(returning.come_back(self._link, ended))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((coming, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
            closing.cancel()
            await asyncio.wait((coming, closing))
            if not coming.cancelled() and coming.exception() is None:
                # Also when this task is cancelled just now: whoever reads next goes on with it.
                self._link = coming.result()
        if self._closing.is_set():
            await self._link.close()
        else:
            coming.result()

    def _is_clean(self, ended: Ended) -> bool:
        """Whether that is no failure; once a daemon has ended the session, it may go away as it likes."""
        if self._closing.is_set() or ended.code == NORMAL_CLOSURE:
            return True
        return self.ended is not None and ended.code in (GOING_AWAY, ABNORMAL_CLOSURE)

    def _note(self, event: ClientEvent) -> None:
        """Keep what later messages and errors refer to."""
        if self._returning is None:
            self._sending.note(event)
        else:
            self._returning.receive(event, self._link)
        self._last_error = error_in(event) or self._last_error
        match event["type"]:
            case "sessionStarted":
                self.started = event
            case "sessionEnded":
                self.ended = event
