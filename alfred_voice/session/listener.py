"""Follows one speaker: from the detector's word on each window to utterances, questions about them, and their texts."""

from __future__ import annotations

from alfred_voice.errors import AlfredVoiceError, EngineBusy, RowFailure
from alfred_voice.events import Event, SpeechEnded, SpeechStarted, WarningRaised
from alfred_voice.models.engine import WINDOW_SAMPLES
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.detector import SAMPLES_PER_MS, Change, SpeechDetector, SpeechState
from alfred_voice.session.economy import Economy
from alfred_voice.session.finals import Finals
from alfred_voice.session.hypothesis import AgreementOptions
from alfred_voice.session.intake import Intake
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.recognition import Recognition
from alfred_voice.session.requests import JudgeRequest, Request, TranscribeRequest, Urgency
from alfred_voice.session.settings import SessionSettings
from alfred_voice.session.turns import TURN_SAMPLES, Turns
from alfred_voice.session.utterance import Ending, Utterance


ANSWER_PATIENCE_S = 0.5
"""How long audio that has come already waits for an answer that decides about it. An engine that takes longer is
overloaded: to wait for it would only add to what is late."""


class Listener:
    """The utterances of one session: begins them, follows their pauses, and ends them.

    After each ``receive_*``, :meth:`flush` and :meth:`give_up` take what there is: :meth:`take_requests`,
    :meth:`take_events`.
    """

    __slots__ = (
        "_detector", "_events", "_finals", "_floor", "_intake", "_open", "_options", "_requests",
        "_shows_partials", "_speech_start", "_turns", "recognition", "speech_samples", "utterances",
    )  # fmt: skip

    def __init__(self, options: SessionOptions, settings: SessionSettings, intake: Intake) -> None:
        self.recognition = Recognition(options.stt, settings)
        self.utterances = 0
        """How many have begun."""
        self.speech_samples = 0
        """How much speech there was in what has ended."""
        self._options = options
        self._shows_partials = settings.partials
        self._intake = intake
        self._detector = SpeechDetector(options.vad)
        self._turns = Turns(options, settings)
        self._finals = Finals(self.recognition, options.stt, settings)
        self._open: Utterance | None = None
        self._floor = 0
        self._speech_start = 0
        self._events: list[Event] = []
        self._requests: list[Request] = []

    # What is known

    @property
    def is_voiced(self) -> bool:
        """Whether the last window was speech, told or not."""
        return self._detector.is_voiced

    @property
    def is_speaking(self) -> bool:
        """Whether speech has been told that is not over."""
        return self._detector.in_speech

    @property
    def is_idle(self) -> bool:
        """Whether no utterance is open, and none may be beginning."""
        return self._open is None and self._detector.state is SpeechState.QUIET

    @property
    def owed_finals(self) -> int:
        """Utterances that have ended and whose finals have not been told."""
        return self._finals.owed

    def awaits_judgement(self, now: float) -> bool:
        """Whether the turn model has been asked about the present pause, and its answer is to be expected soon."""
        utterance = self._open
        return utterance is not None and utterance.judge_is_out and now - utterance.judge_asked_at < ANSWER_PATIENCE_S

    @property
    def has_told_all(self) -> bool:
        """Whether no utterance is open and no final is owed."""
        return self._open is None and not self._finals.owed

    @property
    def oldest_needed(self) -> int:
        """The first sample that a question may still be about."""
        judged = self._intake.judged_samples
        # Speech that has been told is kept by its utterance, as far as that still needs it.
        onset = self._detector.onset if self._detector.state is SpeechState.STARTING else judged
        oldest = onset - self._options.vad.pre_roll_ms * SAMPLES_PER_MS
        if self._open is not None:
            turn_start = max(self._open.start_sample, judged - TURN_SAMPLES)
            oldest = min(oldest, self._open.segment_start, turn_start)
        return oldest

    def quiet_span(self) -> tuple[int, int] | None:
        """The samples of the silence that goes on now, as far as it has been judged; None where there is speech."""
        if self._detector.state is not SpeechState.QUIET:
            return None
        start = 0 if self._open is None else self._detector.silence_start
        return start, self._intake.judged_samples

    def economise(self, economy: Economy) -> None:
        """Do without some of what costs the engines time."""
        self.recognition.economise(economy)
        self._turns.economise(economy)

    # What comes in

    def receive_window(self, start: int, probability: float, arrival: float, now: float) -> None:
        """Take the probability of the window that begins at sample ``start``; the intake has noted the verdict."""
        change = self._detector.receive(probability, start)
        if change is Change.STARTED:
            self._start_speech(probability)
        elif change is Change.RESUMED and self._open is not None:
            self._open.resume(self._turns.first_judge_ms)
        elif change is Change.ENDED:
            self._end_speech()
        if self._open is not None:
            self._follow(self._open, start + WINDOW_SAMPLES, arrival, now)

    def receive_transcript(self, request: TranscribeRequest, transcript: Transcript, now: float) -> None:
        """Take the recogniser's answer; one that has been overtaken by events is ignored."""
        utterance = self._utterance_of(request)
        if utterance is None:
            return
        if request is utterance.final_request:
            self._ask(self._finals.receive(utterance, request, transcript, now))
            if utterance is self._open and utterance.final is not None:
                self._show(utterance, request, utterance.final)
            self._deliver(now)
        elif request.urgency is Urgency.CUT:
            self._ask(self.recognition.receive_cut(utterance, request, transcript, self._intake, now))
        elif request.epoch == utterance.epoch and utterance.final_request is None:
            self._show(utterance, request, transcript)

    def receive_judgement(self, request: JudgeRequest, judgement: TurnJudgement, now: float) -> None:
        """Take the turn model's answer about a pause, unless the speaker has gone on."""
        utterance = self._open
        if utterance is None or utterance.number != request.utterance:
            return
        pending = self._turns.receive(utterance, request, judgement)
        if pending is not None:
            self._events.append(pending)
        self._decide_ending(utterance, now)

    def receive_failed_judgement(self, request: JudgeRequest, error: AlfredVoiceError) -> None:
        """Take note that the turn model could not answer: the pause is judged again, or ends by its length."""
        # A model that has no time now costs the client nothing that it could do anything about.
        if not isinstance(error, EngineBusy):
            self._events.append(WarningRaised(error.code, f"the end of the turn could not be judged: {error}"))
        if self._open is not None and self._open.number == request.utterance:
            self._turns.receive_failure(self._open, request)

    def receive_failed_transcript(self, request: TranscribeRequest, error: AlfredVoiceError, now: float) -> None:
        """Take note that the recogniser could not answer: a final is asked for once more, a partial is left out."""
        utterance = self._utterance_of(request)
        if utterance is None:
            return
        if request is utterance.final_request:
            self._ask(self._finals.receive_failure(utterance, request, error))
            self._deliver(now)
        elif request.urgency is not Urgency.FINAL:
            self.recognition.receive_failed_cut(utterance, request)
            if isinstance(error, RowFailure) and request.urgency is Urgency.PARTIAL:
                # It would fail again, and each time holds up others.
                utterance.has_partials = False
            self._events.append(WarningRaised(error.code, f"a partial transcription was skipped: {error}"))

    def needs(self, request: TranscribeRequest) -> bool:
        """Whether a final, or a cut, comes of the answer."""
        utterance = self._utterance_of(request)
        if utterance is None:
            return False
        return request is utterance.final_request or (utterance.cut is not None and utterance.cut.request is request)

    def flush(self, end: int, now: float) -> None:
        """End whatever is open at sample ``end``; all windows before it have been judged."""
        if self._detector.end_now(end) is Change.ENDED:
            self._end_speech()
        if self._open is not None:
            at = self._detector.silence_start
            silence_ms = (end - at) / SAMPLES_PER_MS
            self._close(self._open, Ending("flush", at, silence_ms, self._open.last_probability), now)

    def give_up(self, now: float) -> None:
        """End everything now: each utterance gets what has been heard of it so far for its final."""
        self.flush(self._intake.judged_samples, now)
        self._events += self._finals.give_up(now)
        self._requests.clear()

    # What goes out

    def take_requests(self) -> list[Request]:
        """The questions that have come up; each is asked once."""
        requests, self._requests = self._requests, []
        return requests

    def take_events(self) -> list[Event]:
        """What there is to tell, in order; each once."""
        events, self._events = self._events, []
        return events

    # Speech

    def _start_speech(self, probability: float) -> None:
        pre_roll = self._options.vad.pre_roll_ms * SAMPLES_PER_MS
        self._speech_start = max(self._detector.onset - pre_roll, self._floor)
        if self._open is None:
            self._open = Utterance(self.utterances, self._speech_start, AgreementOptions())
            self.utterances += 1
        self._open.resume(self._turns.first_judge_ms)
        # The windows before this one that belong to the speech; this one is counted with those that follow.
        self._open.voiced_windows += self._detector.voiced_windows - 1
        self._events.append(SpeechStarted(self._speech_start / SAMPLES_PER_MS, probability))

    def _end_speech(self) -> None:
        end = self._detector.silence_start
        # A flush may have ended other speech within the window in which this one began.
        self.speech_samples += end - max(self._detector.onset, self._floor)
        self._floor = end
        self._events.append(SpeechEnded(end / SAMPLES_PER_MS, (end - self._speech_start) / SAMPLES_PER_MS))

    def _follow(self, utterance: Utterance, end: int, arrival: float, now: float) -> None:
        utterance.followed_end = end
        match self._detector.state:
            case SpeechState.SPEAKING:
                utterance.voiced_windows += 1
                utterance.last_speech_arrival = arrival
                self._ask(self.recognition.next_partial(utterance, end, self._intake, now))
            case SpeechState.STARTING:
                # It may be the speaker going on: the pause is not judged before that is known.
                return
            case SpeechState.STOPPING | SpeechState.QUIET:
                self._follow_pause(utterance, end, now)
        self._ask(self.recognition.next_cut(utterance, end, self._intake, now))

    def _follow_pause(self, utterance: Utterance, end: int, now: float) -> None:
        at = self._detector.silence_start
        silence_ms = (end - at) / SAMPLES_PER_MS
        speculate_ms = self.recognition.speculate_ms
        if utterance.final_request is None and speculate_ms is not None and silence_ms >= speculate_ms:
            self._ask(self._finals.ask(utterance, at, self._intake, now))
        self._ask(self._turns.next_question(utterance, end, silence_ms, self._intake, now))
        self._decide_ending(utterance, now)

    # The end of an utterance

    def _decide_ending(self, utterance: Utterance, now: float) -> None:
        if self._detector.state is not SpeechState.QUIET:
            return
        at, judged = self._detector.silence_start, self._intake.judged_samples
        ending = self._turns.ending(utterance, at, (judged - at) / SAMPLES_PER_MS)
        if ending is not None:
            self._close(utterance, ending, now)

    def _close(self, utterance: Utterance, ending: Ending, now: float) -> None:
        if utterance.final_request is None:
            self._ask(self._finals.ask(utterance, ending.at_sample, self._intake, now))
        self._floor = max(self._floor, ending.at_sample)
        self._open = None
        self._finals.close(utterance, ending)
        self._deliver(now)

    def _deliver(self, now: float) -> None:
        self._events += self._finals.take_events(now)

    # Small things

    def _utterance_of(self, request: TranscribeRequest) -> Utterance | None:
        if self._open is not None and self._open.number == request.utterance:
            return self._open
        return self._finals.find(request.utterance)

    def _show(self, utterance: Utterance, request: TranscribeRequest, transcript: Transcript) -> None:
        # Never told behind speechEnd: it might be the last one, and the final is next.
        is_shown = utterance.hypothesis.receive(transcript.pieces) and self._detector.in_speech
        partial = utterance.partial(request.end_sample) if is_shown and self._shows_partials else None
        if partial is not None:
            self._events.append(partial)

    def _ask(self, request: Request | None) -> None:
        if request is not None:
            self._requests.append(request)
