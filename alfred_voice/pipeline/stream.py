"""One open session as the server sees it: frames and wishes in, events out.

Lives on the event loop only. Frames wait in a bounded queue; the session's logic is given them in
order, together with the marks for ``flush`` and ``stop`` that came between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from alfred_voice.audio.pcm import FRAME_MS
from alfred_voice.errors import AlfredVoiceError, RowFailure, SessionEnded
from alfred_voice.events import EndReason, ErrorRaised, Event, Pong, WarningRaised
from alfred_voice.models.engine import Int16
from alfred_voice.pipeline import shedding
from alfred_voice.pipeline.account import Account
from alfred_voice.pipeline.allowance import Allowance
from alfred_voice.pipeline.feeding import Feeding
from alfred_voice.pipeline.inbox import Arrived, FlushMark, Inbox, StopMark
from alfred_voice.pipeline.stream_parts import StreamParts
from alfred_voice.pipeline.stream_status import describe
from alfred_voice.pipeline.tap import Tap
from alfred_voice.pipeline.teller import Teller
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest
from alfred_voice.session.settings import SessionSettings


SPEAKING_WITHIN_S = 0.1
"""A session that sent audio within this time is one that a batch may wait for."""
MAKE_ROOM_FRAMES = 50
"""So much of the oldest audio goes at a time (1 s) when a client that does not wait has too much of it waiting."""
RATE_LIMIT_NAP_S = 0.1
"""How long a client that sends too fast waits before it is looked at again."""


class Stream:
    """One session, from its opening to the moment when all its events have been taken."""

    __slots__ = (
        "_account", "_allowance", "_changed", "_clock", "_fault", "_feeding", "_inbox", "_now", "_teller", "_voice",
        "_waiters", "_wake", "audio_bytes", "detached_at", "last_active", "last_audio", "more_status", "opened_at",
        "outbox", "row", "session", "session_id", "settings", "stopped_at", "tap", "transport",
    )  # fmt: skip

    def __init__(self, parts: StreamParts) -> None:
        self.settings: SessionSettings = parts.session.settings
        self.session_id = self.settings.session_id
        self.transport = parts.transport
        self.row = -1
        """The session's row in the detector's state, which the roster gives it."""
        self.session = parts.session
        self.opened_at = self.last_active = parts.clock.now()
        self.last_audio = float("-inf")
        self._clock = parts.clock
        self._now = parts.clock.now
        self._wake = parts.wake
        self._inbox = Inbox(parts.queue_frames)
        self._feeding = Feeding(parts.session, self._inbox)
        self._changed = asyncio.Event()
        self._waiters = 0
        self._allowance: Allowance | None = None
        self.audio_bytes = 0
        """How much of the client's audio has been taken or refused, as it came; kept by the server."""
        self.tap: Tap | None = None
        """Notes what is heard and told; None while nobody watches."""
        self.detached_at: float | None = None
        """Since when its connection has been lost; None while it has one."""
        self.more_status: Callable[[], dict[str, Any]] | None = None
        """Adds to the status what is known of the connection; kept by the server."""
        self.outbox = parts.outbox
        """What its client is to be told, taken by the server."""
        self._account = Account(parts.metrics)
        self._teller = Teller(parts.session, self._account, parts.outbox, self._changed, parts.trace)
        self._voice = parts.voice(self._tell_of_speech)
        self._fault: Exception | None = None
        self.stopped_at: float | None = None
        """When the session was told to stop; None while it is open."""

    # From the server

    def put(self, frame: Int16) -> None:
        """Take a 20 ms frame: int16, shape (320,), 16 kHz. Never waits; see :meth:`room`.

        Raises:
            SessionEnded: the session has been told to stop.
        """
        if not self.put_now(frame):
            self._check_open()
            self.last_audio = now = self._now()
            if self._allowance is not None:
                self._allowance.take(1, now)
            self._inbox.put(Arrived(frame, now))
            self._wake(self)

    def put_now(self, frame: Int16) -> bool:
        """Take a frame as :meth:`put` does, if nothing has to wait; otherwise answer False and leave it."""
        session = self.session
        if self._inbox.items or self.stopped_at is not None or not session.has_appetite:
            return False
        self.last_audio = now = self._now()
        if self._allowance is not None:
            if self._allowance.delay_s(1, now):
                return False
            self._allowance.take(1, now)
        try:
            has_question = session.receive_frame(frame, now)
        except Exception as error:  # noqa: BLE001  raised again where faults of sessions are dealt with
            self._fault, has_question = error, True
        # Nearly every second frame completes no window.
        if has_question:
            self._wake(self)
        return True

    def put_live(self, frame: Int16) -> None:
        """Take a frame of a client that nothing can hold back: where no more may wait the oldest go, and it is told.

        Raises:
            SessionEnded: the session has been told to stop.
        """
        if self.put_now(frame):
            return
        if not self._inbox.has_room():
            self.drop_oldest(MAKE_ROOM_FRAMES)
        # Marks are not dropped; a client that fills its queue with them is not heard meanwhile.
        if self._inbox.has_room():
            self.put(frame)

    def has_room(self, frames: int = 1) -> bool:
        """Whether so many more frames may wait, and may come so soon."""
        return self._inbox.has_room(frames) and not self._too_soon_s(frames)

    async def room(self) -> None:
        """Wait until another frame may wait, or the session has been told to stop."""
        while not self.has_room() and self.stopped_at is None:
            too_soon_s = self._too_soon_s()
            if not too_soon_s:
                await self._until(lambda: self.has_room() or self.stopped_at is not None or self._too_soon_s() > 0)
            else:
                # For a moment only, since the limit may be lifted before.
                await asyncio.sleep(min(too_soon_s, RATE_LIMIT_NAP_S))

    def _too_soon_s(self, frames: int = 1) -> float:
        """By how much so many frames come too soon, where a client may not send faster than real time."""
        return 0.0 if self._allowance is None else self._allowance.delay_s(frames, self._now())

    def speak(
        self, text: str, voice: str | None = None, speed: float | None = None, speech_id: int | None = None
    ) -> None:
        """Say something, after what is being said.

        Raises:
            SpeechError: it cannot be said as asked.
            Overloaded: too many speeches wait.
            SessionEnded: the session has been told to stop.
        """
        self._check_open()
        self._touch()
        self._voice.speak(text, voice, speed, speech_id)

    def stop_speaking(self) -> None:
        """Cancel all speech now."""
        self._touch()
        self._voice.cancel()

    def flush(self) -> None:
        """End the open utterance behind the frames that have been put, and finalise it."""
        if self.stopped_at is not None:
            return
        self._touch()
        self._inbox.put(FlushMark())
        self._wake(self)

    def stop(self, reason: EndReason = "stop") -> None:
        """Work off what has been put, deliver every event that is owed, then ``sessionEnded``."""
        if self.stopped_at is not None:
            return
        self.stopped_at = self._clock.now()
        self._voice.cancel()
        self._inbox.put(StopMark(reason))
        self._changed.set()
        self._wake(self)

    def ping(self, id: str | int | None) -> None:  # noqa: A002  the field's name on the wire
        """Answer with ``pong``."""
        self._touch()
        self.tell(Pong(id))

    def report(self, error: AlfredVoiceError, fatal: bool = False) -> None:
        """Tell the client of an error; a fatal one ends the session at once."""
        if fatal:
            self.fail(error)
        else:
            self.tell(ErrorRaised(error.code, str(error), fatal=False))

    async def settled(self) -> None:
        """Wait until every frame that has been put has been judged, or the session is over."""
        await self._until(lambda: self.ended or (not self._inbox and self.session.is_settled))

    async def finished(self) -> None:
        """Wait until ``sessionEnded`` is there to be taken."""
        await self._until(lambda: self.ended)

    def detach(self) -> None:
        """The connection is lost, and may come back: nobody hears the daemon's speech, and everything else waits."""
        self._voice.cancel()
        self._account.note_detached()
        self.detached_at = self._clock.now()

    def attach(self) -> None:
        """The client has come back."""
        self.detached_at = None
        self._touch()

    def abandon(self) -> None:
        """The client is gone: what waits is counted as dropped, and everything is freed."""
        self.outbox.discard()
        self._teller.end_reason = self._teller.end_reason or "gone"
        self.end_now("error")

    def end_now(self, reason: EndReason) -> None:
        """End the session without waiting for anything; the client can still take what has been told."""
        self._lose_queue()
        self.session.end(reason, self._clock.now())
        self._teller.pass_on(self.tap)
        self._wake(self)

    @property
    def ended(self) -> bool:
        """Whether ``sessionEnded`` has been told."""
        return self.session.is_over

    @property
    def end_reason(self) -> str | None:
        """What ended the session, ``gone`` when the client left without a word; None while it is open."""
        return self._teller.end_reason

    # From the pipeline

    def next_detection(self) -> DetectRequest | None:
        """The question to the detector, when that is all there is to do, as is usual; otherwise see :meth:`advance`."""
        if self._inbox.items or self._fault is not None:
            return None
        return self.session.next_detection()

    def advance(self, now: float) -> list[Request]:
        """Give the session the frames it can use now; returns the questions that come of it."""
        if self.ended:
            self._teller.pass_on(self.tap)
            return []
        if self._fault is not None:
            raise self._fault
        requests = self._feeding.feed(now)
        self._teller.pass_on(self.tap)
        return requests

    def receive_detection(self, request: DetectRequest, answer: list[float] | AlfredVoiceError, now: float) -> bool:
        """Give the session the detector's answer, or the error that stands for it; False when nothing comes of it."""
        session = self.session
        if session.is_over:
            return False
        if isinstance(answer, AlfredVoiceError):
            self.fail(answer)
            return True
        if self.tap is not None:
            self.tap.hear(request, answer)
        if session.receive_detection(request, answer, now):
            self._heed_interruption()
            return True
        if self._waiters:
            self._changed.set()
        return session.has_question or len(self._inbox.items) > 0

    def receive(
        self,
        request: TranscribeRequest | JudgeRequest,
        answer: Transcript | TurnJudgement | AlfredVoiceError,
        now: float,
    ) -> None:
        """Give the session an engine's answer, or the error that stands for it."""
        self._feeding.note_answer(request)
        if self.ended:
            return
        match request, answer:
            case TranscribeRequest(), RowFailure() if self.session.needs(request):
                self.fail(answer)
            case _, AlfredVoiceError():
                self.session.receive_failure(request, answer, now)
            case TranscribeRequest(), Transcript():
                self.session.receive_transcript(request, answer, now)
            case JudgeRequest(), TurnJudgement():
                self.session.receive_judgement(request, answer, now)
            case _:
                raise AssertionError(f"{type(answer).__name__} is no answer to {type(request).__name__}")
        self._heed_interruption()

    def _heed_interruption(self) -> None:
        if self.session.take_interruption():
            self._teller.pass_on(self.tap)
            self._voice.cancel()

    def tell(self, event: Event) -> None:
        """Tell the client something that the session's logic does not know of."""
        self.session.tell(event)
        self._teller.pass_on(self.tap)

    def fail(self, error: AlfredVoiceError) -> None:
        """End the session at once because of an error."""
        self._lose_queue()
        self.session.fail(error, self._clock.now())
        self._teller.pass_on(self.tap)
        self._wake(self)

    def drop_quiet(self, keep: int, *, in_pauses: bool) -> None:
        """Drop the oldest waiting frames but ``keep``, while nobody speaks in them; the client is told."""
        if not self.ended and self._inbox.frames > keep:
            now = self._clock.now()
            news = shedding.drop_quiet(self._inbox, self.session, keep, now, in_pauses=in_pauses)
            self._tell_of_loss(news, "load")

    def drop_oldest(self, frames: int) -> None:
        """Drop the oldest waiting frames, whatever is in them; the client is told."""
        if not self.ended:
            self._tell_of_loss(shedding.drop_oldest(self._inbox, self.session, frames, self._clock.now()), "lost")

    def _tell_of_loss(self, news: WarningRaised | None, reason: str) -> None:
        if news is None:
            return
        self._account.note_dropped(self.session.stats.frames_dropped, reason)
        self.tell(news)
        self._wake(self)

    def limit_rate(self, burst_frames: int | None) -> None:
        """Take audio at real time and a burst of so many frames from now on; None for as fast as it comes."""
        self._allowance = None if burst_frames is None else Allowance(burst_frames, self._clock.now())
        self._changed.set()

    def note_progress(self) -> None:
        """Bring the daemon's count of frames up to date; silence does not do so by itself."""
        self._account.note_processed(self.session.frames_processed)

    @property
    def heard(self) -> tuple[str, dict[str, float], dict[str, float]]:
        """The newest final that had words, and the newest latencies of finals and of turns; not to be changed."""
        return self._account.heard

    @property
    def frames_queued(self) -> int:
        """Frames that wait for the session's logic."""
        return self._inbox.frames

    @property
    def buffered_ms(self) -> float:
        """Audio that waits."""
        return float(self._inbox.frames * FRAME_MS)

    def waiting_s(self, now: float) -> float:
        """How long the oldest of them has waited."""
        return self._inbox.waited_s(now)

    def is_sending(self, now: float) -> bool:
        """Whether audio has come a moment ago."""
        return now - self.last_audio < SPEAKING_WITHIN_S

    def idle_s(self, now: float) -> float:
        """How long neither side has had anything to say: no audio, no message, no speech of the daemon's."""
        return 0.0 if self._voice.is_speaking else now - max(self.last_active, self.last_audio)

    def status(self) -> dict[str, Any]:
        """State, counters, ages and latencies, for people and tools."""
        return describe(self, self._account, self._clock.now())

    def _touch(self) -> None:
        self.last_active = self._clock.now()

    def _check_open(self) -> None:
        if self.stopped_at is not None:
            raise SessionEnded(f"session {self.session_id!r} has ended; open a new one")

    def _tell_of_speech(self, event: Event) -> None:
        self._touch()
        self.tell(event)

    def _lose_queue(self) -> None:
        """Be silent, take nothing more, and count as lost what waits."""
        if self.stopped_at is None:
            self.stopped_at = self._clock.now()
        self._voice.cancel()
        self.session.receive_loss(self._inbox.clear())

    async def _until(self, holds: Callable[[], bool]) -> None:
        self._waiters += 1
        try:
            while not holds():
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._waiters -= 1
