"""One WebSocket from its first message to its close: it has at most one session.

Events count from 0 over the whole connection: errors told before there is a session have an empty ``session_id``,
and the session's own events go on from their numbers.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import WSCloseCode, WSMsgType

from alfred_voice.errors import ResumeRefused
from alfred_voice.server.guard.rates import Pace, Verdict
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.closing import (
    FAILED,
    GOING_AWAY,
    NOT_STARTED,
    TOO_OFTEN,
    Closing,
)
from alfred_voice.server.protocol.opening import Opened, Opening, Outcome, Told
from alfred_voice.server.protocol.resumption import Link, Resumption
from alfred_voice.server.protocol.wire import Mode
from alfred_voice.server.websocket.audio_socket import AudioSocket
from alfred_voice.server.websocket.conversation import Conversation, is_too_big


_log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
"""How long a client may take to answer our close frame."""


class Connection:
    """A client on a WebSocket; :meth:`run` is its whole life."""

    def __init__(
        self,
        socket: AudioSocket,
        transport: asyncio.Transport,
        mode: Mode,
        opening: Opening,
        resumption: Resumption,
        pace: Pace,
    ) -> None:
        self._resumption = resumption
        self._socket = socket
        self._transport = transport
        self._mode = mode
        self._opening = opening
        self._pace = pace
        self._text_or_binary = WSMsgType.TEXT if mode is Mode.JSON else WSMsgType.BINARY
        self.has_session = False
        self.fields: dict[str, str] = {}
        """What a log record about this connection says of it: its session, when it has one."""

    async def run(self, patience_s: float) -> None:
        """Serve the client until one of the two closes.

        Args:
            patience_s: how long to wait for each message before there is a session.
        """
        closing: Closing | None = FAILED
        try:
            closing = await self._serve(patience_s)
        except ConnectionError:
            closing = None  # the client left while it was being told something
        except asyncio.CancelledError:
            closing = GOING_AWAY
            raise
        finally:
            if closing is not None:
                await self.close(closing)

    async def close(self, closing: Closing = GOING_AWAY) -> None:
        """Close from our side; a client that does not answer in time is cut off."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if closing.code == WSCloseCode.MESSAGE_TOO_BIG and not self._socket.closed:
                    await self._socket.close_too_big(closing, self._transport)
                await self._socket.close(code=closing.code, message=closing.reason.encode(), drain=False)
        except TimeoutError:
            _log.info("close_unanswered", extra={"close_code": closing.code, **self.fields})
        finally:
            # A transport with unsent bytes would otherwise wait for its reader for ever.
            if self._transport.get_write_buffer_size():
                self._transport.abort()

    async def _serve(self, patience_s: float) -> Closing | None:
        """Open a session and carry it; how to close, or None when the client has."""
        opened = await self._greet(patience_s)
        if not isinstance(opened, Opened):
            return opened
        self.has_session = True
        self.fields = {"session": opened.link.stream.session_id}
        return await self._carry(opened)

    async def _carry(self, opened: Opened) -> Closing | None:
        """Carry a session to its end, or until it is taken over by another connection of its client."""
        link = opened.link
        taken_over = asyncio.Event()
        try:
            await self._resumption.attach(link, taken_over.set)
        except TimeoutError:
            return FAILED
        may_return = True
        try:
            if opened.last_seq is not None:
                await self._catch_up(link, opened.last_seq)
            conversation = Conversation(self._socket, self._transport, self._mode, opened, taken_over, self._pace)
            closing = await conversation.run()
            may_return = conversation.may_return
            return closing
        except ResumeRefused as error:
            _log.info("resume_too_late", extra={"session": link.stream.session_id, "reason": str(error)})
            return FAILED
        finally:
            self._resumption.leave(link, may_return=may_return)

    async def _catch_up(self, link: Link, last_seq: int) -> None:
        """Tell the client what it has missed; whatever has come since follows by itself."""
        for numbered in self._resumption.catch_up(link, last_seq):
            await self._socket.send_frame(
                wire.encode(numbered, link.stream.session_id, self._mode), self._text_or_binary
            )

    async def _greet(self, patience_s: float) -> Opened | Closing | None:
        """Answer messages until one of them opens the session."""
        while True:
            try:
                message = await self._socket.receive(timeout=patience_s)
            except TimeoutError:
                return NOT_STARTED
            if is_too_big(message):
                outcome: Outcome = self._opening.refuse_size()
            elif message.type is not WSMsgType.TEXT and message.type is not WSMsgType.BINARY:
                return None
            else:
                outcome = self._in_time(self._opening.receive(message))
            if isinstance(outcome, Told):
                await self._socket.send_frame(wire.encode(outcome.numbered, "", self._mode), self._text_or_binary)
                outcome = outcome.closing
            if outcome is not None:
                return outcome

    def _in_time(self, outcome: Outcome) -> Outcome:
        """What is to be done, unless the client makes us answer too often."""
        if not isinstance(outcome, Told) or outcome.closing is not None:
            return outcome
        match self._pace.take(asyncio.get_running_loop().time()):
            case Verdict.TELL:
                return self._opening.refuse_pace()
            case Verdict.CLOSE:
                return self._opening.refuse_pace(TOO_OFTEN)
            case Verdict.DROP:
                return None
        return outcome
