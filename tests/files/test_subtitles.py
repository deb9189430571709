"""Segments as subtitles."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.files.result import Segment
from alfred_voice.files.subtitles import CUE_LINES, LINE_CHARS, SUBTITLES, cues_of, subrip, table, webvtt
from alfred_voice.results import Word


def segment(text: str, start_ms: float = 1000.0, end_ms: float = 3000.0) -> Segment:
    return Segment(start_ms, end_ms, text, 0.9)


LONG = segment("It was the best of times, it was the worst of times. It was the age of wisdom.", 0.0, 8000.0)


def test_a_short_segment_is_one_cue_of_one_line() -> None:
    (cue,) = cues_of(segment("Good morning."))
    assert (cue.start_ms, cue.end_ms, cue.lines) == (1000, 3000, ("Good morning.",))


def test_lines_end_with_a_clause_where_they_can() -> None:
    lines = [line for cue in cues_of(LONG) for line in cue.lines]
    assert lines == ["It was the best of times,", "it was the worst of times.", "It was the age of wisdom."]


def test_a_clause_that_ends_early_in_a_line_does_not_end_it() -> None:
    (cue,) = cues_of(segment("Yes, we were all going direct to heaven that day."))
    assert cue.lines == ("Yes, we were all going direct to heaven", "that day.")


def test_each_cue_has_its_share_of_the_time() -> None:
    first, second = cues_of(LONG)
    characters = [sum(map(len, cue.lines)) for cue in (first, second)]
    assert first.end_ms == second.start_ms == pytest.approx(8000 * characters[0] / sum(characters))
    assert (first.start_ms, second.end_ms) == (0, 8000)


def test_a_word_longer_than_a_line_stands_alone_and_whole() -> None:
    lines = [line for cue in cues_of(segment(f"see {'x' * 60} there")) for line in cue.lines]
    assert lines == ["see", "x" * 60, "there"]


def test_nothing_said_is_no_cue() -> None:
    assert cues_of(segment("")) == []
    assert "".join(subrip([segment(" ")])) == ""


@pytest.mark.parametrize(("chars", "lines"), [(0, 2), (42, 0)])
def test_a_cue_without_room_is_refused(chars: int, lines: int) -> None:
    with pytest.raises(ValueError, match="Expected lines"):
        cues_of(segment("hello"), chars, lines)


words = st.lists(st.text("abcdefgh.,", min_size=1, max_size=50), min_size=1, max_size=60)


@given(words, st.integers(5, 60), st.integers(1, 4))
def test_all_words_are_shown_in_order_in_lines_that_fit(said: list[str], chars: int, cue_lines: int) -> None:
    cues = cues_of(segment(" ".join(said)), chars, cue_lines)
    assert " ".join(line for cue in cues for line in cue.lines).split() == said
    for cue in cues:
        assert 1 <= len(cue.lines) <= cue_lines
        assert all(len(line) <= chars or " " not in line for line in cue.lines)
    assert cues[0].start_ms == 1000
    assert cues[-1].end_ms == pytest.approx(3000)
    for before, after in pairwise(cues):
        assert before.start_ms < before.end_ms == after.start_ms


def test_subrip_numbers_its_cues_through() -> None:
    written = "".join(subrip([LONG, segment("Good night.", 3_723_004.4, 3_725_000.0)]))
    blocks = written.strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["1", "2", "3"]
    assert blocks[2] == "3\n01:02:03,004 --> 01:02:05,000\nGood night."
    assert written.endswith("\n\n")


def test_webvtt_has_its_header_and_no_markup_of_a_speaker() -> None:
    written = "".join(webvtt([segment("a <b> & c --> d")]))
    assert written == "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\na &lt;b&gt; &amp; c --&gt; d\n\n"


def test_a_table_has_a_line_for_each_segment_and_no_tabs_in_its_texts() -> None:
    assert "".join(table([segment("one\ttwo\nthree", 999.6)])) == "start\tend\ttext\n1000\t3000\tone two three\n"


@pytest.mark.parametrize("name", SUBTITLES)
def test_a_recording_in_which_nothing_is_said_makes_a_file_all_the_same(name: str) -> None:
    assert "".join(SUBTITLES[name]([])) in {"", "WEBVTT\n\n", "start\tend\ttext\n"}


def test_the_usual_lines_are_those_of_broadcasters() -> None:
    assert (LINE_CHARS, CUE_LINES) == (42, 2)
    assert all(len(line) <= 42 for line in re.findall(r"^[A-Z].*$", "".join(subrip([LONG])), re.MULTILINE))


def timed(text: str, *times: tuple[float, float]) -> Segment:
    words = tuple(Word(word, start, end, 0.9) for word, (start, end) in zip(text.split(), times, strict=True))
    return Segment(times[0][0] - 200, times[-1][1] + 96, text, 0.9, words)


def test_words_with_times_say_when_a_cue_is_shown() -> None:
    said = LONG.text.split()
    times = [(1000.0 + 500 * at, 1400.0 + 500 * at) for at in range(len(said))]
    first, second = cues_of(timed(LONG.text, *times))
    shown = sum(len(line.split()) for line in first.lines)
    assert (first.start_ms, first.end_ms) == (1000, times[shown - 1][1])
    assert (second.start_ms, second.end_ms) == (times[shown][0], times[-1][1])


def test_a_cue_is_shown_long_enough_to_be_read_where_nothing_follows() -> None:
    segment = Segment(800.0, 2500.0, "Yes.", 0.9, (Word("Yes.", 1000.0, 1150.0, 0.9),))
    (cue,) = cues_of(segment)
    assert (cue.start_ms, cue.end_ms) == (1000, 1833)


def test_but_not_into_the_next_one() -> None:
    times = ((1000.0, 1100.0), (1300.0, 1400.0), (1500.0, 1600.0))
    first, second, third = cues_of(timed(f"{'a' * 42} {'b' * 42} {'c' * 42}", *times), cue_lines=1)
    assert (first.end_ms, second.end_ms) == (1300, 1500)
    assert third.end_ms == 1696


def test_words_that_are_not_those_of_the_text_are_not_used() -> None:
    segment = Segment(0.0, 1000.0, "two words", 0.9, (Word("two", 300.0, 400.0, 0.9),))
    (cue,) = cues_of(segment)
    assert (cue.start_ms, cue.end_ms) == (0, 1000)
