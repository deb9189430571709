"""Where one turn ends and the next begins."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.sounds import Int16, joined, noise, silence
from tests.support import At, Daemon, check_session, stream, word_error_rate


REQUEST = "Please turn on the light in the kitchen."
PAUSE = 2.6
"""Seconds; more than ``turn.max_silence_ms``."""


MID_SENTENCE = round(2.59 * 16_000)
"""Sample of the sentence before "worst of times", where nobody takes it for complete."""


def room(seconds: float) -> Int16:
    """A pause as a microphone hears it."""
    return noise(seconds, rms=3.0)


async def test_two_voices_with_a_pause_are_two_utterances_with_one_final_and_one_turn_each(
    daemon: Daemon, sentence: Int16, sentence_text: str, say: Any
) -> None:
    audio = joined(sentence, room(PAUSE), say(REQUEST, "en-us+f3"), room(PAUSE))
    heard = await stream(daemon.ws, audio)

    check_session(heard)
    first, second = heard.finals
    assert (first["utterance"], second["utterance"]) == (0, 1)
    assert word_error_rate(sentence_text, first["text"]) <= 0.25, first["text"]
    assert word_error_rate(REQUEST, second["text"]) <= 0.25, second["text"]
    assert first["end_ms"] <= second["start_ms"]
    assert [turn["utterance"] for turn in heard.of("turnComplete")] == [0, 1]
    assert all(turn["reason"] in ("model", "silence") for turn in heard.of("turnComplete"))


async def test_a_pause_in_mid_sentence_keeps_the_utterance_open(
    daemon: Daemon, sentence: Int16, sentence_text: str
) -> None:
    audio = joined(sentence[:MID_SENTENCE], room(0.9), sentence[MID_SENTENCE:], room(PAUSE))
    heard = await stream(daemon.ws, audio)

    check_session(heard)
    pending = heard.of("turnPending")
    assert pending, heard.types
    assert all(event["probability"] < 0.5 for event in pending)
    assert len(heard.of("speechStart")) == 2
    assert len(heard.finals) == 1
    assert len(heard.of("turnComplete")) == 1
    assert word_error_rate(sentence_text, heard.text) <= 0.1, heard.text


async def test_a_turn_that_is_never_judged_complete_ends_by_silence(daemon: Daemon, sentence: Int16) -> None:
    heard = await stream(daemon.ws, joined(sentence[:MID_SENTENCE], room(3.0)))

    check_session(heard)
    turn = heard.one("turnComplete")
    assert heard.of("turnPending"), heard.types
    assert turn["reason"] == "silence"
    assert 2_000 <= turn["silence_ms"] <= 2_200
    assert len(heard.finals) == 1


async def test_turns_off_ends_utterances_by_silence_alone(
    daemon: Daemon, sentence: Int16, sentence_text: str, say: Any
) -> None:
    audio = joined(sentence, room(1.2), say(REQUEST), room(1.2))
    on, off = await asyncio.gather(
        stream(daemon.ws, audio), stream(daemon.ws, audio, start={"turns": False, "session_id": "turns-off"})
    )

    check_session(on)
    check_session(off, turns=False)
    assert not off.of("turnPending", "turnComplete")
    assert len(off.finals) == 2
    assert word_error_rate(f"{sentence_text} {REQUEST}", off.text) <= 0.25, off.text
    # 600 ms of silence end an utterance, so that the pause lies between the two.
    first, second = off.finals
    assert first["end_ms"] + 600 <= second["start_ms"]


async def test_flush_ends_the_open_utterance_now(daemon: Daemon, sentence: Int16) -> None:
    heard = await stream(
        daemon.ws,
        joined(sentence, silence(1.0), sentence, silence(0.5)),
        controls=[At(2.5, {"type": "flush"})],
        start={"session_id": "flushed"},
    )

    check_session(heard)
    turn = heard.of("turnComplete")[0]
    assert turn["reason"] == "flush"
    assert turn["at_ms"] <= 2_700
    first = heard.finals[0]
    assert first["text"]
    assert first["end_ms"] <= 2_700
    assert len(heard.finals) >= 2


async def test_flush_with_nothing_open_changes_nothing(daemon: Daemon) -> None:
    heard = await stream(daemon.ws, silence(1.0), controls=[At(0.0, {"type": "flush"}), At(0.5, {"type": "flush"})])
    check_session(heard)
    assert heard.finals == []
    assert not heard.of("error", "turnComplete")


async def test_stop_in_mid_utterance_gives_its_final(daemon: Daemon, sentence: Int16) -> None:
    heard = await stream(daemon.ws, sentence[: 16_000 * 2])

    check_session(heard)
    assert len(heard.finals) == 1
    assert heard.text
    assert heard.one("turnComplete")["reason"] == "flush"
    assert heard.close_code == 1000
