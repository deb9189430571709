from __future__ import annotations

import pytest

from alfred_voice.pipeline.partial_pace import MEASURE_S, SLOWEST, PartialPace


class Lane:
    """A lane that is busy for some share of every half second."""

    def __init__(self) -> None:
        self.pace = PartialPace(10.0)
        self.now = 10.0
        self.busy_s = 0.0

    def work(self, share: float, times: int = 1) -> list[bool]:
        """Whether the factor has changed, each time."""
        changed = []
        for _ in range(times):
            self.now += MEASURE_S
            self.busy_s += share * MEASURE_S
            changed.append(self.pace.update(self.busy_s, self.now))
        return changed


@pytest.fixture
def lane() -> Lane:
    return Lane()


def test_an_idle_lane_leaves_partials_as_configured(lane: Lane) -> None:
    assert lane.work(0.0, 10) == [False] * 10
    assert lane.pace.factor == 1.0


@pytest.mark.parametrize("share", [0.71, 1.0, 1.6])
def test_a_busy_lane_makes_them_rarer_until_they_are_of_no_use(lane: Lane, share: float) -> None:
    factors = []
    for _ in range(20):
        lane.work(share)
        factors.append(lane.pace.factor)
    assert factors[0] > 1.0
    assert factors == sorted(factors)
    assert factors[-1] == SLOWEST
    assert lane.work(share) == [False], "nothing has changed any more"


def test_between_busy_and_easy_nothing_changes(lane: Lane) -> None:
    lane.work(0.9, 3)
    factor = lane.pace.factor
    assert lane.work(0.6, 20) == [False] * 20
    assert lane.pace.factor == factor


def test_an_easy_lane_brings_them_back(lane: Lane) -> None:
    lane.work(1.0, 20)
    changed = lane.work(0.3, 40)
    assert lane.pace.factor == 1.0
    assert changed[0]
    assert not changed[-1]


def test_partials_come_back_more_slowly_than_they_went(lane: Lane) -> None:
    lane.work(1.0, 4)
    worst = lane.pace.factor
    lane.work(0.1, 4)
    assert 1.0 < lane.pace.factor < worst


def test_looks_that_follow_each_other_too_soon_are_not_counted(lane: Lane) -> None:
    lane.now += MEASURE_S / 10
    assert not lane.pace.update(100.0, lane.now)
    assert lane.pace.factor == 1.0
    assert lane.pace.busy_share == 0.0


def test_the_share_is_that_of_the_last_half_second(lane: Lane) -> None:
    lane.work(1.0)
    lane.work(0.25)
    assert lane.pace.busy_share == pytest.approx(0.25)
    assert lane.pace.describe() == {"interval_factor": pytest.approx(1.14, abs=0.01), "lane_busy_share": 0.25}


def test_a_model_of_the_whole_settles_where_the_lane_is_not_full() -> None:
    # Partials need 1.5 seconds of work a second at the usual interval, finals 0.1.
    lane = Lane()
    for _ in range(60):
        lane.work(min(1.0, 0.1 + 1.5 / lane.pace.factor))
    settled = 0.1 + 1.5 / lane.pace.factor
    assert 0.45 < settled < 0.75
