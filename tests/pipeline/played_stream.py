"""A stream, and the pipeline that a test plays for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.clock import ManualClock
from alfred_voice.events import EVENT_TYPES
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.outbox import Outbox
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.stream_parts import StreamParts
from alfred_voice.pipeline.synthesiser import Synthesiser
from alfred_voice.pipeline.voice import Voice
from alfred_voice.results import Piece, Transcript, TurnJudgement
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.playout import Playout
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest
from alfred_voice.session.session import Session
from alfred_voice.session.settings import SessionSettings


Int16 = NDArray[np.int16]

FRAME = np.zeros(320, np.int16)
QUEUE_FRAMES = 100
GIVEN_AT_ONCE = 7
"""Frames that a session takes before anything has been judged: 2,240 samples hold its four windows of 512."""
LISTENING = frozenset(EVENT_TYPES.values()) - {"frameProcessed", "pipelineHealth"}


class Played:
    """A stream and the pipeline that a test plays for it."""

    def __init__(self, clock: ManualClock, metrics: Metrics, synthesiser: Synthesiser, outbox_events: int) -> None:
        self.clock = clock
        self.metrics = metrics
        self.wakes = 0
        self.out: list[Request] = []
        settings = SessionSettings("s", events=LISTENING)
        session = Session(settings, SessionOptions(), Playout(200))
        outbox = Outbox(outbox_events)
        self.stream = Stream(
            StreamParts(
                session=session,
                outbox=outbox,
                voice=lambda tell: Voice(settings, synthesiser, session.playout, outbox, tell, clock, 4),
                clock=clock,
                metrics=metrics,
                wake=self._wake,
                transport="websocket",
                queue_frames=QUEUE_FRAMES,
            )
        )

    def _wake(self, stream: Stream) -> None:
        assert stream is self.stream
        self.wakes += 1

    def advance(self) -> list[Request]:
        """One turn of the pipeline; the new questions, which are also kept in ``out``."""
        requests = self.stream.advance(self.clock.now())
        self.out += requests
        return requests

    def answer(self, *kinds: type, speech: bool | None = None) -> None:
        """Answer the open questions of these kinds (all when none is named)."""
        asked = [request for request in self.out if not kinds or isinstance(request, kinds)]
        self.out = [request for request in self.out if request not in asked]
        for request in asked:
            receive: Any = self.stream.receive_detection if isinstance(request, DetectRequest) else self.stream.receive
            receive(request, self._answer(request, speech), self.clock.now())

    @staticmethod
    def _answer(request: Request, speech: bool | None) -> Any:
        match request:
            case DetectRequest():
                loud = np.abs(request.windows).max(axis=1) > 1000
                return np.where(loud if speech is None else speech, 0.95, 0.02).tolist()
            case TranscribeRequest():
                return Transcript("hello there", (Piece(" hello"), Piece(" there")), confidence=0.9)
            case JudgeRequest():
                return TurnJudgement(0.9)

    def work_off(self) -> None:
        """Go on until nothing is left to do."""
        while self.advance() or self.out:
            self.answer()

    @property
    def told(self) -> list[Any]:
        return [item.event for item in self.stream.outbox.take_now() if hasattr(item, "event")]

    def fate(self, name: str) -> float:
        return self.metrics.registry.get_sample_value("alfred_audio_frames_total", {"fate": name}) or 0.0


MakePlayed = Callable[..., Played]


def feed(played: Played, frames: list[Int16]) -> None:
    for frame in frames:
        played.stream.put(frame)
