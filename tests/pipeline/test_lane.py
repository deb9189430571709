"""A lane with its real thread: batches out, answers back in order, and no fault of one job felt by another."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from alfred_voice.clock import ManualClock, SystemClock
from alfred_voice.errors import (
    AlfredVoiceError,
    EngineDown,
    EngineFailure,
    EngineFault,
    EngineRests,
    ModelMissing,
    RowFailure,
)
from alfred_voice.pipeline.lane import Lane
from alfred_voice.pipeline.lane_options import DOWN_PATIENCE_S, FAILURES_IN_A_ROW, PATIENCE_S, LaneOptions
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.trial import PartlyAnswered
from alfred_voice.pipeline.work import DetectQueue, Job
from alfred_voice.session.requests import DetectRequest


Make = Callable[..., Job[DetectRequest]]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Engine:
    """One engine of the lane, as the test wants it to be."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Bench:
    """A lane whose engines a test scripts, and what came out of it."""

    def __init__(self, clock: ManualClock, metrics: Metrics, max_batch: int = 3, timeout_s: float = 30.0) -> None:
        self.clock = clock
        self.queue = DetectQueue(max_batch=max_batch, deadline_ms=10.0)
        self.batches: list[list[int]] = []
        self.engines = [Engine(0)]
        self.threads: set[str] = set()
        self.got: list[tuple[int, Any]] = []
        self.came: list[list[int]] = []
        self.forgotten: list[int] = []
        self.probes = 0
        self.afters = 0
        self.poisoned: dict[int, Exception] = {}
        self.nonsense: set[int] = set()
        self.hanging: set[int] = set()
        self.broken: Exception | None = None
        self.raises = 0
        self.is_unsound = False
        self.unbuilt = 0
        self.is_mended_by_building = False
        self.gate = threading.Event()
        self.gate.set()
        self.let_go = threading.Event()
        self.figures = LaneMetrics("vad", metrics)
        self.lane = Lane[DetectRequest, int](
            "vad", self.queue, partial(Asked, self), self.engines[0], self._deliver, self._after, clock, self.figures,
            LaneOptions(timeout_s=timeout_s, build=self.build),
        )  # fmt: skip

    def build(self) -> Engine:
        if self.unbuilt:
            self.unbuilt -= 1
            raise ModelMissing("no such file")
        if self.is_mended_by_building:
            self.poisoned.clear()
        self.engines.append(Engine(len(self.engines)))
        return self.engines[-1]

    def work(self, jobs: Sequence[Job[DetectRequest]]) -> list[int]:
        self.gate.wait(5)
        self.threads.add(threading.current_thread().name)
        rows = [job.stream.row for job in jobs]
        self.batches.append(rows)
        if self.hanging & set(rows):
            self.let_go.wait(20)
        self._maybe_raise()
        for row in rows:
            if row in self.poisoned:
                raise self.poisoned[row]
        if self.nonsense & set(rows):
            raise PartlyAnswered(
                [row * 10 for row in rows],
                {place: EngineFault("nan") for place, row in enumerate(rows) if row in self.nonsense},
            )
        return [row * 10 for row in rows]

    def probe(self) -> None:
        self.probes += 1
        self._maybe_raise()
        if self.is_unsound:
            raise EngineFault("even so")

    def _maybe_raise(self) -> None:
        if self.raises:
            self.raises -= 1
            raise RuntimeError("a fault in passing")
        if self.broken is not None:
            raise self.broken

    def _deliver(self, jobs: Sequence[Job[DetectRequest]], answers: Sequence[int | AlfredVoiceError]) -> None:
        self.got += [(job.stream.row, answer) for job, answer in zip(jobs, answers, strict=True)]
        self.came.append([job.stream.row for job in jobs])

    def _after(self) -> None:
        self.afters += 1

    def has_answered(self, count: int) -> bool:
        return len(self.got) == count

    @property
    def rows(self) -> list[int]:
        return [row for row, _ in self.got]


class Asked:
    """The work of the bench's lane with one engine."""

    def __init__(self, bench: Bench, engine: Engine) -> None:
        self.engine = engine
        self._bench = bench

    def __call__(self, jobs: Sequence[Job[DetectRequest]]) -> list[int]:
        return self._bench.work(jobs)

    def probe(self) -> None:
        self._bench.probe()

    def forget(self, jobs: Sequence[Job[DetectRequest]]) -> None:
        self._bench.forgotten += [job.stream.row for job in jobs]

    def longest_s(self, jobs: int) -> float:
        return 0.0


@pytest.fixture
async def bench(clock: ManualClock, metrics: Metrics) -> AsyncIterator[Bench]:
    bench = Bench(clock, metrics)
    yield bench
    bench.gate.set()
    bench.let_go.set()
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


# One bad row


@pytest.fixture
async def wide(clock: ManualClock, metrics: Metrics) -> AsyncIterator[Callable[..., Bench]]:
    """Makes benches with room for larger batches, or less patience."""
    benches: list[Bench] = []

    def make(max_batch: int = 64, timeout_s: float = 30.0) -> Bench:
        benches.append(Bench(clock, metrics, max_batch, timeout_s))
        return benches[-1]

    yield make
    for bench in benches:
        bench.gate.set()
        bench.let_go.set()
        await bench.lane.close()


def fill(bench: Bench, detect_job: Make, speaker: Callable[..., Any], rows: Sequence[int]) -> list[Any]:
    speakers = [speaker(row) for row in rows]
    for each in speakers:
        bench.lane.put(detect_job(each, bench.clock.now()))
    bench.lane.kick()
    return speakers


@pytest.mark.parametrize("size", [2, 4, 16, 64])
@pytest.mark.parametrize("place", ["first", "last", "middle"])
async def test_one_bad_row_is_found_by_halving_and_costs_the_others_few_calls(
    wide: Callable[..., Bench],
    detect_job: Make,
    speaker: Callable[..., Any],
    eventually: Eventually,
    size: int,
    place: str,
) -> None:
    bench = wide()
    bad = {"first": 0, "last": size - 1, "middle": size // 2}[place]
    bench.poisoned[bad] = ValueError("cannot bear it")
    fill(bench, detect_job, speaker, range(size))
    await eventually(lambda: len(bench.got) == size)
    answers = dict(bench.got)
    assert isinstance(answers.pop(bad), RowFailure)
    assert answers == {row: row * 10 for row in range(size) if row != bad}
    calls = len(bench.batches) + bench.probes
    print(f"{size} rows, the {place} one bad: {calls} calls")  # noqa: T201 - shown by -s
    assert calls <= 2 * math.log2(size) + 2
    # Whoever is well has been answered before the bad row's last try.
    assert bench.got[-1][0] == bad
    assert (bench.figures.rows_failed, bench.figures.failures, bench.figures.restarts) == (1, 1, 0)
    assert (bench.figures.jobs, bench.figures.batches) == (size, 1)
    assert bench.forgotten == [bad]


@pytest.mark.parametrize("size", [4, 16])
async def test_what_a_bad_row_costs_the_others_is_shown(
    wide: Callable[..., Bench], detect_job: Make, speaker: Callable[..., Any], eventually: Eventually, size: int
) -> None:
    """With a recogniser's prices: 20 ms for a call and 5 ms for each row. Only what cannot vary is asserted."""

    class Priced(Asked):
        def __call__(self, jobs: Sequence[Job[DetectRequest]]) -> list[int]:
            answers = super().__call__(jobs)
            SystemClock().sleep(0.02 + 0.005 * len(jobs))
            return answers

    times: dict[bool, list[float]] = {}
    for is_disturbed in (False, True):
        bench = wide()
        bench.lane.replace(partial(Priced, bench), Engine(1))
        if is_disturbed:
            bench.poisoned[size // 2] = ValueError("cannot bear it")
        came: list[float] = []
        begun = SystemClock().now()
        bench.lane._deliver = lambda jobs, answers, begun=begun, came=came: came.extend(  # type: ignore[misc]
            SystemClock().now() - begun for _ in jobs
        )
        fill(bench, detect_job, speaker, range(size))
        await eventually(lambda came=came: len(came) == size)  # type: ignore[misc]
        times[is_disturbed] = came
    mean_ms = {is_disturbed: 1000 * sum(came) / size for is_disturbed, came in times.items()}
    print(f"{size} rows: {mean_ms[False]:.0f} ms, one bad: {mean_ms[True]:.0f} ms on average, "  # noqa: T201
          f"{1000 * times[True][-2]:.0f} ms for the last of the others")  # fmt: skip
    assert times[True] == sorted(times[True])


async def test_half_of_the_others_have_their_answer_after_three_calls(
    wide: Callable[..., Bench], detect_job: Make, speaker: Callable[..., Any], eventually: Eventually
) -> None:
    bench = wide()
    bench.poisoned[0] = ValueError("cannot bear it")
    fill(bench, detect_job, speaker, range(16))
    await eventually(lambda: len(bench.got) == 16)
    assert [len(rows) for rows in bench.batches[:3]] == [16, 8, 8]
    assert bench.came[0] == list(range(8, 16))
    assert [len(rows) for rows in bench.came] == [8, 4, 2, 1, 1]


async def test_nonsense_in_one_answer_costs_that_row_alone_and_the_others_nothing(
    wide: Callable[..., Bench], detect_job: Make, speaker: Callable[..., Any], eventually: Eventually
) -> None:
    bench = wide()
    bench.nonsense = {3}
    fill(bench, detect_job, speaker, range(8))
    await eventually(lambda: len(bench.got) == 8)
    assert bench.batches == [list(range(8)), [3]]
    assert bench.came == [[0, 1, 2, 4, 5, 6, 7], [3]]
    assert isinstance(bench.got[-1][1], RowFailure)
    assert str(bench.got[-1][1]) == "nan"


async def test_a_fault_in_passing_costs_nobody_anything(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.raises = 1
    ask(1)
    await eventually(lambda: bench.got)
    assert bench.got == [(1, 10)]
    assert bench.probes == 1
    assert (bench.figures.restarts, bench.figures.rows_failed) == (0, 0)


async def test_a_lonely_row_is_to_blame_when_the_engine_still_answers_a_probe(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.poisoned[1] = ValueError("cannot bear it")
    ask(1)
    await eventually(lambda: bench.got)
    assert isinstance(bench.got[0][1], RowFailure)
    assert (bench.probes, bench.batches) == (1, [[1], [1]])
    assert len(bench.engines) == 1


async def test_a_row_that_fails_after_all_others_had_their_answers_is_blamed_only_after_a_probe(
    bench: Bench, ask: Callable[..., Any], eventually: Eventually
) -> None:
    bench.poisoned[2] = ValueError("cannot bear it")
    ask(1, 2)
    await eventually(lambda: len(bench.got) == 2)
    assert (bench.probes, bench.batches) == (1, [[1, 2], [1], [2]])
    # Had the engine been gone, the row would have been tried with the next one.
    bench.is_unsound = True
    ask(3, 2)
    await eventually(lambda: len(bench.engines) > 1)


# A broken engine


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
