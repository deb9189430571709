"""The finals: asked for when an utterance seems to be over, told in order when it is."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from alfred_voice.errors import AlfredVoiceError, EngineDown
from alfred_voice.events import ErrorRaised, Event, FinalTranscription, TurnCompleted
from alfred_voice.results import Transcript
from alfred_voice.session.detector import SAMPLES_PER_MS
from alfred_voice.session.hypothesis import Hypothesis, starts_with, text_of
from alfred_voice.session.intake import Intake
from alfred_voice.session.options import SttOptions
from alfred_voice.session.recognition import Recognition
from alfred_voice.session.requests import TranscribeRequest
from alfred_voice.session.settings import SessionSettings
from alfred_voice.session.utterance import Ending, Utterance


class Finals:
    """The utterances of one session that have ended and whose texts have not been told yet."""

    def __init__(self, recognition: Recognition, options: SttOptions, settings: SessionSettings) -> None:
        self._recognition = recognition
        self._options = options
        self._settings = settings
        self._closing: deque[Utterance] = deque()

    @property
    def owed(self) -> int:
        """How many utterances have ended and not been told."""
        return len(self._closing)

    def find(self, number: int) -> Utterance | None:
        """The utterance of that number, if its text is still to be told."""
        return next((found for found in self._closing if found.number == number), None)

    def ask(self, utterance: Utterance, speech_end: int, intake: Intake, now: float) -> TranscribeRequest | None:
        """The question for the final, should the speech have ended; None when it is too little to have words."""
        request = self._recognition.final(utterance, speech_end, intake, now)
        utterance.final_request = request
        if utterance.voiced_ms < self._options.min_voiced_ms and not utterance.hypothesis.stable:
            utterance.final = Transcript("", language=self._recognition.language)
            return None
        return request

    def receive(
        self, utterance: Utterance, request: TranscribeRequest, transcript: Transcript, now: float
    ) -> TranscribeRequest | None:
        """Take the answer to the present question; returns the next one when it contradicts what has been told."""
        hypothesis = utterance.hypothesis
        pieces = transcript.pieces
        if not starts_with(pieces, hypothesis.stable):
            if not request.prefix and hypothesis.prefix:
                utterance.final_request = self._recognition.forced_final(request, utterance, now)
                return utterance.final_request
            # An engine that cannot be forced, or does not obey: what has been told stands.
            transcript = replace(transcript, pieces=hypothesis.stable + pieces[len(hypothesis.stable) :])
        utterance.final = _spelled(transcript, hypothesis)
        return None

    def receive_failure(
        self, utterance: Utterance, request: TranscribeRequest, error: AlfredVoiceError
    ) -> TranscribeRequest | None:
        """Take note that the present question has no answer; returns it once more, the first time.

        Not where the engine is down: the question has waited for it already.
        """
        if not utterance.was_retried and not isinstance(error, EngineDown):
            utterance.was_retried = True
            return request
        stable = utterance.hypothesis.stable
        utterance.failure = error
        utterance.final = Transcript(text_of(stable), stable, language=self._recognition.language)
        return None

    def close(self, utterance: Utterance, ending: Ending) -> None:
        """Take an utterance that is over; its final has been asked for."""
        utterance.ending = ending
        self._closing.append(utterance)

    def give_up(self, now: float) -> list[Event]:
        """What is owed, in order, with as much as has been heard: nobody will answer any more."""
        for utterance in self._closing:
            if utterance.final is None:
                heard = utterance.hypothesis.pieces
                utterance.final = Transcript(text_of(heard), heard, language=self._recognition.language)
        return self.take_events(now)

    def take_events(self, now: float) -> list[Event]:
        """What can be told now: an utterance waits for those before it."""
        events: list[Event] = []
        while self._closing and self._closing[0].final is not None:
            utterance = self._closing.popleft()
            events += self._events_of(utterance, utterance.final or Transcript(""), now)
        return events

    def _events_of(self, utterance: Utterance, final: Transcript, now: float) -> list[Event]:
        ending, failure = utterance.ending, utterance.failure
        if ending is None:
            raise AssertionError("an utterance that has not ended has no final")
        at_ms = ending.at_sample / SAMPLES_PER_MS
        latency_ms = max(0.0, now - utterance.last_speech_arrival) * 1000
        events: list[Event] = []
        if failure is not None:
            message = f"the utterance could not be recognised: {failure}"
            events.append(ErrorRaised(failure.code, message, fatal=False))
        # Words may have been committed since the answer came, which counts as a hypothesis while the utterance is open.
        final = _spelled(final, utterance.hypothesis)
        events.append(self._final_event(utterance, utterance.whole(final), at_ms, latency_ms))
        if self._settings.turns:
            events.append(
                TurnCompleted(utterance.number, ending.probability, at_ms, ending.silence_ms, ending.reason, latency_ms)
            )
        return events

    def _final_event(
        self, utterance: Utterance, whole: Transcript, at_ms: float, latency_ms: float
    ) -> FinalTranscription:
        return FinalTranscription(
            utterance=utterance.number,
            text=whole.text,
            start_ms=utterance.start_sample / SAMPLES_PER_MS,
            end_ms=at_ms,
            words=whole.words,
            language=whole.language or self._recognition.language,
            engine=whole.engine or self._recognition.engine,
            confidence=whole.confidence,
            processing_ms=whole.processing_ms,
            latency_ms=latency_ms,
        )


def _spelled(transcript: Transcript, hypothesis: Hypothesis) -> Transcript:
    """The transcript, which agrees with the committed words, with those spelled as they were committed."""
    if not transcript.pieces:
        return transcript
    pieces = hypothesis.spelled(transcript.pieces)
    return replace(transcript, pieces=pieces, text=text_of(pieces))
