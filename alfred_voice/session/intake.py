"""What came in and how far it has been judged: frames, the windows made of them, and the audio itself.

The sample index is the clock: 320-sample frames go in, 512-sample windows come out, and a frame is
processed once the windows that cover it have been judged.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.ring import Ring
from alfred_voice.models.engine import WINDOW_SAMPLES
from alfred_voice.session.requests import DetectRequest


FRAME_SAMPLES = 320
"""20 ms at 16 kHz: the unit of transport."""


JudgedFrame: TypeAlias = "tuple[int, int, float]"
"""A frame whose last sample has been judged: its number, its first sample, and when it came. No class of its own, as
one is made for every 20 ms of every session."""


class Intake:
    """One session's audio and its account. ``received == processed + dropped`` once all is judged.

    Order of use: :meth:`receive_frame` or :meth:`receive_gap`, then :meth:`take_windows`; when the
    answer is there, :meth:`mark_judged`; then :meth:`take_windows` again.
    """

    __slots__ = (
        "_complete", "_ring", "_taken", "_waiting", "arrivals", "dropped", "gaps", "judged_samples",
        "processed", "received",
    )  # fmt: skip

    def __init__(self, max_samples: int) -> None:
        self._ring = Ring(max_samples)
        self.arrivals: deque[float] = deque()
        """When each complete window came that nobody has taken yet."""
        self._waiting: deque[JudgedFrame] = deque()
        self.gaps: deque[tuple[int, int]] = deque()
        """First sample and end of each stretch that was lost and has not been gone over."""
        self._taken = 0
        # One past the last window whose arrival has been noted.
        self._complete = 0
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
        return len(self.arrivals)

    @property
    def nbytes(self) -> int:
        """Memory that the audio takes."""
        return self._ring.nbytes

    def receive_frame(self, frame: NDArray[np.int16], now: float) -> None:
        """Take a 20 ms frame: int16, shape (320,), 16 kHz."""
        ring = self._ring
        start = ring.end
        ring.append(frame)
        self._waiting.append((self.received, start, now))
        self.received += 1
        complete = self._complete + WINDOW_SAMPLES
        # A frame is shorter than a window and completes one at most.
        if complete <= start + FRAME_SAMPLES:
            self._complete = complete
            self.arrivals.append(now)

    def receive_gap(self, frames: int, now: float) -> None:
        """Note that ``frames`` frames were dropped before they got here: silence that nobody judges."""
        start = self._ring.end
        self._ring.skip(frames * FRAME_SAMPLES)
        self.received += frames
        self.dropped += frames
        self.gaps.append((start, self._ring.end))
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
        while self._complete + WINDOW_SAMPLES <= self._ring.end:
            self._complete += WINDOW_SAMPLES
            self.arrivals.append(now)

    def take_windows(self, most: int, *, fresh: bool) -> DetectRequest | None:
        """Hand out up to ``most`` windows, in order; None when there is none, or the next one lies in a gap."""
        count = min(most, len(self.arrivals))
        if count == 0 or self.next_is_gap:
            return None
        if self.gaps:
            count = min(count, max(1, (self.gaps[0][0] - self._taken) // WINDOW_SAMPLES))
        return self._taken_windows(tuple(self.arrivals.popleft() for _ in range(count)), fresh)

    def take_all_windows(self, *, fresh: bool) -> DetectRequest:
        """Hand out all windows: there must be one, and no gap."""
        arrivals = tuple(self.arrivals)
        self.arrivals.clear()
        return self._taken_windows(arrivals, fresh)

    def _taken_windows(self, arrivals: tuple[float, ...], fresh: bool) -> DetectRequest:
        first, count = self._taken, len(arrivals)
        self._taken = end = first + count * WINDOW_SAMPLES
        windows = self._view_filled(first, end).reshape(count, WINDOW_SAMPLES)
        return DetectRequest(windows, first // WINDOW_SAMPLES, arrivals, fresh)

    @property
    def next_is_gap(self) -> bool:
        """Whether the next window lies wholly in a gap, so that no model need look at it."""
        if not self.gaps:
            return False
        while self.gaps and self.gaps[0][1] < self._taken + WINDOW_SAMPLES:
            self.gaps.popleft()
        return bool(self.gaps) and bool(self.arrivals) and self.gaps[0][0] <= self._taken

    def take_gap_window(self) -> tuple[int, float]:
        """Take the next window, which lies in a gap: its first sample and when it came."""
        start, self._taken = self._taken, self._taken + WINDOW_SAMPLES
        return start, self.arrivals.popleft()

    def mark_judged(self, window_start: int) -> list[JudgedFrame]:
        """Note the verdict on one window; returns the frames that are processed with it."""
        waiting = self._waiting
        self.judged_samples = window_start + WINDOW_SAMPLES
        # The frame that the window ends in is not complete.
        last_start = self.judged_samples - FRAME_SAMPLES
        judged = []
        while waiting and waiting[0][1] <= last_start:
            judged.append(waiting.popleft())
        self.processed += len(judged)
        return judged

    def mark_silent(self, end: int, kept: int) -> None:
        """Note that the windows up to ``end`` are silence, and forget all but ``kept`` samples."""
        waiting = self._waiting
        self.judged_samples = end
        last_start = end - FRAME_SAMPLES
        while waiting and waiting[0][1] <= last_start:
            waiting.popleft()
            self.processed += 1
        self._ring.discard(end - kept)

    def read(self, start: int, end: int) -> NDArray[np.int16]:
        """A copy of the audio from ``start`` up to ``end``, or to where it begins and ends."""
        start = min(max(start, self._ring.start), self._ring.end)
        return self._ring.read(start, max(start, min(end, self._ring.end)))

    def _view_filled(self, start: int, end: int) -> NDArray[np.int16]:
        if start >= self._ring.start:
            # What has been taken stays until it has been judged, and a question holds a few windows of the 30 s and
            # more that there is room for: the view is not overwritten before it has been read.
            return self._ring.view(start, end)
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
        self.arrivals.clear()
        self._ring.discard(self._ring.end)
