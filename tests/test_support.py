"""The helpers of the end-to-end tests: a judge that cannot condemn is no judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import sounds, support
from tests.support import Heard


@pytest.mark.parametrize(
    ("reference", "text", "errors"),
    [
        ("ever tried ever failed", "Ever tried? Ever failed.", 0),
        ("a b c d", "", 4),
        ("a b c d", "a c d", 1),
        ("a b c d", "a x b c d", 1),
        ("a b c d", "a x c d", 1),
        ("a b c d", "d c b a", 4),
        ("well-known words", "well known words", 0),
        ("it's", "its", 1),
    ],
)
def test_word_errors_are_the_edit_distance_in_words(reference: str, text: str, errors: int) -> None:
    assert support.word_errors(reference, text) == errors


def test_the_word_error_rate_is_per_word_of_the_reference() -> None:
    assert support.word_error_rate("a b c d", "a b") == 0.5


def test_repeated_runs_are_found() -> None:
    assert support.repeated_runs("a b c d a b c e", 3) == {("a", "b", "c")}
    assert support.repeated_runs("a b c d", 2) == set()


@pytest.mark.parametrize(
    ("encode", "silence", "loudest"), [(sounds.mulaw_bytes, 0xFF, 0x80), (sounds.alaw_bytes, 0xD5, 0xAA)]
)
def test_the_reference_codes_are_those_of_the_standard(encode: Any, silence: int, loudest: int) -> None:
    low, zero, high = encode(np.array([-32768, 0, 32767], np.int16))
    assert zero in (silence, silence ^ 0x80)
    assert high == loudest
    assert low == loudest ^ 0x80


def session(*events: dict[str, Any]) -> Heard:
    """A session with numbers and the usual ends."""
    finals = sum(event["type"] == "finalTranscription" for event in events)
    stats = {"frames_received": 5, "frames_processed": 5, "frames_dropped": 0, "utterances": finals, "speech_ms": 0}
    everything = [{"type": "sessionStarted"}, *events, {"type": "sessionEnded", "reason": "stop", "stats": stats}]
    return Heard([(0.0, {"session_id": "s", "seq": n, **event}) for n, event in enumerate(everything)])


START = {"type": "speechStart", "at_ms": 100.0}
PARTIAL = {"type": "partialTranscription", "utterance": 0, "text": "one two", "stable_text": "one"}
END = {"type": "speechEnd", "at_ms": 900.0}
FINAL = {"type": "finalTranscription", "utterance": 0, "text": "one to", "start_ms": 100.0, "end_ms": 950.0}
TURN = {"type": "turnComplete", "utterance": 0}


def test_a_right_session_passes() -> None:
    support.check_session(session(START, PARTIAL, END, FINAL, TURN))
    support.check_session(session(START, END, {**START, "at_ms": 500.0}, PARTIAL, END, FINAL, TURN))
    support.check_session(session(START, PARTIAL, END, FINAL), turns=False)
    support.check_session(session())


@pytest.mark.parametrize(
    "events",
    [
        (PARTIAL, START, END, FINAL, TURN),
        (START, END, PARTIAL, FINAL, TURN),
        (START, PARTIAL, FINAL, END, TURN),
        (START, PARTIAL, END, TURN, FINAL),
        (START, PARTIAL, END, FINAL),
        (START, PARTIAL, END, FINAL, TURN, TURN),
        (START, PARTIAL, END, FINAL, FINAL, TURN, TURN),
        (PARTIAL, END, FINAL, TURN),
        (START, PARTIAL, FINAL, TURN),
        (START, PARTIAL, {**PARTIAL, "text": "only two", "stable_text": ""}, END, FINAL, TURN),
        (START, {**PARTIAL, "stable_text": "two"}, END, FINAL, TURN),
        (START, PARTIAL, {**PARTIAL, "stable_text": ""}, END, FINAL, TURN),
        (START, PARTIAL, END, {**FINAL, "text": "won two"}, TURN),
        (START, PARTIAL, END, FINAL, TURN, {"type": "pong", "seq": 99}),
        (START, PARTIAL, END, FINAL, TURN, {"type": "pong", "session_id": "other"}),
    ],
    ids=[
        "partial before start",
        "partial after end",
        "end after final",
        "turn before final",
        "no turn",
        "two turns",
        "two finals",
        "no start",
        "no end",
        "partial forgets stable text",
        "stable text is no prefix",
        "stable text shrinks",
        "final forgets stable text",
        "gap in seq",
        "two sessions",
    ],
)
def test_a_wrong_session_is_condemned(events: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(AssertionError):
        support.check_session(session(*events))


def test_frames_that_do_not_add_up_are_condemned() -> None:
    heard = session()
    heard.stats["frames_processed"] = 4
    with pytest.raises(AssertionError):
        support.check_session(heard)
    heard.stats["frames_dropped"] = 1
    with pytest.raises(AssertionError):
        support.check_session(heard)
    support.check_session(heard, dropped=True)


def test_speech_is_found_between_silences() -> None:
    speech = np.full(1_600, 5_000, np.int16)
    padded = sounds.joined(sounds.silence(0.5), speech, sounds.silence(0.25))
    assert len(sounds.trimmed(padded, margin_s=0.0)) in (1_599, 1_600)


def test_a_control_takes_its_place_between_the_frames() -> None:
    schedule = support._schedule(bytes(640 * 3), 640, [support.At(0.03, {"type": "flush"}), support.At(1.0, b"x")])
    assert [(round(at, 3), is_audio) for at, is_audio, _ in schedule] == [
        (0.0, True),
        (0.02, True),
        (0.03, False),
        (0.04, True),
        (1.0, False),
    ]
