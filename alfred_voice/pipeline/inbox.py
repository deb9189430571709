"""The one bounded place in: what one client has sent and the session has not been given yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from alfred_voice.audio.level import rms_dbfs
from alfred_voice.events import EndReason
from alfred_voice.models.engine import Int16


class Arrived(NamedTuple):
    """A frame and when it came."""

    frame: Int16
    """int16, shape (320,), 16 kHz."""
    at: float
    """Clock seconds."""


@dataclass(frozen=True, slots=True)
class FlushMark:
    """Stands behind the frames that a flush concerns."""


@dataclass(frozen=True, slots=True)
class StopMark:
    """Stands behind the session's last frame."""

    reason: EndReason


class Inbox:
    """Frames in order, with marks between them. The bound is kept by whoever puts: see :attr:`has_room`."""

    __slots__ = ("_most_frames", "frames", "items")

    def __init__(self, most_frames: int) -> None:
        self._most_frames = most_frames
        self.items: deque[Arrived | FlushMark | StopMark] = deque()
        """What waits, in order; to be looked at only."""
        self.frames = 0
        """Frames that wait."""

    def __bool__(self) -> bool:
        """Whether anything waits, be it a mark."""
        return bool(self.items)

    def has_room(self, frames: int = 1) -> bool:
        """Whether so many more frames may wait."""
        return self.frames + frames <= self._most_frames

    @property
    def next_is_mark(self) -> bool:
        """Whether a mark comes next."""
        return bool(self.items) and not isinstance(self.items[0], Arrived)

    def put(self, item: Arrived | FlushMark | StopMark) -> None:
        """Let a frame or a mark wait."""
        self.items.append(item)
        self.frames += isinstance(item, Arrived)

    def take(self) -> Arrived | FlushMark | StopMark:
        """What came first."""
        item = self.items.popleft()
        self.frames -= isinstance(item, Arrived)
        return item

    def waited_s(self, now: float) -> float:
        """How long the oldest frame has waited."""
        return now - next((item.at for item in self.items if isinstance(item, Arrived)), now)

    def drop_quiet(self, keep: int, below_dbfs: float) -> int:
        """Drop the oldest frames but ``keep``, as long as they are quieter than this and no mark stands before them."""
        dropped = 0
        while self.frames > keep and _is_quiet(self.items[0], below_dbfs):
            self.take()
            dropped += 1
        return dropped

    def drop(self, most: int) -> int:
        """Drop the oldest frames, up to so many and up to the next mark; returns how many."""
        dropped = 0
        while dropped < most and self.items and not self.next_is_mark:
            self.take()
            dropped += 1
        return dropped

    def clear(self) -> int:
        """Let go of everything; returns how many frames were lost with it."""
        lost, self.frames = self.frames, 0
        self.items.clear()
        return lost


def _is_quiet(item: Arrived | FlushMark | StopMark, below_dbfs: float) -> bool:
    return isinstance(item, Arrived) and rms_dbfs(item.frame) < below_dbfs
