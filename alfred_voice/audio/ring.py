"""The audio of a session that is still needed, by absolute sample index."""

from __future__ import annotations

import numpy as np

from alfred_voice.audio.pcm import SAMPLE_RATE, Int16


INITIAL_SAMPLES = SAMPLE_RATE
"""1 s."""


class Ring:
    """Samples ``start`` to ``end`` of an endless stream; one per session, not thread-safe.

    Memory follows what is held: it doubles when more must be kept, up to ``maximum`` samples, and
    shrinks when :meth:`discard` leaves less than a quarter of it in use. Beyond the maximum the oldest
    samples give way.
    """

    __slots__ = ("_initial", "_samples", "end", "maximum", "start")

    def __init__(self, maximum: int, initial: int = INITIAL_SAMPLES) -> None:
        if min(initial, maximum) < 1:
            raise ValueError(f"expected at least 1 sample, got initial {initial} and maximum {maximum}")
        initial = min(initial, maximum)
        self.maximum = maximum
        self._initial = initial
        self._samples: Int16 = np.empty(initial, dtype=np.int16)
        self.start = 0
        """Index of the oldest sample held. Like the end, to be read only: properties would cost more than the rest."""
        self.end = 0
        """Index that the next sample will have."""

    @property
    def nbytes(self) -> int:
        """Memory taken, in use or not."""
        return self._samples.nbytes

    def append(self, samples: Int16) -> None:
        """Take the next samples of the stream: int16, shape (n,), any n."""
        n, size, end = len(samples), len(self._samples), self.end
        at = end % size
        # The usual frame fits where it is to go: this runs 50 times a second for every session.
        if at + n <= size and end - self.start + n <= size:
            self._samples[at : at + n] = samples
            self.end = end + n
            return
        self._make_room(n)
        kept = samples[max(0, len(samples) - len(self._samples)) :]
        first = self.end + len(samples) - len(kept)
        at = first % len(self._samples)
        straight = min(len(kept), len(self._samples) - at)
        self._samples[at : at + straight] = kept[:straight]
        if straight < len(kept):
            self._samples[: len(kept) - straight] = kept[straight:]
        self.end += len(samples)

    def skip(self, n: int) -> None:
        """Count ``n`` samples that were lost; they read as silence."""
        if n < 0:
            raise ValueError(f"n: expected at least 0 samples, got {n}")
        # What cannot be held any more need not be written.
        unwritten = max(0, n - self.maximum)
        if unwritten:
            self.start = self.end = self.end + unwritten
        self.append(np.zeros(n - unwritten, dtype=np.int16))

    def read(self, start: int, end: int) -> Int16:
        """A copy of samples ``start`` to ``end``, ``end`` itself not included.

        Raises:
            ValueError: not all of them are held.
        """
        if not self.start <= start <= end <= self.end:
            raise ValueError(f"expected a span within {self.start} to {self.end}, got {start} to {end}")
        return self._copy(start, end, end - start)

    def view(self, start: int, end: int) -> Int16:
        """Samples ``start`` to ``end``, a copy only where they do not lie in a row.

        What is discarded may be overwritten by what comes in later: a view is for reading soon.

        Raises:
            ValueError: not all of them are held.
        """
        size = len(self._samples)
        at = start % size
        if self.start <= start <= end <= self.end and at + end - start <= size:
            return self._samples[at : at + end - start]
        return self.read(start, end)

    def discard(self, before: int) -> None:
        """Let go of all samples before index ``before``; what was never held is no error."""
        if before > self.start:
            self.start = min(before, self.end)
        size = len(self._samples)
        if size > self._initial and (self.end - self.start) * 4 <= size:
            self._resize(self._fitting((self.end - self.start) * 2))

    def _make_room(self, n: int) -> None:
        needed = self.end - self.start + n
        if needed <= len(self._samples):
            return
        capacity = self._fitting(needed)
        # At the maximum the oldest give way; after a very long append that is all there was.
        self.start = max(self.start, self.end + n - capacity)
        if capacity != len(self._samples):
            self._resize(capacity)

    def _fitting(self, needed: int) -> int:
        """The least capacity in the row of doublings that holds ``needed``, the maximum at most."""
        capacity = self._initial
        while capacity < needed:
            capacity *= 2
        return min(capacity, self.maximum)

    def _resize(self, capacity: int) -> None:
        kept_from = min(self.start, self.end)
        held = self._copy(kept_from, self.end, self.end - kept_from)
        self._samples = np.empty(capacity, dtype=np.int16)
        at = kept_from % capacity
        straight = min(len(held), capacity - at)
        self._samples[at : at + straight] = held[:straight]
        self._samples[: len(held) - straight] = held[straight:]

    def _copy(self, start: int, end: int, n: int) -> Int16:
        at = start % len(self._samples)
        straight = min(n, len(self._samples) - at)
        if straight == n:
            return self._samples[at : at + n].copy()
        copy: Int16 = np.empty(n, dtype=np.int16)
        copy[:straight] = self._samples[at : at + straight]
        copy[straight:] = self._samples[: n - straight]
        return copy
