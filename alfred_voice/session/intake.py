"""What came in and how far it has been judged: frames, the windows made of them, and the audio itself.

The sample index is the clock: 320-sample frames go in, 512-sample windows come out, and a frame is
processed once the windows that cover it have been judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.ring import Ring
from alfred_voice.models.engine import WINDOW_SAMPLES
from alfred_voice.session.requests import DetectRequest


FRAME_SAMPLES = 320
"""20 ms at 16 kHz: the unit of transport."""


@dataclass(frozen=True, slots=True)
class JudgedFrame:
    """A frame whose last sample has been judged."""

    number: int
    start_sample: int
    arrival: float


class Intake:
    """One session's audio and its account. ``received == processed + dropped`` once all is judged.

    Order of use: :meth:`receive_frame` or :meth:`receive_gap`, then :meth:`take_windows`; when the
    answer is there, :meth:`mark_judged`; then :meth:`take_windows` again.
    """

    def __init__(self, max_samples: int) -> None:
        self._ring = Ring(max_samples)
        self._arrivals: deque[float] = deque()
        self._waiting: deque[JudgedFrame] = deque()
        self._gaps: deque[tuple[int, int]] = deque()
        self._taken = 0
        self.judged_samples = 0
        self.received = 0
        self.processed = 0
        self.dropped = 0

    @property
    def end(self) -> int:
        """One past the last sample that came in."""
        return self._ring.end

    @property
    def taken(self) -> int:
        """One past the last sample of the windows that have been taken."""
        return self._taken

    @property
    def waiting_windows(self) -> int:
        """Complete windows that nobody has taken yet."""
        return len(self._arrivals)

    @property
    def nbytes(self) -> int:
        """Memory that the audio takes."""
        return self._ring.nbytes

    def receive_frame(self, frame: NDArray[np.int16], now: float) -> None:
        """Take a 20 ms frame: int16, shape (320,), 16 kHz."""
        start = self._ring.end
        self._ring.append(frame)
        self._waiting.append(JudgedFrame(self.received, start, now))
        self.received += 1
        self._note_arrival(now)

    def receive_gap(self, frames: int, now: float) -> None:
        """Note that ``frames`` frames were dropped before they got here: silence that nobody judges."""
        start = self._ring.end
        self._ring.skip(frames * FRAME_SAMPLES)
        self.received += frames
        self.dropped += frames
        self._gaps.append((start, self._ring.end))
        self._note_arrival(now)

    def receive_loss(self, frames: int) -> None:
        """Count frames that came too late to be put anywhere."""
        self.received += frames
        self.dropped += frames

    def pad_tail(self, now: float) -> None:
        """Complete the last window with silence, so that its frames can be judged."""
        missing = -self._ring.end % WINDOW_SAMPLES
        if missing:
            self._ring.append(np.zeros(missing, np.int16))
            self._note_arrival(now)

    def _note_arrival(self, now: float) -> None:
        while self._taken + (len(self._arrivals) + 1) * WINDOW_SAMPLES <= self._ring.end:
            self._arrivals.append(now)

    def take_windows(self, most: int, *, fresh: bool) -> DetectRequest | None:
        """Hand out up to ``most`` windows, in order; None when there is none, or the next one lies in a gap."""
        count = min(most, len(self._arrivals))
        if count == 0 or self.next_is_gap:
            return None
        first = self._taken
        if self._gaps:
            count = min(count, max(1, (self._gaps[0][0] - first) // WINDOW_SAMPLES))
        self._taken = first + count * WINDOW_SAMPLES
        windows = self._read_filled(first, self._taken).reshape(count, WINDOW_SAMPLES)
        arrivals = tuple(self._arrivals.popleft() for _ in range(count))
        return DetectRequest(windows, first // WINDOW_SAMPLES, arrivals, fresh)

    @property
    def next_is_gap(self) -> bool:
        """Whether the next window lies wholly in a gap, so that no model need look at it."""
        while self._gaps and self._gaps[0][1] < self._taken + WINDOW_SAMPLES:
            self._gaps.popleft()
        return bool(self._gaps) and bool(self._arrivals) and self._gaps[0][0] <= self._taken

    def take_gap_window(self) -> tuple[int, float]:
        """Take the next window, which lies in a gap: its first sample and when it came."""
        start, self._taken = self._taken, self._taken + WINDOW_SAMPLES
        return start, self._arrivals.popleft()

    def mark_judged(self, window_start: int) -> Iterator[JudgedFrame]:
        """Note the verdict on one window; yield the frames that are processed with it."""
        self.judged_samples = window_start + WINDOW_SAMPLES
        while self._waiting and self._waiting[0].start_sample + FRAME_SAMPLES <= self.judged_samples:
            self.processed += 1
            yield self._waiting.popleft()

    def read(self, start: int, end: int) -> NDArray[np.int16]:
        """A copy of the audio from ``start`` up to ``end``, or to where it begins and ends."""
        start = min(max(start, self._ring.start), self._ring.end)
        return self._ring.read(start, max(start, min(end, self._ring.end)))

    def _read_filled(self, start: int, end: int) -> NDArray[np.int16]:
        held = self.read(start, end)
        # Audio that had to give way before it was judged, to a long gap or to a late answer, is silence.
        return np.concatenate([np.zeros(end - start - len(held), np.int16), held])

    def discard(self, before: int) -> None:
        """Forget the audio before this sample, as far as it has been taken."""
        self._ring.discard(min(before, self._taken))

    def close(self) -> None:
        """Give up: what has not been judged counts as dropped, and the audio is freed."""
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._arrivals.clear()
        self._ring.discard(self._ring.end)
