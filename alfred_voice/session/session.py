"""The logic of one speaker: frames and answers in, questions and events out.

Pure: no clock, no task, no engine. Time comes as an argument, models answer through ``receive_*``.
After any ``receive_*`` take what there is: :meth:`Session.take_requests`, :meth:`Session.take_events`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import AlfredVoiceError, RowFailure
from alfred_voice.events import (
    EVENT_TYPES,
    EndReason,
    ErrorRaised,
    Event,
    FrameProcessed,
    Interrupted,
    SessionFinished,
    SessionStats,
)
from alfred_voice.models.engine import WINDOW_SAMPLES
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.barge_in import BargeIn
from alfred_voice.session.detector import SAMPLES_PER_MS
from alfred_voice.session.economy import Economy
from alfred_voice.session.freshness import Freshness
from alfred_voice.session.intake import Intake
from alfred_voice.session.listener import Listener
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.playout import Playout
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest
from alfred_voice.session.settings import SessionSettings
from alfred_voice.session.turns import TURN_SAMPLES


CATCH_UP_WINDOWS = 4
"""Most windows in one question to the detector: a burst is worked off in few hand-overs, and yet no faster than the
turn model answers in real time."""
MOST_OWED_FINALS = 2
"""Finals that may be outstanding before a burst has to wait."""
MOST_LATE_FINALS = 8
"""Finals that may be outstanding of somebody who speaks in real time: it is the daemon that is late, not they."""
AHEAD_S = 1.0
"""Audio that has come so much earlier than it can have been spoken comes faster than real time."""


class Session:
    """One speaker, from the first frame to ``sessionEnded``."""

    __slots__ = (
        "_arrivals", "_barge_in", "_began_at", "_detect_is_out", "_end_reason", "_events", "_flushes", "_freshness",
        "_intake", "_interrupted", "_listener", "_pre_roll", "_requests", "_silent_below", "_wants_frames",
        "is_over", "playout", "settings",
    )  # fmt: skip

    def __init__(self, settings: SessionSettings, options: SessionOptions, playout: Playout) -> None:
        self.settings = settings
        self.playout = playout
        self._intake = Intake(2 * options.stt.max_window_ms * SAMPLES_PER_MS + TURN_SAMPLES)
        self._arrivals = self._intake.arrivals
        self._listener = Listener(options, settings, self._intake)
        self._barge_in = BargeIn(options.interruption)
        self._freshness = Freshness(options.vad.reset_after_ms)
        self._wants_frames = "frameProcessed" in settings.events
        self._silent_below = options.vad.threshold
        self._pre_roll = options.vad.pre_roll_ms * SAMPLES_PER_MS
        self._events: list[Event] = []
        self._requests: list[Request] = []
        self._detect_is_out = False
        self._flushes: deque[int] = deque()
        self._end_reason: EndReason | None = None
        self._interrupted = False
        self._began_at = -1.0
        self.is_over = False

    # What comes in

    def receive_frame(self, frame: NDArray[np.int16], now: float) -> bool:
        """Take a 20 ms frame: int16, shape (320,), 16 kHz. Answers :attr:`has_question`."""
        if self._began_at < 0:
            self._began_at = now
        self._intake.receive_frame(frame, now)
        return not self._detect_is_out and len(self._arrivals) > 0

    def receive_gap(self, frames: int, now: float) -> None:
        """Note that frames were dropped on their way here; the clock goes on over them."""
        self._intake.receive_gap(frames, now)

    def receive_loss(self, frames: int) -> None:
        """Count frames that can no longer be taken."""
        self._intake.receive_loss(frames)

    def receive_flush(self) -> None:
        """End the open utterance as soon as all that came in so far has been judged."""
        self._flushes.append(self._intake.end)

    def receive_stop(self, reason: EndReason, now: float) -> None:
        """End the session: judge what is left, deliver what is owed, then ``sessionEnded``."""
        if self._end_reason is None:
            self._end_reason = reason
            self._intake.pad_tail(now)
            self._flushes.append(self._intake.end)

    def receive_detection(self, request: DetectRequest, probabilities: Sequence[float], now: float) -> bool:
        """Take the detector's word on the windows of ``request``, in order; False when nothing comes of it."""
        self._detect_is_out = False
        start = request.first_window * WINDOW_SAMPLES
        if self._is_calm and max(probabilities) < self._silent_below:
            # The usual windows of a session that listens: nothing goes on, and nothing begins.
            for probability in probabilities:
                start += WINDOW_SAMPLES
                self._freshness.receive(probability, start, is_idle=True)
            self._barge_in.receive_silence(request.arrivals[-1])
            self._intake.mark_silent(start, self._pre_roll)
            return False
        for index, (probability, arrival) in enumerate(zip(probabilities, request.arrivals, strict=True)):
            self._receive_window(start + index * WINDOW_SAMPLES, float(probability), arrival, now)
        return True

    def receive_transcript(self, request: TranscribeRequest, transcript: Transcript, now: float) -> None:
        """Take the recogniser's answer; one that has been overtaken by events is ignored."""
        self._listener.receive_transcript(request, transcript, now)
        self._pass_on()

    def receive_judgement(self, request: JudgeRequest, judgement: TurnJudgement, now: float) -> None:
        """Take the turn model's answer about a pause, unless the speaker has gone on."""
        self._listener.receive_judgement(request, judgement, now)
        self._pass_on()

    def receive_failure(self, request: Request, error: AlfredVoiceError, now: float) -> None:
        """Take note that an engine could not answer.

        A session without its detector is deaf, and ends, as does one whose final or cut the engine cannot bear. Where
        the recogniser says that it cannot work, a final is asked for once more and is then empty. A partial is left
        out; a pause that cannot be judged ends by its length.
        """
        match request:
            case DetectRequest():
                self._detect_is_out = False
                self.fail(error, now)
            case JudgeRequest():
                self._listener.receive_failed_judgement(request, error)
            case TranscribeRequest() if isinstance(error, RowFailure) and self.needs(request):
                self.fail(error, now)
            case TranscribeRequest():
                self._listener.receive_failed_transcript(request, error, now)
        self._pass_on()

    def needs(self, request: Request) -> bool:
        """Whether the session cannot go on without the answer to this question to the recogniser."""
        return isinstance(request, TranscribeRequest) and self._listener.needs(request)

    def fail(self, error: AlfredVoiceError, now: float) -> None:
        """End the session at once because it cannot go on; what has been heard of open utterances becomes final."""
        if self.is_over:
            return
        try:
            self._give_up(now)
        finally:
            # What a fault of our own has broken may not even be given up: the session is over all the same.
            self._tell(ErrorRaised(error.code, str(error), fatal=True))
            self._finish("error")

    def end(self, reason: EndReason, now: float) -> None:
        """End the session at once; what has been heard of open utterances becomes final."""
        if self.is_over:
            return
        self._give_up(now)
        self._finish(reason)

    def tell(self, event: Event) -> None:
        """Tell an event that comes from elsewhere: the daemon's state, its own speech, an error."""
        self._tell(event)

    # What goes out

    def take_requests(self, now: float) -> list[Request]:
        """The questions that have come up; each is asked once."""
        while not self._detect_is_out and not self.is_over and self._advance(now):
            pass
        requests, self._requests = self._requests, []
        return requests

    def next_detection(self) -> DetectRequest | None:
        """The next question to the detector when nothing else is to be done, as is usual; it is asked once.

        None means no more than that :meth:`take_requests` has to be asked.
        """
        waiting = len(self._arrivals)
        if self._detect_is_out or waiting == 0 or self._flushes or self._requests or self._events or self.is_over:
            return None
        if waiting >= CATCH_UP_WINDOWS or self._intake.gaps:
            return None
        self._detect_is_out = True
        fresh = self._freshness.is_due
        if fresh:
            self._freshness.note_taken()
        return self._intake.take_all_windows(fresh=fresh)

    def _advance(self, now: float) -> bool:
        """Do the next thing on the way through what came in; False when that is a question, or there is none."""
        most = CATCH_UP_WINDOWS
        if self._flushes:
            before_flush = self._flushes[0] - self._intake.taken
            if before_flush < WINDOW_SAMPLES:
                self._listener.flush(self._flushes.popleft(), now)
                self._pass_on()
                return True
            most = min(most, before_flush // WINDOW_SAMPLES)
        if self._intake.next_is_gap:
            start, arrival = self._intake.take_gap_window()
            self._receive_window(start, 0.0, arrival, now)
            return True
        if self._must_wait(now):
            return False
        detect = self._intake.take_windows(most, fresh=self._freshness.is_due)
        if detect is not None:
            self._detect_is_out = True
            self._freshness.note_taken()
            self._requests.append(detect)
        return False

    def take_events(self) -> list[Event]:
        """What there is to tell, in order; each once."""
        events, self._events = self._events, []
        return events

    def take_interruption(self) -> bool:
        """Whether the daemon's speech has to stop because of what came in; True once."""
        interrupted, self._interrupted = self._interrupted, False
        return interrupted

    @property
    def has_question(self) -> bool:
        """Whether a window waits that the detector could be asked about now."""
        return not self._detect_is_out and len(self._arrivals) > 0

    @property
    def has_appetite(self) -> bool:
        """Whether it makes sense to give more frames now: a few windows are enough for one question."""
        return len(self._arrivals) < CATCH_UP_WINDOWS

    def _must_wait(self, now: float) -> bool:
        """Whether audio that comes faster than real time must not run ahead of answers that decide about it.

        At real time hardly anything piles up here, so a slow engine does not hold the detector back.
        """
        if self._intake.waiting_windows < CATCH_UP_WINDOWS:
            return False
        most = MOST_OWED_FINALS if self.is_ahead(now) else MOST_LATE_FINALS
        return self._listener.owed_finals >= most or self._listener.awaits_judgement(now)

    def is_ahead(self, now: float) -> bool:
        """Whether the audio has come faster than real time, by more than a second in all."""
        return self._intake.end / SAMPLES_PER_MS / 1000 - (now - self._began_at) > AHEAD_S

    @property
    def is_settled(self) -> bool:
        """Whether all complete windows have been judged."""
        return not self._detect_is_out and self._intake.waiting_windows == 0

    @property
    def has_open_utterance(self) -> bool:
        """Whether speech is being followed, or may be beginning."""
        return not self._listener.is_idle

    @property
    def is_speaking(self) -> bool:
        """Whether the last window was told speech."""
        return self._listener.is_speaking

    @property
    def partials_wanted(self) -> bool:
        """Whether the daemon may spend time on partials of this session."""
        return self._listener.recognition.partial_interval_ms > 0

    def economise(self, economy: Economy) -> None:
        """Do without some of what costs the engines time."""
        self._listener.economise(economy)

    def quiet_audio(self) -> NDArray[np.int16] | None:
        """The newest silence that has been judged: int16, shape (n,), 16 kHz; None where there is speech."""
        span = self._listener.quiet_span()
        return None if span is None else self._intake.read(max(span[0], span[1] - self._pre_roll), span[1])

    @property
    def stats(self) -> SessionStats:
        """What the session has done so far."""
        intake = self._intake
        speech_ms = self._listener.speech_samples / SAMPLES_PER_MS
        return SessionStats(intake.received, intake.processed, intake.dropped, self._listener.utterances, speech_ms)

    @property
    def frames_processed(self) -> int:
        """Frames that have been judged."""
        return self._intake.processed

    @property
    def frames_dropped(self) -> int:
        """Frames that nobody has judged or will."""
        return self._intake.dropped

    @property
    def stream_ms(self) -> float:
        """The session's clock: how much audio has come in."""
        return self._intake.end / SAMPLES_PER_MS

    @property
    def nbytes(self) -> int:
        """Memory that the session's audio takes."""
        return self._intake.nbytes

    # One window

    @property
    def _is_calm(self) -> bool:
        return self._listener.is_idle and not self._flushes and not self._wants_frames and not self.is_over

    def _receive_window(self, start: int, probability: float, arrival: float, now: float) -> None:
        if self.is_over:
            return
        judged = self._intake.mark_judged(start)
        self._listener.receive_window(start, probability, arrival, now)
        is_speech = self._listener.is_voiced
        if self._wants_frames:
            for number, first, came in judged:
                at_ms, took_ms = first / SAMPLES_PER_MS, (now - came) * 1000
                self._tell(FrameProcessed(number, at_ms, probability, is_speech, took_ms))
        self._pass_on()
        self._listen_for_interruption(start, is_speech, arrival, now)
        self._freshness.receive(probability, start + WINDOW_SAMPLES, is_idle=self._listener.is_idle)
        self._intake.discard(self._listener.oldest_needed)

    def _listen_for_interruption(self, start: int, is_speech: bool, arrival: float, now: float) -> None:
        speech_id = self.playout.speech_id
        playing = self.playout.is_playing(now)
        if not self._barge_in.receive(is_speech=is_speech, is_playing=playing, window_start=start, arrival=arrival):
            return
        if self._interrupted:
            return
        if speech_id is None:
            raise AssertionError("nothing is playing that could be interrupted")
        latency_ms = (now - self._barge_in.first_arrival) * 1000
        at_ms = self._barge_in.first_sample / SAMPLES_PER_MS
        self._tell(Interrupted(at_ms, speech_id, self.playout.spoken_ms(now), latency_ms))
        self._interrupted = True

    # What the listener has to say

    def _pass_on(self) -> None:
        """Take over the listener's questions and events; it may have been the last ones."""
        self._requests += self._listener.take_requests()
        for event in self._listener.take_events():
            self._tell(event)
        is_done = not self._flushes and self._listener.has_told_all
        if self._end_reason is not None and is_done:
            self._finish(self._end_reason)

    def _give_up(self, now: float) -> None:
        self._listener.give_up(now)
        for event in self._listener.take_events():
            self._tell(event)

    def _finish(self, reason: EndReason) -> None:
        if self.is_over:
            return
        self._intake.close()
        self._requests.clear()
        self._flushes.clear()
        self._tell(SessionFinished(reason, self.stats))
        self.is_over = True

    def _tell(self, event: Event) -> None:
        # Nothing follows sessionEnded.
        if not self.is_over and EVENT_TYPES[type(event)] in self.settings.events:
            self._events.append(event)
