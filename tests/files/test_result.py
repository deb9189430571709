"""What is made of a recording, and how it is written."""

from __future__ import annotations

import json

import pytest

from alfred_voice.files.formats import FORMATS, clock, line, render
from alfred_voice.files.result import Segment, Timing, Transcription
from alfred_voice.results import Word


WORDS = (Word("Good", 1100.04, 1400.0, 0.91239), Word("night.", 1400.0, 1900.0, 0.8))
RESULT = Transcription(
    (Segment(1000.0, 2000.0, "Good night.", 0.87654, WORDS), Segment(61_234.0, 62_000.0, "Bye.", 0.5)),
    100_000.0,
    timing=Timing(total_s=2.0),
    metadata={"name": "a.wav"},
)


def test_its_text_is_on_one_line() -> None:
    assert RESULT.text == str(RESULT) == "Good night. Bye."


def test_it_knows_its_words_its_speech_and_how_fast_it_was() -> None:
    assert RESULT.words == WORDS
    assert RESULT.speech_ms == 1766
    assert RESULT.real_time_factor == 0.02
    assert Transcription((), 0.0).real_time_factor == 0


def test_as_json_it_has_everything() -> None:
    fields = json.loads(render(RESULT, "json", name="a.wav"))
    assert fields["file"] == "a.wav"
    assert fields["text"] == "Good night. Bye."
    assert fields["segments"][0]["words"][0] == {
        "word": "Good", "start_ms": 1100.0, "end_ms": 1400.0, "probability": 0.9124,
    }  # fmt: skip
    assert fields["segments"][1] == {"start_ms": 61234.0, "end_ms": 62000.0, "text": "Bye.", "confidence": 0.5}
    assert fields["timing"]["total_s"] == 2.0
    assert fields["metadata"] == {"name": "a.wav"}


def test_a_segment_comes_back_out_of_its_fields() -> None:
    for segment in RESULT.segments:
        assert Segment.of_fields(json.loads(json.dumps(segment.as_fields()))).as_fields() == segment.as_fields()


def test_as_text_each_segment_is_a_line() -> None:
    assert render(RESULT, "text") == "Good night.\nBye.\n"
    assert render(RESULT, "text", timestamps=True).splitlines()[1] == "[0:01:01.234 - 0:01:02.000] Bye."


def test_a_line_is_one_line() -> None:
    assert line(Segment(0.0, 1.0, "a\nb\tc", 1.0)) == "a b c"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_ends_with_a_line(kind: str) -> None:
    assert render(RESULT, kind).endswith("\n")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of text, json, srt"):
        render(RESULT, "docx")


@pytest.mark.parametrize(
    ("ms", "expected"),
    [(0, "0:00:00.000"), (999.6, "0:00:01.000"), (61_234, "0:01:01.234"), (36_000_000, "10:00:00.000")],
)
def test_times_are_written_with_hours(ms: float, expected: str) -> None:
    assert clock(ms) == expected
