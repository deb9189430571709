"""The pace of a sender, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from alfred_voice.client.pacing import PaceRecord, paced
from alfred_voice.clock import ManualClock


class Sleeper:
    """Moves the clock instead of waiting, and keeps what it was asked for."""

    def __init__(self, clock: ManualClock, *, oversleeps_s: float = 0.0) -> None:
        self.clock = clock
        self.oversleeps_s = oversleeps_s
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if seconds > 0:
            self.clock.advance(seconds + self.oversleeps_s)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(100.0)


async def test_frames_come_unchanged_and_in_order(clock: ManualClock) -> None:
    assert [n async for n in paced(range(5), 0.02, clock=clock, sleep=Sleeper(clock))] == [0, 1, 2, 3, 4]


async def test_the_first_frame_leaves_at_once_and_each_other_at_its_moment(clock: ManualClock) -> None:
    moments = [clock.now() async for _ in paced(range(4), 0.25, clock=clock, sleep=Sleeper(clock))]

    assert moments == pytest.approx([100.0, 100.25, 100.5, 100.75])


async def test_a_sleep_that_takes_too_long_does_not_make_the_next_frames_later(clock: ManualClock) -> None:
    sleeper = Sleeper(clock, oversleeps_s=0.003)
    moments = [clock.now() async for _ in paced(range(101), 0.02, clock=clock, sleep=sleeper)]

    assert moments[-1] == pytest.approx(100.0 + 100 * 0.02 + 0.003)


async def test_time_that_the_taker_spends_is_taken_from_the_wait(clock: ManualClock) -> None:
    sleeper = Sleeper(clock)
    async for _ in paced(range(3), 0.1, clock=clock, sleep=sleeper):
        clock.advance(0.06)

    assert sleeper.asked == pytest.approx([0.0, 0.04, 0.04])


async def test_after_a_stall_the_overdue_frames_leave_at_once_and_the_rest_on_time(clock: ManualClock) -> None:
    moments = []
    async for n in paced(range(8), 0.1, clock=clock, sleep=Sleeper(clock)):
        moments.append(clock.now())
        if n == 1:
            clock.advance(0.35)

    assert moments == pytest.approx([100.0, 100.1, 100.45, 100.45, 100.45, 100.5, 100.6, 100.7])


async def test_the_record_tells_each_frames_moment_and_the_worst_lateness(clock: ManualClock) -> None:
    record = PaceRecord()
    async for n in paced(range(4), 0.1, record=record, clock=clock, sleep=Sleeper(clock)):
        if n == 0:
            clock.advance(0.25)

    assert record.frames == 4
    assert record.started_s == 100.0
    assert record.due_s(3) == pytest.approx(100.3)
    assert record.worst_lateness_s == pytest.approx(0.15)


async def test_an_interval_of_zero_never_waits_but_always_yields(clock: ManualClock) -> None:
    sleeper = Sleeper(clock)
    record = PaceRecord()
    assert [n async for n in paced("abc", 0, record=record, clock=clock, sleep=sleeper)] == ["a", "b", "c"]

    assert sleeper.asked == [0.0, 0.0, 0.0]
    assert record.worst_lateness_s == 0.0


async def test_an_asynchronous_source_is_taken_frame_by_frame(clock: ManualClock) -> None:
    async def microphone() -> AsyncIterator[bytes]:
        for n in range(3):
            clock.advance(0.02)
            yield bytes([n])

    sleeper = Sleeper(clock)
    assert [f async for f in paced(microphone(), 0.02, clock=clock, sleep=sleeper)] == [b"\0", b"\1", b"\2"]
    assert sleeper.asked == pytest.approx([0.0, 0.0, 0.0])


async def test_nothing_gives_nothing(clock: ManualClock) -> None:
    record = PaceRecord()
    nothing: list[bytes] = []
    assert [n async for n in paced(nothing, 0.02, record=record, clock=clock, sleep=Sleeper(clock))] == []
    assert record.frames == 0
    with pytest.raises(ValueError, match="nothing has been sent"):
        record.due_s(0)


async def test_a_negative_interval_is_refused(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        await anext(paced([1], -0.1, clock=clock))


async def test_the_machines_clock_is_used_when_none_is_given() -> None:
    record = PaceRecord()
    assert [n async for n in paced([1, 2], 0.001, record=record)] == [1, 2]
    assert record.started_s is not None
