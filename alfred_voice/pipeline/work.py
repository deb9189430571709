"""A question on its way to an engine, and the queues in which it waits.

Each engine has a queue with a policy of its own: windows wait for company up to a deadline, finals
overtake partials and a newer partial replaces an older one, turns go in order of arrival.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest, Urgency


if TYPE_CHECKING:
    from alfred_voice.pipeline.stream import Stream

R = TypeVar("R", bound=Request)

MOST_PARTIALS = 4
"""In one batch: what a final may have to wait for. Ten clips take nearly eight times as long as one, so that larger
batches would win little."""


MOST_BATCH_SAMPLES = 40 * 16_000
"""40 s of audio in one batch, whatever its clips are: sixteen of 12 s took 100 MB, and held everybody up for 4 s."""


@dataclass(slots=True, eq=False)
class Job(Generic[R]):
    """One question of one session; not to be changed (not frozen, as that makes it four times as dear to make)."""

    stream: Stream
    request: R
    queued_at: float
    """Clock seconds."""


def is_urgent(job: Job[Any]) -> bool:
    """Whether somebody loses something when the answer comes late: partials there may be less of."""
    return not (isinstance(job.request, TranscribeRequest) and job.request.urgency is Urgency.PARTIAL)


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

    def expire(self, before: float) -> list[Job[R]]:
        """Take out the jobs that have waited since ``before``, clock seconds, or longer."""
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

    def reconfigure(self, max_batch: int, deadline_ms: float) -> None:
        """Go by other bounds from the next batch on."""
        self._max_batch, self._deadline_s = max_batch, deadline_ms / 1000

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
        jobs = self._jobs
        if len(jobs) <= self._max_batch:
            batch = list(jobs)
            jobs.clear()
            return batch
        return [jobs.popleft() for _ in range(self._max_batch)]

    def expire(self, before: float) -> list[Job[DetectRequest]]:
        """Take out the jobs that have waited since ``before``, clock seconds, or longer."""
        expired = [job for job in self._jobs if job.queued_at <= before]
        self._jobs = deque(job for job in self._jobs if job.queued_at > before)
        return expired

    def age_s(self, now: float) -> float:
        """How long the oldest window has waited."""
        return now - self._jobs[0].queued_at if self._jobs else 0.0

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)


_Key: TypeAlias = "tuple[Stream, int, Urgency]"
"""Session, utterance and kind: of all clips that wait with one key only the newest is wanted."""


def _key(job: Job[TranscribeRequest]) -> _Key:
    return job.stream, job.request.utterance, job.request.urgency


@dataclass(slots=True, eq=False)
class _Place:
    """A place in the line of clips: a newer clip of the same kind takes over that of an older one, with its age."""

    job: Job[TranscribeRequest] | None
    """None when nobody wants the answer any more."""
    since: float
    """When the place was taken, clock seconds."""


class TranscribeQueue:
    """Clips by urgency, then by age. Finals and partials never share a batch: a final does not wait for a partial."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._heap: list[tuple[int, int, _Place]] = []
        self._order = count()
        self._places: dict[_Key, _Place] = {}
        self._length = 0
        self._partials_taken_at: float | None = None
        self._partials_from = float("-inf")
        self._now = 0.0
        self.superseded = 0
        self.partial_share = 1.0
        """Of the recogniser's time, what partials may have at most."""

    def reconfigure(self, max_batch: int) -> None:
        """Go by another bound from the next batch on."""
        self._max_batch = max_batch

    def add(self, job: Job[TranscribeRequest]) -> None:
        """Let a job wait.

        It takes the place of an older one of its kind and utterance, whose answer would be stale: the speaker has gone
        on since. And whatever is asked for good makes a partial void.
        """
        if job.request.urgency is not Urgency.PARTIAL:
            self._void((job.stream, job.request.utterance, Urgency.PARTIAL))
        key = _key(job)
        older = self._places.get(key)
        if older is not None:
            self.superseded += 1
            older.job = job
            return
        place = self._places[key] = _Place(job, job.queued_at)
        self._length += 1
        heapq.heappush(self._heap, (job.request.urgency, next(self._order), place))

    def drop_partials(self) -> None:
        """Let all partials go that wait: there is no time for them."""
        for key in [key for key in self._places if key[2] is Urgency.PARTIAL]:
            self._void(key)

    def _void(self, key: _Key) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            place.job = None
            self.superseded += 1
            self._length -= 1

    def delay_s(self, now: float) -> float | None:
        """No wait but for partials that are rationed: clips are batched as they have gathered while it was busy.

        To be asked whenever the engine is free: from that the queue knows how long partials have kept it.
        """
        self._now = now
        if self._partials_taken_at is not None:
            took_s, self._partials_taken_at = now - self._partials_taken_at, None
            self._partials_from = now + took_s * (1 / self.partial_share - 1)
        while self._heap and self._heap[0][2].job is None:
            heapq.heappop(self._heap)
        if not self._heap:
            return None
        return max(0.0, self._partials_from - now) if self._heap[0][0] == Urgency.PARTIAL else 0.0

    def take(self) -> list[Job[TranscribeRequest]]:
        """The most urgent jobs, of one kind."""
        batch: list[Job[TranscribeRequest]] = []
        samples = 0
        while self._heap:
            urgency, _, place = self._heap[0]
            most = min(self._max_batch, MOST_PARTIALS) if urgency == Urgency.PARTIAL else self._max_batch
            if len(batch) >= most or (batch and urgency != batch[0].request.urgency):
                break
            if place.job is not None:
                samples += len(place.job.request.samples)
                if batch and samples > MOST_BATCH_SAMPLES:
                    break
            heapq.heappop(self._heap)
            if place.job is None:
                continue
            del self._places[_key(place.job)]
            batch.append(place.job)
        self._length -= len(batch)
        if batch and not is_urgent(batch[0]):
            self._partials_taken_at = self._now
        return batch

    def expire(self, before: float) -> list[Job[TranscribeRequest]]:
        """Take out the jobs whose places were taken at ``before``, clock seconds, or earlier."""
        expired = [place for place in self._places.values() if place.since <= before]
        jobs = [place.job for place in expired if place.job is not None]
        for job, place in zip(jobs, expired, strict=True):
            del self._places[_key(job)]
            place.job = None
        self._length -= len(jobs)
        return jobs

    def age_s(self, now: float) -> float:
        """How long the oldest final has waited; partials may wait."""
        return self._age_s(Urgency.FINAL, now)

    def partial_age_s(self, now: float) -> float:
        """How long the speaker has waited who waits longest for a partial."""
        return self._age_s(Urgency.PARTIAL, now)

    def _age_s(self, urgency: Urgency, now: float) -> float:
        return now - min((place.since for key, place in self._places.items() if key[2] is urgency), default=now)

    def __len__(self) -> int:
        """Jobs that wait and have not been superseded."""
        return self._length


LATE_TURN_S = 1.0
"""A pause that was not judged by then is about to end by its length."""


class JudgeQueue:
    """Turns in order of arrival, one at a time: batching does not make the model faster."""

    def __init__(self) -> None:
        self._jobs: deque[Job[JudgeRequest]] = deque()

    def add(self, job: Job[JudgeRequest]) -> None:
        """Let a job wait."""
        self._jobs.append(job)

    def late(self, now: float) -> list[Job[JudgeRequest]]:
        """Take out the jobs whose answers would come too late."""
        if not self._jobs or now - self._jobs[0].queued_at < LATE_TURN_S:
            return []
        return self.expire(now - LATE_TURN_S)

    def delay_s(self, now: float) -> float | None:
        """No wait."""
        return 0.0 if self._jobs else None

    def take(self) -> list[Job[JudgeRequest]]:
        """The oldest job."""
        return [self._jobs.popleft()]

    def expire(self, before: float) -> list[Job[JudgeRequest]]:
        """Take out the jobs that have waited since ``before``, clock seconds, or longer."""
        expired = [job for job in self._jobs if job.queued_at <= before]
        self._jobs = deque(job for job in self._jobs if job.queued_at > before)
        return expired

    def age_s(self, now: float) -> float:
        """How long the oldest turn has waited."""
        return now - self._jobs[0].queued_at if self._jobs else 0.0

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)
