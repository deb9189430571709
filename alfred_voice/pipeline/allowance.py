"""How much audio one client may send while the daemon is busy: real time, and a burst."""

from __future__ import annotations

from alfred_voice.audio.pcm import FRAME_MS


FRAMES_A_SECOND = 1000 / FRAME_MS * 1.05
"""A twentieth above real time: no two clocks agree, and a client that was held up has to catch up some time."""


class Allowance:
    """A bucket of frames that fills at real time (RFC 2697 calls it a token bucket)."""

    __slots__ = ("_at", "_burst", "_frames")

    def __init__(self, burst_frames: int, now: float) -> None:
        self._burst = float(burst_frames)
        self._frames = float(burst_frames)
        self._at = now

    def take(self, frames: int, now: float) -> None:
        """Count frames that have been taken; :meth:`delay_s` says whether they should be."""
        self._fill(now)
        self._frames -= frames

    def delay_s(self, frames: int, now: float) -> float:
        """How long so many frames have to wait; 0 when they may be taken now.

        Whatever is more than the burst may be taken when the bucket is full.
        """
        self._fill(now)
        missing = min(float(frames), self._burst) - self._frames
        return max(0.0, missing / FRAMES_A_SECOND)

    def _fill(self, now: float) -> None:
        self._frames = min(self._burst, self._frames + max(0.0, now - self._at) * FRAMES_A_SECOND)
        self._at = max(self._at, now)
