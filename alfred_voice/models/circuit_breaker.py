"""Keeps from asking a server that does not answer: after some failures in a row, the next questions fail at once.

A closed breaker lets every question through and counts failures in a row. At the limit it opens: nothing goes out for
a while. Then it is half open: one question goes out as a trial. Its success closes the breaker, its failure opens it
for another while. What was asked before a change of state says nothing about the state that came after it.
"""

from __future__ import annotations

from enum import Enum
from threading import Lock


class Circuit(Enum):
    """What a breaker does with a question."""

    CLOSED = "closed"
    """It goes out."""
    OPEN = "open"
    """It fails at once."""
    HALF_OPEN = "half_open"
    """It goes out if no other is on trial."""


class CircuitBreaker:
    """The breaker before one server; may be asked from several threads.

    Every question begins with :meth:`admit` and ends, if it was let through, with one of :meth:`succeed`,
    :meth:`fail` and :meth:`abandon`.

    Args:
        failures: how many in a row open it.
        reset_s: how long it stays open before a trial.
    """

    def __init__(self, failures: int, reset_s: float) -> None:
        if failures < 1 or reset_s < 0:
            raise ValueError(f"Expected at least 1 failure and no negative time, but got {failures} and {reset_s} s")
        self._limit = failures
        self._reset_s = reset_s
        self._lock = Lock()
        self._state = Circuit.CLOSED
        self._era = 0
        self._in_a_row = 0
        self._opened_at = 0.0
        self._is_trying = False
        self._reason = ""

    @property
    def state(self) -> Circuit:
        """As of the last question; an open breaker becomes half open when one is admitted."""
        return self._state

    @property
    def reason(self) -> str:
        """What the last failure said; empty before the first."""
        return self._reason

    def wait_s(self, now: float) -> float:
        """How long until a question may go out; 0 when one may now, or when only the trial is waited for."""
        with self._lock:
            left = self._opened_at + self._reset_s - now if self._state is Circuit.OPEN else 0.0
            return max(0.0, left)

    def admit(self, now: float) -> int | None:
        """A ticket for one question, to be given back with its outcome; None when it must not go out."""
        with self._lock:
            if self._state is Circuit.OPEN and now - self._opened_at >= self._reset_s:
                self._become(Circuit.HALF_OPEN)
            if self._state is Circuit.OPEN or self._is_trying:
                return None
            self._is_trying = self._state is Circuit.HALF_OPEN
            return self._era

    def succeed(self, ticket: int) -> bool:
        """The server has answered; whether that closes a breaker that was open."""
        with self._lock:
            if ticket != self._era:
                return False
            self._in_a_row = 0
            if self._state is not Circuit.HALF_OPEN:
                return False
            self._become(Circuit.CLOSED)
            return True

    def fail(self, ticket: int, now: float, reason: str) -> bool:
        """The server has not answered, or not as it should; whether that opens a breaker that was closed."""
        with self._lock:
            if ticket != self._era:
                return False
            self._reason = reason
            self._in_a_row += 1
            was_closed = self._state is Circuit.CLOSED
            is_open = not was_closed or self._in_a_row >= self._limit
            if is_open:
                self._become(Circuit.OPEN)
                self._opened_at = now
            return is_open and was_closed

    def abandon(self, ticket: int) -> None:
        """Nobody knows whether the server would have answered; another question may be the trial."""
        with self._lock:
            if ticket == self._era:
                self._is_trying = False

    def _become(self, state: Circuit) -> None:
        self._state = state
        self._era += 1
        self._in_a_row = 0
        self._is_trying = False
