"""One engine, one thread, one queue. A batch is handed over as a whole; nothing else changes threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, EngineFailure
from alfred_voice.pipeline.metrics import LaneMetrics
from alfred_voice.pipeline.work import Job, JobQueue
from alfred_voice.session.requests import Request


R = TypeVar("R", bound=Request)
A = TypeVar("A")

log = logging.getLogger(__name__)


class Lane(Generic[R, A]):
    """Takes batches from its queue whenever its thread is free, and brings the answers back to the loop.

    Args:
        name: for logs, metrics and the thread.
        queue: what waits, and in which order it goes.
        work: runs in the lane's thread; one answer for each job, in order.
        deliver: called on the loop with a job and its answer, or the error that it got.
        after: called on the loop when all answers of a batch have been delivered.
    """

    def __init__(
        self,
        name: str,
        queue: JobQueue[R],
        work: Callable[[Sequence[Job[R]]], Sequence[A]],
        deliver: Callable[[Job[R], A | AlfredVoiceError], None],
        after: Callable[[], None],
        clock: Clock,
        metrics: LaneMetrics,
    ) -> None:
        self.name = name
        self.queue = queue
        self._work = work
        self._deliver = deliver
        self._after = after
        self._clock = clock
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"lane-{name}")
        self._batch: Sequence[Job[R]] = ()
        self._started_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a batch is with the engine."""
        return bool(self._batch)

    def put(self, job: Job[R]) -> None:
        """Let a job wait; call :meth:`kick` when all that have come at this moment are in."""
        self.queue.add(job)

    def kick(self) -> None:
        """Hand over a batch if the thread is free and one is due; otherwise make sure that it happens."""
        if self._batch or self._closed:
            return
        delay = self.queue.delay_s(self._clock.now())
        if delay is None:
            return
        if delay > 0:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._batch = self.queue.take()
        self._started_at = self._clock.now()
        loop = asyncio.get_running_loop()
        future = self._thread.submit(self._run, self._batch)
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._receive, done))

    def _on_timer(self) -> None:
        self._timer = None
        self.kick()

    def _run(self, batch: Sequence[Job[R]]) -> Sequence[A]:
        answers = self._work(batch)
        if len(answers) != len(batch):
            raise EngineFailure(f"{self.name}: {len(batch)} questions, {len(answers)} answers")
        return answers

    def _receive(self, done: Future[Sequence[A]]) -> None:
        batch, self._batch = self._batch, ()
        now = self._clock.now()
        error = done.exception()
        self._metrics.record_batch(len(batch), now - self._started_at, [self._started_at - j.queued_at for j in batch])
        if error is None:
            for job, answer in zip(batch, done.result(), strict=True):
                self._deliver(job, answer)
        else:
            self._receive_failure(batch, error)
        self._after()
        self.kick()

    def _receive_failure(self, batch: Sequence[Job[R]], error: BaseException) -> None:
        log.error("engine_failed", exc_info=error, extra={"lane": self.name, "batch": len(batch)})
        self._metrics.record_failure(len(batch))
        if not isinstance(error, AlfredVoiceError):
            error = EngineFailure(f"{self.name}: {type(error).__name__}: {error}")
        for job in batch:
            self._deliver(job, error)

    def close(self) -> None:
        """Take no more batches; the one that runs is finished by its thread."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
