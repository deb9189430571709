"""What is dropped of a stream that waits, and how the client reads of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alfred_voice.events import WarningRaised
from alfred_voice.session.requests import DetectRequest
from tests.pipeline.played_stream import FRAME, GIVEN_AT_ONCE, Int16, Played, feed


def drop_quiet(played: Played, keep: int, *, in_pauses: bool = False) -> int:
    """How many frames it drops."""
    before = played.stream.frames_queued
    played.stream.drop_quiet(keep, in_pauses=in_pauses)
    return before - played.stream.frames_queued


async def test_dropping_takes_the_oldest_silence_and_keeps_the_newest(played: Played) -> None:
    feed(played, [FRAME] * 60)
    assert drop_quiet(played, 25) == 28
    assert played.stream.frames_queued == 25
    message = "560 ms of silence were dropped under load, from 140 to 700 ms"
    assert played.told[0] == WarningRaised("audio_dropped", message, 140.0, 700.0)
    played.stream.stop()
    played.work_off()
    (finished,) = played.told
    stats = finished.stats
    assert (stats.frames_received, stats.frames_processed, stats.frames_dropped) == (60, 32, 28)
    assert (played.fate("processed"), played.fate("dropped")) == (32, 28)


async def test_what_comes_behind_a_gap_is_not_forgotten(played: Played) -> None:
    feed(played, [FRAME] * 90)
    drop_quiet(played, 25)
    assert len(played.advance()) == 1, "the gap itself asks nothing, so what is behind it must be asked about at once"


async def test_what_may_be_speech_is_not_dropped(played: Played, spoken: Callable[..., list[Int16]]) -> None:
    feed(played, spoken(200, 1000))
    assert drop_quiet(played, 25) == 10 - GIVEN_AT_ONCE, "only the silence before it"
    assert drop_quiet(played, 25) == 0


async def test_nothing_is_dropped_beyond_a_flush_or_when_little_waits(played: Played) -> None:
    feed(played, [FRAME] * 25)
    assert drop_quiet(played, 25) == 0
    played.stream.flush()
    feed(played, [FRAME] * 25)
    assert drop_quiet(played, 0) == 25 - GIVEN_AT_ONCE


async def test_nothing_is_dropped_while_an_utterance_is_open(
    played: Played, spoken: Callable[..., list[Int16]]
) -> None:
    feed(played, spoken(0, 500))
    while played.advance():
        played.answer(DetectRequest)
    feed(played, [FRAME] * 60)
    assert drop_quiet(played, 25) == 0
    assert drop_quiet(played, 25, in_pauses=True) == 0, "its speaker has not paused"


async def test_the_silence_of_a_pause_is_dropped_only_when_that_is_asked_for(
    played: Played, spoken: Callable[..., list[Int16]]
) -> None:
    feed(played, spoken(0, 500, 500))
    while played.advance():
        played.answer(DetectRequest)
    assert played.stream.session.has_open_utterance
    feed(played, [FRAME] * 60)
    assert drop_quiet(played, 25) == 0
    assert drop_quiet(played, 25, in_pauses=True) > 0


async def test_silence_is_what_is_no_louder_than_the_silence_before_it(played: Played) -> None:
    rng = np.random.default_rng(7)
    hum = (rng.standard_normal((200, 320)) * 100).astype(np.int16)  # -50 dBFS: louder than a quiet line
    feed(played, list(hum[:100]))
    while played.advance():
        played.answer(DetectRequest)
    assert not played.stream.session.has_open_utterance
    feed(played, list(hum[100:160]))
    assert drop_quiet(played, 25) > 0


async def test_the_oldest_are_lost_whatever_is_in_them_and_the_client_reads_which(
    played: Played, spoken: Callable[..., list[Int16]]
) -> None:
    feed(played, spoken(0, 1000))
    played.stream.drop_oldest(20)
    message = "400 ms were lost, as the daemon is too far behind, from 140 to 540 ms"
    assert played.told[0] == WarningRaised("audio_dropped", message, 140.0, 540.0)
    assert played.fate("dropped") == 20
