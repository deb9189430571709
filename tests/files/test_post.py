"""What a language model may change of a transcription, and what happens when it does not answer."""

from __future__ import annotations

from alfred_voice.errors import EngineFailure
from alfred_voice.files.formats import render
from alfred_voice.files.post import post_processed
from alfred_voice.files.result import Segment, Transcription
from alfred_voice.models.post_processing import PostProcessed
from alfred_voice.models.summary import Summary
from alfred_voice.results import Word


HEARD = Transcription(
    (
        Segment(0.0, 900.0, "hello there", 0.9, (Word("hello", 0.0, 400.0, 0.9), Word("there", 400.0, 900.0, 0.9))),
        Segment(1500.0, 2500.0, "how are you", 0.8),
    ),
    3000.0,
    metadata={"name": "a.wav"},
)


class Answering:
    """Answers what it was told to, and remembers what it was asked."""

    def __init__(self, text: str | None = None, summary: Summary | None = None, failure: str = "") -> None:
        self.text = text
        self.summary = summary
        self.failure = failure
        self.asked: list[str] = []

    def process(self, text: str) -> PostProcessed:
        self.asked.append(text)
        if self.failure:
            raise EngineFailure(self.failure)
        return PostProcessed(text if self.text is None else self.text, self.summary)


def test_segments_get_better_punctuation_and_keep_their_times_and_words() -> None:
    model = Answering("Hello there.\nHow are you?")
    better = post_processed(HEARD, model)
    assert model.asked == ["hello there\nhow are you"]
    assert [segment.text for segment in better.segments] == ["Hello there.", "How are you?"]
    assert [segment.start_ms for segment in better.segments] == [0.0, 1500.0]
    assert better.segments[0].words == HEARD.segments[0].words
    assert better.text == "Hello there. How are you?"


def test_lines_that_do_not_match_leave_the_segments_as_they_were() -> None:
    assert post_processed(HEARD, Answering("Hello there. How are you?")).segments == HEARD.segments


def test_a_line_break_inside_a_segment_does_not_shift_the_others() -> None:
    broken = Transcription((Segment(0.0, 1.0, "one\ntwo", 1.0), Segment(1.0, 2.0, "three", 1.0)), 2.0)
    assert [one.text for one in post_processed(broken, Answering()).segments] == ["one two", "three"]


def test_a_summary_stands_in_every_format_that_has_a_place_for_it() -> None:
    found = post_processed(HEARD, Answering(summary=Summary("A greeting.", ("They met.",))))
    assert found.as_fields()["summary"] == {"abstract": "A greeting.", "bullets": ("They met.",)}
    assert render(found, "text").endswith("how are you\n\nA greeting.\n- They met.\n")
    assert "greeting" not in render(found, "srt")


def test_without_a_summary_there_is_no_word_of_it() -> None:
    assert "summary" not in post_processed(HEARD, Answering()).as_fields()


def test_a_model_that_does_not_answer_costs_the_decoration_alone() -> None:
    found = post_processed(HEARD, Answering(failure="the server does not answer"))
    assert found.segments == HEARD.segments
    assert found.metadata == {"name": "a.wav", "post_processing": "the server does not answer"}


def test_nothing_is_asked_about_a_recording_without_words() -> None:
    silent = Transcription((), 3000.0)
    model = Answering()
    assert post_processed(silent, model) is silent
    assert model.asked == []
