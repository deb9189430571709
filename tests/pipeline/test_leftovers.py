"""What is left of a session in memory once it is over: nothing, also where nobody speaks any more for a long time."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.pipeline.stream import Stream


Int16 = NDArray[np.int16]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def streams() -> int:
    gc.collect()
    return sum(isinstance(thing, Stream) for thing in gc.get_objects())


async def test_nothing_holds_the_last_session_when_it_has_been_heard_answered_and_spoken_to(
    house: Any, heard: Callable[..., Any], spoken: Callable[..., list[Int16]], eventually: Eventually
) -> None:
    before = streams()

    async def converse() -> None:
        stream = house.open()
        for frame in spoken(100, 400, 700):
            if not stream.has_room():
                await stream.room()
            stream.put(frame)
        stream.speak("all of it")
        stream.stop()
        news = await heard(stream).to_the_end()
        assert {"finalTranscription", "turnComplete", "ttsEnd"} <= set(news.types)

    await converse()
    await eventually(lambda: streams() == before)


async def test_nothing_holds_a_session_that_left_in_the_midst_of_speech(
    house: Any, spoken: Callable[..., list[Int16]], eventually: Eventually
) -> None:
    before = streams()

    def begin() -> None:
        stream = house.open()
        for frame in spoken(100, 400)[:16]:
            stream.put(frame)
        stream.abandon()

    begin()
    await eventually(lambda: streams() == before)
