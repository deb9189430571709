"""What a session asks of the engines. The pipeline carries each to its lane and brings the answer back.

At most one request of each kind is out for a session, but for transcriptions: a final may be
asked for while a partial is out, and a newer request makes an older one stale. The session
tells a stale answer by the request it gets back with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, eq=False)
class DetectRequest:
    """Windows that the voice activity detector has not seen yet, in order.

    Not to be changed; not frozen, as thirty a second are made for every session and that makes it dearer.
    """

    windows: NDArray[np.int16]
    """int16, shape (k, 512), 16 kHz; k >= 1."""
    first_window: int
    """Number of the first of them on the session's clock: it begins at sample 512 * first_window."""
    arrivals: tuple[float, ...]
    """When each window was complete, in clock seconds."""
    fresh: bool = False
    """The detector's state is to be made fresh before the first of them."""


class Urgency(IntEnum):
    """Which transcription goes first; a smaller one does."""

    FINAL = 0
    CUT = 1
    PARTIAL = 2


@dataclass(frozen=True, slots=True, eq=False)
class TranscribeRequest:
    """A clip of the open utterance."""

    urgency: Urgency
    utterance: int
    epoch: int
    """Counts the session's changes of mind: an answer from an older epoch is stale."""
    samples: NDArray[np.int16]
    """int16, shape (n,), 16 kHz."""
    start_sample: int
    prefix: tuple[int, ...]
    language: str
    voiced_ms: float
    asked_at: float
    """Clock seconds."""
    draft: tuple[int, ...] = ()
    """Tokens of the newest hypothesis that begins at the same sample: makes the answer quicker, never different."""
    engine: str = ""
    """Which recogniser; empty for the configured one."""
    wants_words: bool = False
    """Whether it is to tell when each word was said."""

    @property
    def end_sample(self) -> int:
        """One past the clip's last sample."""
        return self.start_sample + len(self.samples)


@dataclass(frozen=True, slots=True, eq=False)
class JudgeRequest:
    """The question whether this turn has ended."""

    utterance: int
    epoch: int
    samples: NDArray[np.int16]
    """int16, shape (n,), 16 kHz: at most the last 8 s of the turn, the pause included."""
    silence_ms: float
    asked_at: float


Request = DetectRequest | TranscribeRequest | JudgeRequest
"""Whatever a session may ask."""
