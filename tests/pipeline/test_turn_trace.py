"""Which spans follow from which events; times are clock seconds, and all of it is values."""

from __future__ import annotations

import pytest

from alfred_voice.events import (
    Event,
    FinalTranscription,
    PartialTranscription,
    SessionFinished,
    SessionStats,
    SpeechEnded,
    SpeechOutputEnded,
    SpeechOutputStarted,
    SpeechStarted,
    TurnCompleted,
)
from alfred_voice.pipeline.turn_trace import ROOT, RemoteParent, Span, TurnTrace, parse_traceparent


STARTED = SpeechStarted(1000.0, 0.9)
FINISHED = SessionFinished("stop", SessionStats(0, 0, 0, 0, 0.0))
SECRET = "what was said"  # noqa: S105  a text, which spans do not hold


def final(utterance: int = 0) -> FinalTranscription:
    """Of two seconds of speech whose last sample came 0.3 s before."""
    return FinalTranscription(utterance, SECRET, 1000.0, 3000.0, (), "en", "moonshine", 0.9, 80.0, 300.0)


def completed(utterance: int = 0) -> TurnCompleted:
    return TurnCompleted(utterance, 0.91234, 3000.0, 200.0, "model", 350.0)


def said(speech_id: int, *, cancelled: bool = False) -> tuple[SpeechOutputStarted, SpeechOutputEnded]:
    begun = SpeechOutputStarted(speech_id, SECRET, 16_000, "pcm_s16le", "en-us")
    return begun, SpeechOutputEnded(speech_id, 1500.0, cancelled)


def spans(*events: tuple[float, Event], has_turns: bool = True) -> list[Span]:
    trace = TurnTrace(has_turns=has_turns)
    return [span for now, event in events for span in trace.note(event, now)]


TURN: tuple[tuple[float, Event], ...] = (
    (98.2, STARTED), (99.0, PartialTranscription(0, SECRET, "", 1000.0, 2000.0)),
    (100.2, SpeechEnded(3000.0, 2000.0)), (100.3, final()), (100.35, completed()),
)  # fmt: skip


def shape(span: Span) -> tuple[str, float, float]:
    return span.name, round(span.start, 6), round(span.end, 6)


def test_a_turn_has_its_three_parts_from_the_last_sample_of_speech() -> None:
    (turn,) = spans(*TURN, (110.0, FINISHED))
    assert shape(turn) == (ROOT, 98.0, 100.35)
    assert [shape(child) for child in turn.children] == [
        ("vad", 98.0, 100.2), ("stt", 100.0, 100.3), ("turn", 100.0, 100.35),
    ]  # fmt: skip
    assert turn.attributes == {"utterance": 0}
    assert turn.children[1].attributes == {"engine": "moonshine", "processing_ms": 80.0, "has_words": True}
    assert turn.children[2].attributes == {"reason": "model", "probability": 0.9123}


def test_the_answer_belongs_to_the_turn_and_makes_it_longer() -> None:
    begun, ended = said(7)
    more_begun, more_ended = said(8)
    (turn,) = spans(*TURN, (101.0, begun), (102.5, ended), (102.6, more_begun), (104.0, more_ended), (110.0, FINISHED))
    assert [child.name for child in turn.children] == ["vad", "stt", "turn", "tts", "tts"]
    assert turn.end == 104.0
    assert turn.children[3].attributes == {"voice": "en-us", "cancelled": False, "duration_ms": 1500.0}


def test_a_turn_is_told_when_the_next_speech_begins() -> None:
    assert spans(*TURN) == []
    assert [span.name for span in spans(*TURN, (105.0, STARTED))] == [ROOT]


def test_an_answer_that_is_interrupted_still_belongs_to_the_turn_before() -> None:
    begun, ended = said(7, cancelled=True)
    before = [*TURN, (101.0, begun), (101.5, STARTED)]
    assert spans(*before) == []
    (turn,) = spans(*before, (101.6, ended))
    assert turn.children[-1].attributes["cancelled"] is True
    assert turn.children[-1].end == turn.end == 101.6


def test_what_the_daemon_says_first_stands_alone() -> None:
    begun, ended = said(0)
    (alone,) = spans((1.0, begun), (2.0, ended))
    assert shape(alone) == ("tts", 1.0, 2.0)


def test_a_speech_that_never_began_is_no_span() -> None:
    assert spans((1.0, said(3)[1])) == []


def test_without_turns_each_final_is_one() -> None:
    (turn,) = spans((100.3, final()), (110.0, FINISHED), has_turns=False)
    assert [child.name for child in turn.children] == ["vad", "stt"]


def test_two_turns_are_two_spans_in_order() -> None:
    found = spans(*TURN, (120.3, final(1)), (120.35, completed(1)), (130.0, FINISHED))
    assert [span.attributes["utterance"] for span in found] == [0, 1]


def test_no_span_ends_before_it_begins_or_outside_its_turn() -> None:
    begun, ended = said(7)
    for turn in spans(
        *TURN, (101.0, begun), (102.5, ended), (120.3, final(1)), (120.3, completed(1)), (130.0, FINISHED)
    ):
        for child in turn.children:
            assert turn.start <= child.start <= child.end <= turn.end


def test_no_text_is_in_a_span() -> None:
    begun, ended = said(7)
    assert SECRET not in repr(spans(*TURN, (101.0, begun), (102.5, ended), (110.0, FINISHED)))


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"cc-{TRACE}-{SPAN}-03-what-comes-later", True),
    ],
)
def test_a_traceparent_names_the_clients_span(header: str, sampled: bool) -> None:
    assert parse_traceparent(header) == RemoteParent(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "header",
    [None, "", "x", f"00-{TRACE}-{SPAN}", f"ff-{TRACE}-{SPAN}-01",
     f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
     f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE[:-1]}-{SPAN}-01"],
)  # fmt: skip
def test_a_traceparent_that_is_none_is_left_out(header: str | None) -> None:
    assert parse_traceparent(header) is None
