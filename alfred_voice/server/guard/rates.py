"""How often something may happen: buckets that drip. Values in, values out; time is an argument."""

from __future__ import annotations

import math
from collections import OrderedDict
from enum import Enum


class Bucket:
    """So many at once, and so many a second in the long run."""

    __slots__ = ("_at", "_burst", "_level", "_per_s")

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, now: float, debt: float = 0.0) -> bool:
        """Take one, if there is one.

        Args:
            now: seconds.
            debt: how far below nothing the bucket may get.
        """
        if self.level(now) - 1 < -debt:
            return False
        self._level -= 1
        return True

    def level(self, now: float) -> float:
        """How many there are; less than 0 where some were lent."""
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._per_s)
        self._at = now
        return self._level

    def wait_s(self, now: float) -> int:
        """In how many whole seconds there will be one; at least 1."""
        return max(1, math.ceil((1 - self.level(now)) / self._per_s))


class Buckets:
    """A bucket for each name, of the most recent names only.

    A name that is forgotten begins anew with a full bucket, so an attacker with very many addresses gains a burst for
    each; without a bound the table itself would be what is attacked.
    """

    def __init__(self, per_s: float, burst: float, most_names: int = 4096) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most_names = most_names
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, name: str, now: float) -> Bucket:
        """The bucket of ``name``."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self._per_s, self._burst, now)
        self._buckets.move_to_end(name)
        while len(self._buckets) > self._most_names:
            self._buckets.popitem(last=False)
        return bucket

    def is_empty(self, name: str, now: float) -> bool:
        """Whether ``name`` has nothing left to take; asking makes no bucket."""
        bucket = self._buckets.get(name)
        return bucket is not None and bucket.level(now) < 1


class Verdict(Enum):
    """What is to be done about a message."""

    FINE = "fine"
    TELL = "tell"
    """It is not carried out, and the client is told so."""
    DROP = "drop"
    """It is not carried out; the client has been told."""
    CLOSE = "close"
    """The client goes on and on."""


class Pace:
    """The messages of one connection: in time, too often, or so often that it is to be closed."""

    __slots__ = ("_bucket", "_burst", "_is_late")

    def __init__(self, per_s: float, burst: int, now: float) -> None:
        self._bucket = Bucket(per_s, burst, now)
        self._burst = burst
        self._is_late = False

    def take(self, now: float) -> Verdict:
        """Count a message."""
        if self._bucket.take(now):
            self._is_late = False
            return Verdict.FINE
        if not self._bucket.take(now, self._burst):
            return Verdict.CLOSE
        was_late, self._is_late = self._is_late, True
        return Verdict.DROP if was_late else Verdict.TELL
