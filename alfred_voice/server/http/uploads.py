"""``POST /process_frame``: sessions that are fed with files and asked for what they have to tell, call by call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from alfred_voice.audio import decode
from alfred_voice.audio.pcm import FRAME_MS, AudioFormat, Int16
from alfred_voice.errors import (
    AudioError,
    InvalidSettings,
    Overloaded,
    SessionBusy,
    SessionEnded,
    UnknownSession,
)
from alfred_voice.events import EVENT_TYPES, FrameProcessed
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.outbox import Numbered, SlowReader, SpeechAudio
from alfred_voice.pipeline.owner import Owner
from alfred_voice.pipeline.stream import Stream
from alfred_voice.server.bodies import live_json
from alfred_voice.server.echo import shorten
from alfred_voice.server.guard.access import check_session, owner_of
from alfred_voice.server.http.form import Upload, read_upload
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.wire import Mode
from alfred_voice.session.settings import SessionSettings


BATCH_FRAMES = 50
"""Decoded at a time: a second of audio."""
INLINE_BYTES = 65_536
"""Larger files are decoded beside the event loop."""


class UploadSession:
    """One session that is fed by uploads; one call at a time works on it."""

    def __init__(self, stream: Stream, audio_format: AudioFormat) -> None:
        self.stream = stream
        self.format = audio_format
        self.frames = 0
        self._audio = decode.Uploads(audio_format)
        self.is_busy = False
        self._events: list[msgspec.Raw] = []
        self._speech_probability = 0.0
        self._is_speech = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keeps other calls off.

        Raises:
            SessionBusy: another call works on the session.
        """
        if self.is_busy:
            raise SessionBusy(f"another call works on session {self.stream.session_id!r}")
        self.is_busy = True
        try:
            yield
        finally:
            self.is_busy = False

    async def process(self, audio: bytes | None, final: bool) -> None:
        """Put audio in and wait until all of it has been judged; or, when it is the last, until all is told.

        Raises:
            AudioError: the audio cannot be used; what came before the damage is in the session.
            SlowReader: the session told more than it may leave unread.
        """
        frames = self._audio.feed(audio) if audio is not None else iter(())
        async with self._collecting() as collector:
            try:
                await self._feed(frames, beside_loop=audio is not None and len(audio) > INLINE_BYTES)
                if final:
                    await self._feed(iter(self._audio.flush()))
                    self.stream.stop()
            except SessionEnded:
                final = True  # for another reason; its last event says which
            if final:
                await asyncio.wait((collector,))
            else:
                await self.stream.settled()

    async def _feed(self, frames: Iterator[Int16], *, beside_loop: bool = False) -> None:
        while True:
            if beside_loop:
                batch = await asyncio.to_thread(_next_batch, frames)
            else:
                batch = _next_batch(frames)
            if not batch:
                return
            for frame in batch:
                if not self.stream.has_room():
                    await self.stream.room()
                self.stream.put(frame)
                self.frames += 1
            await asyncio.sleep(0)

    @asynccontextmanager
    async def _collecting(self) -> AsyncIterator[asyncio.Task[None]]:
        """Takes what the session tells all the while, as a long file's events would not fit into its outbox."""
        collector = asyncio.create_task(self._collect())
        try:
            yield collector
        finally:
            collector.cancel()
            await asyncio.wait((collector,))
        if not collector.cancelled():
            collector.result()
        self._keep(self.stream.outbox.take_now())

    async def _collect(self) -> None:
        while items := await self.stream.outbox.take():
            self._keep(items)

    def _keep(self, items: list[Numbered | SpeechAudio]) -> None:
        for item in items:
            if isinstance(item, SpeechAudio):
                continue
            if isinstance(item.event, FrameProcessed):
                self._speech_probability = item.event.speech_probability
                self._is_speech = item.event.is_speech
            # As bytes: a long file has a hundred thousand of them.
            self._events.append(msgspec.Raw(wire.encode(item, self.stream.session_id, Mode.JSON)))

    def take_events(self) -> list[msgspec.Raw]:
        """What has been told since the last time."""
        events, self._events = self._events, []
        return events

    def describe(self) -> dict[str, Any]:
        """The session as an answer tells it; the probability is that of the last frame judged."""
        return {
            "session_id": self.stream.session_id,
            "stream_ms": self.frames * FRAME_MS,
            "speech_probability": round(self._speech_probability, wire.RATIO_DIGITS),
            "is_speech": self._is_speech,
        }


def _next_batch(frames: Iterator[Int16]) -> list[Int16]:
    return list(islice(frames, BATCH_FRAMES))


class Uploads:
    """The open sessions that are fed by uploads."""

    def __init__(self, coordinator: Coordinator, options: ServerOptions) -> None:
        self._coordinator = coordinator
        self._options = options
        self._sessions: dict[str, UploadSession] = {}

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [web.post("/process_frame", self.process_frame)]

    async def process_frame(self, request: web.Request) -> web.Response:
        """Audio in, events out; the first call of a session opens it, ``final`` closes it."""
        now = asyncio.get_running_loop().time
        upload = await self._read(request)
        arrived_at = now()
        check_session(request, self._coordinator.roster, upload.session_id)
        self._sweep()
        known = self._sessions.get(upload.session_id)
        session = self._open(upload, owner_of(request)) if known is None else known
        with session.working():
            _check_format(upload, session.format)
            frames_before = session.frames
            try:
                async with asyncio.timeout(self._options.request_timeout_s):
                    await session.process(upload.audio, upload.final)
            except TimeoutError as error:
                raise Overloaded("the audio was not processed in time; the next call brings its events") from error
            except (AudioError, SlowReader):
                if known is None or session.stream.ended:
                    self._drop(session)
                raise
            if session.stream.ended:
                self._drop(session)
            answer = session.describe() | {
                "frames": session.frames - frames_before,
                "events": session.take_events(),
                "processing_ms": round((now() - arrived_at) * 1000, wire.MS_DIGITS),
            }
        return live_json(answer)

    async def end(self, stream: Stream) -> dict[str, Any]:
        """End a session; whatever it still had to tell.

        Raises:
            SessionBusy: a call works on it.
        """
        session = self._sessions.get(stream.session_id)
        if session is None:
            raise UnknownSession(f"no session {stream.session_id!r} is open")
        with session.working():
            try:
                async with asyncio.timeout(self._options.request_timeout_s):
                    await session.process(None, final=True)
            except TimeoutError as error:
                raise Overloaded("the session has been told to end, but has not finished yet") from error
            finally:
                if stream.ended:
                    self._drop(session)
            return {"session_id": stream.session_id, "ended": True, "events": session.take_events()}

    async def _read(self, request: web.Request) -> Upload:
        try:
            async with asyncio.timeout(self._options.request_timeout_s):
                return await read_upload(request, self._options.max_upload_bytes)
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="the upload did not arrive in time") from error

    def _open(self, upload: Upload, owner: Owner) -> UploadSession:
        if upload.audio is None:
            raise UnknownSession(f"no session {shorten(upload.session_id)!r} is open")
        asked = {
            name: value
            for name in ("sample_rate", "channels", "encoding")
            if (value := getattr(upload, name)) is not None
        }
        settings = SessionSettings(upload.session_id, events=frozenset(EVENT_TYPES.values()), **asked)
        audio_format = AudioFormat(settings.sample_rate, settings.channels, settings.encoding)
        stream = self._coordinator.open(settings, "http", max_message_bytes=self._options.max_upload_bytes, owner=owner)
        session = UploadSession(stream, audio_format)
        self._sessions[upload.session_id] = session
        return session

    def _drop(self, session: UploadSession) -> None:
        session.stream.abandon()
        self._sessions.pop(session.stream.session_id, None)

    def _sweep(self) -> None:
        """Forget sessions that have ended of themselves; their last events were for a call that never came."""
        for session in [one for one in self._sessions.values() if one.stream.ended and not one.is_busy]:
            self._drop(session)


def _check_format(upload: Upload, opened: AudioFormat) -> None:
    """A session keeps the format of raw samples that it was opened with."""
    for name in ("sample_rate", "channels", "encoding"):
        asked = getattr(upload, name)
        if asked is not None and asked != getattr(opened, name):
            raise InvalidSettings(
                f"{name}: the session was opened with {getattr(opened, name)}, got {shorten(str(asked))}"
            )
