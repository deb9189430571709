"""Speech over the daemon's own speech: long enough to be meant, or just a noise."""

from __future__ import annotations

from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES
from alfred_voice.session.options import InterruptionOptions


WINDOW_MS = 1000 * WINDOW_SAMPLES / SAMPLE_RATE


class BargeIn:
    """Counts windows of speech that fall on audible speech of the daemon, and says when they are enough."""

    __slots__ = ("_count", "_enabled", "_needed", "_previous_arrival", "first_arrival", "first_sample")

    def __init__(self, options: InterruptionOptions) -> None:
        self._enabled = options.enabled
        # To the nearest window: 100 ms are three windows of 32 ms, not four.
        self._needed = max(1, round(options.min_speech_ms / WINDOW_MS))
        self._count = 0
        self._previous_arrival: float | None = None
        self.first_sample = 0
        """Where the speech began that is being counted."""
        self.first_arrival = 0.0
        """When its first sample came: with the end of the window before."""

    def receive(self, *, is_speech: bool, is_playing: bool, window_start: int, arrival: float) -> bool:
        """Take one window that began at sample ``window_start`` and was complete at ``arrival``.

        Returns:
            True once, at the window that makes it an interruption.
        """
        previous, self._previous_arrival = self._previous_arrival, arrival
        if not self._enabled or not is_playing or not is_speech:
            self._count = 0
            return False
        if self._count == 0:
            self.first_sample = window_start
            self.first_arrival = arrival if previous is None else previous
        self._count += 1
        return self._count == self._needed

    def receive_silence(self, arrival: float) -> None:
        """Take one window in which nobody speaks, complete at ``arrival``."""
        self._previous_arrival, self._count = arrival, 0
