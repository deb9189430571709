"""What the client has been sent to hear, and how much of it has been heard by now.

The client plays audio as it comes. So the end of what it plays moves on by a piece's duration from
its former end, or from now when it had run dry.
"""

from __future__ import annotations


class Playout:
    """The playing of one session's speeches, one after the other. Times are clock seconds."""

    def __init__(self, lead_ms: float) -> None:
        self._lead_s = lead_ms / 1000
        self.speech_id: int | None = None
        """The speech that is being sent or played; None when there is none."""
        self.sent_ms = 0.0
        self._ends_at = 0.0

    def begin(self, speech_id: int) -> None:
        """Start the account of a speech of which nothing has been sent."""
        self.speech_id, self.sent_ms, self._ends_at = speech_id, 0.0, 0.0

    def wait_s(self, now: float) -> float:
        """How long the next piece has to wait so that no more than the lead is sent ahead."""
        return max(0.0, self._ends_at - now - self._lead_s)

    def sent(self, duration_ms: float, now: float) -> None:
        """A piece went out."""
        self.sent_ms += duration_ms
        self._ends_at = max(self._ends_at, now) + duration_ms / 1000

    def remaining_s(self, now: float) -> float:
        """How long what has been sent will still be heard."""
        return max(0.0, self._ends_at - now)

    def is_playing(self, now: float) -> bool:
        """Whether the client hears the daemon now."""
        return self.speech_id is not None and self._ends_at > now

    def spoken_ms(self, now: float) -> float:
        """How much of the speech has been heard."""
        return max(0.0, self.sent_ms - self.remaining_s(now) * 1000)

    def end(self) -> None:
        """The speech is over: heard to its end, or cancelled."""
        self.speech_id = None
