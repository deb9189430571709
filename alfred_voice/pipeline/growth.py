"""By how much a count has grown of late."""

from __future__ import annotations

from collections import deque


class Growth:
    """A count's growth over the last ``span_s`` seconds. Pure: the count and the time come as arguments."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._changes: deque[tuple[float, float]] = deque()

    def update(self, count: float, now: float) -> float:
        """Take the count of this moment; how much higher it is than ``span_s`` seconds ago."""
        changes = self._changes
        if not changes or changes[-1][1] != count:
            changes.append((now, count))
        # The first is what the span begins with, however old it is.
        while len(changes) > 1 and changes[1][0] <= now - self._span_s:
            changes.popleft()
        return count - changes[0][1]
