"""Notes of a recording that is being transcribed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alfred_voice.files.notes import Notes
from alfred_voice.files.result import Segment, Timing, Transcription
from alfred_voice.results import Word


ABOUT = {"file": "a.wav", "bytes": 3}
ONE = Segment(1000.0, 2000.0, "One\u2028line.", 0.5, (Word("One", 1000.0, 1500.0, 0.9),))
TWO = Segment(3000.0, 4000.0, "Two.", 0.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.segments.jsonl"


def note(path: Path, *segments: Segment) -> None:
    with Notes(path, ABOUT, goes_on=False) as notes:
        for segment in segments:
            notes.add(segment)


def known(path: Path, about: dict[str, object] | None = None) -> list[Segment]:
    return Notes(path, about or ABOUT, goes_on=True).known


def test_what_was_noted_is_known_again(path: Path) -> None:
    note(path, ONE, TWO)
    notes = Notes(path, ABOUT, goes_on=True)
    assert notes.known == [ONE, TWO]
    assert notes.done_until_ms == 4000


def test_each_segment_is_in_the_file_at_once(path: Path) -> None:
    with Notes(path, ABOUT, goes_on=False) as notes:
        notes.add(ONE)
        assert known(path) == [ONE]


def test_going_on_keeps_what_is_there_and_adds_to_it(path: Path) -> None:
    note(path, ONE)
    with Notes(path, ABOUT, goes_on=True) as notes:
        notes.add(TWO)
    assert known(path) == [ONE, TWO]


def test_beginning_anew_forgets_what_is_there(path: Path) -> None:
    note(path, ONE)
    with Notes(path, ABOUT, goes_on=False) as notes:
        assert notes.known == []
        notes.add(TWO)
    assert known(path) == [TWO]


@pytest.mark.parametrize("left", range(1, 40, 3))
def test_a_line_that_was_not_finished_does_not_count(path: Path, left: int) -> None:
    note(path, ONE, TWO)
    path.write_bytes(path.read_bytes()[:-left])
    assert known(path) == [ONE]
    with Notes(path, ABOUT, goes_on=True) as notes:
        notes.add(TWO)
    assert known(path) == [ONE, TWO]


def test_notes_about_something_else_are_of_no_use(path: Path) -> None:
    note(path, ONE)
    assert known(path, {"file": "a.wav", "bytes": 4}) == []


@pytest.mark.parametrize("content", ["", "\n", "{}\n", "[1]\n", "nonsense", '{"type": "recording"}\n', "\x00" * 50])
def test_a_file_that_is_none_of_notes_knows_nothing(path: Path, content: str) -> None:
    path.write_text(content, "utf-8")
    assert known(path) == []


@pytest.mark.parametrize(
    "line",
    ["nonsense", "{}", '{"type": "segment"}', '{"type": "segment", "start_ms": "x"}', "[]", '{"type": "result"}'],
)
def test_nothing_counts_behind_a_line_that_is_no_segment(path: Path, line: str) -> None:
    note(path, ONE)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n" + json.dumps({"type": "segment", **TWO.as_fields()}) + "\n")
    assert known(path) == [ONE]


def test_the_end_tells_how_long_it_took(path: Path) -> None:
    with Notes(path, ABOUT, goes_on=False) as notes:
        notes.add(TWO)
        notes.finish(Transcription((TWO,), 10_000.0, timing=Timing(1.0, 2.0, 3.0, 5.0)))
    last = json.loads(path.read_text("utf-8").splitlines()[-1])
    assert last["type"] == "result"
    assert last["real_time_factor"] == 0.5
    assert last["timing"] == {"decode_s": 1.0, "detect_s": 2.0, "recognise_s": 3.0, "total_s": 5.0}
    assert "segments" not in last
    assert known(path) == [TWO]


@pytest.mark.parametrize(
    ("about", "other"),
    [
        (ABOUT, ""),
        ({**ABOUT, "bytes": 4}, "notes of another recording"),
        ({**ABOUT, "settings": "of another day"}, "notes of other settings"),
    ],
)
def test_notes_that_are_left_aside_say_why(path: Path, about: dict[str, object], other: str) -> None:
    note(path, ONE)
    assert Notes(path, about, goes_on=True).other == other


def test_where_there_are_no_notes_none_are_left_aside(path: Path) -> None:
    assert Notes(path, ABOUT, goes_on=True).other == ""


def test_notes_that_cannot_be_read_are_left_aside(path: Path) -> None:
    path.write_text("{", "utf-8")
    assert Notes(path, ABOUT, goes_on=True).other == "notes that cannot be read"
