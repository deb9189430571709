"""When each client's frames are due, and sending them then.

Every frame of every client has its moment before anything starts, and delays are counted from there. A sender that is
held up sends what is overdue at once: it never waits for the daemon, so that no delay of the daemon's makes it send,
and therefore find, less (the fault that Gil Tene calls coordinated omission).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from alfred_voice.audio.pcm import FRAME_SAMPLES
from alfred_voice.clock import Clock
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES


FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
STAGGER_FRAMES = WINDOW_SAMPLES // math.gcd(WINDOW_SAMPLES, FRAME_SAMPLES)
"""8 frames are 5 windows. Clients that began in step would complete their windows in the same 20 ms, and none in the
20 ms after; real ones come when they like."""
GRAIN_S = 0.001
"""How often what is due is looked at: waking for each of 25,000 frames a second would cost more than sending them."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The moments of the frames of some clients, spread evenly over 20 ms and over the pattern of the windows.

    Frame ``k`` of client ``i`` is due at ``begin_s + (stagger(i) + k + (i + shift) / clients) * FRAME_S``: in turns,
    called slots here, of all clients.
    """

    begin_s: float
    """Clock seconds."""
    clients: int
    frames: int
    """Of each client."""
    shift: float = 0.0
    """0 to 1: where among the clients of other processes these stand."""

    @property
    def slots(self) -> int:
        """How many turns there are; in the first and the last few rows some clients have nothing to send."""
        return (self.frames + STAGGER_FRAMES - 1) * self.clients

    @property
    def end_s(self) -> float:
        """When the last turn is over."""
        return self.begin_s + self.slots / self.clients * FRAME_S

    def slot_s(self, slot: int) -> float:
        """When a turn is due."""
        return self.begin_s + (slot + self.shift) / self.clients * FRAME_S

    def due(self, now: float) -> int:
        """How many turns are due at ``now``."""
        passed = (now - self.begin_s) / FRAME_S * self.clients - self.shift
        return max(0, min(self.slots, math.floor(passed) + 1))

    def frame_of(self, slot: int) -> tuple[int, int]:
        """The client whose turn it is, and which frame it sends; that may be one before its first or after its last."""
        row, client = divmod(slot, self.clients)
        return client, row - stagger(client)

    def starts_s(self, client: int) -> float:
        """When the first frame of a client is due; frame ``k`` is due ``k * FRAME_S`` later."""
        return self.begin_s + (stagger(client) + (client + self.shift) / self.clients) * FRAME_S


def stagger(client: int) -> int:
    """By how many frames a client begins later than the first one."""
    return client % STAGGER_FRAMES


@dataclass(slots=True)
class Lateness:
    """How late the generator itself was: the share of a delay that is not the daemon's."""

    wakes: list[tuple[float, int]] = field(default_factory=list)
    """At each waking: by how many seconds the oldest frame was late, and how many frames were due."""

    @property
    def frames(self) -> int:
        """How many have been sent."""
        return sum(count for _, count in self.wakes)

    def worst_ms(self) -> float:
        """The longest; 0 when nothing was sent."""
        return 1000 * max((late_s for late_s, _ in self.wakes), default=0.0)

    def percentile_ms(self, percent: float) -> float:
        """As many in a hundred frames were at most so late; 0 when nothing was sent."""
        wanted, seen = self.frames * percent / 100, 0
        for late_s, count in sorted(self.wakes):
            seen += count
            if seen >= wanted:
                return 1000 * late_s
        return 0.0

    def late_frames(self, limit_s: float = FRAME_S) -> int:
        """How many were later than that, by the oldest of those that were sent together."""
        return sum(count for late_s, count in self.wakes if late_s > limit_s)


async def pace(
    schedule: Schedule,
    messages: Sequence[Sequence[bytes]],
    writers: Sequence[Callable[[bytes], object]],
    clock: Clock,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Lateness:
    """Hand each client's messages to its writer, each at its moment; returns when the last turn is over.

    Args:
        schedule: when.
        messages: of each client, one for each frame.
        writers: of each client; they must not wait.
        clock: what the schedule's seconds are counted on.
        sleep: waits for so many seconds.
    """
    lateness = Lateness()
    slot, frames, frame_of = 0, schedule.frames, schedule.frame_of
    while slot < schedule.slots:
        now = clock.now()
        due = schedule.due(now)
        if due > slot:
            lateness.wakes.append((now - schedule.slot_s(slot), due - slot))
        for turn in range(slot, due):
            client, frame = frame_of(turn)
            if 0 <= frame < frames:
                writers[client](messages[client][frame])
        slot = max(slot, due)
        await sleep(GRAIN_S)
    return lateness
