"""The newest values of a figure, and what is to be told of them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from statistics import fmean

import numpy as np


RECENT = 512
"""How many of the newest values a figure is drawn from."""


class Recent:
    """The newest values of one figure.

    They lie side by side in memory: who asks while the daemon is busy does not have to fetch each from somewhere else.
    """

    def __init__(self, size: int = RECENT) -> None:
        self._values = array("d")
        self._size = size
        self._oldest = 0
        self._summary: dict[str, float] | None = None

    def add(self, value: float) -> None:
        """Add the newest value."""
        if len(self._values) < self._size:
            self._values.append(value)
        else:
            self._values[self._oldest] = value
            self._oldest = (self._oldest + 1) % self._size
        self._summary = None

    @property
    def mean(self) -> float:
        """Their mean; 0 when there is none."""
        return fmean(self._values) if self._values else 0.0

    def summary(self) -> dict[str, float]:
        """Count, median, 95th percentile and largest; zeros when there is none. Not to be changed."""
        # The monitor asks for all sessions' again and again, and most have not changed.
        if self._summary is None:
            self._summary = _summary(self._sorted())
        return self._summary

    def quantile(self, share: float) -> float:
        """Below what value that share of them lies; 0 when there is none."""
        return quantile(self._sorted(), share) if self._values else 0.0

    def _sorted(self) -> list[float]:
        values: list[float] = np.sort(np.array(self._values)).tolist()
        return values


def _summary(values: list[float]) -> dict[str, float]:
    """Of values in their order; between two of them a percentile is in proportion."""
    if not values:
        return {"count": 0, "p50": 0.0, "p95": 0.0, "max": 0.0}
    return {
        "count": len(values),
        "p50": round(quantile(values, 0.5), 3),
        "p95": round(quantile(values, 0.95), 3),
        "max": round(values[-1], 3),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Below what value that share of values in their order lies; between two of them it is in proportion."""
    place, rest = divmod(share * (len(values) - 1), 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * rest
