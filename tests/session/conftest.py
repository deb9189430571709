"""A speaker for tests of the session's logic: sound as text in, questions and events out, no engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure
from alfred_voice.events import EVENT_TYPES, Event
from alfred_voice.results import Piece, Transcript, TurnJudgement
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.playout import Playout
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest, Urgency
from alfred_voice.session.session import Session
from alfred_voice.session.settings import SessionSettings


WINDOW, FRAME = 512, 320
LEVELS = {"#": 0.9, "~": 0.4, " ": 0.0}
E = TypeVar("E")


def audio(start: int, end: int) -> NDArray[np.int16]:
    """The samples of every speaker: int16, known by their place."""
    return ((np.arange(start, end, dtype=np.int64) * 7919) % 2001 - 1000).astype(np.int16)


def transcript(text: str, **fields: Any) -> Transcript:
    """As a recogniser answers that numbers each word by its letters."""
    pieces = tuple(Piece(" " + word, tuple(map(ord, word.casefold().strip(".,")))) for word in text.split())
    return Transcript(text, pieces, **fields)


class Speaker:
    """One session and its world. Each character of a sound is a window of 32 ms: speech, unclear or silence."""

    def __init__(self, options: SessionOptions, settings: dict[str, Any]) -> None:
        self.playout = Playout(lead_ms=200)
        self.session = Session(SessionSettings("s", **settings), options, self.playout)
        self.now = 100.0
        self.sound = ""
        self.events: list[Event] = []
        self.asked: list[TranscribeRequest | JudgeRequest] = []
        self.detects: list[DetectRequest] = []
        self.holds_detections = False
        self.frames = 0

    def say(self, sound: str) -> Speaker:
        """Go on with this sound, in real time."""
        self.sound += sound
        while self.session.stream_ms * 16 < len(self.sound) * WINDOW:
            at = int(self.session.stream_ms * 16)
            self.now += 0.02
            self.frames += 1
            self.session.receive_frame(audio(at, at + FRAME), self.now)
            self.pump()
        return self

    def pump(self) -> None:
        """Pass on what the session wants to pass on."""
        while True:
            requests = self.session.take_requests(self.now)
            self.events += self.session.take_events()
            for request in requests:
                self._take(request)
            if not requests or self.holds_detections:
                return

    def _take(self, request: Request) -> None:
        if not isinstance(request, DetectRequest):
            self.asked.append(request)
            return
        self.detects.append(request)
        if not self.holds_detections:
            self.detect(request)

    def detect(self, request: DetectRequest) -> None:
        sound = self.sound[request.first_window :].ljust(len(request.windows))
        self.session.receive_detection(request, [LEVELS[c] for c in sound[: len(request.windows)]], self.now)

    def flush(self) -> None:
        self.session.receive_flush()
        self.pump()

    def stop(self) -> None:
        self.session.receive_stop("stop", self.now)
        self.pump()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        (event,) = self.of(kind)
        return event

    @property
    def told(self) -> list[str]:
        return [EVENT_TYPES[type(event)] for event in self.events]

    def questions(self, urgency: Urgency) -> list[TranscribeRequest]:
        """All that were asked and not answered by the methods below, oldest first."""
        return [r for r in self.asked if isinstance(r, TranscribeRequest) and r.urgency is urgency]

    @property
    def judgements(self) -> list[JudgeRequest]:
        return [r for r in self.asked if isinstance(r, JudgeRequest)]

    def answer(self, urgency: Urgency, text: str, **fields: Any) -> TranscribeRequest:
        """Answer the oldest question of this urgency."""
        request = self.questions(urgency)[0]
        self.asked.remove(request)
        self.session.receive_transcript(request, transcript(text, **fields), self.now)
        self.pump()
        return request

    def final(self, text: str, **fields: Any) -> TranscribeRequest:
        return self.answer(Urgency.FINAL, text, **fields)

    def partial(self, text: str) -> TranscribeRequest:
        return self.answer(Urgency.PARTIAL, text)

    def judge(self, probability: float) -> JudgeRequest:
        request = self.judgements[0]
        self.asked.remove(request)
        self.session.receive_judgement(request, TurnJudgement(probability), self.now)
        self.pump()
        return request

    def break_down(self, request: Request, error: EngineFailure | None = None) -> None:
        """The engine fails on this question."""
        if not isinstance(request, DetectRequest):
            self.asked.remove(request)
        self.session.receive_failure(request, error or EngineFailure("it broke"), self.now)
        self.pump()


@dataclass(frozen=True)
class Speakers:
    """Makes speakers: the options of one room as a dict of changed fields, and the client's settings."""

    def __call__(
        self,
        *,
        vad: dict[str, Any] | None = None,
        stt: dict[str, Any] | None = None,
        turn: dict[str, Any] | None = None,
        interruption: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Speaker:
        options = SessionOptions()
        options = replace(
            options,
            vad=replace(options.vad, **(vad or {})),
            stt=replace(options.stt, **(stt or {})),
            turn=replace(options.turn, **(turn or {})),
            interruption=replace(options.interruption, **(interruption or {})),
        )
        return Speaker(options, settings)


@pytest.fixture
def speaker() -> Speakers:
    return Speakers()
