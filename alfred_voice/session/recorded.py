"""A session that notes all that goes in and out of it, so that it can be lived through again.

A session is pure: the same calls in the same order give the same events. So what is noted is the calls, with the very
times that came with them. An entry is a JSON object: ``op`` says which call, ``t`` is clock seconds, ``at`` the sample
on the session's clock, ``n`` the number of the question that an answer is to, in the order in which they were asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import AlfredVoiceError
from alfred_voice.events import EVENT_TYPES, EndReason, Event
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.economy import Economy
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.playout import Playout
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest
from alfred_voice.session.session import Session
from alfred_voice.session.settings import SessionSettings


FORMAT, VERSION = "alfred-voice-recording", 1
_SAMPLES_PER_MS = 16

Note = Callable[[dict[str, Any], bytes | None], None]
"""Takes an entry, and the audio that belongs to it: int16 at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What a recording begins with: all that a session is made of."""

    session_id: str
    settings: SessionSettings
    options: SessionOptions
    lead_ms: int
    engines: dict[str, str]
    began_at: float
    """Seconds since 1970-01-01 UTC."""
    program: str
    """The version of this package."""
    audio: str
    """Name of the file that holds the frames, beside this one."""
    format: str = FORMAT
    version: int = VERSION


class RecordedPlayout(Playout):
    """The account of what the client hears, noted."""

    def __init__(self, lead_ms: float, note: Note) -> None:
        super().__init__(lead_ms)
        self._note = note

    def begin(self, speech_id: int) -> None:
        """Start the account of a speech."""
        self._note({"op": "playout_begin", "speech_id": speech_id}, None)
        super().begin(speech_id)

    def sent(self, duration_ms: float, now: float) -> None:
        """A piece went out."""
        self._note({"op": "playout_sent", "ms": duration_ms, "t": now}, None)
        super().sent(duration_ms, now)

    def end(self) -> None:
        """The speech is over."""
        self._note({"op": "playout_end"}, None)
        super().end()


class RecordedSession(Session):
    """One speaker, noted; each entry is noted before the call does anything."""

    __slots__ = ("_asked", "_note", "_numbers")

    def __init__(self, settings: SessionSettings, options: SessionOptions, playout: Playout, note: Note) -> None:
        super().__init__(settings, options, playout)
        self._note = note
        self._asked = 0
        self._numbers: dict[Request, int] = {}

    @property
    def _at(self) -> int:
        return round(self.stream_ms * _SAMPLES_PER_MS)

    def receive_frame(self, frame: NDArray[np.int16], now: float) -> bool:
        """As the session's own."""
        self._note({"op": "frame", "t": now}, frame.astype("<i2").tobytes())
        return super().receive_frame(frame, now)

    def receive_gap(self, frames: int, now: float) -> None:
        """As the session's own."""
        self._note({"op": "gap", "frames": frames, "t": now, "at": self._at}, None)
        super().receive_gap(frames, now)

    def receive_loss(self, frames: int) -> None:
        """As the session's own."""
        self._note({"op": "loss", "frames": frames, "at": self._at}, None)
        super().receive_loss(frames)

    def receive_flush(self) -> None:
        """As the session's own."""
        self._note({"op": "flush", "at": self._at}, None)
        super().receive_flush()

    def receive_stop(self, reason: EndReason, now: float) -> None:
        """As the session's own."""
        self._note({"op": "stop", "reason": reason, "t": now, "at": self._at}, None)
        super().receive_stop(reason, now)

    def receive_detection(self, request: DetectRequest, probabilities: Sequence[float], now: float) -> bool:
        """As the session's own."""
        values = [float(probability) for probability in probabilities]
        self._note({"op": "detection", "n": self._number(request), "p": values, "t": now, "at": self._at}, None)
        return super().receive_detection(request, values, now)

    def receive_transcript(self, request: TranscribeRequest, transcript: Transcript, now: float) -> None:
        """As the session's own."""
        n = self._number(request)
        self._note({"op": "transcript", "n": n, "answer": transcript, "t": now, "at": self._at}, None)
        super().receive_transcript(request, transcript, now)

    def receive_judgement(self, request: JudgeRequest, judgement: TurnJudgement, now: float) -> None:
        """As the session's own."""
        n = self._number(request)
        self._note({"op": "judgement", "n": n, "p": float(judgement.probability), "t": now, "at": self._at}, None)
        super().receive_judgement(request, judgement, now)

    def receive_failure(self, request: Request, error: AlfredVoiceError, now: float) -> None:
        """As the session's own."""
        entry = {"op": "failure", "n": self._number(request), "t": now, "at": self._at}
        self._note({**entry, "error": type(error).__name__, "message": str(error)}, None)
        super().receive_failure(request, error, now)

    def fail(self, error: AlfredVoiceError, now: float) -> None:
        """As the session's own."""
        self._note({"op": "fail", "error": type(error).__name__, "message": str(error), "t": now}, None)
        super().fail(error, now)

    def end(self, reason: EndReason, now: float) -> None:
        """As the session's own."""
        self._note({"op": "end", "reason": reason, "t": now}, None)
        super().end(reason, now)

    def tell(self, event: Event) -> None:
        """As the session's own."""
        self._note({"op": "tell", "event": plain_event(event)}, None)
        super().tell(event)

    def economise(self, economy: Economy) -> None:
        """As the session's own."""
        self._note({"op": "economise", "economy": economy}, None)
        super().economise(economy)

    def take_requests(self, now: float) -> list[Request]:
        """As the session's own."""
        self._note({"op": "ask", "t": now}, None)
        requests = super().take_requests(now)
        for request in requests:
            self._count(request)
        return requests

    def next_detection(self) -> DetectRequest | None:
        """As the session's own."""
        request = super().next_detection()
        if request is not None:
            self._note({"op": "next"}, None)
            self._count(request)
        return request

    def take_events(self) -> list[Event]:
        """As the session's own."""
        events = super().take_events()
        if events:
            self._note({"op": "told", "events": [plain_event(event) for event in events]}, None)
        return events

    def take_interruption(self) -> bool:
        """As the session's own."""
        is_interrupted = super().take_interruption()
        if is_interrupted:
            self._note({"op": "interrupted"}, None)
        return is_interrupted

    def _count(self, request: Request) -> None:
        self._numbers[request] = self._asked
        self._asked += 1

    def _number(self, request: Request) -> int:
        return self._numbers.pop(request, -1)


def plain_event(event: Event) -> dict[str, Any]:
    """An event with its type; what lies inside is the event's own."""
    fields = {name: getattr(event, name) for name in event.__dataclass_fields__}
    return {"type": EVENT_TYPES[type(event)], **fields}
