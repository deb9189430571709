"""A recorded session lived through again: the same calls, in their order, on a fresh one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from alfred_voice import errors
from alfred_voice.errors import AlfredVoiceError, EngineFailure, RecordingUnreadable
from alfred_voice.events import EVENT_TYPES, Event
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.economy import Economy
from alfred_voice.session.playout import Playout
from alfred_voice.session.recorded import Heading, plain_event
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest
from alfred_voice.session.session import Session


Entry = Mapping[str, Any]
Plain = dict[str, Any]
Answer = Callable[[Request, float], Any]
"""Answers a question at a moment of the clock: probabilities, a transcript, a judgement, or an error."""

FROM_ELSEWHERE = frozenset(
    {"sessionStarted", "sessionResumed", "audioAcknowledged", "pipelineHealth", "backpressureTriggered",
     "backpressureRecovered", "warning", "pong", "ttsStart", "ttsEnd"}
)  # fmt: skip
"""Events that no session makes up."""
_KINDS = {name: kind for kind, name in EVENT_TYPES.items()}
_INPUTS = frozenset(
    {"frame", "gap", "loss", "flush", "stop", "end", "economise", "playout_begin", "playout_sent", "playout_end"}
)
"""What does not depend on what the engines have answered."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of one session."""

    heading: Heading
    entries: Sequence[Entry]
    frames: NDArray[np.int16]
    """int16, shape (n, 320), 16 kHz."""
    is_whole: bool = True
    """False where the session went on after the end of its recording."""

    def told(self) -> list[Plain]:
        """The events that the session told, in order."""
        return [event for entry in self.entries if entry["op"] == "told" for event in entry["events"]]


@dataclass(slots=True)
class Replay:
    """One run; the clock is what the entries say."""

    recording: Recording
    events: list[Plain] = field(default_factory=list)
    """What the session has told this time."""
    _requests: list[Request] = field(default_factory=list)
    _frames: int = 0

    def with_recorded_answers(self) -> list[Plain]:
        """Give the session what it was given, at the moments at which it came; returns the events.

        Raises:
            RecordingUnreadable: an entry says something that cannot be.
        """
        session = self._open()
        for place, entry in enumerate(self.recording.entries):
            try:
                self._repeat(session, entry)
            except (KeyError, TypeError, IndexError, msgspec.ValidationError) as error:
                why = f"{type(error).__name__}: {error}"
                raise RecordingUnreadable(f"entry {place + 1} cannot be replayed: {why}") from error
        if self.recording.is_whole:
            self.events += _plain(session.take_events())
        return self.events

    def with_answers_of(self, answer: Answer) -> list[Plain]:
        """Give the session what came in, and have each question answered at once; returns the events."""
        session, now = self._open(), 0.0
        for entry in self.recording.entries:
            if entry["op"] not in _INPUTS:
                continue
            now = float(entry.get("t", now))
            self._repeat(session, entry)
            self._settle(session, answer, now)
        if self.recording.is_whole and not session.is_over:
            # A fault of the engines of then ended it, which these have not had.
            session.end("error", now)
            self.events += _plain(session.take_events())
        return self.events

    def _open(self) -> Session:
        heading = self.recording.heading
        return Session(heading.settings, heading.options, Playout(heading.lead_ms))

    def _settle(self, session: Session, answer: Answer, now: float) -> None:
        while requests := session.take_requests(now):
            for request in requests:
                _give(session, request, answer(request, now), now)
        self.events += _plain(session.take_events())
        session.take_interruption()

    def _repeat(self, session: Session, entry: Entry) -> None:
        op = entry["op"]
        if op in _ANSWERS:
            self._answer(session, entry)
        elif op == "frame":
            self._frames += 1
            session.receive_frame(self.recording.frames[self._frames - 1], entry["t"])
        elif op == "ask":
            self._requests += session.take_requests(entry["t"])
        elif op == "next":
            request = session.next_detection()
            self._requests += [] if request is None else [request]
        elif op == "told":
            self.events += _plain(session.take_events())
        else:
            _CALLS[op](session, entry)

    def _answer(self, session: Session, entry: Entry) -> None:
        place = int(entry["n"])
        # A session that decides otherwise than it did has not asked: that shows in its events.
        if not 0 <= place < len(self._requests):
            return
        _give(session, self._requests[place], _ANSWERS[entry["op"]](entry), entry["t"])


def _give(session: Session, request: Request, answer: Any, now: float) -> None:
    if isinstance(answer, AlfredVoiceError):
        session.receive_failure(request, answer, now)
        return
    match request:
        case TranscribeRequest() if isinstance(answer, Transcript):
            session.receive_transcript(request, answer, now)
        case JudgeRequest() if isinstance(answer, TurnJudgement):
            session.receive_judgement(request, answer, now)
        case DetectRequest() if isinstance(answer, list) and len(answer) == len(request.windows):
            session.receive_detection(request, answer, now)


def _error(entry: Entry) -> AlfredVoiceError:
    kind = getattr(errors, str(entry["error"]), EngineFailure)
    if not (isinstance(kind, type) and issubclass(kind, AlfredVoiceError)):
        kind = EngineFailure
    return kind(str(entry["message"]))


def _event(plain: Mapping[str, Any]) -> Event:
    fields = {name: value for name, value in plain.items() if name != "type"}
    event: Event = msgspec.convert(fields, _KINDS[plain["type"]])
    return event


def _plain(events: Sequence[Event]) -> list[Plain]:
    """Events as they stand in a recording."""
    return [msgspec.json.decode(msgspec.json.encode(plain_event(event))) for event in events]


_ANSWERS: Mapping[str, Callable[[Entry], Any]] = {
    "detection": lambda entry: entry["p"],
    "transcript": lambda entry: msgspec.convert(entry["answer"], Transcript),
    "judgement": lambda entry: TurnJudgement(entry["p"]),
    "failure": _error,
}
_CALLS: Mapping[str, Callable[[Session, Entry], Any]] = {
    "gap": lambda session, entry: session.receive_gap(entry["frames"], entry["t"]),
    "loss": lambda session, entry: session.receive_loss(entry["frames"]),
    "flush": lambda session, _: session.receive_flush(),
    "stop": lambda session, entry: session.receive_stop(entry["reason"], entry["t"]),
    "fail": lambda session, entry: session.fail(_error(entry), entry["t"]),
    "end": lambda session, entry: session.end(entry["reason"], entry["t"]),
    "tell": lambda session, entry: session.tell(_event(entry["event"])),
    "economise": lambda session, entry: session.economise(msgspec.convert(entry["economy"], Economy)),
    "interrupted": lambda session, _: session.take_interruption(),
    "playout_begin": lambda session, entry: session.playout.begin(entry["speech_id"]),
    "playout_sent": lambda session, entry: session.playout.sent(entry["ms"], entry["t"]),
    "playout_end": lambda session, _: session.playout.end(),
}


def without_times(events: Sequence[Plain]) -> Iterator[Plain]:
    """What a session itself has told, without how long that took: what two runs of real engines have in common."""
    for event in events:
        if event["type"] not in FROM_ELSEWHERE:
            yield {name: value for name, value in event.items() if name not in ("latency_ms", "processing_ms")}
