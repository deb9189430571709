"""An engine that is broken, that hangs, or is replaced: its lane goes on, and loses nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.errors import EngineDown, RowFailure
from alfred_voice.pipeline.lane import Lane
from alfred_voice.pipeline.lane_options import DOWN_PATIENCE_S, FAILURES_IN_A_ROW, PATIENCE_S, LaneOptions
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.work import Job
from alfred_voice.session.requests import DetectRequest
from tests.pipeline.lane_bench import Asked, Bench, Engine, Eventually, Make, fill


@pytest.mark.parametrize("faults", range(2, 6))
async def test_an_engine_that_raises_again_and_again_is_made_anew_and_nothing_is_lost(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.FIRST_PAUSE_S", 0.01)
    bench.raises = faults
    ask(1)
    await eventually(lambda: bench.got)
    assert bench.got == [(1, 10)]
    assert bench.figures.restarts == len(bench.engines) - 1 >= 1
    assert [engine.closed for engine in bench.engines] == [True] * bench.figures.restarts + [False]
    assert bench.lane.state == "up"


async def test_when_every_row_of_several_fails_the_engine_is_to_blame(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.raises = 5
    ask(1, 2, 3)
    await eventually(lambda: len(bench.got) == 3)
    assert sorted(bench.got) == [(1, 10), (2, 20), (3, 30)]
    assert (bench.figures.restarts, bench.figures.rows_failed, bench.figures.failures) == (1, 0, 0)
    assert bench.probes == 0


async def test_what_comes_while_the_engine_is_made_anew_waits_for_it(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.raises, bench.unbuilt = 2, 1
    ask(1)
    await eventually(lambda: bench.lane.state != "up")
    ask(2)
    assert bench.got == []
    assert bench.lane.is_busy
    await eventually(lambda: len(bench.got) == 2)
    assert bench.got == [(1, 10), (2, 20)]


async def test_three_sessions_that_fail_in_a_row_are_the_engines_fault_whatever_the_probe_says(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    rows = range(1, FAILURES_IN_A_ROW + 1)
    bench.poisoned = dict.fromkeys(rows, ValueError("cannot bear it"))
    bench.is_mended_by_building = True
    for row in rows:
        ask(row)
        await eventually(partial(bench.has_answered, row))
    assert [isinstance(answer, RowFailure) for _, answer in bench.got] == [True, True, False]


async def test_one_session_that_fails_again_and_again_does_not_restart_the_engine(
    bench: Bench, detect_job: Make, speaker: Callable[..., Any], eventually: Eventually
) -> None:
    bench.poisoned[1] = ValueError("cannot bear it")
    one = speaker(1)
    for turn in range(FAILURES_IN_A_ROW + 2):
        bench.lane.put(detect_job(one, bench.clock.now()))
        bench.lane.kick()
        await eventually(partial(bench.has_answered, turn + 1))
    assert bench.figures.restarts == 0


async def test_answers_in_between_clear_the_engine_of_suspicion(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.poisoned = {row: ValueError("cannot bear it") for row in (1, 3, 5, 7)}
    for count, row in enumerate(range(1, 9), 1):
        ask(row)
        await eventually(partial(bench.has_answered, count))
    assert (bench.figures.rows_failed, bench.figures.restarts) == (4, 0)


async def test_an_engine_that_no_restart_mends_costs_its_jobs_an_error_in_the_end(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.FIRST_PAUSE_S", 0.01)
    bench.broken = RuntimeError("always")
    ask(1, 2)
    await eventually(lambda: len(bench.got) == 2)
    assert [type(answer) for _, answer in bench.got] == [EngineDown] * 2
    bench.broken = None
    ask(3)
    await eventually(lambda: len(bench.got) == 3)
    assert bench.got[-1] == (3, 30)
    assert bench.lane.state == "up"


async def test_a_lane_whose_engine_cannot_be_built_says_that_it_is_down_and_lets_nobody_wait_for_ever(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr("alfred_voice.pipeline.lane.EXPIRY_TICK_S", 0.01)
    bench.raises, bench.unbuilt = 2, 10**6
    ask(1)
    await eventually(lambda: bench.lane.state == "down")
    bench.clock.advance(DOWN_PATIENCE_S / 2)
    ask(2)
    await asyncio.sleep(0.05)
    assert bench.got == []
    bench.clock.advance(DOWN_PATIENCE_S / 2)
    await eventually(lambda: bench.got)
    # The newer one may still wait.
    assert [(row, type(answer)) for row, answer in bench.got] == [(1, EngineDown)]
    bench.unbuilt = 0
    await eventually(lambda: len(bench.got) == 2)
    assert bench.got[1] == (2, 20)
    assert bench.lane.state == "up"
    assert [record.getMessage() for record in caplog.records].count("engine_down") == 1


async def test_jobs_of_sessions_that_end_meanwhile_are_let_go(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.raises, bench.unbuilt = 5, 1
    speakers = ask(1, 2, 3)
    await eventually(lambda: bench.lane.state != "up")
    speakers[0].ended = speakers[1].ended = True
    await eventually(lambda: bench.got)
    assert bench.rows == [3]
    assert bench.batches[-1] == [3]


async def test_an_engine_that_cannot_be_built_is_used_again_as_it_is(
    clock: ManualClock, metrics: Metrics, detect_job: Make, speaker: Callable[..., Any], eventually: Eventually
) -> None:
    bench = Bench(clock, metrics)
    bench.lane = Lane[DetectRequest, int](
        "vad", bench.queue, partial(Asked, bench), bench.engines[0], bench._deliver, bench._after, clock, bench.figures
    )
    bench.raises = 3
    fill(bench, detect_job, speaker, [1, 2])
    await eventually(lambda: len(bench.got) == 2)
    assert sorted(bench.got) == [(1, 10), (2, 20)]
    assert not bench.engines[0].closed
    await bench.lane.close()


# An engine that hangs


async def test_a_call_that_hangs_is_given_up_and_its_jobs_go_to_a_fresh_engine(
    wide: Callable[..., Bench], detect_job: Make, speaker: Callable[..., Any], eventually: Eventually
) -> None:
    bench = wide(timeout_s=0.05)
    bench.hanging = {1}
    fill(bench, detect_job, speaker, [1, 2])
    await eventually(lambda: bench.figures.timeouts)
    bench.hanging = set()
    await eventually(lambda: len(bench.got) == 2)
    assert sorted(bench.got) == [(1, 10), (2, 20)]
    # Each alone, so that one that hangs again holds up nobody else.
    assert bench.batches == [[1, 2], [1], [2]]
    assert (bench.figures.restarts, bench.figures.timeouts) == (1, 1)
    assert bench.engines[0].closed
    # What the thread says that was left behind is heard by nobody.
    bench.let_go.set()
    await asyncio.sleep(0.02)
    assert len(bench.got) == 2


async def test_a_row_that_hangs_twice_has_failed_and_the_others_have_not(
    wide: Callable[..., Bench], detect_job: Make, speaker: Callable[..., Any], eventually: Eventually
) -> None:
    bench = wide(timeout_s=0.05)
    bench.hanging = {2}
    fill(bench, detect_job, speaker, [1, 2, 3])
    await eventually(lambda: len(bench.got) == 3)
    answers = dict(bench.got)
    assert isinstance(answers[2], RowFailure)
    assert "no answer within 0.05 s" in str(answers[2])
    assert (answers[1], answers[3]) == (10, 30)
    await eventually(lambda: bench.lane.state == "up")
    fill(bench, detect_job, speaker, [4])
    await eventually(lambda: len(bench.got) == 4)
    assert (bench.figures.timeouts, bench.figures.rows_failed) == (2, 1)


async def test_a_thread_that_hangs_does_not_hold_up_the_lanes_end(
    wide: Callable[..., Bench], detect_job: Make, speaker: Callable[..., Any], eventually: Eventually
) -> None:
    bench = wide(timeout_s=0.05)
    bench.hanging = {1}
    fill(bench, detect_job, speaker, [1])
    await eventually(lambda: bench.figures.timeouts == 2)
    await asyncio.wait_for(bench.lane.close(), 2)


def test_an_engine_that_has_a_time_limit_of_its_own_is_waited_for_as_long() -> None:
    options = LaneOptions(timeout_s=30.0)
    assert [options.limit_s(longest_s) for longest_s in (0.0, 10.0, 41.0)] == [30.0, 30.0, 41.0 + PATIENCE_S]


# Another engine


async def test_the_batch_that_runs_is_finished_with_the_old_engine_and_the_next_goes_to_the_new_one(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    used: list[int] = []

    class Noting(Asked):
        def __call__(self, jobs: Sequence[Job[DetectRequest]]) -> list[int]:
            used.append(self.engine.number)
            return super().__call__(jobs)

    bench.lane.replace(partial(Noting, bench), Engine(10))
    bench.gate.clear()
    ask(1)
    bench.lane.replace(partial(Noting, bench), Engine(11))
    ask(2)
    bench.gate.set()
    await eventually(lambda: len(bench.got) == 2)
    assert bench.got == [(1, 10), (2, 20)]
    assert used == [10, 11]
    assert bench.figures.restarts == 0


async def test_the_old_engine_is_closed_but_not_before_its_batch_is_done(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.gate.clear()
    ask(1)
    new = Engine(1)
    bench.lane.replace(partial(Asked, bench), new, lambda: Engine(2))
    await asyncio.sleep(0.01)
    assert not bench.engines[0].closed
    bench.gate.set()
    await eventually(lambda: bench.engines[0].closed)
    assert not new.closed
    assert [work.engine for work in bench.lane.works] == [new]


async def test_a_new_engine_takes_over_at_once_where_the_old_one_has_failed(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.raises, bench.unbuilt = 2, 10**6
    ask(1)
    await eventually(lambda: bench.lane.state == "down")
    bench.lane.replace(partial(Asked, bench), Engine(7))
    await eventually(lambda: bench.got)
    assert bench.got == [(1, 10)]
    assert bench.lane.state == "up"


async def test_an_engine_that_was_replaced_before_it_was_used_is_closed(bench: Bench, ask: Callable[..., Any]) -> None:
    bench.gate.clear()
    ask(1)
    first, second = Engine(1), Engine(2)
    bench.lane.replace(partial(Asked, bench), first)
    bench.lane.replace(partial(Asked, bench), second)
    await asyncio.sleep(0.02)
    assert (first.closed, second.closed) == (True, False)


# All of it at once


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_goes_wrong_every_job_has_one_answer_and_the_lane_goes_on(
    wide: Callable[..., Bench], detect_job: Make, speaker: Callable[..., Any], eventually: Eventually, seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.LONGEST_PAUSE_S", 0.005)
    bench, chance = wide(max_batch=8, timeout_s=0.05), random.Random(seed)
    row = 0
    for _ in range(30):
        rows = range(row, row + chance.randrange(1, 12))
        row = rows.stop
        bad = [one for one in rows if chance.random() < 0.1]
        match chance.randrange(7):
            case 0:
                bench.poisoned |= dict.fromkeys(bad, ValueError("cannot bear it"))
            case 1:
                bench.nonsense |= set(bad)
            case 2:
                bench.raises = chance.randrange(6)
            case 3 if seed % 3 == 0:
                bench.hanging |= set(bad[:1])
            case 4:
                bench.unbuilt = chance.randrange(3)
            case 5:
                bench.lane.replace(
                    partial(Asked, bench), bench.build() if not bench.unbuilt else Engine(-1), bench.build
                )
            case _:
                pass
        fill(bench, detect_job, speaker, rows)
        await asyncio.sleep(chance.choice([0, 0.002]))
    await eventually(lambda: len(bench.got) >= row and not bench.lane.is_busy)
    assert sorted(bench.rows) == list(range(row))
    for one, answer in bench.got:
        faulty = one in bench.poisoned or one in bench.nonsense or one in bench.hanging
        # New faults in passing may follow the last ones so soon that they look like the row's own.
        faulty = faulty or "in passing" in str(answer)
        assert answer == one * 10 or isinstance(answer, EngineDown) or (faulty and isinstance(answer, RowFailure))
    bench.raises = bench.unbuilt = 0
    fill(bench, detect_job, speaker, [row])
    await eventually(lambda: len(bench.got) == row + 1)
    assert bench.got[-1] == (row, row * 10)
    assert bench.lane.state == "up"
    assert bench.figures.jobs == row + 1
