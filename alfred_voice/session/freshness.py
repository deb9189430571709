"""When the detector's recurrent state is to be made fresh: before the first window, and in long clear silence."""

from __future__ import annotations

from alfred_voice.session.detector import SAMPLES_PER_MS


CLEAR_SILENCE = 0.1
"""Below this probability a window is clearly not speech."""


class Freshness:
    """Long music or silence deadens the model's state: it begins afresh where nothing is lost by it."""

    __slots__ = ("_after", "_clear_since", "is_due")

    def __init__(self, reset_after_ms: int) -> None:
        self._after = reset_after_ms * SAMPLES_PER_MS
        self._clear_since = 0
        self.is_due = True
        """Whether the next window is to meet a fresh state."""

    def receive(self, probability: float, end: int, *, is_idle: bool) -> None:
        """Take the probability of the window that ends at sample ``end``; ``is_idle`` while nobody is followed."""
        if probability >= CLEAR_SILENCE or not is_idle:
            # What comes may be speech already: a reset that fell due a window ago would take away its beginning.
            self._clear_since, self.is_due = end, False
        elif 0 < self._after <= end - self._clear_since:
            self._clear_since, self.is_due = end, True

    def note_taken(self) -> None:
        """The next window is on its way to the model."""
        self.is_due = False
