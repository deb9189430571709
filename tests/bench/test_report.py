"""Reports: what people read, what programs read, and when a target counts as reached."""

from __future__ import annotations

import json
import math

import pytest

from alfred_voice.bench.report import Axis, Check, Column, Curve, Report, Table


TABLE = Table(
    "Cost",
    (Column("engine", "engine"), Column("batch", "batch"), Column("us", "each", "us", 2)),
    ({"engine": "fast", "batch": 1, "us": 17.256}, {"engine": "slower", "batch": 64, "us": 118.0}),
    "Lower is better.",
)


def report(*checks: Check, curves: tuple[Curve, ...] = ()) -> Report:
    return Report("vad", "alfred-voice bench vad", {"cores": "2 of 2", "python": "3.11"}, (TABLE,), curves, checks)


def test_a_table_has_words_to_the_left_and_numbers_to_the_right() -> None:
    assert TABLE.text().splitlines() == [
        "Cost",
        "engine  batch  each (us)",
        "fast        1      17.26",
        "slower     64     118.00",
        "Lower is better.",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(1.25, "1.2", id="a float has the digits of its column"),
        pytest.param(7, "7", id="a whole number has none"),
        pytest.param("x", "x", id="a word stays"),
        pytest.param(None, "-", id="nothing"),
        pytest.param(math.nan, "-", id="no number"),
    ],
)
def test_a_cell_is_shown_by_its_kind(value: float | str | None, shown: str) -> None:
    assert Column("k", "title").show(value) == shown


def test_a_row_may_lack_a_column() -> None:
    table = Table("T", (Column("a", "a"), Column("b", "b")), ({"a": 1},))

    assert table.text().splitlines()[-1] == "1  -"
    assert table.to_json()["rows"] == [{"a": 1, "b": None}]


def test_a_table_without_rows_has_its_headings() -> None:
    assert Table("T", (Column("a", "a", "ms"),), ()).text() == "T\na (ms)"


@pytest.mark.parametrize(
    ("value", "at_most", "holds"),
    [
        pytest.param(20.0, True, True, id="at the limit"),
        pytest.param(20.1, True, False, id="above it"),
        pytest.param(19.9, False, False, id="below a lower limit"),
        pytest.param(20.0, False, True, id="at a lower limit"),
        pytest.param(math.nan, True, False, id="not measured"),
        pytest.param(math.nan, False, False, id="not measured, lower limit"),
    ],
)
def test_a_target_is_reached_on_its_side_of_the_limit(value: float, at_most: bool, holds: bool) -> None:
    assert Check("window", value, 20.0, "us", at_most).holds is holds


def test_a_target_is_told_in_one_line() -> None:
    assert Check("window", 17.25, 20.0, "us").text() == "ok      window: 17.25 us, at most 20 us"
    assert Check("words", 0.5, 5.0, "", at_most=False).text() == "MISSED  words: 0.5, at least 5"
    assert Check("age", math.nan, 40.0, "ms").text() == "MISSED  age: nothing measured, at most 40 ms"


def test_a_report_reads_from_the_command_to_the_machine() -> None:
    blocks = report(Check("window", 1.0, 2.0, "us")).text().split("\n\n")

    assert blocks[0] == "vad: alfred-voice bench vad"
    assert blocks[1] == TABLE.text()
    assert blocks[2].splitlines()[0] == "Targets"
    assert blocks[3] == "cores   2 of 2\npython  3.11\n"


def test_a_report_without_targets_has_no_heading_for_them() -> None:
    assert "Targets" not in report().text()
    assert report().holds


def test_a_report_holds_when_all_its_targets_do() -> None:
    good, bad = Check("a", 1.0, 2.0, ""), Check("b", 3.0, 2.0, "")

    assert report(good, good).holds
    assert not report(good, bad).holds


def test_json_has_everything_and_no_number_that_json_lacks() -> None:
    curve = Curve("c", Axis("sessions"), Axis("age", "ms"), {"p99": ((1.0, 2.0), (2.0, math.inf))}, 40.0)
    found = report(Check("a", math.nan, 2.0, "ms"), curves=(curve,)).to_json()

    read = json.loads(json.dumps(found, allow_nan=False))
    assert read == found
    assert (read["benchmark"], read["command"], read["holds"]) == ("vad", "alfred-voice bench vad", False)
    assert read["machine"] == {"cores": "2 of 2", "python": "3.11"}
    assert read["tables"][0]["columns"][2] == {"key": "us", "title": "each", "unit": "us"}
    assert read["tables"][0]["rows"][0] == {"engine": "fast", "batch": 1, "us": 17.256}
    assert read["curves"][0]["series"] == {"p99": [[1.0, 2.0], [2.0, None]]}
    assert read["curves"][0]["limit"] == 40.0
    assert read["checks"][0]["value"] is None


def test_json_keeps_of_a_row_only_what_has_a_column() -> None:
    table = Table("T", (Column("a", "a"),), ({"a": 1, "internal": 2},))

    assert table.to_json()["rows"] == [{"a": 1}]


def test_an_axis_names_its_unit() -> None:
    assert Axis("age", "ms").heading == "age (ms)"
    assert Axis("sessions").heading == "sessions"
