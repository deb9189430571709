"""The only reader of time. Everything else is told what time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time; handed down from the composition root."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; the origin means nothing."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC, for people and logs only."""
        ...

    def spent(self) -> float:
        """Seconds of processor time that the calling thread has used; the origin means nothing."""
        ...

    def sleep(self, seconds: float) -> None:
        """Hold the calling thread for so long."""
        ...


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.monotonic)
    """Seconds of the monotonic clock; no method around it, as it is asked fifty times a second for every session."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def spent(self) -> float:
        """Seconds of processor time of the calling thread, in user and system mode."""
        return time.thread_time()

    def sleep(self, seconds: float) -> None:
        """Hold the calling thread for so long."""
        time.sleep(seconds)


class ManualClock:
    """A clock that stands still until it is told to go on; for tests and replays."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now = start_s

    def advance(self, seconds: float) -> None:
        """Go on by ``seconds``, which must not be negative."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self._now += seconds

    def now(self) -> float:
        """Seconds since the start that was given."""
        return self._now

    def wall(self) -> float:
        """The same seconds: a manual clock has no calendar."""
        return self._now

    def spent(self) -> float:
        """The same seconds: whoever has a manual clock works all the time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Go on by ``seconds``, in no time."""
        self.advance(seconds)
