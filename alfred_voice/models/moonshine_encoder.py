"""Moonshine's encoder at work: clips whole, and clips that grow."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.decoder_batch import Heard
from alfred_voice.models.engine import Float32
from alfred_voice.models.moonshine_weights import HEAD_WIDTH, HEADS, WIDTH
from alfred_voice.models.onnx import Session


MIN_SAMPLES = 895
"""56 ms, the shortest clip that the encoder takes: it gives one state."""

_CONVOLUTIONS = ((127, 64), (7, 3), (3, 2))
"""Width and stride of each, the shapes of the published weights."""
STATE_SAMPLES = prod(stride for _, stride in _CONVOLUTIONS)
"""384, 24 ms, from one state to the next."""

_PADDED_TO = 64
"""States of a clip are filled up to a multiple of it: what is masked then changes no sum by a bit."""
_MIN_GROWTH = 1_600
"""100 ms; what has grown by less is heard anew, so that each convolution always has a step to make."""
_RECENT_STATES = 84
"""2 s: so far back states are made anew, with what has been said since; older ones stay as they are."""


@dataclass(slots=True, eq=False)
class Hearing:
    """What the encoder has made of a clip that is still growing; one for each, changed by every call."""

    samples: Float32 = field(default_factory=lambda: np.empty(0, np.float32))
    """What it was made of."""
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    bent: Float32 = field(default_factory=lambda: np.empty((1, WIDTH, 0), np.float32))
    folded: Float32 = field(default_factory=lambda: np.empty((1, 2 * WIDTH, 0), np.float32))
    first: int = 0
    """The first state that is to be made anew."""
    past: tuple[Float32, ...] = ()
    """Keys and values of the states before it."""
    cross: tuple[Float32, ...] = ()
    """For the decoder: shape (1, heads, padded, head width)."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        own = self.samples.nbytes + self.sums.nbytes + self.bent.nbytes + self.folded.nbytes
        return own + sum(values.nbytes for values in (*self.past, *self.cross))


class ClipEncoder:
    """Gives the decoder what it looks at; keeps nothing between calls but what a :class:`Hearing` keeps."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._past = tuple(name for name in session.input_names if name.startswith("past_"))
        present = tuple(name.replace("past_", "present_") for name in self._past)
        cross = tuple(name for name in session.output_names if name.startswith(("key_", "value_")))
        self._cross = len(cross)
        self._whole = cross
        self._growing = (*cross, "new_sums", "all_bent", "all_folded", *present)

    def encode(self, samples: Float32) -> Heard:
        """The whole clip.

        Args:
            samples: float32, shape (n,), 16 kHz, [-1, 1); at least :data:`MIN_SAMPLES`.
        """
        fresh = Hearing()
        cross = self._session.run(self._feeds(samples, fresh), self._whole)
        states = cross[0].shape[2]
        return Heard(states, tuple(_put(None, values, 0) for values in cross))

    def follow(self, samples: Float32, hearing: Hearing) -> Heard:
        """The whole clip, of which ``hearing`` knows the beginning: cheaper, and a little less exact."""
        known = len(hearing.samples)
        if len(samples) - known < _MIN_GROWTH or not np.array_equal(samples[:known], hearing.samples):
            _forget(hearing)
            known = 0
        steps = _steps(known, 1)
        answers = self._session.run(self._feeds(samples[steps * _CONVOLUTIONS[0][1] :], hearing), self._growing)
        cross, (sums, bent, folded), present = (
            answers[: self._cross],
            answers[self._cross :][:3],
            answers[self._cross + 3 :],
        )
        old = hearing.cross or (None,) * len(cross)
        hearing.cross = tuple(_put(one, new, hearing.first) for one, new in zip(old, cross, strict=True))
        states = hearing.first + cross[0].shape[2]
        first = max(hearing.first, states - _RECENT_STATES)
        # All steps so far, and where in them the next convolution goes on.
        bent_from = _steps(len(samples), 2) * _CONVOLUTIONS[1][1] - _steps(len(samples), 1)
        folded_from = (first - hearing.first) * _CONVOLUTIONS[2][1]
        hearing.samples = samples.copy()
        hearing.sums = sums
        hearing.bent = bent[:, :, bent_from:].copy()
        hearing.folded = folded[:, :, folded_from:].copy()
        hearing.past = tuple(values[:, :first] for values in present)
        hearing.first = first
        return Heard(states, hearing.cross)

    def _feeds(self, samples: Float32, hearing: Hearing) -> dict[str, NDArray[np.generic]]:
        past = hearing.past or (np.empty((1, 0, WIDTH), np.float32),) * len(self._past)
        return {
            "samples": samples[np.newaxis, np.newaxis],
            "sums": hearing.sums,
            "bent": hearing.bent,
            "folded": hearing.folded,
            "first": np.array([hearing.first], np.int64),
            **dict(zip(self._past, past, strict=True)),
        }


def count_states(samples: int) -> int:
    """How many states the encoder makes of so many samples."""
    return _steps(samples, len(_CONVOLUTIONS))


def _steps(samples: int, convolutions: int) -> int:
    """How many steps that many convolutions in a row make of so many samples."""
    length = samples
    for width, stride in _CONVOLUTIONS[:convolutions]:
        length = max(0, (length - width) // stride + 1)
    return length


def _put(old: Float32 | None, new: Float32, first: int) -> Float32:
    """``old`` with ``new`` in it from the place ``first`` on; longer if it has to be."""
    end = first + new.shape[2]
    if old is None or old.shape[2] < end:
        longer = np.zeros((1, HEADS, -(-end // _PADDED_TO) * _PADDED_TO, HEAD_WIDTH), np.float32)
        if old is not None:
            longer[:, :, :first] = old[:, :, :first]
        old = longer
    old[:, :, first:end] = new
    return old


def _forget(hearing: Hearing) -> None:
    """Begin again."""
    fresh = Hearing()
    hearing.samples, hearing.sums, hearing.bent, hearing.folded = fresh.samples, fresh.sums, fresh.bent, fresh.folded
    hearing.first, hearing.past, hearing.cross = fresh.first, fresh.past, fresh.cross
