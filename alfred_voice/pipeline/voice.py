"""The daemon's speech towards one client: queued, paced a little ahead of real time, stopped at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from alfred_voice.audio.egress import Egress
from alfred_voice.audio.pcm import AudioFormat
from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, EngineFailure, Overloaded, UnusableText
from alfred_voice.events import ErrorRaised, Event, SpeechOutputEnded, SpeechOutputStarted
from alfred_voice.pipeline.outbox import Outbox, SpeechAudio
from alfred_voice.pipeline.synthesiser import Synthesiser
from alfred_voice.session.playout import Playout
from alfred_voice.session.settings import SessionSettings


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speech:
    """Something to say."""

    speech_id: int
    text: str
    voice: str
    speed: float


class Voice:
    """The speeches of one session, one after the other. Used on the event loop only.

    Args:
        tell: takes the events; audio goes into ``outbox`` directly, in the order of the events.
    """

    def __init__(
        self,
        settings: SessionSettings,
        synthesiser: Synthesiser,
        playout: Playout,
        outbox: Outbox,
        tell: Callable[[Event], None],
        clock: Clock,
        max_queued: int,
    ) -> None:
        self._session_id = settings.session_id
        self._format = AudioFormat(settings.sample_rate, settings.channels, settings.encoding)
        self._bytes_per_ms = self._format.sample_rate * self._format.block_align / 1000
        self._synthesiser = synthesiser
        self._playout = playout
        self._outbox = outbox
        self._tell = tell
        self._clock = clock
        self._max_queued = max_queued
        self._queue: deque[Speech] = deque()
        self._current: Speech | None = None
        self._task: asyncio.Task[None] | None = None
        self._next_id = 0

    def speak(self, text: str, voice: str | None, speed: float | None, speech_id: int | None) -> None:
        """Say ``text`` after what is being said.

        Raises:
            SpeechError: the text, the voice or the speed cannot be had, or the id is in use.
            Overloaded: too many speeches wait.
        """
        voice, speed = self._synthesiser.check(text, voice, speed)
        if len(self._queue) >= self._max_queued:
            raise Overloaded(f"{len(self._queue)} speeches wait already; the limit is {self._max_queued}")
        busy = [speech.speech_id for speech in (*self._queue, *([self._current] if self._current else []))]
        if speech_id in busy:
            raise UnusableText(f"speech_id: {speech_id} is still to be said; choose another number")
        if speech_id is None:
            speech_id = self._next_id
        self._next_id = max(self._next_id, speech_id + 1)
        self._queue.append(Speech(speech_id, text, voice, speed))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="voice")

    @property
    def is_speaking(self) -> bool:
        """Whether something is being said or waits to be."""
        return self._current is not None or bool(self._queue)

    def cancel(self) -> None:
        """Stop now: no audio leaves any more, and every speech is told to have ended."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        unsent = self._outbox.drop_audio()
        if self._current is not None:
            speech_id = self._current.speech_id
            unsent_bytes = sum(len(piece.data) for piece in unsent if piece.speech_id == speech_id)
            duration_ms = max(0.0, self._playout.sent_ms - unsent_bytes / self._bytes_per_ms)
            self._end(self._current, duration_ms, cancelled=True)
        while self._queue:
            self._tell(SpeechOutputEnded(self._queue.popleft().speech_id, 0.0, cancelled=True))

    async def _run(self) -> None:
        while self._queue:
            speech = self._current = self._queue.popleft()
            try:
                await self._say(speech)
            except AlfredVoiceError as error:
                self._fail(speech, error)
            except Exception as error:  # noqa: BLE001  the border of one speech: the next one must still be said
                self._fail(speech, EngineFailure(f"tts: {type(error).__name__}: {error}"), cause=error)
        self._task = None

    def _fail(self, speech: Speech, error: AlfredVoiceError, cause: Exception | None = None) -> None:
        fields = {"session": self._session_id, "speech_id": speech.speech_id, "error": str(error)}
        log.error("speech_failed", exc_info=cause, extra=fields)
        self._tell(ErrorRaised(error.code, str(error), fatal=False))
        self._end(speech, self._playout.sent_ms, cancelled=True)

    async def _say(self, speech: Speech) -> None:
        self._playout.begin(speech.speech_id)
        self._tell(
            SpeechOutputStarted(
                speech.speech_id, speech.text, self._format.sample_rate, self._format.encoding, speech.voice
            )
        )
        await self._send(speech)
        await asyncio.sleep(self._playout.remaining_s(self._clock.now()))
        self._end(speech, self._playout.sent_ms, cancelled=False)

    async def _send(self, speech: Speech) -> None:
        egress = Egress(self._synthesiser.sample_rate, self._format)
        async with aclosing(self._synthesiser.speak(speech.text, speech.voice, speech.speed)) as pieces:
            async for piece in pieces:
                await self._send_pieces(speech, egress.feed(piece))
        await self._send_pieces(speech, egress.feed(np.empty(0, np.int16), last=True))

    async def _send_pieces(self, speech: Speech, pieces: list[bytes]) -> None:
        for data in pieces:
            wait_s = self._playout.wait_s(self._clock.now())
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._outbox.put(SpeechAudio(speech.speech_id, data))
            self._playout.sent(len(data) / self._bytes_per_ms, self._clock.now())

    def _end(self, speech: Speech, duration_ms: float, *, cancelled: bool) -> None:
        self._current = None
        self._playout.end()
        self._tell(SpeechOutputEnded(speech.speech_id, duration_ms, cancelled))
