"""The daemon's own logic over recordings, without a daemon: real sessions and engines, a clock that we move.

Every question that a session asks is answered, in the order and the batches of the daemon's own queue. The recogniser
is busy for as long as its call really takes, so that what comes meanwhile gathers or is superseded, as in the daemon.
The detector and the turn model answer at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast

from alfred_voice.audio.pcm import FRAME_SAMPLES
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.stopwatch import Effort, Stopwatch
from alfred_voice.clock import SystemClock
from alfred_voice.events import FinalTranscription, PartialTranscription
from alfred_voice.models.engine import SAMPLE_RATE, Int16, SttEngine, TurnEngine, VadEngine
from alfred_voice.pipeline.engine_work import DetectWork, JudgeWork, TranscribeWork
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.work import Job, TranscribeQueue
from alfred_voice.results import Transcript
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.playout import Playout
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest, Urgency
from alfred_voice.session.session import Session
from alfred_voice.session.settings import SessionSettings


R = TypeVar("R", bound=Request)

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
_SETTLE_S = 30.0
"""How long after the last frame answers are waited for, in the replay's time."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the recogniser."""

    urgency: Urgency
    rows: int
    effort: Effort


@dataclass(slots=True, eq=False)
class Speaker:
    """One session and what it has told."""

    row: int
    """In the detector's state."""
    session: Session
    frames: Sequence[Int16]
    starts_s: float
    finals: list[FinalTranscription] = field(default_factory=list)
    partials: int = 0
    given: int = 0
    is_stopped: bool = False

    @property
    def ended(self) -> bool:
        """Whether its session is over."""
        return self.session.is_over

    @property
    def speech_s(self) -> float:
        """How long its utterances were, the short gaps within them included."""
        return sum(final.end_ms - final.start_ms for final in self.finals) / 1000


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay."""

    speakers: tuple[Speaker, ...]
    calls: tuple[Call, ...]
    superseded: int
    """Partials that were asked for and never answered: a newer one, or the final, took their place."""
    judging_cpu_s: float
    """Of the turn model."""

    @property
    def cpu_s(self) -> float:
        """Of the recogniser alone."""
        return sum(call.effort.cpu_s for call in self.calls)

    @property
    def speech_s(self) -> float:
        """Of all speakers together."""
        return sum(speaker.speech_s for speaker in self.speakers)


class Replay:
    """One run over several speakers at once; used once."""

    def __init__(
        self,
        vad: VadEngine,
        stt: SttEngine,
        turn: TurnEngine,
        options: SessionOptions,
        max_batch: int,
        watch: Stopwatch,
    ) -> None:
        self._options = options
        self._watch = watch
        self._detect = DetectWork(vad)
        self._judge = JudgeWork(turn)
        self._transcribe = TranscribeWork(stt, SystemClock())
        self._queue = TranscribeQueue(max_batch)
        self._speakers: list[Speaker] = []
        self._calls: list[Call] = []
        self._pending: list[tuple[Job[TranscribeRequest], Transcript]] = []
        self._done_at = 0.0
        self._judging_cpu_s = 0.0

    def add(self, samples: Int16, starts_s: float = 0.0) -> None:
        """Let someone speak: int16, shape (n,), 16 kHz."""
        count = len(samples) // FRAME_SAMPLES
        frames = list(samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES))
        number = len(self._speakers)
        session = Session(SessionSettings(f"replay-{number}"), self._options, Playout(0.0))
        self._speakers.append(Speaker(number, session, frames, starts_s))

    def run(self) -> Replayed:
        """Play everything to its end."""
        last_s = max((s.starts_s + len(s.frames) * FRAME_S for s in self._speakers), default=0.0)
        tick = 0
        while not all(speaker.session.is_over for speaker in self._speakers):
            now = tick * FRAME_S
            if now > last_s + _SETTLE_S:
                raise BenchmarkFailed("a session did not come to its end though all its questions were answered")
            self._work_lane(now)
            for speaker in self._speakers:
                _give(speaker, now)
            self._answer(now)
            tick += 1
        return Replayed(tuple(self._speakers), tuple(self._calls), self._queue.superseded, self._judging_cpu_s)

    def _answer(self, now: float) -> None:
        """Answer the detector's and the turn model's questions until there are none; queue those to the recogniser."""
        while asked := [(speaker, request) for speaker in self._speakers for request in _taken(speaker, now)]:
            self._answer_detections(
                [_job(s, request, now) for s, request in asked if isinstance(request, DetectRequest)]
            )
            for speaker, request in asked:
                if isinstance(request, TranscribeRequest):
                    self._queue.add(_job(speaker, request, now))
                elif isinstance(request, JudgeRequest):
                    (judgement,), effort = self._watch.time(partial(self._judge, [_job(speaker, request, now)]))
                    self._judging_cpu_s += effort.cpu_s
                    speaker.session.receive_judgement(request, judgement, now)
            self._work_lane(now)

    def _answer_detections(self, jobs: list[Job[DetectRequest]]) -> None:
        if jobs:
            for job, probabilities in zip(jobs, self._detect(jobs), strict=True):
                job.stream.session.receive_detection(job.request, probabilities, job.queued_at)

    def _work_lane(self, now: float) -> None:
        """Deliver what the recogniser has done by ``now``; whenever it is free it begins with what waits."""
        free_at = now
        while True:
            if self._pending:
                if self._done_at > now:
                    return
                free_at = self._done_at
                for job, transcript in self._pending:
                    job.stream.session.receive_transcript(job.request, transcript, free_at)
                self._pending = []
            batch = self._queue.take()
            if not batch:
                return
            transcripts, effort = self._watch.time(partial(self._transcribe, batch))
            self._calls.append(Call(batch[0].request.urgency, len(batch), effort))
            self._pending = list(zip(batch, transcripts, strict=True))
            self._done_at = free_at + effort.busy_s


def _give(speaker: Speaker, now: float) -> None:
    """The frame that is due, or the end behind the last one."""
    if now + FRAME_S / 2 < speaker.starts_s or speaker.is_stopped:
        return
    if speaker.given < len(speaker.frames):
        speaker.session.receive_frame(speaker.frames[speaker.given], now)
        speaker.given += 1
    else:
        speaker.is_stopped = True
        speaker.session.receive_stop("stop", now)


def _taken(speaker: Speaker, now: float) -> list[Request]:
    """What the session asks now; what it tells is noted."""
    requests = speaker.session.take_requests(now)
    for event in speaker.session.take_events():
        if isinstance(event, FinalTranscription):
            speaker.finals.append(event)
        elif isinstance(event, PartialTranscription):
            speaker.partials += 1
    return requests


def _job(speaker: Speaker, request: R, now: float) -> Job[R]:
    """A job of the pipeline, which of a stream wants the row and the session only."""
    return Job(cast(Stream, speaker), request, now)
