"""How often partials are asked for, after what the recogniser can bear.

Partials are the one kind of work that there may be less of without anything being lost. When they fill the
recogniser's lane, finals and searches for a cut wait behind them; so their interval grows with the share of time that
the lane is busy, before the coordinator has to give up anything, and comes back when there is time again.
"""

from __future__ import annotations


BUSY = 0.7
"""Share of a second from which the interval grows: what is left is for finals that come all at once."""
EASY = 0.5
"""Share below which it shrinks. Between the two it stays, so that it does not swing."""
GROWTH = 1.25
SHRINKAGE = 1.1
SLOWEST = 8.0
"""Partials every 1.6 s at the usual interval: less often they are of no use to anybody."""
MEASURE_S = 0.5
"""The time over which the share is taken."""


class PartialPace:
    """A factor on the interval between partials, moved twice a second."""

    def __init__(self, now: float) -> None:
        self.factor = 1.0
        """1 to 8."""
        self.busy_share = 0.0
        """Of the last half second."""
        self._since = now
        self._busy_s = 0.0

    def update(self, busy_s: float, now: float) -> bool:
        """Take how long the lane has been busy since the daemon's start; True when the factor has changed."""
        passed = now - self._since
        if passed < MEASURE_S:
            return False
        self.busy_share = (busy_s - self._busy_s) / passed
        self._since, self._busy_s = now, busy_s
        was = self.factor
        if self.busy_share > BUSY:
            self.factor = min(SLOWEST, was * GROWTH)
        elif self.busy_share < EASY:
            self.factor = max(1.0, was / SHRINKAGE)
        return self.factor != was

    def describe(self) -> dict[str, float]:
        """The figures as JSON."""
        return {"interval_factor": round(self.factor, 2), "lane_busy_share": round(self.busy_share, 3)}
