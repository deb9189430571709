"""The ring of rows: what is kept, what is told, and that it never grows."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.pipeline.history import MOST_MARKS, ROWS, History, Mark


def filled(rows: int, added: int) -> History:
    """A history of ``rows`` rows to which so many have been added: row n has n and 10 n, at n seconds."""
    history = History(("ones", "tens"), rows)
    for number in range(added):
        history.add(float(number), (number, 10 * number))
    return history


def test_a_row_comes_back_with_its_time_and_its_values() -> None:
    history = History(("load", "rung"))
    history.add(1_700_000_000.25, (0.123456, 2))

    (row,) = history.rows_since(0)

    assert (row.index, row.at, row.values) == (0, 1_700_000_000.25, [0.123, 2.0])


@given(st.integers(1, 8), st.integers(0, 30))
def test_the_newest_rows_are_kept_in_their_order(rows: int, added: int) -> None:
    history = filled(rows, added)
    kept = list(range(max(0, added - rows), added))

    told = history.describe()

    assert told["first"] == (kept[0] if kept else 0)
    assert told["at"] == [float(number) for number in kept]
    assert told["columns"] == {"ones": kept, "tens": [10 * number for number in kept]}
    assert [row.index for row in history.rows_since(0)] == kept
    assert history.count == added


@given(st.integers(0, 30), st.integers(0, 30))
def test_only_rows_that_are_new_are_told_again(before: int, after: int) -> None:
    history = filled(8, before)
    seen = history.count
    for number in range(before, before + after):
        history.add(float(number), (number, 0))

    indexes = [row.index for row in history.rows_since(seen)]

    assert indexes == list(range(before, before + after))[-8:]


def test_a_quarter_of_an_hour_takes_less_than_a_hundred_kilobytes_and_no_more_ever_after() -> None:
    history = History([f"column {number}" for number in range(18)])
    empty = history.nbytes
    for number in range(2 * ROWS):
        history.add(float(number), [number] * 18)

    assert ROWS == 15 * 60
    assert history.nbytes == empty < 100_000


def test_marks_are_told_once_each_and_the_oldest_give_way() -> None:
    history = filled(8, 1)
    for number in range(MOST_MARKS + 5):
        history.mark(Mark(float(number), "rung_up", str(number), "text"))
    seen = history.marked
    history.mark(Mark(1e6, "alert_raised", "load", "text"))

    assert [mark.name for mark in history.marks_since(seen)] == ["load"]
    assert len(history.marks_since(0)) == MOST_MARKS
    assert history.marks_since(history.marked) == []
    assert history.marked == MOST_MARKS + 6


def test_marks_are_described_as_far_back_as_the_rows_go() -> None:
    history = filled(4, 10)  # seconds 6 to 9
    for at in (5.0, 6.0, 9.5):
        history.mark(Mark(at, "rung_down", "0", "text"))

    assert [mark.at for mark in history.describe()["marks"]] == [6.0, 9.5]


def test_marks_from_before_the_first_row_are_described() -> None:
    history = History(("load",), 4)
    history.mark(Mark(0.5, "rung_up", "1", "text"))
    assert len(history.describe()["marks"]) == 1
    history.add(1.0, (0.0,))
    assert len(history.describe()["marks"]) == 1


def test_it_can_be_written_as_json() -> None:
    history = filled(4, 2)
    history.mark(Mark(1.0, "alert_cleared", "load", "gone"))

    told = msgspec.json.decode(msgspec.json.encode(history.describe()))

    assert told["marks"] == [{"at": 1.0, "kind": "alert_cleared", "name": "load", "text": "gone"}]
