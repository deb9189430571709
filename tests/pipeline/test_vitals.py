"""The figures that an operator watches: rows of the worst of each second, marks of what has changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.pipeline import vitals as vitals_module
from alfred_voice.pipeline.backpressure import LoadParts, Rung
from alfred_voice.pipeline.vitals import FIGURES, Vitals


FRAME = np.zeros(320, np.int16)


class Watched:
    """The vitals of a real pipeline whose ticks a test makes."""

    def __init__(self, house: Any, clock: ManualClock) -> None:
        self.house = house
        self.clock = clock
        self.vitals: Vitals = house.coordinator._upkeep.vitals

    def tick(self, count: int = 1, *, load: float = 0.0, rung: Rung = Rung.NONE, sessions: int = 0) -> None:
        for _ in range(count):
            self.clock.advance(0.125)  # eight ticks are a second without any rounding
            self.vitals.note(LoadParts(real_time=load), rung, sessions)

    @property
    def last(self) -> dict[str, float]:
        """The newest row by its columns."""
        history = self.vitals.history
        return dict(zip(history.columns, history.rows_since(history.count - 1)[0].values, strict=True))


@pytest.fixture
async def watched(make_house: Callable[..., Awaitable[Any]], clock: ManualClock) -> Watched:
    house = await make_house(clock=clock)
    for task in house.coordinator._tasks:
        task.cancel()  # the test makes the ticks
    return Watched(house, clock)


async def test_a_second_makes_a_row_with_the_figures_and_a_column_for_each_lane(watched: Watched) -> None:
    watched.tick(7)
    assert watched.vitals.history.count == 0
    watched.tick()
    assert watched.vitals.history.count == 1
    assert watched.vitals.history.columns == (*FIGURES, "lane.vad", "lane.stt", "lane.turn", "lane.tts")
    watched.tick(16)
    assert watched.vitals.history.count == 3


async def test_a_row_tells_the_worst_of_its_second_and_the_next_one_forgets_it(watched: Watched) -> None:
    watched.tick(3, load=0.2, sessions=4)
    watched.tick(1, load=0.9, rung=Rung.RARE_PARTIALS, sessions=4)
    watched.tick(4, load=0.3, rung=Rung.NONE, sessions=5)
    assert (watched.last["load"], watched.last["rung"], watched.last["sessions"]) == (0.9, 2, 5)
    watched.tick(8, load=0.1)
    assert (watched.last["load"], watched.last["rung"]) == (0.1, 0)


async def test_waiting_frames_and_their_age_are_in_the_row_and_in_the_figures_of_now(watched: Watched) -> None:
    stream = watched.house.open()
    for _ in range(60):
        stream.put(FRAME)
    watched.clock.advance(0.4)
    meter = watched.house.coordinator._upkeep.meter
    meter.measure([stream], 0.0, watched.clock.now())
    watched.tick(8, sessions=1)
    waiting = stream.frames_queued

    assert waiting > 40
    assert watched.last["queue_frames"] == waiting
    assert watched.last["queue_age_ms"] == pytest.approx(400, abs=1)
    assert watched.vitals.describe()["queue"] == {"frames": waiting, "age_ms": 400.0}


async def test_a_lanes_factor_is_the_share_of_time_that_it_computes(watched: Watched) -> None:
    watched.tick(8)
    figures = watched.house.coordinator._dispatch.lane_metrics["stt"]
    figures.record_batch(2, 0.25, 0.0)
    watched.tick(8)

    assert watched.last["lane.stt"] == pytest.approx(0.25)
    assert watched.last["lane.vad"] == 0.0
    # Over the two seconds that are known, in the figures of now.
    assert watched.vitals.describe()["lanes"]["stt"]["real_time_factor"] == pytest.approx(0.125)
    watched.tick(8 * vitals_module.SPAN_ROWS)
    assert watched.vitals.describe()["lanes"]["stt"]["real_time_factor"] == 0.0


async def test_a_batch_that_takes_longer_than_a_row_counts_while_it_runs(watched: Watched) -> None:
    watched.tick(8)
    lane = watched.house.coordinator._dispatch.transcribe[""]
    began = watched.clock.now()
    lane._size, lane._thread._running, lane._started_at = 1, object(), began
    watched.tick(8)
    assert watched.last["lane.stt"] == pytest.approx(1.0)
    watched.tick(4)
    # It is done in the middle of a second; the rest of that nothing was computed.
    lane._size, lane._thread._running = 0, None
    lane._metrics.record_batch(1, watched.clock.now() - began, 0.0)
    watched.tick(4)
    assert watched.last["lane.stt"] == pytest.approx(0.5)


async def test_the_processors_time_is_told_in_percent_of_a_core(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Times:
        user, system = 0.0, 0.0

    monkeypatch.setattr("os.times", lambda: Times)
    watched.vitals._spent.clear()
    watched.vitals._spent.append(watched.vitals._spent_now())
    Times.user, Times.system = 0.5, 0.25
    watched.tick(8)

    assert watched.last["cpu_percent"] == pytest.approx(75)
    assert watched.vitals.describe()["cpu_percent"] == 75.0


async def test_a_change_of_the_rung_leaves_a_mark_that_says_why(watched: Watched) -> None:
    watched.tick(2, load=0.85, rung=Rung.SLOWER_PARTIALS)
    watched.tick(2, load=0.1)
    marks = watched.vitals.history.marks_since(0)

    assert [(mark.kind, mark.name) for mark in marks] == [("rung_up", "1"), ("rung_down", "0")]
    assert marks[0].text == "rung 0 to 1: load 85 %, most of it real_time"
    assert marks[0].at == pytest.approx(watched.clock.wall() - 3 * 0.125)


async def test_alerts_leave_marks_when_they_come_and_when_they_go(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    upkeep = house.coordinator._upkeep
    now = house.clock.now()
    lost = [3.0]
    upkeep.log_failures = lambda: lost[0]
    upkeep.tick(0.0, now)
    lost[0] = 9.0
    for second in range(3):
        upkeep.tick(0.0, now + 1 + second)
    for second in range(70):
        upkeep.tick(0.0, now + 5 + second)

    marks = [mark for mark in house.coordinator.history.marks_since(0) if mark.name == "logging"]
    assert [mark.kind for mark in marks] == ["alert_raised", "alert_cleared"]
    assert marks[0].text.startswith("alert logging raised: log records cannot be written: 6.0")


async def test_a_real_daemon_keeps_rows_by_itself(house: Any, eventually: Callable[..., Awaitable[None]]) -> None:
    house.open()
    await eventually(lambda: house.coordinator.history.count >= 2)
    row = house.coordinator.history.rows_since(0)[-1]
    assert abs(row.at - house.clock.wall()) < 30
    assert dict(zip(house.coordinator.history.columns, row.values, strict=True))["sessions"] == 1
