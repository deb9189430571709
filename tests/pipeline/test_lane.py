"""A lane with its real thread: batches out, answers back in order, and no fault of one job felt by another."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.errors import AlfredVoiceError, EngineFailure, EngineRests, ModelMissing
from alfred_voice.pipeline.lane import Lane
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.work import DetectQueue, Job
from alfred_voice.session.requests import DetectRequest


Make = Callable[..., Job[DetectRequest]]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Bench:
    """A lane whose engine a test scripts, and what came out of it."""

    def __init__(self, clock: ManualClock, metrics: Metrics) -> None:
        self.clock = clock
        self.queue = DetectQueue(max_batch=3, deadline_ms=10.0)
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.got: list[tuple[int, Any]] = []
        self.afters = 0
        self.poisoned: dict[int, Exception] = {}
        self.broken: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.figures = LaneMetrics("vad", metrics)
        self.lane = Lane[DetectRequest, int](
            "vad", self.queue, self._work, self._deliver, self._after, clock, self.figures
        )

    def _work(self, jobs: Sequence[Job[DetectRequest]]) -> list[int]:
        self.gate.wait(5)
        self.threads.add(threading.current_thread().name)
        rows = [job.stream.row for job in jobs]
        self.batches.append(rows)
        if self.broken is not None:
            raise self.broken
        for row in rows:
            if row in self.poisoned:
                raise self.poisoned[row]
        return [row * 10 for row in rows]

    def _deliver(self, jobs: Sequence[Job[DetectRequest]], answers: Sequence[int | AlfredVoiceError]) -> None:
        self.got += [(job.stream.row, answer) for job, answer in zip(jobs, answers, strict=True)]

    def _after(self) -> None:
        self.afters += 1

    @property
    def rows(self) -> list[int]:
        return [row for row, _ in self.got]


@pytest.fixture
async def bench(clock: ManualClock, metrics: Metrics) -> AsyncIterator[Bench]:
    bench = Bench(clock, metrics)
    yield bench
    bench.gate.set()
    await bench.lane.close()


@pytest.fixture
def ask(bench: Bench, detect_job: Make, speaker: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Puts a job for each row into the lane and kicks it; returns the speakers."""

    def put(*rows: int, kick: bool = True) -> list[Any]:
        speakers = [speaker(row) for row in rows]
        for each in speakers:
            bench.lane.put(detect_job(each, bench.clock.now()))
        if kick:
            bench.lane.kick()
        return speakers

    return put


async def test_answers_come_back_in_order_from_the_lanes_own_thread(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    ask(1, 2, 3)
    busy = [bench.lane.is_busy]
    await eventually(lambda: bench.got)
    busy.append(bench.lane.is_busy)
    assert busy == [True, False]
    assert bench.got == [(1, 10), (2, 20), (3, 30)]
    assert bench.batches == [[1, 2, 3]]
    assert bench.afters == 1
    (name,) = bench.threads
    assert name.startswith("lane-vad")


async def test_what_comes_while_the_engine_works_goes_in_the_next_batch(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.gate.clear()
    ask(1)
    for row in range(2, 7):
        ask(row)
    assert len(bench.queue) == 5
    bench.gate.set()
    await eventually(lambda: len(bench.got) == 6)
    assert bench.batches == [[1], [2, 3, 4], [5, 6]]
    assert bench.rows == [1, 2, 3, 4, 5, 6]


async def test_a_batch_that_is_not_due_goes_at_its_deadline(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.queue.speakers = 2
    ask(1)
    assert not bench.lane.is_busy
    bench.clock.advance(0.010)
    await eventually(lambda: bench.rows == [1])


async def test_company_that_comes_before_the_deadline_goes_with_it(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.queue.speakers = 2
    ask(1)
    ask(2)
    await eventually(lambda: len(bench.got) == 2)
    assert bench.batches == [[1, 2]]


async def test_a_job_that_the_engine_cannot_bear_fails_alone(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.poisoned[2] = EngineFailure("not that one")
    ask(1, 2, 3)
    await eventually(lambda: len(bench.got) == 3)
    assert bench.rows == [1, 2, 3]
    assert bench.got[0] == (1, 10)
    assert bench.got[1] == (2, bench.poisoned[2])
    assert bench.got[2] == (3, 30)
    assert bench.batches == [[1, 2, 3], [1], [2], [3]]
    assert (bench.figures.jobs, bench.figures.batches, bench.figures.failures) == (3, 1, 1)


async def test_every_job_of_a_broken_engine_gets_the_failure_and_the_lane_goes_on_afterwards(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.broken = EngineFailure("no")
    ask(1, 2, 3)
    await eventually(lambda: len(bench.got) == 3)
    assert [answer for _, answer in bench.got] == [bench.broken] * 3
    assert bench.afters == 1
    bench.broken = None
    ask(4)
    await eventually(lambda: len(bench.got) == 4)
    assert bench.got[-1] == (4, 40)
    assert bench.figures.failures == 3


async def test_a_failure_goes_on_to_what_waits_without_a_further_kick(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.gate.clear()
    bench.poisoned[1] = EngineFailure("no")
    ask(1)
    ask(2, kick=False)
    bench.gate.set()
    await eventually(lambda: bench.rows == [1, 2])
    assert bench.got[1] == (2, 20)


async def test_a_strange_exception_becomes_an_engine_failure_that_names_it_and_is_logged(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    bench.broken = ZeroDivisionError("of all things")
    ask(1)
    await eventually(lambda: bench.got)
    error = bench.got[0][1]
    assert isinstance(error, EngineFailure)
    assert str(error) == "vad: ZeroDivisionError: of all things"
    (record,) = [record for record in caplog.records if record.getMessage() == "engine_failed"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is bench.broken


async def test_a_failure_that_an_engine_tells_is_one_line_without_its_place(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    bench.broken = EngineFailure("the server is down")
    ask(1)
    await eventually(lambda: bench.got)
    (record,) = [record for record in caplog.records if record.getMessage() == "engine_failed"]
    assert record.exc_info is None
    assert record.__dict__["error"] == "the server is down"


async def test_an_engine_that_rests_is_not_told_with_every_question(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    bench.broken = EngineRests("left alone for a while")
    for row in range(3):
        ask(row, kick=row == 2)
    await eventually(lambda: len(bench.got) == 3)
    assert {type(answer) for _, answer in bench.got} == {EngineRests}
    assert [record.getMessage() for record in caplog.records if record.name.endswith("lane")] == []


async def test_our_own_errors_are_delivered_as_they_are(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.broken = ModelMissing("gone")
    ask(1)
    await eventually(lambda: bench.got)
    assert bench.got == [(1, bench.broken)]


async def test_too_few_answers_are_a_failure_and_never_somebody_elses(
    clock: ManualClock, metrics: Metrics, detect_job: Make, eventually: Eventually
) -> None:
    got: list[Any] = []
    queue = DetectQueue(4, 0.0)
    lane = Lane[DetectRequest, str](
        "vad",
        queue,
        lambda jobs: ["one"] if len(jobs) > 1 else [],
        lambda jobs, answers: got.extend(answers),
        lambda: None,
        clock,
        LaneMetrics("vad", metrics),
    )
    for _ in range(2):
        lane.put(detect_job())
    lane.kick()
    await eventually(lambda: len(got) == 2)
    assert [str(answer) for answer in got] == ["vad: 1 questions, 0 answers"] * 2
    await lane.close()


async def test_jobs_of_sessions_that_have_ended_are_let_go(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    speakers = ask(1, 2, 3, 4, kick=False)
    for gone in speakers[:3]:
        gone.ended = True
    bench.lane.kick()
    await eventually(lambda: bench.got)
    assert bench.batches == [[4]]
    assert bench.rows == [4]


async def test_only_ended_sessions_waiting_leave_the_lane_free(bench: Bench, ask: Callable[..., Any]) -> None:
    speakers = ask(*range(7), kick=False)
    for gone in speakers:
        gone.ended = True
    bench.lane.kick()
    assert not bench.lane.is_busy
    assert len(bench.queue) == 0
    assert bench.batches == []


async def test_a_row_that_was_given_on_is_never_twice_in_a_batch(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    (gone,) = ask(5, kick=False)
    gone.ended = True
    ask(5)
    await eventually(lambda: bench.got)
    assert bench.batches == [[5]]


async def test_waits_and_times_are_noted(bench: Bench, ask: Callable[..., Any], eventually: Eventually) -> None:
    ask(1, 2, kick=False)
    bench.clock.advance(0.25)
    bench.lane.kick()
    await eventually(lambda: bench.got)
    described = bench.figures.describe()
    assert described["wait_ms"] == {"count": 1, "p50": 250.0, "p95": 250.0, "max": 250.0}
    assert described["batch_size"] == {"count": 1, "p50": 2, "p95": 2, "max": 2}


async def test_a_closed_lane_takes_nothing_waits_for_what_runs_and_delivers_none_of_it(
    bench: Bench, ask: Callable[..., Any]
) -> None:
    bench.gate.clear()
    ask(1)
    ask(2, kick=False)
    closing = asyncio.create_task(bench.lane.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    bench.gate.set()
    await asyncio.wait_for(closing, 5)
    bench.lane.kick()
    await asyncio.sleep(0.01)
    assert bench.batches == [[1]]
    assert bench.got == []


async def test_a_lane_that_was_never_used_closes_at_once_and_twice(bench: Bench) -> None:
    await bench.lane.close()
    await bench.lane.close()
    assert not bench.lane.is_busy
