"""Clips of a length that a recogniser takes, cut out of a recording of which only the last seconds are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alfred_voice.files.segment import Span, SpeechSpans
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Int16
from alfred_voice.session.cut import quiet_moments
from alfred_voice.session.options import VadOptions


_PER_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """What is recognised in one piece."""

    start: int
    """The recording's sample that is the first of it."""
    samples: Int16
    """int16, shape (n,), 16 kHz."""
    voiced_ms: float
    """How much of it is in windows of speech."""

    @property
    def end(self) -> int:
        """One past its last sample."""
        return self.start + len(self.samples)


class Stretches:
    """Cuts one recording as it comes; only what may still belong to a stretch is kept.

    Spans of speech are put together where less than ``join_ms`` lies between, as a recogniser does better with a
    whole sentence than with its parts, but only up to ``joined_ms``; and they are cut so that none is longer than
    ``max_ms``. What is too long is cut at its quietest moment, not before half of what it may be.

    Args:
        options: what is speech.
        join_ms: shorter gaps become part of a stretch, where it does not get too long by it.
        joined_ms: of a stretch that was put together; at most ``max_ms``.
        max_ms: of any stretch.
    """

    def __init__(self, options: VadOptions, join_ms: int, joined_ms: int, max_ms: int) -> None:
        self._spans = SpeechSpans(options)
        self._threshold = options.threshold
        self._join = join_ms * _PER_MS
        self._most_joined = min(joined_ms, max_ms) * _PER_MS
        self._longest = max_ms * _PER_MS
        self._samples: Int16 = np.zeros(0, np.int16)
        self._probabilities: list[float] = []
        self._kept_from = 0
        """The sample where both begin; a window begins there."""
        self._group: Span | None = None
        """Spans that were put together, to which others may come."""
        self._cut_at: int | None = None
        """Where the speech that goes on was last cut."""

    def feed(self, samples: Int16, probabilities: Sequence[float]) -> list[Stretch]:
        """Take the next samples, and the probability of speech in each window that they make full."""
        self._samples = np.concatenate((self._samples, samples))
        found = self._receive(probabilities)
        found += self._settle()
        self._forget()
        return found

    def flush(self, probabilities: Sequence[float]) -> list[Stretch]:
        """All that is left at the recording's end; ``probabilities`` of the last window, if it was not full."""
        found = self._receive(probabilities)
        for span in self._spans.flush():
            found += self._take(span)
        return found + self._end_group()

    def _receive(self, probabilities: Sequence[float]) -> list[Stretch]:
        found: list[Stretch] = []
        total = self._kept_from + len(self._samples)
        end = self._kept_from + len(self._probabilities) * WINDOW_SAMPLES
        self._probabilities += probabilities
        for probability in probabilities:
            end += WINDOW_SAMPLES
            for span in self._spans.receive(probability, min(end, total)):
                found += self._take(span)
        return found

    def _take(self, span: Span) -> list[Stretch]:
        """The next span, in full."""
        start, end = span
        if self._cut_at is not None:  # the rest of one that was too long; nothing can be joined to it
            start, self._cut_at = self._cut_at, None
            return self._cut(start, end)
        group = self._group
        if group and start - group[1] < self._join and end - group[0] <= self._most_joined:
            self._group = (group[0], end)
            return []
        found = self._end_group()
        self._group = span
        return found

    def _settle(self) -> list[Stretch]:
        """What is certain although the next span has not been told yet."""
        found: list[Stretch] = []
        group, going_on = self._group, self._spans.open
        if group:
            is_too_long = going_on is not None and going_on[1] - group[0] > self._most_joined
            if is_too_long or self._spans.earliest - group[1] >= self._join:
                found += self._end_group()
        if going_on is not None and self._group is None:
            start = going_on[0] if self._cut_at is None else self._cut_at
            while going_on[1] - start > self._longest:
                at = self._quietest(start)
                found.append(self._stretch(start, at))
                self._cut_at = start = at
        return found

    def _end_group(self) -> list[Stretch]:
        group, self._group = self._group, None
        return self._cut(*group) if group else []

    def _cut(self, start: int, end: int) -> list[Stretch]:
        found: list[Stretch] = []
        while end - start > self._longest:
            at = self._quietest(start)
            found.append(self._stretch(start, at))
            start = at
        return [*found, self._stretch(start, end)]

    def _quietest(self, start: int) -> int:
        """Where what begins with ``start`` is cut."""
        first = start + self._longest // 2 - self._kept_from
        last = start + self._longest - self._kept_from
        return self._kept_from + (quiet_moments(self._samples, first, last, 1) or [last])[0]

    def _stretch(self, start: int, end: int) -> Stretch:
        first, last = start - self._kept_from, end - self._kept_from
        windows = self._probabilities[first // WINDOW_SAMPLES : -(-last // WINDOW_SAMPLES)]
        voiced = sum(probability >= self._threshold for probability in windows)
        return Stretch(start, self._samples[first:last].copy(), voiced * WINDOW_SAMPLES / _PER_MS)

    def _forget(self) -> None:
        """Let go of what no stretch can begin with."""
        needed = self._spans.earliest if self._cut_at is None else self._cut_at
        if self._group:
            needed = min(needed, self._group[0])
        windows = (needed - self._kept_from) // WINDOW_SAMPLES
        if windows > 0:
            del self._probabilities[:windows]
            self._samples = self._samples[windows * WINDOW_SAMPLES :]
            self._kept_from += windows * WINDOW_SAMPLES
