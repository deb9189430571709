"""What happens on a WebSocket before its session is open.

``start`` is optional: any other first message opens the session with the connection's defaults and is then carried
out. Once a ``start`` has been refused nothing opens a session but a valid one; until then a ``ping`` is answered, a
``stop`` closes, and of the audio that comes all the same only the first message is answered with an error.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiohttp import WSCloseCode, WSMessage, WSMsgType

from alfred_voice.audio.ingest import Ingest
from alfred_voice.audio.pcm import AudioFormat
from alfred_voice.errors import AlfredVoiceError, Overloaded
from alfred_voice.events import ErrorRaised, Event, Pong
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.outbox import Numbered
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.turn_trace import RemoteParent
from alfred_voice.server.errors import MalformedMessage, MessageTooLarge, ProtocolError, RateLimited, UnexpectedMessage
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.closing import TOO_BIG, Closing
from alfred_voice.server.protocol.resumption import Link, Resumption
from alfred_voice.server.protocol.wire import Mode
from alfred_voice.session.settings import SessionSettings, wanted_events


_log = logging.getLogger(__name__)

_SETTINGS = (
    "session_id", "sample_rate", "channels", "encoding", "language", "partials", "turns", "engine", "resumable",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """There is a session: a new one, or one that its client has come back to."""

    link: Link
    first: WSMessage | None
    """The message that opened it and is still to be carried out; None for a ``start``."""
    max_message_bytes: int
    last_seq: int | None = None
    """Of a client that has come back, the number of the last event that it got; -1 for none."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event for the client; there is no session to tell it."""

    numbered: Numbered
    closing: Closing | None = None
    """How to close afterwards, where it was fatal."""


Outcome = Opened | Told | Closing | None
"""What comes of one message; None where nothing does."""


def read_message(message: WSMessage, mode: Mode) -> wire.Message:
    """A TEXT or BINARY message as what the client means by it.

    Raises:
        ProtocolError: it breaks the protocol.
    """
    if message.type is WSMsgType.TEXT:
        if mode is Mode.MSGPACK:
            raise UnexpectedMessage("expected a BINARY message, one MessagePack map, but a TEXT message came")
        return wire.decode_text(message.data)
    if mode is Mode.JSON:
        return wire.Audio(message.data)
    return wire.decode_msgpack(message.data)


def too_large(limit_bytes: int) -> MessageTooLarge:
    """The error for a message that the WebSocket refused for its size."""
    return MessageTooLarge(f"expected messages of at most {limit_bytes} bytes, but a larger one came")


def too_often() -> RateLimited:
    """The error for messages that come faster than they may."""
    return RateLimited("messages come too often; what comes too soon is not carried out")


def settings_of(start: wire.Start, defaults: wire.Start) -> SessionSettings:
    """What a client asked for, the connection's defaults and then the daemon's for the rest.

    Raises:
        InvalidSettings: a field has a value that cannot be served.
    """
    asked: dict[str, Any] = {"session_id": uuid4().hex}
    for name in _SETTINGS:
        for source in (defaults, start):
            value = getattr(source, name)
            if value is not None:
                asked[name] = value
    return SessionSettings(**asked, events=wanted_events(start.events))


def check_return(start: wire.Start) -> None:
    """Nothing, when a ``start`` with a token asks for no more than the session that it names.

    Raises:
        MalformedMessage: it does.
    """
    if any(getattr(start, name) is not None for name in _SETTINGS if name != "session_id") or start.events:
        raise MalformedMessage("start: expected only session_id and last_seq beside resume_token")


class Opening:
    """The connection's first messages; one per connection, done with when it answers :class:`Opened`."""

    def __init__(
        self,
        coordinator: Coordinator,
        resumption: Resumption,
        mode: Mode,
        defaults: wire.Start,
        max_message_bytes: int,
        owner: Owner = NOBODY,
        parent: RemoteParent | None = None,
    ) -> None:
        self._coordinator = coordinator
        self._resumption = resumption
        self._mode = mode
        self._defaults = defaults
        self._max_message_bytes = max_message_bytes
        self._owner = owner
        self._parent = parent
        self._seq = 0
        self._refused = False
        self._unheard = 0

    def receive(self, message: WSMessage) -> Outcome:
        """What is to be done about a TEXT or BINARY message."""
        try:
            meant = read_message(message, self._mode)
        except ProtocolError as error:
            # Audio after it would be taken for something that it is not.
            self._refused |= wire.peek_type(message.data, self._mode) == wire.START_TYPE
            return self._tell_error(error)
        if isinstance(meant, wire.Start):
            return self._open(meant, None) if meant.resume_token is None else self._resume(meant, meant.resume_token)
        if not self._refused:
            return self._open(wire.Start(), message)
        return self._answer_refused(meant)

    def refuse_size(self) -> Told:
        """What is to be done about a message that the WebSocket refused for its size."""
        return self._tell_error(too_large(self._max_message_bytes), TOO_BIG)

    def refuse_pace(self, closing: Closing | None = None) -> Told:
        """Tell that messages come too often."""
        return self._tell_error(too_often(), closing)

    def _answer_refused(self, meant: wire.Message) -> Outcome:
        match meant:
            case wire.Ping():
                return self._tell(Pong(meant.id))
            case wire.Stop():
                return Closing(WSCloseCode.OK, "stop")
            case wire.Audio():
                self._unheard += 1
                if self._unheard > 1:
                    return None
        return self._tell_error(
            UnexpectedMessage(f"expected a valid start, as the last one was refused, but {wire.type_of(meant)} came")
        )

    def _open(self, start: wire.Start, first: WSMessage | None) -> Outcome:
        try:
            settings = settings_of(start, self._defaults)
            ingest = Ingest(AudioFormat(settings.sample_rate, settings.channels, settings.encoding))
            offer = self._resumption.offer() if settings.resumable else None
            stream = self._coordinator.open(
                settings,
                "websocket",
                max_message_bytes=self._max_message_bytes,
                first_seq=self._seq,
                resume=offer,
                owner=self._owner,
                parent=self._parent,
            )
        except Overloaded as error:
            return self._tell_error(error, Closing(WSCloseCode.TRY_AGAIN_LATER, error.code))
        except AlfredVoiceError as error:
            self._refused = True
            self._unheard += first is not None
            return self._tell_error(error)
        if self._unheard:
            _log.info("audio_unheard", extra={"session": stream.session_id, "messages": self._unheard})
        link = Link(stream, ingest, self._owner)
        if offer is not None:
            self._resumption.keep(link, offer)
        return Opened(link, first, self._max_message_bytes)

    def _resume(self, start: wire.Start, token: str) -> Outcome:
        session_id = start.session_id or self._defaults.session_id or ""
        last_seq = -1 if start.last_seq is None else start.last_seq
        try:
            check_return(start)
            link = self._resumption.claim(session_id, token, last_seq, self._owner)
        except AlfredVoiceError as error:
            # A client that cannot go on opens a new session, on this connection as well.
            self._refused = True
            return self._tell_error(error)
        return Opened(link, None, self._max_message_bytes, last_seq)

    def _tell_error(self, error: AlfredVoiceError, closing: Closing | None = None) -> Told:
        retry_after_s = error.retry_after_s if isinstance(error, Overloaded) else None
        return self._tell(ErrorRaised(error.code, str(error), closing is not None, retry_after_s), closing)

    def _tell(self, event: Event, closing: Closing | None = None) -> Told:
        told = Told(Numbered(self._seq, event), closing)
        self._seq += 1
        return told
