"""The one place in: frames in order, marks between them, and what may be dropped."""

from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.pipeline.inbox import Arrived, FlushMark, Inbox, StopMark


SILENCE = np.zeros(320, np.int16)


def arrived(level: int = 0, at: float = 0.0) -> Arrived:
    return Arrived(np.full(320, level, np.int16), at)


def filled(*items: Arrived | FlushMark | StopMark, most: int = 10) -> Inbox:
    inbox = Inbox(most)
    for item in items:
        inbox.put(item)
    return inbox


def test_frames_and_marks_come_out_as_they_went_in() -> None:
    items: list[Arrived | FlushMark | StopMark] = [arrived(), FlushMark(), arrived(), StopMark("idle")]
    inbox = filled(*items)
    assert inbox.frames == 2
    assert [inbox.take() for _ in items] == items
    assert not inbox
    assert inbox.frames == 0


def test_only_frames_count_against_the_bound() -> None:
    inbox = filled(FlushMark(), arrived(), FlushMark(), most=2)
    room = [inbox.has_room()]
    inbox.put(arrived())
    room.append(inbox.has_room())
    for _ in range(2):
        inbox.take()
        room.append(inbox.has_room())
    assert room == [True, False, False, True]


@pytest.mark.parametrize(
    ("items", "is_mark"),
    [([], False), ([arrived(), FlushMark()], False), ([FlushMark()], True), ([StopMark("stop"), arrived()], True)],
    ids=["empty", "frame", "flush", "stop"],
)
def test_a_mark_can_be_seen_coming(items: list[Arrived | FlushMark | StopMark], is_mark: bool) -> None:
    assert filled(*items).next_is_mark is is_mark


def test_a_mark_alone_is_something_that_waits() -> None:
    assert filled(FlushMark())
    assert not filled()


def test_the_oldest_frame_tells_how_long_has_been_waited() -> None:
    assert filled().waited_s(9.0) == 0.0
    assert filled(FlushMark()).waited_s(9.0) == 0.0
    assert filled(FlushMark(), arrived(at=4.0), arrived(at=6.0)).waited_s(9.0) == 5.0


@pytest.mark.parametrize(
    ("items", "keep", "dropped"),
    [
        ([arrived()] * 5, 2, 3),
        ([arrived()] * 5, 5, 0),
        ([arrived()] * 5, 9, 0),
        ([arrived(32), arrived(-32), arrived(33), arrived()], 0, 2),
        ([arrived(5000), *[arrived()] * 4], 0, 0),
        ([arrived(), FlushMark(), arrived()], 0, 1),
        ([FlushMark(), arrived()], 0, 0),
        ([], 0, 0),
    ],
    ids=[
        "all but some",
        "just enough",
        "less than kept",
        "up to sound",
        "sound first",
        "up to a mark",
        "a mark first",
        "empty",
    ],
)
def test_only_quiet_frames_before_all_else_are_dropped(
    items: list[Arrived | FlushMark | StopMark], keep: int, dropped: int
) -> None:
    inbox = filled(*items)
    before = inbox.frames
    assert inbox.drop_quiet(keep, below_dbfs=-60.0) == dropped
    assert inbox.frames == before - dropped


def test_what_counts_as_quiet_is_the_askers_to_say() -> None:
    inbox = filled(arrived(), arrived())
    assert inbox.drop_quiet(0, below_dbfs=-200.0) == 0
    assert inbox.drop_quiet(0, below_dbfs=0.0) == 2


def test_the_oldest_go_first_up_to_the_next_mark_whatever_is_in_them() -> None:
    inbox = filled(arrived(), arrived(), arrived(), FlushMark(), arrived())
    assert inbox.drop(2) == 2
    assert inbox.drop(5) == 1
    assert inbox.drop(5) == 0
    assert inbox.frames == 1
    assert inbox.next_is_mark


def test_what_is_cleared_is_counted() -> None:
    inbox = filled(arrived(), FlushMark(), arrived())
    assert inbox.clear() == 2
    assert not inbox
    assert inbox.frames == 0
    assert inbox.clear() == 0
