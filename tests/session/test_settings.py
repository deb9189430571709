from __future__ import annotations

from typing import Any

import pytest

from alfred_voice.errors import InvalidSettings
from alfred_voice.events import DEFAULT_EVENTS, EVENT_TYPES
from alfred_voice.session.settings import SessionSettings, wanted_events


@pytest.mark.parametrize("session_id", ["a", "A-z_0.9:x", "x" * 128])
def test_a_session_is_named_with_plain_characters(session_id: str) -> None:
    assert SessionSettings(session_id).session_id == session_id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"session_id": ""}, "session_id: expected 1 to 128 of .*, got ''"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"session_id": "a b"}, "session_id"),
        ({"session_id": "a\n"}, "session_id"),
        ({"session_id": "ä"}, "session_id"),
        ({"sample_rate": 7_999}, "sample_rate: expected 8000 to 48000 Hz, got 7999"),
        ({"sample_rate": 48_001}, "sample_rate"),
        ({"channels": 0}, "channels: expected 1 or 2, got 0"),
        ({"channels": 3}, "channels"),
        ({"language": "klingonish"}, "language: expected a code such as en, de-CH or auto, got 'klingonish'"),
        ({"encoding": "mp3"}, "encoding: expected one of pcm_s16le, pcm_f32le, mulaw, alaw, got 'mp3'"),
    ],
)
def test_what_cannot_be_served_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        SessionSettings(**{"session_id": "s", **fields})


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le", "mulaw", "alaw"])
def test_every_rate_and_encoding_of_the_protocol_is_served(rate: int, encoding: str) -> None:
    settings = SessionSettings("s", sample_rate=rate, encoding=encoding, channels=2)

    assert (settings.sample_rate, settings.encoding) == (rate, encoding)


def test_by_default_all_is_told_but_single_frames() -> None:
    settings = SessionSettings("s")

    assert set(EVENT_TYPES.values()) - settings.events == {"frameProcessed"}
    assert settings.partials
    assert settings.turns


@pytest.mark.parametrize("asked", [None, []])
def test_without_a_wish_the_default_set_is_told(asked: list[str] | None) -> None:
    assert wanted_events(asked) == DEFAULT_EVENTS


def test_a_star_is_everything() -> None:
    assert wanted_events(["*"]) == frozenset(EVENT_TYPES.values())


def test_a_list_adds_to_the_default_set() -> None:
    assert wanted_events(["frameProcessed"]) == DEFAULT_EVENTS | {"frameProcessed"}
    assert wanted_events(["pong"]) == DEFAULT_EVENTS


@pytest.mark.parametrize("asked", [["speechBegin"], ["*", "pong"], ["pong", ""]])
def test_a_name_that_is_no_event_is_refused(asked: list[str]) -> None:
    with pytest.raises(InvalidSettings, match="events: unknown '"):
        wanted_events(asked)
