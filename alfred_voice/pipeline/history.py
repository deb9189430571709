"""The recent past in figures: one row a second, in arrays of a fixed size, and marks where something changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


ROWS = 900
"""15 minutes at a row a second."""
MOST_MARKS = 200
DIGITS = 3
"""What is told of a value behind the point."""

MarkKind = Literal["rung_up", "rung_down", "alert_raised", "alert_cleared", "sessions_refused", "sessions_admitted"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one moment."""

    at: float
    """Seconds since 1970."""
    kind: MarkKind
    name: str
    """The rung's number, the alert's code, or ``admission``."""
    text: str
    """For people."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, as it is told."""

    index: int
    """Counts all rows from the first one on, also those that are kept no more."""
    at: float
    """Seconds since 1970."""
    values: list[float]


class History:
    """A ring of rows: to add one copies some tens of bytes, and memory never grows.

    Args:
        columns: the names of a row's values.
        rows: how many are kept.
    """

    def __init__(self, columns: Sequence[str], rows: int = ROWS) -> None:
        self.columns = tuple(columns)
        self._times: NDArray[np.float64] = np.zeros(rows)
        self._values: NDArray[np.float32] = np.zeros((rows, len(self.columns)), np.float32)
        self._marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self.count = 0
        """Rows that have been added in all."""
        self.marked = 0
        """Likewise of marks."""

    @property
    def nbytes(self) -> int:
        """Memory that the rows take, used or not."""
        return self._times.nbytes + self._values.nbytes

    def add(self, at: float, values: Sequence[float]) -> None:
        """Add a row: ``at`` in seconds since 1970, and a value for each column."""
        place = self.count % len(self._times)
        self._times[place] = at
        self._values[place] = values
        self.count += 1

    def mark(self, mark: Mark) -> None:
        """Note that something has happened."""
        self._marks.append(mark)
        self.marked += 1

    def rows_since(self, count: int) -> list[Row]:
        """The rows that have been added since there were ``count``, the oldest first, as far as they are kept."""
        size = len(self._times)
        return [self._row(index) for index in range(max(count, self.count - size, 0), self.count)]

    def _row(self, index: int) -> Row:
        place = index % len(self._times)
        return Row(index, float(self._times[place]), _rounded(self._values[place]))

    def marks_since(self, marked: int) -> list[Mark]:
        """The marks that have been made since there were ``marked``, as far as they are kept."""
        new = min(len(self._marks), max(0, self.marked - marked))
        return list(self._marks)[len(self._marks) - new :]

    def describe(self) -> dict[str, Any]:
        """All of it as JSON, column by column, the oldest first; marks as far back as the rows go."""
        kept = min(self.count, len(self._times))
        order = np.arange(self.count - kept, self.count) % len(self._times)
        times, values = self._times[order], self._values[order]
        # Before the first row of all something may have happened, too.
        oldest = float(times[0]) if self.count > kept else float("-inf")
        return {
            "first": self.count - kept,
            "at": np.round(times, 2).tolist(),
            "columns": {name: _rounded(values[:, column]) for column, name in enumerate(self.columns)},
            "marked": self.marked,
            "marks": [mark for mark in self._marks if mark.at >= oldest],
        }


def _rounded(values: NDArray[np.float32]) -> list[float]:
    # Single precision written out as it is has a tail of digits that mean nothing.
    return [round(value, DIGITS) for value in values.astype(np.float64).tolist()]
