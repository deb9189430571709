"""One bad row among many: how a lane finds it, and what that costs the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from alfred_voice.clock import SystemClock
from alfred_voice.errors import RowFailure
from alfred_voice.pipeline.work import Job
from alfred_voice.session.requests import DetectRequest
from tests.pipeline.lane_bench import Asked, Bench, Engine, Eventually, Make, fill


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
