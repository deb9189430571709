"""How a conversation comes back to its session after a lost connection, and what is told of it meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from alfred_voice.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class Absence:
    """A time without a connection."""

    reason: str
    """Why the connection was lost."""
    lasted_s: float | None = None
    """Seconds from the loss to the moment when all that was missed has been read; None while it lasts."""
    attempts: int = 0
    """Connections that were tried."""


def _ignore(_absence: Absence) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class ReturnPlan:
    """How a conversation comes back."""

    keep_bytes: int = 16 * 1024 * 1024
    """Audio and messages that are kept until the daemon has them: eight minutes in its own format, half a minute in
    the largest (48 kHz, stereo, floating point). Whoever sends more waits for room."""
    first_wait_s: float = 0.1
    """The longest wait before the first attempt; it doubles with each."""
    longest_wait_s: float = 5.0
    """Where that ends."""
    silence_s: float = 10.0
    """A daemon tells a resumable session something every second. One that is silent for so long is gone."""
    watch: Callable[[Absence], None] = _ignore
    """Told of each absence twice: when the connection is lost, and when the conversation is back."""
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1: the part of each wait that is waited, so that clients do not all come back at once."""
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def wait_s(self, attempts: int, at_least_s: float = 0.0) -> float:
        """How long to wait for the next attempt after so many, which the daemon may want to be longer."""
        # Far more doublings than anybody waits for would be too large a number.
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempts, 60))
        return at_least_s + self.jitter() * longest
