"""One speaker before a running daemon: audio at the speed of life, and when each event arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from alfred_voice.audio.pcm import FRAME_SAMPLES
from alfred_voice.client.conversation import Conversation
from alfred_voice.client.framing import ClientEvent
from alfred_voice.client.link import Timeouts
from alfred_voice.client.pacing import PaceRecord, paced
from alfred_voice.clock import Clock
from alfred_voice.models.engine import SAMPLE_RATE, Int16


FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
_TIMEOUTS = Timeouts(receive_s=30.0)


@dataclass(slots=True)
class Heard:
    """A conversation as the speaker lived it. Times are clock seconds."""

    record: PaceRecord = field(default_factory=PaceRecord)
    """When each frame was due."""
    events: list[tuple[float, ClientEvent]] = field(default_factory=list)
    """Arrival and event, in order; synthesised audio is left out."""

    def due_s(self, end_sample: int) -> float:
        """When the frame was due that carried the last sample before ``end_sample``: it leaves when it is full."""
        return self.record.due_s(max(0, end_sample - 1) // FRAME_SAMPLES)

    def last(self, event_type: str) -> tuple[float, ClientEvent] | None:
        """The last event of a type, with its arrival."""
        return next(((at, event) for at, event in reversed(self.events) if event["type"] == event_type), None)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one speaker does in one session."""

    samples: Int16
    """int16, shape (n,), 16 kHz: all that is sent, silence included."""
    until: str
    """The type of event at which the speaker falls silent for good."""
    interrupts: str = ""
    """A text that the daemon is asked to speak first; the speaker begins when its audio has begun to come."""


async def play(url: str, part: Part, clock: Clock) -> Heard:
    """Hold one conversation, each frame at its moment, until what is waited for has come or all has been sent.

    Raises:
        ClientError: the daemon did not hold it to its end.
    """
    try:
        return await _play(url, part, clock)
    except ExceptionGroup as group:
        raise cause_of(group) from group


async def _play(url: str, part: Part, clock: Clock) -> Heard:
    heard = Heard()
    is_heard, has_come = asyncio.Event(), asyncio.Event()
    async with Conversation.connect(url, timeouts=_TIMEOUTS) as talk, asyncio.TaskGroup() as group:
        group.create_task(_listen(talk, heard, clock, {"ttsAudio": is_heard, part.until: has_come}))
        if part.interrupts:
            await talk.speak(part.interrupts)
            await is_heard.wait()
        async for frame in paced(_frames(part.samples, has_come.is_set), FRAME_S, record=heard.record, clock=clock):
            await talk.send_audio(frame)
        await talk.stop()
    return heard


async def _listen(talk: Conversation, heard: Heard, clock: Clock, awaited: dict[str, asyncio.Event]) -> None:
    """Note everything to the session's end."""
    async for event in talk:
        if event["type"] != "ttsAudio":
            heard.events.append((clock.now(), event))
        if event["type"] in awaited:
            awaited[event["type"]].set()
    for waiting in awaited.values():  # nothing more will come
        waiting.set()


def _frames(samples: Int16, is_over: Callable[[], bool]) -> Iterator[bytes]:
    """20 ms frames, the last filled up with silence, as long as it is not over."""
    for start in range(0, len(samples), FRAME_SAMPLES):
        if is_over():
            return
        frame = samples[start : start + FRAME_SAMPLES]
        yield np.pad(frame, (0, FRAME_SAMPLES - len(frame))).astype("<i2").tobytes()


def cause_of(group: ExceptionGroup[Exception]) -> Exception:
    """The first of the errors in a group, however deep it lies: the others came of it, or are like it."""
    first = group.exceptions[0]
    return cause_of(first) if isinstance(first, ExceptionGroup) else first
