"""Real time and a burst."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.pipeline.allowance import FRAMES_A_SECOND, Allowance


def test_a_burst_may_come_at_once_and_no_more() -> None:
    allowance = Allowance(100, now=10.0)
    assert allowance.delay_s(100, 10.0) == 0.0
    allowance.take(100, 10.0)
    assert allowance.delay_s(1, 10.0) == pytest.approx(1 / FRAMES_A_SECOND)


def test_real_time_may_come_for_ever_with_a_little_to_spare() -> None:
    allowance = Allowance(10, now=0.0)
    for frame in range(50 * 60):
        now = frame / 50
        assert allowance.delay_s(1, now) == 0.0
        allowance.take(1, now)


def test_twice_real_time_comes_to_be_held_back() -> None:
    allowance = Allowance(50, now=0.0)
    taken = 0
    while not allowance.delay_s(1, taken / 100):
        allowance.take(1, taken / 100)
        taken += 1
    assert taken == pytest.approx(50 * 2, rel=0.1), "one frame in two is too much"


def test_silence_saves_up_no_more_than_the_burst() -> None:
    allowance = Allowance(50, now=0.0)
    assert allowance.delay_s(50, 1e6) == 0.0
    allowance.take(50, 1e6)
    assert allowance.delay_s(1, 1e6) > 0.0


def test_more_than_the_burst_may_be_taken_when_all_of_it_is_there() -> None:
    allowance = Allowance(10, now=0.0)
    assert allowance.delay_s(96, 0.0) == 0.0
    allowance.take(96, 0.0)
    assert allowance.delay_s(1, 0.0) == pytest.approx(87 / FRAMES_A_SECOND)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 60)), max_size=60), st.integers(1, 200))
def test_who_waits_as_long_as_told_never_takes_more_than_real_time_and_a_burst(
    wishes: list[tuple[float, int]], burst: int
) -> None:
    allowance, now, taken = Allowance(burst, now=0.0), 0.0, 0
    for pause, frames in wishes:
        now += pause
        wanted = min(frames, burst)
        now += allowance.delay_s(wanted, now)
        allowance.take(wanted, now)
        taken += wanted
        assert taken <= burst + now * FRAMES_A_SECOND + 1e-6


def test_a_clock_that_stands_still_or_jumps_back_gives_nothing_away() -> None:
    allowance = Allowance(5, now=100.0)
    allowance.take(5, 100.0)
    assert allowance.delay_s(1, 50.0) > 0.0
    assert allowance.delay_s(1, 100.0) > 0.0
