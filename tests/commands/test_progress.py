"""A pull on a terminal and off it."""

from __future__ import annotations

import io
import os
import shutil

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.commands.progress import Bar, Lines


MB = 1_000_000


def screen(written: str) -> list[str]:
    """What a terminal shows: a carriage return goes back to the beginning of the line, and later text covers it."""
    shown = []
    for line in written.split("\n"):
        cells: list[str] = []
        for drawn in line.split("\r"):
            cells[: len(drawn)] = drawn
        shown.append("".join(cells).rstrip())
    return shown


class Terminal:
    """A bar on a terminal of 80 columns, and a clock to move by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock(100.0)
        self.stream = io.StringIO()
        self.bar = Bar(self.stream, self.clock)

    @property
    def shown(self) -> list[str]:
        return screen(self.stream.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    return Terminal()


def test_the_bar_tells_share_size_rate_and_time_to_go(terminal: Terminal) -> None:
    terminal.bar.update("weights", 0, 80 * MB)
    assert terminal.shown == ["weights [------------------------]   0 %  0.0/80.0 MB"]
    terminal.clock.advance(2.0)
    terminal.bar.update("weights", 20 * MB, 80 * MB)
    assert terminal.shown == ["weights [######------------------]  25 %  20.0/80.0 MB  10.0 MB/s  0:06 left"]


def test_the_rate_counts_only_what_came_in_this_run(terminal: Terminal) -> None:
    terminal.bar.update("weights", 40 * MB, 80 * MB)
    terminal.clock.advance(1.0)
    terminal.bar.update("weights", 50 * MB, 80 * MB)
    assert terminal.shown[0].endswith("62 %  50.0/80.0 MB  10.0 MB/s  0:03 left")


def test_minutes_are_told_apart_from_seconds(terminal: Terminal) -> None:
    terminal.bar.update("weights", 0, 1000 * MB)
    terminal.clock.advance(1.0)
    terminal.bar.update("weights", 10 * MB, 1000 * MB)
    assert terminal.shown[0].endswith("1:39 left")


def test_a_complete_item_keeps_its_line_and_the_next_begins_below(terminal: Terminal) -> None:
    terminal.bar.update("a", 0, MB)
    terminal.clock.advance(1.0)
    terminal.bar.update("a", MB, MB)
    terminal.bar.update("b", 0, 2 * MB)
    assert terminal.shown == [
        "a [########################] 100 %  1.0/1.0 MB  1.0 MB/s",
        "b [------------------------]   0 %  0.0/2.0 MB",
    ]


def test_what_is_complete_at_once_gets_no_bar(terminal: Terminal) -> None:
    terminal.bar.update("a", MB, MB)
    assert terminal.shown == ["a: 1.0 MB", ""]


def test_a_shorter_line_covers_the_longer_one_before_it(terminal: Terminal) -> None:
    terminal.bar.update("a", 0, 200 * MB)
    terminal.clock.advance(1.0)
    terminal.bar.update("a", 100 * MB, 200 * MB)
    terminal.clock.advance(1.0)
    terminal.bar.update("a", 200 * MB, 200 * MB)
    assert terminal.shown == ["a [########################] 100 %  200.0/200.0 MB  100.0 MB/s", ""]


def test_it_draws_at_most_ten_times_a_second(terminal: Terminal) -> None:
    for done in range(1000):
        terminal.bar.update("a", done, 1000)
        terminal.clock.advance(0.001)
    assert terminal.stream.getvalue().count("\r") <= 11


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    terminal.bar.update("moonshine-tiny-en/decoder_model_merged.ort", 0, 300 * MB)
    terminal.clock.advance(1.0)
    terminal.bar.update("moonshine-tiny-en/decoder_model_merged.ort", 3 * MB, 300 * MB)
    assert max(len(line) for line in terminal.shown) < columns


def test_the_share_is_not_rounded_up_to_complete(terminal: Terminal) -> None:
    terminal.bar.update("a", 999, 1000)
    assert " 99 % " in terminal.shown[0]


def test_a_note_stands_on_its_own_line_in_full(terminal: Terminal) -> None:
    sentence = "Another process is at it; " * 5
    terminal.bar.update("a", 0, MB)
    terminal.bar.note(sentence)
    assert terminal.shown == [sentence.rstrip(), ""]


@pytest.mark.parametrize(("updates", "lines"), [(0, 1), (1, 2)])
def test_closing_leaves_the_cursor_on_a_fresh_line(terminal: Terminal, updates: int, lines: int) -> None:
    for _ in range(updates):
        terminal.bar.update("a", 0, MB)
    terminal.bar.close()
    terminal.bar.close()
    assert len(terminal.shown) == lines
    assert terminal.shown[-1] == ""


def test_off_a_terminal_each_item_gets_a_line_when_it_begins_and_when_it_is_complete() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.note("Fetching")
    for done in range(0, 4 * MB, MB):
        lines.update("archive", done, 4 * MB)
    lines.update("archive", 4 * MB, 4 * MB)
    lines.update("file", 2 * MB, 2 * MB)
    lines.close()
    assert stream.getvalue().splitlines() == [
        "Fetching",
        "archive: fetching 4.0 MB",
        "archive: 4.0 MB",
        "file: 2.0 MB",
    ]
