"""One engine, one thread, one queue. A batch is handed over as a whole; nothing else changes threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, EngineFailure, EngineRests
from alfred_voice.pipeline.metrics import LaneMetrics
from alfred_voice.pipeline.work import Job, JobQueue, is_urgent
from alfred_voice.session.requests import Request


R = TypeVar("R", bound=Request)
A = TypeVar("A")

log = logging.getLogger(__name__)

CLOSE_WITHIN_S = 5.0
"""How long a batch that runs may hold up the end."""


class Lane(Generic[R, A]):
    """Takes batches from its queue whenever its thread is free, and brings the answers back to the loop.

    Args:
        name: for logs, metrics and the thread.
        queue: what waits, and in which order it goes.
        work: runs in the lane's thread; one answer for each job, in order.
        deliver: called on the loop with a batch and, for each of its jobs, the answer or the error that it got.
        after: called on the loop when all answers of a batch have been delivered.
        threaded: False for an engine whose batch takes a millisecond or two of many short steps: it runs on the loop
            itself. In a thread each of its steps would have to wait for the interpreter's lock, which the loop holds
            most of the time when it is busy: with 500 sessions a batch took 200 ms instead of 5.
    """

    def __init__(
        self,
        name: str,
        queue: JobQueue[R],
        work: Callable[[Sequence[Job[R]]], Sequence[A]],
        deliver: Callable[[Sequence[Job[R]], Sequence[A | AlfredVoiceError]], None],
        after: Callable[[], None],
        clock: Clock,
        metrics: LaneMetrics,
        *,
        threaded: bool = True,
    ) -> None:
        self.name = name
        self.queue = queue
        self._work = work
        self._deliver = deliver
        self._after = after
        self._clock = clock
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"lane-{name}") if threaded else None
        self._batch: list[Job[R]] = []
        self._running: Future[list[A | AlfredVoiceError]] | None = None
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
        while not self._batch and not self._closed and len(self.queue):
            self._batch = self._due()
            if not self._batch:
                return
            self._started_at = self._clock.now()
            if self._thread is None:
                self._give_out(self._run(self._batch))
                continue
            self._running = self._thread.submit(self._run, self._batch)
            self._running.add_done_callback(partial(self._bring_back, asyncio.get_running_loop()))

    def _due(self) -> list[Job[R]]:
        """The batch that is due now, or none and a timer for it; jobs of sessions that have ended are let go."""
        while (delay := self.queue.delay_s(self._clock.now())) == 0:
            self._cancel_timer()
            batch = [job for job in self.queue.take() if not job.stream.ended]
            if batch:
                return batch
        if delay is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)
        return []

    def _on_timer(self) -> None:
        self._timer = None
        self.kick()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # In the lane's thread

    def _run(self, batch: Sequence[Job[R]]) -> list[A | AlfredVoiceError]:
        """An answer for each job. What the engine cannot bear costs the others of its batch a repetition, no more."""
        try:
            return self._answers(batch)
        except Exception as error:  # noqa: BLE001  the border to the engine: whatever it raises is the jobs' answer
            self._log(error, len(batch))
            if len(batch) == 1:
                return [_as_ours(self.name, error)]
        return [answer for job in batch for answer in self._run([job])]

    def _log(self, error: Exception, batch: int) -> None:
        """A line for what an engine says on purpose, and where it arose for what nobody has foreseen."""
        if isinstance(error, EngineRests):
            return  # who lets it rest has said so, once
        if batch > 1:
            log.warning("batch_divided", extra={"lane": self.name, "batch": batch, "error": str(error)})
        elif isinstance(error, AlfredVoiceError):
            log.error("engine_failed", extra={"lane": self.name, "code": error.code, "error": str(error)})
        else:
            log.error("engine_failed", exc_info=error, extra={"lane": self.name})

    def _answers(self, batch: Sequence[Job[R]]) -> list[A | AlfredVoiceError]:
        answers: list[A | AlfredVoiceError] = list(self._work(batch))
        if len(answers) != len(batch):
            raise EngineFailure(f"{self.name}: {len(batch)} questions, {len(answers)} answers")
        return answers

    def _bring_back(self, loop: asyncio.AbstractEventLoop, done: Future[list[A | AlfredVoiceError]]) -> None:
        if not self._closed:
            loop.call_soon_threadsafe(self._receive, done.result())

    # On the loop

    def _receive(self, answers: list[A | AlfredVoiceError]) -> None:
        self._give_out(answers)
        self.kick()

    def _give_out(self, answers: list[A | AlfredVoiceError]) -> None:
        batch = self._batch
        seconds = self._clock.now() - self._started_at
        # In a batch of hundreds the oldest job tells enough.
        waited_s = self._started_at - min(job.queued_at for job in batch)
        self._metrics.record_batch(len(batch), seconds, waited_s, is_urgent=is_urgent(batch[0]))
        failures = sum(isinstance(answer, AlfredVoiceError) for answer in answers)
        if failures:
            self._metrics.record_failures(failures)
        self._deliver(batch, answers)
        self._after()
        # Only now: what is asked meanwhile waits for the next batch and does not begin one inside this one.
        self._batch = []

    async def close(self) -> None:
        """Take no more batches, and wait a little for the one that runs; nobody gets its answers."""
        self._closed = True
        self._cancel_timer()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        if self._running is not None:
            await asyncio.wait([asyncio.wrap_future(self._running)], timeout=CLOSE_WITHIN_S)


def _as_ours(lane: str, error: Exception) -> AlfredVoiceError:
    return error if isinstance(error, AlfredVoiceError) else EngineFailure(f"{lane}: {type(error).__name__}: {error}")
