"""Where to cut speech that goes on without a pause for longer than is recognised in one piece.

The quietest moments are the candidates. A candidate is good when what is heard up to it is, word
for word, the beginning of what was heard of the whole: then it falls between two words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.engine import SAMPLE_RATE
from alfred_voice.results import Piece, Transcript
from alfred_voice.session.hypothesis import plain
from alfred_voice.session.requests import TranscribeRequest


HOP_SAMPLES = SAMPLE_RATE // 50
"""20 ms: the grid on which quiet moments are looked for."""
QUIET_HOPS = 5
"""100 ms: a moment's length; a gap between words is rarely longer."""
MIN_DISTANCE_HOPS = 25
"""500 ms: candidates are further apart than that, so that a second one is another gap."""


def quiet_moments(samples: NDArray[np.int16], first: int, last: int, count: int = 3) -> list[int]:
    """The middles of the quietest moments of ``samples[first:last]``, quietest first.

    Args:
        samples: int16, shape (n,), 16 kHz.
        first: index of the first sample of the range that is looked at.
        last: one past its last sample; the range ends where ``samples`` do.
        count: how many are wanted; fewer come back from a short range.
    """
    hops = (min(last, len(samples)) - first) // HOP_SAMPLES
    if hops < QUIET_HOPS:
        return []
    grid = samples[first : first + hops * HOP_SAMPLES].astype(np.float32).reshape(hops, HOP_SAMPLES)
    energy = np.convolve((grid**2).mean(axis=1), np.ones(QUIET_HOPS, np.float32), mode="valid")
    found: list[int] = []
    for index in np.argsort(energy, kind="stable"):
        if all(abs(int(index) - other) > MIN_DISTANCE_HOPS for other in found):
            found.append(int(index))
        if len(found) == count:
            break
    return [first + (index * HOP_SAMPLES) + QUIET_HOPS * HOP_SAMPLES // 2 for index in found]


def agreement(head: tuple[Piece, ...], whole: tuple[Piece, ...]) -> float:
    """How much of ``head`` is the beginning of ``whole``: 1.0 when all its words are, in order.

    Case and punctuation do not count: the recogniser ends a clip with a full stop wherever it ends.
    """
    if not head or len(head) > len(whole):
        return 0.0
    same = sum(plain(a) == plain(b) for a, b in zip(head, whole, strict=False))
    return same / len(head)


@dataclass(slots=True)
class CutSearch:
    """The search for one cut: first the whole is recognised, then what lies before each candidate."""

    candidates: list[int]
    """Samples of the session's clock still to be tried, best first."""
    request: TranscribeRequest | None = None
    """The question whose answer is awaited; the answer to any other is not for this search."""
    whole: tuple[Piece, ...] | None = None
    trying: int | None = None
    """The candidate whose answer is awaited."""
    best: tuple[float, int, Transcript] | None = None
    """Agreement, sample and transcript of the best one so far."""

    def receive_whole(self, transcript: Transcript) -> None:
        """Take what the whole sounds like."""
        self.whole = transcript.pieces

    def next_candidate(self) -> int | None:
        """The candidate to be tried now; None when all have been."""
        self.trying = self.candidates.pop(0) if self.candidates else None
        return self.trying

    def receive_head(self, transcript: Transcript) -> bool:
        """Take what the audio before the tried candidate sounds like.

        Returns:
            True when the search is over: this cut is good, or there is no other candidate.
        """
        if self.whole is None or self.trying is None:
            raise AssertionError("the answer to a question that has not been asked")
        score = agreement(transcript.pieces, self.whole)
        if self.best is None or score > self.best[0]:
            self.best = (score, self.trying, transcript)
        return score == 1.0 or not self.candidates
