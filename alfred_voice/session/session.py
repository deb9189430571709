"""The logic of one speaker: frames and answers in, questions and events out.

Pure: no clock, no task, no engine. Time comes as an argument, models answer through ``receive_*``.
After any ``receive_*`` take what there is: :meth:`Session.take_requests`, :meth:`Session.take_events`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import AlfredVoiceError
from alfred_voice.events import (
    EVENT_TYPES,
    EndReason,
    ErrorRaised,
    Event,
    FrameProcessed,
    Interrupted,
    SessionFinished,
    SessionStats,
    SpeechEnded,
    SpeechStarted,
    WarningRaised,
)
from alfred_voice.models.engine import WINDOW_SAMPLES
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.barge_in import BargeIn
from alfred_voice.session.detector import SAMPLES_PER_MS, Change, SpeechDetector, SpeechState
from alfred_voice.session.finals import Finals
from alfred_voice.session.hypothesis import AgreementOptions
from alfred_voice.session.intake import Intake
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.playout import Playout
from alfred_voice.session.recognition import Recognition
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest, Urgency
from alfred_voice.session.settings import SessionSettings
from alfred_voice.session.turns import TURN_SAMPLES, Turns
from alfred_voice.session.utterance import Ending, Utterance


CATCH_UP_WINDOWS = 4
"""Most windows in one question to the detector: a burst is worked off in few hand-overs, and yet no faster than the
turn model answers in real time."""
MOST_OWED_FINALS = 2
"""Finals that may be outstanding before a burst has to wait."""
CLEAR_SILENCE = 0.1
"""Below this probability a window is clearly not speech."""


class Session:
    """One speaker, from the first frame to ``sessionEnded``."""

    def __init__(self, settings: SessionSettings, options: SessionOptions, playout: Playout) -> None:
        self.settings = settings
        self.playout = playout
        self._options = options
        self._intake = Intake(2 * options.stt.max_window_ms * SAMPLES_PER_MS + TURN_SAMPLES)
        self._detector = SpeechDetector(options.vad)
        self._barge_in = BargeIn(options.interruption)
        self._recognition = Recognition(options.stt, settings)
        self._turns = Turns(options, settings)
        self._finals = Finals(self._recognition, options.stt, settings)
        self._open: Utterance | None = None
        self._events: list[Event] = []
        self._requests: list[Request] = []
        self._detect_is_out = False
        self._fresh = True
        self._clear_since = 0
        self._floor = 0
        self._speech_start = 0
        self._flushes: deque[int] = deque()
        self._end_reason: EndReason | None = None
        self._interrupted = False
        self._utterances = 0
        self._speech_samples = 0
        self.is_over = False

    # What comes in

    def receive_frame(self, frame: NDArray[np.int16], now: float) -> None:
        """Take a 20 ms frame: int16, shape (320,), 16 kHz."""
        self._intake.receive_frame(frame, now)

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

    def receive_detection(self, request: DetectRequest, probabilities: Sequence[float], now: float) -> None:
        """Take the detector's word on the windows of ``request``, in order."""
        self._detect_is_out = False
        start = request.first_window * WINDOW_SAMPLES
        for index, (probability, arrival) in enumerate(zip(probabilities, request.arrivals, strict=True)):
            self._receive_window(start + index * WINDOW_SAMPLES, float(probability), arrival, now)

    def receive_transcript(self, request: TranscribeRequest, transcript: Transcript, now: float) -> None:
        """Take the recogniser's answer; one that has been overtaken by events is ignored."""
        utterance = self._utterance_of(request)
        if utterance is None:
            return
        if request is utterance.final_request:
            self._ask(self._finals.receive(utterance, request, transcript, now))
            if utterance is self._open and utterance.final is not None:
                self._receive_partial(utterance, request, utterance.final)
            self._deliver(now)
        elif request.urgency is Urgency.CUT:
            self._ask(self._recognition.receive_cut(utterance, request, transcript, self._intake, now))
        elif request.epoch == utterance.epoch and utterance.final_request is None:
            self._receive_partial(utterance, request, transcript)

    def receive_judgement(self, request: JudgeRequest, judgement: TurnJudgement, now: float) -> None:
        """Take the turn model's answer about a pause, unless the speaker has gone on."""
        utterance = self._open
        if utterance is None or utterance.number != request.utterance:
            return
        pending = self._turns.receive(utterance, request, judgement)
        if pending is not None:
            self._tell(pending)
        self._decide_ending(utterance, now)

    def receive_failure(self, request: Request, error: AlfredVoiceError, now: float) -> None:
        """Take note that an engine could not answer.

        A session without its detector is deaf, and ends. A final is asked for once more and is then
        empty; a partial is left out; a pause that cannot be judged ends by its length.
        """
        match request:
            case DetectRequest():
                self._detect_is_out = False
                self.fail(error)
            case JudgeRequest():
                self._tell(WarningRaised(error.code, f"the end of the turn could not be judged: {error}"))
                if self._open is not None and self._open.number == request.utterance:
                    self._turns.receive_failure(self._open, request)
            case TranscribeRequest():
                self._receive_failed_transcript(request, error, now)

    def _receive_failed_transcript(self, request: TranscribeRequest, error: AlfredVoiceError, now: float) -> None:
        utterance = self._utterance_of(request)
        if utterance is None:
            return
        if request is utterance.final_request:
            self._ask(self._finals.receive_failure(utterance, request, error))
            self._deliver(now)
        elif request.urgency is not Urgency.FINAL:
            self._recognition.receive_failed_cut(utterance, request)
            self._tell(WarningRaised(error.code, f"a partial transcription was skipped: {error}"))

    def fail(self, error: AlfredVoiceError) -> None:
        """End the session at once because it cannot go on."""
        if self.is_over:
            return
        self._tell(ErrorRaised(error.code, str(error), fatal=True))
        self._finish("error")

    def end(self, reason: EndReason) -> None:
        """End the session at once, whatever is still open."""
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

    def _advance(self, now: float) -> bool:
        """Do the next thing on the way through what came in; False when that is a question, or there is none."""
        before_flush = self._flushes[0] - self._intake.taken if self._flushes else self._intake.end
        if self._flushes and before_flush < WINDOW_SAMPLES:
            self._flush(self._flushes.popleft(), now)
            return True
        if self._intake.next_is_gap:
            start, arrival = self._intake.take_gap_window()
            self._receive_window(start, 0.0, arrival, now)
            return True
        if self._must_wait:
            return False
        most = min(CATCH_UP_WINDOWS, before_flush // WINDOW_SAMPLES) if self._flushes else CATCH_UP_WINDOWS
        detect = self._intake.take_windows(most, fresh=self._fresh)
        if detect is not None:
            self._detect_is_out, self._fresh = True, False
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
    def has_appetite(self) -> bool:
        """Whether it makes sense to give more frames now: a few windows are enough for one question."""
        return self._intake.waiting_windows < CATCH_UP_WINDOWS

    @property
    def _must_wait(self) -> bool:
        """Whether audio that comes faster than real time must not run ahead of answers that decide about it.

        At real time nothing piles up here, so a slow engine never holds the detector back.
        """
        if self._intake.waiting_windows < CATCH_UP_WINDOWS:
            return False
        if self._finals.owed >= MOST_OWED_FINALS:
            return True
        return self._open is not None and self._open.judge_is_out

    @property
    def is_settled(self) -> bool:
        """Whether all complete windows have been judged."""
        return not self._detect_is_out and self._intake.waiting_windows == 0

    @property
    def has_open_utterance(self) -> bool:
        """Whether speech is being followed, or may be beginning."""
        return self._open is not None or self._detector.state is not SpeechState.QUIET

    @property
    def is_speaking(self) -> bool:
        """Whether the last window was told speech."""
        return self._detector.in_speech

    @property
    def partials_wanted(self) -> bool:
        """Whether the daemon may spend time on partials of this session."""
        return self._recognition.partial_interval_ms > 0

    def slow_partials(self, factor: int) -> None:
        """Ask for partials ``factor`` times less often than configured; 0 for not at all."""
        self._recognition.slow_partials(factor)

    @property
    def stats(self) -> SessionStats:
        """What the session has done so far."""
        intake = self._intake
        speech_ms = self._speech_samples / SAMPLES_PER_MS
        return SessionStats(intake.received, intake.processed, intake.dropped, self._utterances, speech_ms)

    @property
    def frames_processed(self) -> int:
        """Frames that have been judged."""
        return self._intake.processed

    @property
    def stream_ms(self) -> float:
        """The session's clock: how much audio has come in."""
        return self._intake.end / SAMPLES_PER_MS

    @property
    def nbytes(self) -> int:
        """Memory that the session's audio takes."""
        return self._intake.nbytes

    # One window

    def _receive_window(self, start: int, probability: float, arrival: float, now: float) -> None:
        if self.is_over:
            return
        change = self._detector.receive(probability, start)
        is_speech = self._detector.is_voiced
        self._account_frames(start, probability, is_speech, now)
        if change is Change.STARTED:
            self._start_speech(probability)
        elif change is Change.RESUMED and self._open is not None:
            self._open.resume(self._turns.first_judge_ms)
        elif change is Change.ENDED:
            self._end_speech()
        self._listen_for_interruption(start, is_speech, arrival, now)
        if self._open is not None:
            self._follow_utterance(self._open, start + WINDOW_SAMPLES, arrival, now)
        self._consider_reset(start, probability)
        self._intake.discard(self._oldest_needed())

    def _account_frames(self, start: int, probability: float, is_speech: bool, now: float) -> None:
        wanted = "frameProcessed" in self.settings.events
        for frame in self._intake.mark_judged(start):
            if wanted:
                at_ms = frame.start_sample / SAMPLES_PER_MS
                took_ms = (now - frame.arrival) * 1000
                self._tell(FrameProcessed(frame.number, at_ms, probability, is_speech, took_ms))

    def _start_speech(self, probability: float) -> None:
        pre_roll = self._options.vad.pre_roll_ms * SAMPLES_PER_MS
        self._speech_start = max(self._detector.onset - pre_roll, self._floor)
        if self._open is None:
            self._open = Utterance(self._utterances, self._speech_start, AgreementOptions())
            self._utterances += 1
        self._open.resume(self._turns.first_judge_ms)
        # The windows before this one that belong to the speech; this one is counted with those that follow.
        self._open.voiced_windows += self._detector.voiced_windows - 1
        self._tell(SpeechStarted(self._speech_start / SAMPLES_PER_MS, probability))

    def _end_speech(self) -> None:
        end = self._floor = self._detector.silence_start
        self._speech_samples += end - self._detector.onset
        self._tell(SpeechEnded(end / SAMPLES_PER_MS, (end - self._speech_start) / SAMPLES_PER_MS))

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

    def _follow_utterance(self, utterance: Utterance, end: int, arrival: float, now: float) -> None:
        utterance.followed_end = end
        match self._detector.state:
            case SpeechState.SPEAKING:
                utterance.voiced_windows += 1
                utterance.last_speech_arrival = arrival
                self._ask(self._recognition.next_partial(utterance, end, self._intake, now))
            case SpeechState.STARTING:
                # It may be the speaker going on: the pause is not judged before that is known.
                return
            case SpeechState.STOPPING | SpeechState.QUIET:
                self._follow_pause(utterance, end, now)
        self._ask(self._recognition.next_cut(utterance, end, self._intake, now))

    def _follow_pause(self, utterance: Utterance, end: int, now: float) -> None:
        silence_ms = (end - self._detector.silence_start) / SAMPLES_PER_MS
        if utterance.final_request is None and silence_ms >= self._options.stt.speculate_ms:
            self._ask(self._finals.ask(utterance, self._detector.silence_start, self._intake, now))
        question = self._turns.next_question(utterance, end, silence_ms, self._intake, now)
        if question is not None:
            self._requests.append(question)
        self._decide_ending(utterance, now)

    def _decide_ending(self, utterance: Utterance, now: float) -> None:
        if self._detector.state is not SpeechState.QUIET:
            return
        at = self._detector.silence_start
        ending = self._turns.ending(utterance, at, (self._intake.judged_samples - at) / SAMPLES_PER_MS)
        if ending is not None:
            self._close(utterance, ending, now)

    # The end of an utterance

    def _flush(self, end: int, now: float) -> None:
        if self._detector.end_now(end) is Change.ENDED:
            self._end_speech()
        if self._open is not None:
            silence_ms = (end - self._detector.silence_start) / SAMPLES_PER_MS
            ending = Ending("flush", self._detector.silence_start, silence_ms, self._open.last_probability)
            self._close(self._open, ending, now)
        self._deliver(now)

    def _close(self, utterance: Utterance, ending: Ending, now: float) -> None:
        if utterance.final_request is None:
            self._ask(self._finals.ask(utterance, ending.at_sample, self._intake, now))
        self._floor = max(self._floor, ending.at_sample)
        self._open = None
        self._finals.close(utterance, ending)
        self._deliver(now)

    def _deliver(self, now: float) -> None:
        for event in self._finals.take_events(now):
            self._tell(event)
        if self._end_reason is not None and not self._flushes and self._open is None and not self._finals.owed:
            self._finish(self._end_reason)

    def _finish(self, reason: EndReason) -> None:
        if self.is_over:
            return
        self._intake.close()
        self._requests.clear()
        self._open = None
        self._finals.clear()
        self._flushes.clear()
        self._tell(SessionFinished(reason, self.stats))
        self.is_over = True

    # Small things

    def _utterance_of(self, request: TranscribeRequest) -> Utterance | None:
        if self._open is not None and self._open.number == request.utterance:
            return self._open
        return self._finals.find(request.utterance)

    def _receive_partial(self, utterance: Utterance, request: TranscribeRequest, transcript: Transcript) -> None:
        # Never told behind speechEnd: it might be the last one, and the final is next.
        is_shown = utterance.hypothesis.receive(transcript.pieces) and self._detector.in_speech
        partial = utterance.partial(request.end_sample) if is_shown and self.settings.partials else None
        if partial is not None:
            self._tell(partial)

    def _ask(self, request: TranscribeRequest | None) -> None:
        if request is not None:
            self._requests.append(request)

    def _tell(self, event: Event) -> None:
        # Nothing follows sessionEnded.
        if not self.is_over and EVENT_TYPES[type(event)] in self.settings.events:
            self._events.append(event)

    def _consider_reset(self, start: int, probability: float) -> None:
        """Long music or silence deadens the model's recurrent state: begin afresh where nothing is lost by it."""
        end = start + WINDOW_SAMPLES
        if probability >= CLEAR_SILENCE or self._open is not None or self._detector.state is not SpeechState.QUIET:
            self._clear_since = end
        elif 0 < self._options.vad.reset_after_ms * SAMPLES_PER_MS <= end - self._clear_since:
            self._fresh, self._clear_since = True, end

    def _oldest_needed(self) -> int:
        judged = self._intake.judged_samples
        # Speech that has been told is kept by its utterance, as far as that still needs it.
        onset = self._detector.onset if self._detector.state is SpeechState.STARTING else judged
        oldest = onset - self._options.vad.pre_roll_ms * SAMPLES_PER_MS
        if self._open is not None:
            turn_start = max(self._open.start_sample, judged - TURN_SAMPLES)
            oldest = min(oldest, self._open.segment_start, turn_start)
        return oldest
