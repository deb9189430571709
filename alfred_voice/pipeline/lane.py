"""One engine, one thread, one queue. A batch is handed over as a whole; nothing else changes threads.

An engine that fails is made anew while its jobs wait: see :mod:`alfred_voice.pipeline.trial` for how the lane finds
out who is to blame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic, TypeVar

from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, EngineDown, EngineFault, EngineRests
from alfred_voice.models.engine import Closing
from alfred_voice.pipeline.engine_call import Work, close_aside, outcome_of
from alfred_voice.pipeline.lane_options import (
    DOWN_PATIENCE_S,
    EXPIRY_TICK_S,
    FAILURES_IN_A_ROW,
    MOST_ENGINES,
    MOST_HANGS,
    LaneOptions,
)
from alfred_voice.pipeline.metrics import LaneMetrics
from alfred_voice.pipeline.rebuild import Rebuild
from alfred_voice.pipeline.trial import Settled, Trial, blamed
from alfred_voice.pipeline.watched_thread import WatchedThread
from alfred_voice.pipeline.work import Job, JobQueue, is_urgent
from alfred_voice.session.requests import Request


R = TypeVar("R", bound=Request)
A = TypeVar("A")

log = logging.getLogger(__name__)

_USUAL = LaneOptions()


class Lane(Generic[R, A]):
    """Takes batches from its queue whenever its thread is free, and brings the answers back to the loop.

    Args:
        name: for logs, metrics and the thread.
        queue: what waits, and in which order it goes.
        make_work: what is done with an engine; called anew for each engine that the lane gets.
        engine: the first one.
        deliver: called on the loop with jobs and, for each of them, the answer or the error that it got.
        after: called on the loop when answers have been delivered.
    """

    def __init__(
        self,
        name: str,
        queue: JobQueue[R],
        make_work: Callable[[Any], Work[R, A]],
        engine: Any,
        deliver: Callable[[Sequence[Job[R]], Sequence[A | AlfredVoiceError]], None],
        after: Callable[[], None],
        clock: Clock,
        metrics: LaneMetrics,
        options: LaneOptions = _USUAL,
    ) -> None:
        self.name = name
        self.queue = queue
        self._make_work = make_work
        self._work: Work[R, A] | None = make_work(engine)
        self._deliver = deliver
        self._after = after
        self._clock = clock
        self._metrics = metrics
        self._options = options
        self._build = options.build
        self._thread: WatchedThread[Sequence[A] | Exception] | None = None
        if options.threaded:
            self._thread = WatchedThread(f"lane-{name}", self._receive, self._on_hang)
        self._batch: list[Job[R]] = []
        self._size = 0
        self._is_urgent = True
        self._trial: Trial[R] | None = None
        self._asked: Sequence[Job[R]] = ()
        self._started_at = self._engine_s = self._waited_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tries: dict[Job[R], int] = {}
        self._hangs: dict[Job[R], int] = {}
        self._blamed_streams: set[Any] = set()
        self._restarts = 0
        self._rebuild: Rebuild[Work[R, A]] | None = None
        self._failed_at = 0.0
        self._successor: Work[R, A] | None = None
        self._closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a batch is with the engine, or waits for it to be made anew."""
        return bool(self._batch)

    def engaged_s(self, now: float) -> float:
        """How long the engine has computed for the batch that it has now; 0 without one."""
        if not self._size:
            return 0.0
        is_running = self._thread is not None and self._thread.is_running
        return self._engine_s + (now - self._started_at if is_running else 0.0)

    @property
    def state(self) -> str:
        """``up``, ``restarting``, or ``down`` when the first attempt at that has failed."""
        return self._metrics.state

    def give_time(self, timeout_s: float) -> None:
        """Give up calls of the engine after so long, from the next one on."""
        self._options = replace(self._options, timeout_s=timeout_s)

    def put(self, job: Job[R]) -> None:
        """Let a job wait; call :meth:`kick` when all that have come at this moment are in."""
        self.queue.add(job)

    def kick(self) -> None:
        """Hand over a batch if the thread is free and one is due; otherwise make sure that it happens."""
        while not self._batch and self._rebuild is None and not self._closed and len(self.queue):
            self._batch = self._due()
            if not self._batch:
                return
            self._size, self._engine_s = len(self._batch), 0.0
            self._is_urgent = is_urgent(self._batch[0])
            # In a batch of hundreds the oldest job tells enough.
            self._waited_s = self._clock.now() - min(job.queued_at for job in self._batch)
            self._pursue(self._batch)

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

    # Asking the engine

    def _pursue(self, jobs: Sequence[Job[R]] | None) -> None:
        """Ask about ``jobs``, none being the probe, and about what follows from the answer, until nothing does."""
        while jobs is not None and self._work is not None:
            self._asked = jobs
            self._started_at = self._clock.now()
            if self._thread is not None:
                timeout_s = self._options.limit_s(self._work.longest_s(len(jobs)))
                self._thread.call(partial(outcome_of, self._work, jobs), timeout_s)
                return
            jobs = self._heed(outcome_of(self._work, jobs))

    def _receive(self, outcome: Sequence[A] | Exception) -> None:
        self._pursue(self._heed(outcome))
        self.kick()

    # What comes of it

    def _heed(self, outcome: Sequence[A] | Exception) -> list[Job[R]] | None:
        """Take what came of asking; returns what is asked next."""
        self._engine_s += self._clock.now() - self._started_at
        if self._trial is None and not isinstance(outcome, Exception):
            # Nearly always.
            self._give_out(self._batch, outcome)
            self._finish()
            return None
        if self._trial is None:
            self._trial = Trial([self._batch])
            self._trial.next()
            # Who lets an engine rest has said so, once.
            if self._size > 1 and not isinstance(outcome, EngineRests):
                log.warning("batch_divided", extra={"lane": self.name, "batch": self._size, "error": str(outcome)})
        if isinstance(outcome, AlfredVoiceError) and not isinstance(outcome, EngineRests) and len(self._asked) == 1:
            log.error("engine_failed", extra={"lane": self.name, "code": outcome.code, "error": str(outcome)})
        self._settle(self._trial.receive(self._asked, outcome))
        following = self._trial.next()
        if following is None:
            self._conclude(self._trial)
        return following

    def _conclude(self, trial: Trial[R]) -> None:
        """All has been asked: the rows that are left are to blame, or the engine is."""
        suspects = trial.suspects
        in_a_row = self._blamed_streams | {job.stream for job in suspects}
        if trial.is_broken or (len(self._batch) == len(suspects) and len(in_a_row) >= FAILURES_IN_A_ROW):
            for job in suspects:
                self._tries[job] = self._tries.get(job, 0) + 1
            self._restart(list(suspects), trial.error or EngineFault("it does not answer the probe"))
            return
        if suspects:
            self._blamed_streams = in_a_row
            self._blame(suspects)
        self._finish()

    def _blame(self, suspects: dict[Job[R], Exception]) -> None:
        for job, error in suspects.items():
            log.error("row_failed", exc_info=error, extra={"lane": self.name, "session": job.stream.session_id})
        self._metrics.record_rows_failed(len(suspects))
        if self._work is not None:
            self._work.forget(list(suspects))
        self._settle([(job, blamed(self.name, error)) for job, error in suspects.items()])

    def _settle(self, settled: Settled[R]) -> None:
        if settled:
            self._give_out([job for job, _ in settled], [answer for _, answer in settled])

    def _give_out(self, jobs: Sequence[Job[R]], answers: Sequence[A | AlfredVoiceError]) -> None:
        failures = 0
        if self._trial is not None or self._rebuild is not None:
            failures = sum(isinstance(answer, AlfredVoiceError) for answer in answers)
            if failures:
                self._metrics.record_failures(failures)
        if failures < len(answers) and (self._restarts or self._blamed_streams):
            self._restarts, self._blamed_streams = 0, set()
        self._deliver(jobs, answers)
        self._after()

    def _finish(self) -> None:
        """The batch is done; what was asked meanwhile waits for the next one."""
        if self._size:
            self._metrics.record_batch(self._size, self._engine_s, self._waited_s, is_urgent=self._is_urgent)
            self._size = 0
        if self._tries or self._hangs:
            self._tries, self._hangs = {}, {}
        self._trial = None
        # Or the last batch of a busy hour would be kept, sessions and all, until somebody speaks again.
        self._batch, self._asked = [], ()
        if self._successor is not None:
            self._succeed()

    # When the engine fails

    def _on_hang(self, after_s: float) -> None:
        """Give up a call that takes too long, and with it the thread and the engine that are in it."""
        hung, trial = self._asked, self._trial
        self._metrics.record_timeout()
        log.error("engine_timeout", extra={"lane": self.name, "batch": len(hung), "after_s": after_s})
        self._engine_s += after_s
        for job in hung:
            self._hangs[job] = self._hangs.get(job, 0) + 1
        error, self._trial = EngineFault(f"{self.name}: no answer within {after_s:g} s"), trial or Trial([])
        worn: dict[Job[R], Exception] = {job: error for job in hung if self._hangs[job] >= MOST_HANGS}
        if worn:
            self._blame(worn)
        others = [] if trial is None else trial.left
        self._restart([*others, *(job for job in hung if job not in worn)], error)

    def _restart(self, jobs: Sequence[Job[R]], error: Exception) -> None:
        """Make the engine anew while ``jobs`` and all that come wait."""
        worn = [job for job in jobs if self._tries.get(job, 0) >= MOST_ENGINES]
        log.error("engine_restarting", exc_info=error, extra={"lane": self.name, "waiting": len(jobs)})
        self._failed_at = self._clock.now()
        self._metrics.state = "restarting"
        self._blamed_streams = set()
        # What was raised knows where, and so would keep the engine.
        self._trial = None
        build = self._give_back()
        self._rebuild = Rebuild(self.name, build, self._on_built, self._on_not_built, self._restarts)
        self._restarts += 1
        if self._restarts > 1:
            self._on_not_built()
        self._expire_later()
        self._give_up(worn, f"{self.name}: {error}")
        self._batch = [job for job in jobs if job not in worn]

    def _give_back(self) -> Callable[[], Work[R, A]]:
        """Let go of the engine, before there is another one: there may not be memory for two. Returns what makes it."""
        work, self._work = self._work, None
        if work is None:
            raise AssertionError("an engine that is being made anew cannot fail")
        successor, self._successor = self._successor, None
        build, make_work = self._build, self._make_work
        if successor is not None:
            close_aside(self.name, work.engine)
            return lambda: successor
        if build is None:
            return partial(make_work, work.engine)
        close_aside(self.name, work.engine)
        return lambda: make_work(build())

    def _on_built(self, work: Work[R, A]) -> None:
        self._rebuild = None
        self._cancel_timer()
        self._work = work
        self._metrics.record_restart()
        log.warning("engine_restarted", extra={"lane": self.name, "waiting": len(self._batch) + len(self.queue)})
        waiting = self._batch = [job for job in self._batch if not job.stream.ended]
        if waiting:
            # Whoever has hung stands alone, so that he holds up nobody else again.
            lonely = [[job] for job in waiting if job in self._hangs]
            together = [job for job in waiting if job not in self._hangs]
            self._trial = Trial([*([together] if together else []), *lonely])
            self._pursue(self._trial.next())
        else:
            self._finish()
        self.kick()

    def _on_not_built(self) -> None:
        if self._metrics.state != "down":
            self._metrics.state = "down"
            log.error("engine_down", extra={"lane": self.name})

    def _expire_later(self) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(EXPIRY_TICK_S, self._expire)

    def _expire(self) -> None:
        """Let those go with an error that have waited long enough for the engine."""
        self._timer = None
        before = self._clock.now() - DOWN_PATIENCE_S
        if self._failed_at <= before:
            held, self._batch = self._batch, []
            self._give_up([*held, *self.queue.expire(before)], f"{self.name}: the engine could not be started again")
        self._expire_later()

    def _give_up(self, jobs: Sequence[Job[R]], why: str) -> None:
        self._settle([(job, EngineDown(why)) for job in jobs])

    # Another engine

    def replace(
        self, make_work: Callable[[Any], Work[R, A]], engine: Any, build: Callable[[], Any] | None = None
    ) -> None:
        """Go on with another engine from the next batch on; the one that is there is closed when it has finished.

        On the loop, like all of the lane.

        Args:
            make_work: as for the lane itself; it may depend on the engine.
            engine: the lane's own from now on.
            build: makes such an engine anew after it has failed.
        """
        work = make_work(engine)
        if self._successor is not None:
            close_aside(self.name, self._successor.engine)
        self._make_work, self._build = make_work, build
        if self._rebuild is not None:
            self._rebuild.cancel()
            self._on_built(work)
            return
        self._successor = work
        if not self._batch:
            self._succeed()

    def _succeed(self) -> None:
        if self._successor is None or self._work is None:
            return
        old = self._work.engine
        self._work, self._successor = self._successor, None
        close_aside(self.name, old)
        log.info("engine_replaced", extra={"lane": self.name})

    @property
    def works(self) -> list[Work[R, A]]:
        """What is done with the present engine, and with the next one if it stands ready."""
        return [work for work in (self._work, self._successor) if work is not None]

    def close_engine(self) -> None:
        """Give back what the engine holds from outside, so that nobody waits for it."""
        for work in self.works:
            if isinstance(work.engine, Closing):
                work.engine.close()

    async def close(self) -> None:
        """Take no more batches, and wait a little for the one that runs; nobody gets its answers."""
        self._closed = True
        self._cancel_timer()
        if self._rebuild is not None:
            self._rebuild.cancel()
        if self._thread is not None:
            await self._thread.close()
