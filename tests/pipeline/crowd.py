"""Sessions that tests feed, and what each must have been told in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.events import FinalTranscription, SessionFinished, TurnCompleted


Int16 = NDArray[np.int16]
MakeHouse = Callable[..., Awaitable[Any]]
Spoken = Callable[..., list[Int16]]


async def feed(stream: Any, frames: list[Int16], pause: Callable[[int], float | None] = lambda n: None) -> None:
    """Put frames as a server does; ``pause`` says after which one to let others go first."""
    for number, frame in enumerate(frames):
        if not stream.has_room():
            await stream.room()
        stream.put(frame)
        seconds = pause(number)
        if seconds is not None:
            await asyncio.sleep(seconds)


def check(news: Any, *, utterances: int, frames: int, reason: str = "stop", turns: bool = True) -> None:
    """What holds for every session."""
    assert news.seqs == list(range(len(news.seqs)))
    assert news.types[0] == "sessionStarted"
    assert news.types[-1] == "sessionEnded"
    end = news.one(SessionFinished)
    assert end.reason == reason
    assert end.stats.frames_received == frames
    assert end.stats.frames_received == end.stats.frames_processed + end.stats.frames_dropped
    assert end.stats.utterances == utterances
    assert [final.utterance for final in news.of(FinalTranscription)] == list(range(utterances))
    assert [turn.utterance for turn in news.of(TurnCompleted)] == list(range(utterances if turns else 0))
