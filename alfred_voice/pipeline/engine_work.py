"""What runs in the lanes' threads: a batch of jobs becomes one call of an engine, and its answers are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.pcm import to_float
from alfred_voice.clock import Clock
from alfred_voice.errors import EngineFault
from alfred_voice.models.engine import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Clip,
    Float32,
    GrowingStt,
    Patient,
    SttEngine,
    TieredQuality,
    TurnEngine,
    VadEngine,
)
from alfred_voice.pipeline.hearings import Hearings
from alfred_voice.pipeline.trial import PartlyAnswered
from alfred_voice.pipeline.work import Job
from alfred_voice.results import Piece, Transcript, TurnJudgement
from alfred_voice.session.requests import DetectRequest, JudgeRequest, TranscribeRequest, Urgency


FIRST_CAPACITY = 64
PROBE_SAMPLES = SAMPLE_RATE // 2
"""Half a second of silence: every engine can bear that."""
_PROBABLE = "a probability"


class DetectWork:
    """The detector over the windows of many sessions. Rows of the state are the streams' ``row``."""

    def __init__(self, engine: VadEngine) -> None:
        self.engine = engine
        self._capacity = FIRST_CAPACITY
        self._states = engine.new_states(self._capacity)
        # Of jobs that a fault has interrupted: what their first windows came to. Their state has moved on over these.
        self._begun: dict[Job[DetectRequest], list[float]] = {}

    def __call__(self, jobs: Sequence[Job[DetectRequest]]) -> list[list[float]]:
        """Judge all windows; a session with several goes through as many rounds.

        When it raises, it may be called again with the same jobs, or some of them: no window is judged twice.

        Returns:
            For each job the probability of speech in each of its windows.

        Raises:
            PartlyAnswered: some probabilities were none; the state of those rows is fresh.
        """
        rows: list[int] = []
        windows: list[NDArray[np.int16]] = []
        fresh: list[int] = []
        most = 1
        for job in jobs:
            row, request = job.stream.row, job.request
            rows.append(row)
            windows.append(request.windows)
            if request.fresh and not (self._begun and self._begun.get(job)):
                fresh.append(row)
            if len(request.arrivals) > most:
                most = len(request.arrivals)
        self._make_room(max(rows))
        if fresh:
            self._states.reset(fresh)
        if most > 1:
            return self._in_rounds(jobs)
        probabilities, nonsense = self._judge(rows, windows)
        answers = [[probability] for probability in probabilities]
        if nonsense:
            raise PartlyAnswered(answers, nonsense)
        return answers

    def _in_rounds(self, jobs: Sequence[Job[DetectRequest]]) -> list[list[float]]:
        """Judge the windows of all jobs, the next one of each at a time."""
        answers = [self._begun.setdefault(job, []) for job in jobs]
        failures: dict[int, EngineFault] = {}
        left = [place for place, job in enumerate(jobs) if len(answers[place]) < len(job.request.windows)]
        while left:
            turns = [len(answers[place]) for place in left]
            windows = [jobs[at].request.windows[turn : turn + 1] for at, turn in zip(left, turns, strict=True)]
            probabilities, nonsense = self._judge([jobs[place].stream.row for place in left], windows)
            for index, (place, probability) in enumerate(zip(left, probabilities, strict=True)):
                if index in nonsense:
                    failures[place] = nonsense[index]
                else:
                    answers[place].append(probability)
            left = [at for at in left if at not in failures and len(answers[at]) < len(jobs[at].request.windows)]
        for place, job in enumerate(jobs):
            if place not in failures:
                del self._begun[job]
        if failures:
            raise PartlyAnswered(answers, failures)
        return answers

    def _judge(
        self, rows: Sequence[int], windows: Sequence[NDArray[np.int16]]
    ) -> tuple[list[float], dict[int, EngineFault]]:
        """The probability of speech in one window of each row, each int16, shape (1, 512); and which of them is none.

        Rows whose answer is nonsense are fresh afterwards.
        """
        answer: Float32 = self.engine.step(self._states, rows, to_float(np.concatenate(windows)))
        if answer.shape != (len(rows),):
            raise EngineFault(f"vad: {len(rows)} windows, answers of shape {answer.shape}")
        nonsense: dict[int, EngineFault] = {}
        # What is no number compares with nothing.
        if not (np.abs(answer - 0.5) <= 0.5).all():
            for place in np.flatnonzero(~(np.abs(answer - 0.5) <= 0.5)).tolist():
                nonsense[place] = EngineFault(f"vad: expected {_PROBABLE}, got {answer[place]}")
            self._states.reset([rows[place] for place in nonsense])
        probabilities: list[float] = answer.tolist()
        return probabilities, nonsense

    def _make_room(self, row: int) -> None:
        while row >= self._capacity:
            self._capacity *= 2
            self._states.grow(self._capacity)

    def probe(self) -> None:
        """Judge a window of silence."""
        window = np.zeros((1, WINDOW_SAMPLES), np.float32)
        answer = self.engine.step(self.engine.new_states(1), [0], window)
        if answer.shape != (1,) or not 0 <= answer[0] <= 1:
            raise EngineFault(f"vad: expected {_PROBABLE} of silence, got {answer}")

    def forget(self, jobs: Sequence[Job[DetectRequest]]) -> None:
        """Let go of what these jobs have come to, and make their rows fresh."""
        for job in jobs:
            self._begun.pop(job, None)
        rows = {job.stream.row for job in jobs}
        self._states.reset([row for row in rows if row < self._capacity])

    def longest_s(self, jobs: int) -> float:
        """The detector waits for nobody."""
        return 0.0


_GENERATION_BITS = 32
"""Above these bits a token says which of a lane's engines has made it; a tier's mark is below them."""
_TOKEN = (1 << _GENERATION_BITS) - 1


class TranscribeWork:
    """The recogniser over the clips of many sessions.

    Args:
        engine: the recogniser.
        clock: times the batches.
        generation: counts the models that a lane has had. The tokens of an older one mean nothing to a newer: a clip
            that has some is recognised freely.
    """

    def __init__(self, engine: SttEngine, clock: Clock, generation: int = 0) -> None:
        self.engine = engine
        self._clock = clock
        self._generation = generation
        self._hearings = Hearings(engine) if isinstance(engine, GrowingStt) else None
        self._is_to_free = False

    def reduce_quality(self, reduced: bool) -> None:
        """Let finals be recognised by a smaller model, or by the usual one again, where there are two."""
        if isinstance(self.engine, TieredQuality):
            self.engine.is_reduced = reduced

    def __call__(self, jobs: Sequence[Job[TranscribeRequest]]) -> list[Transcript]:
        """Recognise all clips in one call; each transcript carries the time of the whole batch.

        Raises:
            PartlyAnswered: some answers were no transcripts.
        """
        started = self._clock.now()
        clips = [self._clip(job) for job in jobs]
        try:
            transcripts = self.engine.transcribe(clips)
        except Exception:
            # Nobody knows how far they have got.
            self.forget(jobs)
            raise
        if len(transcripts) != len(jobs):
            raise EngineFault(f"stt: {len(jobs)} clips, {len(transcripts)} transcripts")
        if self._hearings is not None:
            self._hearings.tidy()
            if self._is_to_free:
                self._is_to_free = False
                self._hearings.clear()
        failures = {
            place: EngineFault(f"stt: expected a transcript, got {answer!r:.200}")
            for place, answer in enumerate(transcripts)
            if not _is_transcript(answer)
        }
        if failures:
            raise PartlyAnswered([self._done(t, started) if _is_transcript(t) else t for t in transcripts], failures)
        return [self._done(transcript, started) for transcript in transcripts]

    def _done(self, transcript: Transcript, started: float) -> Transcript:
        pieces = transcript.pieces
        if self._generation:
            mark = self._generation << _GENERATION_BITS
            pieces = tuple(replace(piece, tokens=tuple(token | mark for token in piece.tokens)) for piece in pieces)
        return replace(transcript, pieces=pieces, processing_ms=(self._clock.now() - started) * 1000)

    def _own(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens as this engine knows them; none where another one has made them."""
        if any(token >> _GENERATION_BITS != self._generation for token in tokens):
            return ()
        return tuple(token & _TOKEN for token in tokens) if self._generation else tokens

    def _clip(self, job: Job[TranscribeRequest]) -> Clip:
        request = job.request
        return Clip(
            samples=to_float(request.samples),
            prefix=self._own(request.prefix),
            is_final=request.urgency is not Urgency.PARTIAL,
            language=request.language,
            voiced_ms=request.voiced_ms,
            draft=self._own(request.draft),
            wants_words=request.wants_words,
            hearing=None if self._hearings is None else self._hearings.of(job.stream, request),
        )

    def probe(self) -> None:
        """Recognise a moment of silence."""
        (answer,) = self.engine.transcribe([Clip(np.zeros(PROBE_SAMPLES, np.float32))])
        if not _is_transcript(answer):
            raise EngineFault(f"stt: expected a transcript of silence, got {answer!r:.200}")

    def forget(self, jobs: Sequence[Job[TranscribeRequest]]) -> None:
        """Let go of what the engine has kept of these speakers' utterances."""
        if self._hearings is not None:
            self._hearings.forget([job.stream for job in jobs])

    def free(self, *, is_busy: bool) -> int:
        """Let go of what can be made again, now or, when a batch runs, behind it; returns the bytes freed now."""
        self._is_to_free = is_busy
        return 0 if is_busy or self._hearings is None else self._hearings.clear()

    def longest_s(self, jobs: int) -> float:
        """As long as the engine waits for others."""
        return self.engine.longest_s(jobs) if isinstance(self.engine, Patient) else 0.0


class JudgeWork:
    """The turn model over turns."""

    def __init__(self, engine: TurnEngine) -> None:
        self.engine = engine

    def __call__(self, jobs: Sequence[Job[JudgeRequest]]) -> list[TurnJudgement]:
        """Judge all turns.

        Raises:
            PartlyAnswered: some answers were no probabilities.
        """
        answers = self.engine.judge([to_float(job.request.samples) for job in jobs])
        if len(answers) != len(jobs):
            raise EngineFault(f"turn: {len(jobs)} turns, {len(answers)} judgements")
        failures = {
            place: EngineFault(f"turn: expected {_PROBABLE}, got {answer!r:.200}")
            for place, answer in enumerate(answers)
            if not _is_judgement(answer)
        }
        if failures:
            raise PartlyAnswered(answers, failures)
        return answers

    def probe(self) -> None:
        """Judge a moment of silence."""
        (answer,) = self.engine.judge([np.zeros(PROBE_SAMPLES, np.float32)])
        if not _is_judgement(answer):
            raise EngineFault(f"turn: expected {_PROBABLE} of silence, got {answer!r:.200}")

    def forget(self, jobs: Sequence[Job[JudgeRequest]]) -> None:
        """The turn model keeps nothing."""

    def longest_s(self, jobs: int) -> float:
        """The turn model waits for nobody."""
        return 0.0


def _is_transcript(answer: object) -> bool:
    return isinstance(answer, Transcript) and (
        isinstance(answer.text, str)
        and isfinite(answer.confidence)
        and all(isinstance(piece, Piece) for piece in answer.pieces)
    )


def _is_judgement(answer: object) -> bool:
    return isinstance(answer, TurnJudgement) and 0.0 <= answer.probability <= 1.0
