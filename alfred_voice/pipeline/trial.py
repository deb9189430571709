"""A batch whose engine has raised: what is tried next, and who or what is to blame in the end.

The batch is halved until the row that the engine cannot bear stands alone; the others are answered on the way. A row
is blamed only when the engine is known to be sound: it has answered others since, or a harmless probe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from alfred_voice.errors import AlfredVoiceError, EngineFault, OutOfMemory, RowFailure
from alfred_voice.pipeline.work import Job
from alfred_voice.session.requests import Request


R = TypeVar("R", bound=Request)


class PartlyAnswered(Exception):
    """What a batch came to in which the engine answered nonsense to some rows.

    Attributes:
        answers: one for each job, in order; what stands at a row that failed means nothing.
        failures: what was wrong, by the row's place in the batch.
    """

    def __init__(self, answers: Sequence[Any], failures: Mapping[int, EngineFault]) -> None:
        super().__init__(f"nonsense in {len(failures)} of {len(answers)} answers")
        self.answers = answers
        self.failures = failures


def is_fault(error: Exception) -> bool:
    """Whether something went wrong that nobody meant; otherwise the engine has said deliberately that it cannot."""
    return not isinstance(error, AlfredVoiceError) or isinstance(error, EngineFault | OutOfMemory)


def blamed(lane: str, error: Exception) -> RowFailure:
    """What the session of a row is told that failed alone."""
    failure = RowFailure(
        str(error) if isinstance(error, AlfredVoiceError) else f"{lane}: {type(error).__name__}: {error}"
    )
    failure.__cause__ = error
    return failure


Settled = list[tuple[Job[R], Any]]
"""Jobs that have their answer, or the error that stands for it."""


class Trial(Generic[R]):
    """One batch on its way. Pure: :meth:`next` says what to ask, :meth:`receive` takes what came of it."""

    def __init__(self, groups: Sequence[Sequence[Job[R]]]) -> None:
        self._groups = deque(list(group) for group in groups)
        self._size = sum(map(len, groups))
        self._suspects: dict[Job[R], Exception] = {}
        self._answered = 0
        self._is_sound = False
        """Whether the engine has answered anybody since the newest suspect failed."""
        self._has_probed = False
        self._has_repeated = False
        self.is_broken = False
        """Whether the engine is to blame: it must be made anew."""

    @property
    def suspects(self) -> dict[Job[R], Exception]:
        """Those that failed alone, with what they raised: to blame when nothing is left to ask and it is sound."""
        return self._suspects

    @property
    def left(self) -> list[Job[R]]:
        """All that have no answer yet, but for those that are being asked."""
        return [*(job for group in self._groups for job in group), *self._suspects]

    @property
    def error(self) -> Exception | None:
        """What was raised last."""
        return next(reversed(self._suspects.values()), None)

    def next(self) -> list[Job[R]] | None:
        """What to ask the engine now: jobs, or nobody's, which is the probe; None when the trial is over."""
        if self._groups:
            return self._groups.popleft()
        if not self._suspects or self.is_broken:
            return None
        if not self._answered and self._size > 1:
            # Not one row of several: that is not the rows' fault.
            self.is_broken = True
            return None
        if not self._is_sound and not self._has_probed and not self._has_repeated:
            self._has_probed = True
            return []
        if not self._has_repeated and (self._size == 1 or not self._has_probed):
            # It may have been a fault in passing.
            self._has_repeated = True
            self._groups.extend([job] for job in self._suspects)
            self._suspects = {}
            return self._groups.popleft()
        return None

    def receive(self, jobs: Sequence[Job[R]], outcome: Sequence[Any] | Exception) -> Settled[R]:
        """Take what came of asking ``jobs``; returns those that are settled by it."""
        if not jobs:
            self._receive_probe(outcome)
            return []
        if isinstance(outcome, PartlyAnswered):
            return self._receive_parts(jobs, outcome)
        if not isinstance(outcome, Exception):
            self._note_answers(len(jobs))
            return list(zip(jobs, outcome, strict=True))
        if len(jobs) == 1:
            return self._receive_lonely(jobs[0], outcome)
        if is_fault(outcome):
            half = len(jobs) // 2
            # Behind all others: those that are well get their answers first.
            self._groups += [list(jobs[:half]), list(jobs[half:])]
        else:
            # The engine knows what it cannot do, and tells each by himself.
            self._groups.extend([job] for job in jobs)
        return []

    def _receive_probe(self, outcome: Sequence[Any] | Exception) -> None:
        if isinstance(outcome, Exception) and is_fault(outcome):
            self.is_broken = True
        else:
            self._is_sound = True

    def _receive_parts(self, jobs: Sequence[Job[R]], outcome: PartlyAnswered) -> Settled[R]:
        for place, error in outcome.failures.items():
            self._suspect(jobs[place], error)
        settled: Settled[R] = [
            (job, answer)
            for place, (job, answer) in enumerate(zip(jobs, outcome.answers, strict=True))
            if place not in outcome.failures
        ]
        self._note_answers(len(settled))
        return settled

    def _receive_lonely(self, job: Job[R], error: Exception) -> Settled[R]:
        if is_fault(error):
            self._suspect(job, error)
            return []
        self._note_answers(1)
        return [(job, error)]

    def _suspect(self, job: Job[R], error: Exception) -> None:
        self._suspects[job] = error
        self._is_sound = False

    def _note_answers(self, count: int) -> None:
        self._answered += count
        self._is_sound = self._is_sound or count > 0
