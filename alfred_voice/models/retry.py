"""When a question to a server is put again, and how long to wait before.

Waits grow twofold, and each is drawn evenly from nothing up to its limit ("full jitter"), so that clients that failed
together do not come back together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime


_PASSING = frozenset({408, 409, 429})
"""Request timeout, conflict, too many requests."""
_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often to try again, and how the waits grow."""

    max_retries: int = 2
    """Beside the first attempt."""
    first_s: float = 0.5
    """The first wait is at most this; each further one at most twice the one before."""
    most_s: float = 8.0
    """No wait is drawn from more than this."""

    def delay_s(self, failures: int, chance: float, asked_s: float | None, left_s: float) -> float | None:
        """How long to wait before the next attempt.

        Args:
            failures: attempts so far, all of which have failed; at least 1.
            chance: evenly drawn from 0 to 1.
            asked_s: what the server asks to wait, if it does; the drawn time comes on top of it.
            left_s: how much time there is for the whole question.

        Returns:
            Seconds; None to give up, as there are no attempts left, or no time for another.
        """
        if failures > self.max_retries:
            return None
        limit_s = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
        delay_s = chance * limit_s + (asked_s or 0.0)
        return delay_s if delay_s < left_s else None


def is_passing(status: int) -> bool:
    """Whether an HTTP status says that the same question may be answered later."""
    return status in _PASSING or 500 <= status <= 599


def asked_delay_s(headers: Mapping[str, str], wall_s: float) -> float | None:
    """What a server asks to wait: ``retry-after-ms``, or ``Retry-After`` as seconds or as a date.

    Args:
        headers: of the answer; found without regard to case if the mapping does so, else in lower case.
        wall_s: seconds since 1970-01-01 UTC.

    Returns:
        Seconds, not negative; None where nothing is asked, or nothing that can be understood.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    seconds = _number(asked)
    return _until(asked, wall_s) if seconds is None and asked else seconds


def _number(text: str | None) -> float | None:
    """A number that is neither negative nor endless."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(date: str, wall_s: float) -> float | None:
    """Seconds until an HTTP date (RFC 9110, 5.6.7); 0 when it has passed."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - wall_s)
