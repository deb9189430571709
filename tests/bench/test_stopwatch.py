"""Time and processor time of calls, and percentiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.bench.stopwatch import Effort, Stopwatch, own_cpu_s, percentile
from alfred_voice.clock import ManualClock


class Work:
    """Takes what it is told to, on a clock and a processor that only it moves."""

    def __init__(self, *takes: tuple[float, float]) -> None:
        self.clock = ManualClock()
        self.cpu = 5.0
        self.takes = list(takes)

    def __call__(self) -> str:
        wall, cpu = self.takes.pop(0)
        self.clock.advance(wall)
        self.cpu += cpu
        return "done"

    @property
    def watch(self) -> Stopwatch:
        return Stopwatch(self.clock, lambda: self.cpu)


def test_a_call_is_timed_and_its_answer_passed_on() -> None:
    work = Work((0.5, 0.25))
    answer, effort = work.watch.time(work)
    assert answer == "done"
    assert effort == Effort(0.5, 0.25)


@pytest.mark.parametrize(("wall", "cpu", "busy"), [(0.5, 0.25, 0.25), (0.5, 0.9, 0.5)], ids=["disturbed", "threads"])
def test_a_thread_is_busy_no_longer_than_the_clock_and_the_processor_say(wall: float, cpu: float, busy: float) -> None:
    assert Effort(wall, cpu).busy_s == busy


def test_runs_that_warm_up_do_not_count() -> None:
    work = Work((100.0, 100.0), (1.0, 0.5), (9.0, 4.0), (2.0, 1.0))
    assert work.watch.median(work, runs=3) == Effort(2.0, 1.0)
    assert not work.takes


def test_the_processor_time_of_this_process_grows_as_it_computes() -> None:
    before = own_cpu_s()
    while own_cpu_s() - before < 0.001:
        sum(range(1000))
    assert own_cpu_s() > before


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(float(np.percentile(values, percent)), rel=1e-9, abs=1e-6)


def test_of_nothing_there_is_no_percentile() -> None:
    assert np.isnan(percentile([], 50))
