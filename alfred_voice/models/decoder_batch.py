"""Rows that a decoder reads together, each at its own place in its own text, with what its layers need of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


Float32 = NDArray[np.float32]

_CACHE_STEP = 32
"""Positions by which the cache grows. Multiples of a vector's width: what is masked then changes no sum by a bit."""
_NEVER = np.float32(-1e9)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What an encoder made of a clip, as the decoder's layers look at it."""

    states: int
    """How many are real; the rest is padding."""
    cross: tuple[Float32, ...]
    """Keys and values of each layer in turn: float32, shape (1, heads, padded, head width)."""

    @property
    def padded(self) -> int:
        """States with padding."""
        return int(self.cross[0].shape[2])


class DecoderBatch:
    """What the decoder knows of several rows.

    Attributes:
        cross: keys and values of what was heard: each float32, shape (rows, heads, padded, head width).
        past: keys and values of what has been read: each float32, shape (rows, capacity, width).
        mask: int32, shape (rows, padded): 1 for states that are real.
    """

    def __init__(self, heard: Sequence[Heard], caches: int, width: int) -> None:
        padded = max(one.padded for one in heard)
        self.cross = tuple(_stack([one.cross[at] for one in heard], padded) for at in range(len(heard[0].cross)))
        self.mask = (np.arange(padded) < np.array([[one.states] for one in heard])).astype(np.int32)
        self.past: list[Float32] = [np.zeros((len(heard), 0, width), np.float32)] * caches

    def feeds(
        self, fresh: Sequence[Sequence[int]], starts: Sequence[int], wide: int, filling: int
    ) -> dict[str, NDArray[Any]]:
        """What the decoder has to know of the ``fresh`` tokens, in arrays of ``wide`` positions.

        Args:
            fresh: for each row, what it reads now.
            starts: for each row, where the first of them belongs.
            wide: the most tokens of a row.
            filling: the token that stands where a row has fewer.
        """
        tokens = np.full((len(fresh), wide), filling, np.int64)
        for at, row in enumerate(fresh):
            tokens[at, : len(row)] = row
        positions = np.array(starts, np.int64)[:, np.newaxis] + np.arange(wide)
        self._reserve(int(positions.max()) + 1)
        places = np.stack(np.broadcast_arrays(np.arange(len(fresh))[:, np.newaxis], positions), axis=-1)
        # What lies behind a position is left over from a draft, or padding.
        known = np.arange(self.past[0].shape[1]) <= positions[:, np.newaxis, :, np.newaxis]
        bias = np.where(known, np.float32(0), _NEVER)
        return {"tokens": tokens, "positions": positions, "places": places, "bias": bias, "mask": self.mask}

    def keep(self, kept: Sequence[int]) -> None:
        """Let all rows go but these."""
        place = slice(kept[0], kept[-1] + 1) if kept[-1] - kept[0] + 1 == len(kept) else list(kept)
        self.cross = tuple(values[place] for values in self.cross)
        self.past = [values[place] for values in self.past]
        self.mask = self.mask[place]

    def _reserve(self, positions: int) -> None:
        """Make the caches as long as that, if they are shorter."""
        rows, capacity, width = self.past[0].shape
        if positions <= capacity:
            return
        longer = -(-positions // _CACHE_STEP) * _CACHE_STEP
        more = np.zeros((rows, longer - capacity, width), np.float32)
        self.past = [np.concatenate([values, more], axis=1) for values in self.past]


def plan_batches(states: Iterable[int], rows: int, total: int) -> list[list[int]]:
    """Which clips are decoded together, by their places: of similar length, at most ``rows`` in a batch.

    Args:
        states: of each clip.
        rows: the most in a batch.
        total: the most states of a batch, padding counted.
    """
    by_length = sorted(enumerate(states), key=lambda pair: -pair[1])
    batches: list[list[int]] = []
    longest = 0
    for at, length in by_length:
        if batches and len(batches[-1]) < rows and (len(batches[-1]) + 1) * longest <= total:
            batches[-1].append(at)
        else:
            batches.append([at])
            longest = length
    return batches


def _stack(values: Sequence[Float32], padded: int) -> Float32:
    """Keys or values of several clips in one array, with nothing behind those of the shorter ones."""
    if len(values) == 1:
        return values[0]
    _, heads, _, width = values[0].shape
    stacked = np.zeros((len(values), heads, padded, width), np.float32)
    for at, one in enumerate(values):
        stacked[at, :, : one.shape[2]] = one[0]
    return stacked
