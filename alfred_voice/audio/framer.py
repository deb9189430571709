"""A stream of samples in pieces of one size."""

from __future__ import annotations

import numpy as np

from alfred_voice.audio.pcm import Int16


class Framer:
    """Cuts what it is fed into arrays of exactly ``size`` samples; one per stream.

    Pieces that lie whole in what was fed are views of it: whoever feeds leaves the array alone after.
    """

    __slots__ = ("_pending", "_rest", "size")

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: expected at least 1 sample, got {size}")
        self.size = size
        self._rest: Int16 = np.empty(size, dtype=np.int16)
        self._pending = 0

    @property
    def pending(self) -> int:
        """Samples that wait for their piece to be full; always less than ``size``."""
        return self._pending

    def feed(self, samples: Int16) -> list[Int16]:
        """All pieces that ``samples`` (int16, shape (n,), any n) makes full, in order."""
        size = self.size
        if not self._pending and len(samples) == size:
            return [samples]
        pieces = []
        taken = 0
        if self._pending:
            taken = min(size - self._pending, len(samples))
            self._keep(samples[:taken])
            if self._pending < size:
                return []
            pieces.append(self._rest)
            self._rest = np.empty(size, dtype=np.int16)
            self._pending = 0
        whole = (len(samples) - taken) // size
        pieces.extend(samples[taken : taken + whole * size].reshape(whole, size))
        self._keep(samples[taken + whole * size :])
        return pieces

    def flush(self) -> Int16 | None:
        """The pending samples with zeros up to ``size``; None when there are none."""
        rest = self.take_rest()
        if not len(rest):
            return None
        return np.concatenate([rest, np.zeros(self.size - len(rest), dtype=np.int16)])

    def take_rest(self) -> Int16:
        """The pending samples as they are; nothing is pending after."""
        rest = self._rest[: self._pending].copy()
        self._pending = 0
        return rest

    def _keep(self, samples: Int16) -> None:
        self._rest[self._pending : self._pending + len(samples)] = samples
        self._pending += len(samples)
