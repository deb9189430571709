"""A lane with its real thread: batches out, answers back in order, and no fault of one job felt by another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from alfred_voice.errors import EngineFailure, EngineRests, ModelMissing, RowFailure
from tests.pipeline.lane_bench import Bench, Eventually


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


async def test_a_job_that_the_engine_refuses_deliberately_fails_alone(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.poisoned[2] = EngineFailure("not that one")
    ask(1, 2, 3)
    await eventually(lambda: len(bench.got) == 3)
    assert dict(bench.got) == {1: 10, 2: bench.poisoned[2], 3: 30}
    assert bench.batches == [[1, 2, 3], [1], [2], [3]]
    assert (bench.figures.jobs, bench.figures.batches, bench.figures.failures) == (3, 1, 1)
    assert bench.probes == bench.figures.restarts == bench.figures.rows_failed == 0


async def test_every_job_of_an_engine_that_says_no_is_told_so_and_the_lane_goes_on_afterwards(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.broken = EngineFailure("no")
    ask(1, 2, 3)
    await eventually(lambda: len(bench.got) == 3)
    assert [answer for _, answer in bench.got] == [bench.broken] * 3
    bench.broken = None
    ask(4)
    await eventually(lambda: len(bench.got) == 4)
    assert bench.got[-1] == (4, 40)
    assert bench.figures.failures == 3
    assert bench.figures.restarts == 0


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


async def test_a_strange_exception_becomes_a_row_failure_that_names_it_and_is_logged(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    bench.poisoned[1] = ZeroDivisionError("of all things")
    ask(1)
    await eventually(lambda: bench.got)
    error = bench.got[0][1]
    assert isinstance(error, RowFailure)
    assert str(error) == "vad: ZeroDivisionError: of all things"
    (record,) = [record for record in caplog.records if record.getMessage() == "row_failed"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is bench.poisoned[1]


async def test_a_failure_that_an_engine_tells_is_one_line_without_its_place(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    bench.poisoned[1] = EngineFailure("the server is down")
    ask(1)
    await eventually(lambda: bench.got)
    (record,) = [record for record in caplog.records if record.getMessage() == "engine_failed"]
    assert record.exc_info is None
    assert record.__dict__["error"] == "the server is down"


async def test_an_engine_that_rests_is_not_told_with_every_question(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    bench.poisoned |= dict.fromkeys(range(3), EngineRests("left alone for a while"))
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
