"""What a lane asks of its engine, and how whatever the engine does comes back as a value."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from alfred_voice.errors import EngineFault
from alfred_voice.models.engine import Closing
from alfred_voice.pipeline.engine_thread import EngineThread
from alfred_voice.pipeline.work import Job
from alfred_voice.session.requests import Request


R = TypeVar("R", bound=Request)
R_contra = TypeVar("R_contra", bound=Request, contravariant=True)
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)

log = logging.getLogger(__name__)


class Work(Protocol[R, A_co]):
    """What a lane does with its jobs, and the engine that it does it with."""

    engine: Any

    def __call__(self, jobs: Sequence[Job[R]]) -> Sequence[A_co]:
        """One answer for each job, in order. When it raises, no answer has been given, and no state has moved.

        Raises:
            PartlyAnswered: the engine answered nonsense to some.
        """
        ...

    def probe(self) -> None:
        """Ask the engine something that a sound one can answer; it raises what the engine raises."""
        ...

    def forget(self, jobs: Sequence[Job[R]]) -> None:
        """Let go of what there is of jobs that are given up."""
        ...

    def longest_s(self, jobs: int) -> float:
        """How long the engine may take over so many by its own rules; 0 where it knows none."""
        ...


def outcome_of(work: Work[R, A], jobs: Sequence[Job[R]]) -> Sequence[A] | Exception:
    """What comes of asking; in the lane's thread. Without jobs it is the probe."""
    try:
        if not jobs:
            work.probe()
            return ()
        answers = work(jobs)
    except Exception as error:  # noqa: BLE001  the border to the engine: whatever it raises is the jobs' answer
        return error
    if len(answers) != len(jobs):
        return EngineFault(f"{len(jobs)} questions, {len(answers)} answers")
    return answers


def given(engine: Any) -> Callable[[], Any]:
    """Makes what is there already."""
    return lambda: engine


def close_aside(lane: str, engine: Any) -> None:
    """Let an engine give back what it holds from outside; one that hangs may take its time over it."""
    if not isinstance(engine, Closing):
        return

    def run() -> None:
        try:
            engine.close()
        except Exception as error:
            log.warning("engine_not_closed", exc_info=error, extra={"lane": lane})

    thread = EngineThread(f"close-{lane}")
    thread.put(run)
    thread.end()
