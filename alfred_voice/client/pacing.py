"""Audio at the speed of life: each frame at its own moment, however long the ones before it took.

A sender that sleeps 20 ms *after* each frame drifts, and one that is held up and then waits its
usual 20 ms never shows that it was late: what it measures is kinder than what a speaker would
have lived through. Here frame ``n`` is due at ``start + n * interval``; a sender that was held
up sends what is overdue at once and is back on time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from alfred_voice.clock import Clock, SystemClock


Frame = TypeVar("Frame")


@dataclass(slots=True)
class PaceRecord:
    """How a paced sequence went; filled as it goes."""

    interval_s: float = 0.0
    started_s: float | None = None
    """Clock seconds at which the first frame was due."""
    frames: int = 0
    worst_lateness_s: float = 0.0
    """The longest time between a frame's moment and its leaving."""

    def due_s(self, frame: int) -> float:
        """Clock seconds at which ``frame``, counted from 0, is due: what latencies are to be measured from."""
        if self.started_s is None:
            raise ValueError("nothing has been sent yet, so no frame has a moment")
        return self.started_s + frame * self.interval_s


async def paced(
    frames: Iterable[Frame] | AsyncIterable[Frame],
    interval_s: float,
    *,
    record: PaceRecord | None = None,
    clock: Clock | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Frame]:
    """The same frames, each at its moment; the first at once.

    Args:
        frames: what is to be sent; it may itself wait, as a microphone does.
        interval_s: seconds from one frame to the next; 0 for as fast as they are taken.
        record: filled with how it went.
        clock: the machine's when it is not given.
        sleep: waits for so many seconds.
    """
    if interval_s < 0:
        raise ValueError(f"interval_s: expected 0 or more, got {interval_s}")
    clock = clock or SystemClock()
    record = record or PaceRecord()
    record.interval_s = interval_s
    async for frame in _each(frames):
        now = clock.now()
        if record.started_s is None:
            record.started_s = now
        early_s = record.due_s(record.frames) - now if interval_s else 0.0
        # With nothing to wait for, others still get their turn.
        await sleep(max(early_s, 0.0))
        if interval_s:
            record.worst_lateness_s = max(record.worst_lateness_s, clock.now() - record.due_s(record.frames))
        record.frames += 1
        yield frame


async def _each(frames: Iterable[Frame] | AsyncIterable[Frame]) -> AsyncIterator[Frame]:
    """The frames, whichever kind of sequence they come in."""
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
    else:
        for frame in frames:
            yield frame
