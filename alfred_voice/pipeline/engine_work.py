"""What runs in the lanes' threads: a batch of jobs becomes one call of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.pcm import to_float
from alfred_voice.clock import Clock
from alfred_voice.models.engine import Clip, GrowingStt, SttEngine, TieredQuality, TurnEngine, VadEngine
from alfred_voice.pipeline.hearings import Hearings
from alfred_voice.pipeline.work import Job
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.requests import DetectRequest, JudgeRequest, TranscribeRequest, Urgency


FIRST_CAPACITY = 64


class DetectWork:
    """The detector over the windows of many sessions. Rows of the state are the streams' ``row``."""

    def __init__(self, engine: VadEngine) -> None:
        self._engine = engine
        self._capacity = FIRST_CAPACITY
        self._states = engine.new_states(self._capacity)

    def __call__(self, jobs: Sequence[Job[DetectRequest]]) -> list[list[float]]:
        """Judge all windows; a session with several goes through as many rounds.

        Returns:
            For each job the probability of speech in each of its windows.
        """
        rows: list[int] = []
        windows: list[NDArray[np.int16]] = []
        fresh: list[int] = []
        most = 1
        for job in jobs:
            row, request = job.stream.row, job.request
            rows.append(row)
            windows.append(request.windows)
            if request.fresh:
                fresh.append(row)
            if len(request.arrivals) > most:
                most = len(request.arrivals)
        self._make_room(max(rows))
        if fresh:
            self._states.reset(fresh)
        if most == 1:
            return [[probability] for probability in self._judge(rows, windows)]
        answers: list[list[float]] = [[] for _ in jobs]
        left = list(zip(jobs, answers, strict=True))
        turn = 0
        while left:
            for (_, answer), probability in zip(left, self._step([job for job, _ in left], turn), strict=True):
                answer.append(probability)
            turn += 1
            left = [pair for pair in left if len(pair[0].request.windows) > turn]
        return answers

    def _step(self, jobs: Sequence[Job[DetectRequest]], turn: int) -> list[float]:
        """The probability of speech in each job's window number ``turn``."""
        windows = [job.request.windows[turn : turn + 1] for job in jobs]
        return self._judge([job.stream.row for job in jobs], windows)

    def _judge(self, rows: Sequence[int], windows: Sequence[NDArray[np.int16]]) -> list[float]:
        """The probability of speech in one window of each row; each int16, shape (1, 512)."""
        answer: list[float] = self._engine.step(self._states, rows, to_float(np.concatenate(windows))).tolist()
        return answer

    def _make_room(self, row: int) -> None:
        while row >= self._capacity:
            self._capacity *= 2
            self._states.grow(self._capacity)


class TranscribeWork:
    """The recogniser over the clips of many sessions."""

    def __init__(self, engine: SttEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._hearings = Hearings(engine) if isinstance(engine, GrowingStt) else None

    def reduce_quality(self, reduced: bool) -> None:
        """Let finals be recognised by a smaller model, or by the usual one again, where there are two."""
        if isinstance(self._engine, TieredQuality):
            self._engine.is_reduced = reduced

    def __call__(self, jobs: Sequence[Job[TranscribeRequest]]) -> list[Transcript]:
        """Recognise all clips in one call; each transcript carries the time of the whole batch."""
        started = self._clock.now()
        transcripts = self._engine.transcribe([self._clip(job) for job in jobs])
        if self._hearings is not None:
            self._hearings.tidy()
        took_ms = (self._clock.now() - started) * 1000
        return [replace(transcript, processing_ms=took_ms) for transcript in transcripts]

    def _clip(self, job: Job[TranscribeRequest]) -> Clip:
        request = job.request
        return Clip(
            samples=to_float(request.samples),
            prefix=request.prefix,
            is_final=request.urgency is not Urgency.PARTIAL,
            language=request.language,
            voiced_ms=request.voiced_ms,
            draft=request.draft,
            wants_words=request.wants_words,
            hearing=None if self._hearings is None else self._hearings.of(job.stream, request),
        )


class JudgeWork:
    """The turn model over turns."""

    def __init__(self, engine: TurnEngine) -> None:
        self._engine = engine

    def __call__(self, jobs: Sequence[Job[JudgeRequest]]) -> list[TurnJudgement]:
        """Judge all turns."""
        return self._engine.judge([to_float(job.request.samples) for job in jobs])
