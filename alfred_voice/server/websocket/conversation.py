"""What is said on one WebSocket while its session is open: one reader, one writer, and who ends the other.

The reader goes message -> frames -> session and waits while the session has no room, so that TCP slows the client
down. The writer alone sends what the session tells. Whichever of the two ends first ends the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType

from alfred_voice.audio.pcm import Int16
from alfred_voice.errors import AlfredVoiceError, EngineFailure, SessionEnded
from alfred_voice.events import ErrorRaised, SessionFinished
from alfred_voice.pipeline.outbox import Numbered, SlowReader, SpeechAudio
from alfred_voice.pipeline.stream import Stream
from alfred_voice.server.guard.rates import Pace
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.closing import (
    NOT_READ,
    TAKEN_OVER,
    Closing,
    closing_of_end,
)
from alfred_voice.server.protocol.control import Control
from alfred_voice.server.protocol.opening import Opened, read_message, too_large
from alfred_voice.server.protocol.wire import Mode
from alfred_voice.server.websocket.audio_socket import AudioSocket


_log = logging.getLogger(__name__)

SLICE_BYTES = 16_384
"""Longer messages are worked on in pieces, so that one client's minute of audio does not hold up the others.
A multiple of every format's block: two channels of four bytes."""
DIRECT_BYTES = 7_680
"""Longer messages are not taken on the spot. 20 ms of two channels at 96 kHz, of two bytes each."""
DIRECT_FRAMES = 96
"""As many frames as such a message can make: at 4 kHz in one byte it is 1.92 s."""
STALL_TIMEOUT_S = 10.0
"""How long a client may leave everything unread that the network holds for it."""


class Conversation:
    """Reads and writes until one of the two is done, or the session is wanted elsewhere."""

    def __init__(
        self,
        socket: AudioSocket,
        transport: asyncio.Transport,
        mode: Mode,
        opened: Opened,
        taken_over: asyncio.Event,
        pace: Pace,
    ) -> None:
        self._socket = socket
        self._stream = opened.link.stream
        self._reading = _Reader(socket, mode, opened, pace)
        self._writing = _Writer(socket, transport, mode, self._stream)
        self._taken_over = taken_over
        self.may_return = True
        """Whether the client may come back to the session: it has not left for good, nor been told of its end."""

    async def run(self) -> Closing | None:
        """How to close, or None when the client has."""
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._reading.run())
            writer = tasks.create_task(self._writing.run())
            stalled = tasks.create_task(self._writing.stalled())
            taken = tasks.create_task(self._taken_over.wait())
            done, _ = await asyncio.wait((reader, writer, stalled, taken), return_when=asyncio.FIRST_COMPLETED)
            for task in (reader, writer, stalled, taken):
                task.cancel()
        if taken in done:
            return TAKEN_OVER
        if writer in done:
            # What was lost with an outbox that overflowed cannot be told again.
            closing = writer.result()
            self.may_return = closing is None and self._socket.close_code != WSCloseCode.OK
            return closing
        if stalled in done:
            return NOT_READ
        self.may_return = self._socket.close_code != WSCloseCode.OK
        return None


class _Writer:
    """Sends what the session tells."""

    def __init__(self, socket: AudioSocket, transport: asyncio.Transport, mode: Mode, stream: Stream) -> None:
        self._socket = socket
        self._transport = transport
        self._mode = mode
        self._stream = stream
        self._event_type = WSMsgType.TEXT if mode is Mode.JSON else WSMsgType.BINARY
        self._sent = 0
        self._fatal_code: str | None = None
        self._closing: Closing | None = None

    async def run(self) -> Closing | None:
        """To the session's last event; how to close, or None when the client has gone."""
        try:
            while items := await self._stream.outbox.take():
                for item in items:
                    await self._send(item)
        except SlowReader:
            return NOT_READ
        except ConnectionError:
            return None
        return self._closing

    async def _send(self, item: Numbered | SpeechAudio) -> None:
        self._sent += 1
        if isinstance(item, SpeechAudio):
            await self._socket.send_frame(wire.encode_audio(item, self._mode), WSMsgType.BINARY)
            return
        await self._socket.send_frame(wire.encode(item, self._stream.session_id, self._mode), self._event_type)
        if isinstance(item.event, SessionFinished):
            self._closing = closing_of_end(item.event.reason, self._fatal_code)
        elif isinstance(item.event, ErrorRaised) and item.event.fatal:
            self._fatal_code = item.event.code

    async def stalled(self) -> None:
        """Returns when bytes have waited for the client all the time and not one message more could be sent."""
        sent_before = -1
        while True:
            await asyncio.sleep(STALL_TIMEOUT_S)
            waiting = self._transport.get_write_buffer_size() > 0
            if waiting and self._sent == sent_before:
                return
            sent_before = self._sent if waiting else -1


class _Reader:
    """Carries out what the client sends while the session is open."""

    __slots__ = ("_control", "_first", "_ingest", "_max_message_bytes", "_mode", "_socket", "_stream", "_unput")

    def __init__(self, socket: AudioSocket, mode: Mode, opened: Opened, pace: Pace) -> None:
        self._socket = socket
        self._mode = mode
        self._stream = opened.link.stream
        self._control = Control(self._stream, pace)
        self._ingest = opened.link.ingest
        self._unput = opened.link.unput
        self._first = opened.first
        self._max_message_bytes = opened.max_message_bytes

    async def run(self) -> None:
        """Returns when the client has closed; whatever comes after the session's end is read and let go.

        A message that is too big ends the session as an error, which the writer still tells; nothing can be read then.
        """
        try:
            closed = await self._read_session()
        except SessionEnded:
            closed = None
        while closed is None:
            message = await self._socket.receive()
            if message.type is not WSMsgType.TEXT and message.type is not WSMsgType.BINARY:
                closed = message
        if is_too_big(closed):
            self._stream.report(too_large(self._max_message_bytes), fatal=True)
            await asyncio.Event().wait()

    async def _read_session(self) -> WSMessage | None:
        """Until the client closes (the message that says so) or has asked for the end (None)."""
        is_pcm = self._mode is Mode.JSON
        await self._put(())
        message = self._first or await self._socket.receive()
        while True:
            if message.type is WSMsgType.BINARY and is_pcm:
                await self._hear(message.data)
            elif message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                if await self._obey(message):
                    return None
            else:
                return message
            # Nothing that came before is unfinished: audio that comes while this task waits need not wake it.
            self._socket.divert(self._hear_now if is_pcm else None)
            message = await self._socket.receive()
            self._socket.divert(None)

    def _hear_now(self, data: bytes) -> bool:
        """Put a message of audio into the session, if that can be done at once; what cannot goes to :meth:`_hear`."""
        stream = self._stream
        frame = self._ingest.usual_frame(data)
        if frame is not None and stream.put_now(frame):
            stream.audio_bytes += len(data)
            return True
        if len(data) > DIRECT_BYTES or not stream.has_room(DIRECT_FRAMES) or stream.stopped_at is not None:
            return False
        # What is refused counts, too: whoever comes back sends what is behind it.
        stream.audio_bytes += len(data)
        try:
            frames = self._ingest.feed(data)
            for frame in frames:
                stream.put(frame)
        except AlfredVoiceError as error:
            stream.report(error)
        except Exception as error:  # noqa: BLE001  the library would take it for a fault of the connection
            _log.exception("audio_failed", extra={"session": stream.session_id})
            stream.report(EngineFailure(f"audio could not be taken: {type(error).__name__}"), fatal=True)
        return True

    async def _hear(self, data: bytes) -> None:
        """Put a message of audio into the session."""
        # An odd length is refused as a whole, before anything is computed.
        if len(data) > SLICE_BYTES and len(data) % self._ingest.format.block_align == 0:
            await self._hear_long(data)
            return
        self._stream.audio_bytes += len(data)
        try:
            frames = self._ingest.feed(data)
        except AlfredVoiceError as error:
            self._stream.report(error)
            return
        await self._put(frames)

    async def _hear_long(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            await self._hear(data[start : start + SLICE_BYTES])
            await asyncio.sleep(0)

    async def _put(self, frames: Iterable[Int16]) -> None:
        """Put frames in, each when there is room for it.

        Those for which there is none wait in the session's link: they have been taken, and if the connection is lost
        now the client will not send them again.
        """
        stream, unput = self._stream, self._unput
        unput.extend(frames)
        while unput:
            if not stream.has_room():
                await stream.room()
            stream.put(unput.popleft())

    async def _obey(self, message: WSMessage) -> bool:
        """Carry out a message; True when it asked for the session's end."""
        try:
            meant = read_message(message, self._mode)
        except AlfredVoiceError as error:
            if self._control.is_in_time():
                self._stream.report(error)
            return False
        # Audio has a limit of its own, the session's queue; and whoever goes is not to be held.
        if not isinstance(meant, wire.Audio | wire.Stop) and not self._control.is_in_time():
            return False
        try:
            return await self._carry_out(meant)
        except SessionEnded:
            raise
        except AlfredVoiceError as error:
            self._stream.report(error)
            return False

    async def _carry_out(self, meant: wire.Message) -> bool:
        match meant:
            case wire.Audio():
                await self._hear(meant.audio)
            case wire.Flush():
                await self._put(self._ingest.flush())
                self._stream.flush()
            case wire.Stop():
                await self._put(self._ingest.flush())
                self._stream.stop()
                return True
            case _:
                self._control.carry_out(meant)
        return False


def is_too_big(message: WSMessage) -> bool:
    """Whether the WebSocket refused a message for its size."""
    return (
        message.type is WSMsgType.ERROR
        and isinstance(message.data, WebSocketError)
        and message.data.code == WSCloseCode.MESSAGE_TOO_BIG
    )
