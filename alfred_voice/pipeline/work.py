"""A question on its way to an engine, and the queues in which it waits.

Each engine has a queue with a policy of its own: windows wait for company up to a deadline, finals
overtake partials and a newer partial replaces an older one, turns go in order of arrival.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest, Urgency


if TYPE_CHECKING:
    from alfred_voice.pipeline.stream import Stream

R = TypeVar("R", bound=Request)


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[R]):
    """One question of one session."""

    stream: Stream
    request: R
    queued_at: float
    """Clock seconds."""


class JobQueue(Protocol[R]):
    """What a lane takes its batches from."""

    def add(self, job: Job[R]) -> None:
        """Let a job wait."""
        ...

    def delay_s(self, now: float) -> float | None:
        """How long to wait before the next batch is taken; None when there is nothing to take."""
        ...

    def take(self) -> list[Job[R]]:
        """The next batch."""
        ...

    def age_s(self, now: float) -> float:
        """How long the oldest job has waited that must not wait long."""
        ...

    def __len__(self) -> int:
        """Jobs that wait."""
        ...


class DetectQueue:
    """Windows of all sessions; a batch goes when it is full, when all have come, or at the deadline.

    A session has at most one job here, so a batch holds each session once.
    """

    def __init__(self, max_batch: int, deadline_ms: float) -> None:
        self._max_batch = max_batch
        self._deadline_s = deadline_ms / 1000
        self._jobs: deque[Job[DetectRequest]] = deque()
        self.speakers = 0
        """Sessions that are sending audio now: more cannot be waited for."""

    def add(self, job: Job[DetectRequest]) -> None:
        """Let a job wait."""
        self._jobs.append(job)

    def delay_s(self, now: float) -> float | None:
        """How long to wait before the next batch is taken; None when there is nothing to take."""
        if not self._jobs:
            return None
        if len(self._jobs) >= min(self._max_batch, max(1, self.speakers)):
            return 0.0
        return max(0.0, self._jobs[0].queued_at + self._deadline_s - now)

    def take(self) -> list[Job[DetectRequest]]:
        """The oldest jobs, as many as fit a batch."""
        return [self._jobs.popleft() for _ in range(min(self._max_batch, len(self._jobs)))]

    def age_s(self, now: float) -> float:
        """How long the oldest window has waited."""
        return now - self._jobs[0].queued_at if self._jobs else 0.0

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)


class TranscribeQueue:
    """Clips by urgency, then by age. Finals and partials never share a batch: a final does not wait for a partial."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._heap: list[tuple[int, int, Job[TranscribeRequest]]] = []
        self._order = count()
        self._partials: dict[tuple[int, int], Job[TranscribeRequest]] = {}
        self._length = 0
        self.superseded = 0

    def add(self, job: Job[TranscribeRequest]) -> None:
        """Let a job wait; it takes the place of an older partial of the same utterance."""
        key = (id(job.stream), job.request.utterance)
        older = self._partials.pop(key, None)
        if older is not None:
            # A partial is worthless once a newer one, or the final, has been asked for.
            self.superseded += 1
            self._length -= 1
        if job.request.urgency is Urgency.PARTIAL:
            self._partials[key] = job
        self._length += 1
        heapq.heappush(self._heap, (job.request.urgency, next(self._order), job))

    def _is_current(self, job: Job[TranscribeRequest]) -> bool:
        if job.request.urgency is not Urgency.PARTIAL:
            return True
        return self._partials.get((id(job.stream), job.request.utterance)) is job

    def delay_s(self, now: float) -> float | None:
        """No wait: clips are batched as they have gathered while the engine was busy."""
        return 0.0 if self._length else None

    def take(self) -> list[Job[TranscribeRequest]]:
        """The most urgent jobs, of one kind."""
        batch: list[Job[TranscribeRequest]] = []
        while self._heap and len(batch) < self._max_batch:
            urgency, _, job = self._heap[0]
            if batch and urgency != batch[0].request.urgency:
                break
            heapq.heappop(self._heap)
            if not self._is_current(job):
                continue
            if job.request.urgency is Urgency.PARTIAL:
                # Only its own: a final leaves the entry of a partial that came after it.
                del self._partials[id(job.stream), job.request.utterance]
            batch.append(job)
        self._length -= len(batch)
        return batch

    def age_s(self, now: float) -> float:
        """How long the oldest final has waited; partials may wait."""
        finals = [job.queued_at for urgency, _, job in self._heap if urgency == Urgency.FINAL]
        return now - min(finals) if finals else 0.0

    def partial_age_s(self, now: float) -> float:
        """How long the oldest partial has waited."""
        return now - min(job.queued_at for job in self._partials.values()) if self._partials else 0.0

    def __len__(self) -> int:
        """Jobs that wait and have not been superseded."""
        return self._length


class JudgeQueue:
    """Turns in order of arrival, one at a time: batching does not make the model faster."""

    def __init__(self) -> None:
        self._jobs: deque[Job[JudgeRequest]] = deque()

    def add(self, job: Job[JudgeRequest]) -> None:
        """Let a job wait."""
        self._jobs.append(job)

    def delay_s(self, now: float) -> float | None:
        """No wait."""
        return 0.0 if self._jobs else None

    def take(self) -> list[Job[JudgeRequest]]:
        """The oldest job."""
        return [self._jobs.popleft()]

    def age_s(self, now: float) -> float:
        """How long the oldest turn has waited."""
        return now - self._jobs[0].queued_at if self._jobs else 0.0

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)
