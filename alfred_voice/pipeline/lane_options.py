"""How patient a lane is with its engine, and what is special about one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


FAILURES_IN_A_ROW = 3
"""Rows of as many sessions blamed with no answer in between are the engine's fault after all: two sessions may well
send what it cannot bear at the same time, three hardly do."""
MOST_ENGINES = 3
"""A job that as many engines in a row have failed at gets an error: the next one would hardly do better."""
MOST_HANGS = 2
"""A job that has hung alone is tried once more, as the machine may have been at fault; each time costs the lane the
whole time limit."""
DOWN_PATIENCE_S = 20.0
"""How long a job waits for an engine that is being made anew: loading takes seconds, and a client that has stopped
waits a minute for its final (``STOP_PATIENCE_S``), of which a batch that hung has taken half."""
PATIENCE_S = 5.0
"""On top of the longest that an engine says it may take."""
EXPIRY_TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """What is special about a lane."""

    threaded: bool = True
    """False for an engine whose batch takes a millisecond or two of many short steps: it runs on the loop itself. In
    a thread each of its steps would have to wait for the interpreter's lock, which the loop holds most of the time
    when it is busy: with 500 sessions a batch took 200 ms instead of 5. Nobody can interrupt it there, so it has no
    time limit."""
    timeout_s: float = 30.0
    """After this a call of the engine is given up."""
    build: Callable[[], Any] | None = None
    """Makes the engine anew, in any thread; None for one that is used again as it is."""

    def limit_s(self, longest_s: float) -> float:
        """How long a call may take, where the engine says that it takes ``longest_s`` at most; 0 if it says nothing."""
        return max(self.timeout_s, longest_s + PATIENCE_S) if longest_s else self.timeout_s
