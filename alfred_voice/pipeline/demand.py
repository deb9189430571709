"""What those who are in will ask of the engines, told before they have asked it.

Load is there when finals wait. By then everybody has been let in who came while the first ones were still speaking.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


PRICE_WINDOW_S = 60.0
"""Over so long it is measured what a second of speech costs."""
LEAST_HEARD_S = 20.0
"""Of speech in that time: from less nothing is concluded, since a first final may take many times as long as others."""
TALK_WINDOW_S = 5.0
"""Over so long it is measured how many of those who are there speak."""
FEWEST_SESSIONS = 4
"""Of fewer nothing is concluded: the only one who is there speaks all the time when he does."""


@dataclass(frozen=True, slots=True)
class _Totals:
    """What has come together up to a moment, in seconds."""

    at: float
    present_s: float = 0.0
    """Of sessions, added up."""
    talk_s: float = 0.0
    """Of sessions that were spoken in, added up."""
    heard_s: float = 0.0
    busy_s: tuple[float, ...] = ()


class Demand:
    """Price of speech times speakers to be expected. Pure: time and figures come as arguments."""

    def __init__(self) -> None:
        self._history: deque[_Totals] = deque()

    def note(self, now: float, *, sessions: int, speakers: int, heard_s: float, busy_s: tuple[float, ...]) -> None:
        """Take the figures of this moment.

        Args:
            now: clock seconds.
            sessions: that are open.
            speakers: sessions in which somebody is speaking, audio of whom is coming.
            heard_s: seconds of speech that finals have been told of, up to now.
            busy_s: for each engine the seconds that it has computed what cannot be given up, up to now.
        """
        last = self._history[-1] if self._history else _Totals(now)
        passed = max(0.0, now - last.at)
        self._history.append(
            _Totals(now, last.present_s + sessions * passed, last.talk_s + speakers * passed, heard_s, busy_s)
        )
        while now - self._history[0].at > PRICE_WINDOW_S:
            self._history.popleft()

    def share(self, sessions: int) -> float:
        """Seconds that the busiest engine would have to compute in a second, were so many sessions open.

        0 where too little has been heard of late to say, or too few are meant.
        """
        if not self._history or sessions < FEWEST_SESSIONS:
            return 0.0
        return self._price * self._talkers * sessions

    @property
    def _price(self) -> float:
        """What a second of speech has cost the busiest engine, in seconds."""
        start, end = self._history[0], self._history[-1]
        heard_s = end.heard_s - start.heard_s
        if heard_s < LEAST_HEARD_S:
            return 0.0
        return max((b - a for a, b in zip(start.busy_s, end.busy_s, strict=True)), default=0.0) / heard_s

    @property
    def _talkers(self) -> float:
        """The share of sessions that are spoken in, 0 to 1."""
        end = self._history[-1]
        start = next(totals for totals in self._history if end.at - totals.at <= TALK_WINDOW_S)
        present_s = end.present_s - start.present_s
        return (end.talk_s - start.talk_s) / present_s if present_s > 0 else 0.0
