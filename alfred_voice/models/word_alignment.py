"""Where in a recording a text was said, told by what its decoder looked at; knows no engine.

An attention head that follows the speech looks at each token's sound while the decoder makes up its mind about it;
dynamic time warping lays the tokens along the frames in their order, each where it was looked at most. The method
and its constants are those of github.com/openai/whisper, whisper/timing.py, and so are the paths, ties included.

Attention does not see pauses: somebody has to have looked at each frame, so the word behind a pause begins with it.
Loudness takes it away again (:func:`without_pauses`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.engine import SAMPLE_RATE, Float32
from alfred_voice.results import Piece, Word


Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MEDIAN_WIDTH = 7
"""Frames over which single spikes of attention are smoothed away."""
MARKS = frozenset(".,;:!?-'\"()[]{}*_\u2013\u2014\u2018\u2019\u201c\u201d\u2026")
"""What is written and not said. Others are said: and, percent, dollars."""

_BLOCK_VALUES = 16_384
_HOP_SAMPLES = SAMPLE_RATE // 100
"""10 ms: the grain in which loudness is told."""
_HOP_MS = 10.0
_RANGE_DB = 30.0
"""From a speaker's loud sounds down to the quiet ones that still count: the dynamic range of speech, ANSI S3.5-1997."""
_ABOVE_NOISE_DB = 6.0
"""Twice the amplitude of what is always there."""
_SILENCE = 1e-12
"""Power that digital silence counts as, -120 dBFS."""
_CLICK_HOPS = 2
"""20 ms: what is no longer is no speech."""
_CLOSURE_HOPS = 12
"""120 ms: as long a word may be silent, before its "t" or "p"; a longer silence is a pause beside it."""
_SHORTEST_MS = 20.0
"""Of a word."""


@dataclass(frozen=True, slots=True)
class _Saying:
    """A word in the making."""

    text: str
    first: int
    """The first of its tokens that is said."""
    last: int
    probability: float


def timed_words(pieces: Sequence[Piece], texts: Sequence[str], times: Float64, samples: Float32) -> tuple[Word, ...]:
    """The words of a text with their times: in their order, apart, and within the recording.

    Marks belong to the word before them, or to the first, but take no time: a comma is a pause. Where there are only
    marks there is no word.

    Args:
        pieces: the text.
        texts: what each token of the pieces spells.
        times: float64, shape (tokens, 2), milliseconds: where each token was looked for.
        samples: float32, shape (n,), 16 kHz, [-1, 1): the recording.
    """
    sayings = _sayings(pieces, [not MARKS.issuperset(text.strip()) for text in texts])
    if not sayings:
        return ()
    found = np.array([(times[saying.first, 0], times[saying.last, 1]) for saying in sayings])
    placed = in_order(without_pauses(samples, found), 1000 * len(samples) / SAMPLE_RATE).tolist()
    return tuple(
        Word(saying.text.strip(), start, end, saying.probability)
        for saying, (start, end) in zip(sayings, placed, strict=True)
    )


def _sayings(pieces: Sequence[Piece], is_said: Sequence[bool]) -> list[_Saying]:
    """The pieces in which something is said, with the marks beside them."""
    sayings: list[_Saying] = []
    before, at = "", 0
    for piece in pieces:
        said = [token for token in range(at, at + len(piece.tokens)) if is_said[token]]
        at += len(piece.tokens)
        if said:
            sayings.append(_Saying(before + piece.text, said[0], said[-1], piece.probability))
            before = ""
        elif sayings:
            word = sayings.pop()
            sayings.append(_Saying(word.text + piece.text, word.first, word.last, word.probability))
        else:
            before += piece.text
    return sayings


def without_pauses(samples: Float32, times: Float64) -> Float64:
    """Words without the silence at their ends; of a word with a pause in it the longer part, the pause's noises aside.

    Args:
        samples: float32, shape (n,), 16 kHz.
        times: float64, shape (words, 2), milliseconds.
    """
    is_loud = _loud_hops(samples)
    kept = times.copy()
    for word, (start, end) in enumerate(times.tolist()):
        first = int(start // _HOP_MS)
        loud = np.flatnonzero(is_loud[first : int(-(-end // _HOP_MS))])
        if len(loud):
            parts = np.split(loud, np.flatnonzero(np.diff(loud) > _CLOSURE_HOPS) + 1)
            longest = max(parts, key=len) + first
            kept[word] = max(start, _HOP_MS * longest[0]), min(end, _HOP_MS * (longest[-1] + 1))
    return kept


def _loud_hops(samples: Float32) -> NDArray[np.bool_]:
    """Which moments of 10 ms are loud enough to be speech, clicks aside; none when nothing stands out."""
    hops = len(samples) // _HOP_SAMPLES
    if not hops:
        return np.zeros(0, np.bool_)
    power = np.square(samples[: hops * _HOP_SAMPLES].reshape(hops, _HOP_SAMPLES), dtype=np.float64).mean(axis=1)
    levels = 10 * np.log10(np.maximum(power, _SILENCE))
    quiet, loud = np.percentile(levels, (10, 95))
    limit = max(loud - _RANGE_DB, quiet + _ABOVE_NOISE_DB)
    if limit > loud:
        return np.zeros(hops, np.bool_)
    edges = np.flatnonzero(np.diff(levels >= limit, prepend=False, append=False)).reshape(-1, 2)
    is_loud = np.zeros(hops, np.bool_)
    for start, end in edges[edges[:, 1] - edges[:, 0] > _CLICK_HOPS].tolist():
        is_loud[start:end] = True
    return is_loud


def in_order(times: Float64, length_ms: float) -> Float64:
    """Words none of which begins before the last one's end, ends before it begins, or leaves the recording.

    Where there is no room for so many they share what there is.

    Args:
        times: float64, shape (words, 2), milliseconds.
        length_ms: of the recording.
    """
    placed = np.empty_like(times)
    shortest = min(_SHORTEST_MS, length_ms / max(len(times), 1))
    before = 0.0
    for word, (start, end) in enumerate(times.tolist()):
        latest = length_ms - shortest * (len(times) - word)
        first = min(max(start, before), max(latest, before))
        before = max(min(max(end, first + shortest), latest + shortest), first)
        placed[word] = first, before
    return placed


def token_spans(weights: Float32, rows: slice = slice(None)) -> Int64:
    """Where each token was looked for; the spans touch, from the first frame to the last.

    Args:
        weights: float32, shape (heads, tokens, frames): attention after its softmax over the frames. All rows
            take part in the normalisation, those of a decoder's own marks included.
        rows: the tokens to be laid along the frames. The row of a token is the one in which the decoder chose it,
            so that of the mark before the text belongs to the text's first token.

    Returns:
        int64, shape (tokens, 2): each token's first frame, and the one where the next token begins. They may be
        the same, for a token that is over before the next frame.
    """
    fits = fitted(weights)[rows]
    if not len(fits):
        return np.empty((0, 2), np.int64)
    tokens, frames = warp(-fits)
    starts = frames[np.flatnonzero(np.diff(tokens, prepend=-1))]
    return np.stack([starts, np.append(starts[1:], fits.shape[1])], axis=1)


def fitted(weights: Float32) -> Float32:
    """How well tokens and frames fit together, in the mean of all heads.

    Args:
        weights: float32, shape (heads, tokens, frames): attention after its softmax.

    Returns:
        float32, shape (tokens, frames): how much more a token looks there than the others do, in deviations. A
        frame at which all look alike tells nothing.
    """
    deviations = weights.std(axis=-2, keepdims=True)
    standard = (weights - weights.mean(axis=-2, keepdims=True)) / np.where(deviations > 0, deviations, 1)
    smooth: Float32 = median_filtered(standard.astype(np.float32, copy=False), MEDIAN_WIDTH).mean(axis=0)
    return smooth


def median_filtered(weights: Float32, width: int) -> Float32:
    """Each value of the last axis as the median of the ``width`` around it, mirrored at both ends.

    What is too short to be mirrored comes back as it is.
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"Expected an odd width, but got {width}")
    half, frames = width // 2, weights.shape[-1]
    if frames <= half:
        return weights
    rows = weights.reshape(-1, frames)
    smooth = np.empty_like(rows)
    # A block at a time stays within a core's cache.
    block = max(1, _BLOCK_VALUES // frames)
    for start in range(0, len(rows), block):
        padded = np.pad(rows[start : start + block], ((0, 0), (half, half)), mode="reflect")
        smooth[start : start + block] = _medians([padded[:, at : at + frames] for at in range(width)])
    return smooth.reshape(weights.shape)


def warp(cost: NDArray[np.floating]) -> tuple[Int64, Int64]:
    """The cheapest way from the first token at the first frame to the last at the last, back never.

    Dynamic time warping (Sakoe & Chiba 1978, doi:10.1109/TASSP.1978.1163055). Of ways that cost the same it is the
    one that, seen from the end, stays with the token.

    Args:
        cost: shape (tokens, frames), finite, neither of them 0.

    Returns:
        The tokens and the frames of the way, each int64, shape (steps,).
    """
    tokens, frames = cost.shape
    total = _totals(cost).tolist()
    token, frame = tokens - 1, frames - 1
    way = []
    while token >= 0 and frame >= 0:
        way.append((token, frame))
        # What both, the token alone and the frame alone would come from; see _totals for the layout.
        before = total[token + frame + 1]
        both, up, left = total[token + frame][token], before[token], before[token + 1]
        if both < up and both < left:
            token, frame = token - 1, frame - 1
        elif up < both and up < left:
            token -= 1
        else:
            frame -= 1
    steps = np.array(way[::-1], np.int64)
    return steps[:, 0], steps[:, 1]


def _totals(cost: NDArray[np.floating]) -> NDArray[np.floating]:
    """What it costs to get to each pair of token and frame: shape (tokens + frames + 1, tokens + 1).

    A row holds one diagonal, whose pairs do not depend on each other: token t at frame f is at [t + f + 2, t + 1].
    The first row and column lie before the beginning.
    """
    tokens, frames = cost.shape
    total = np.full((tokens + frames + 1, tokens + 1), np.inf)
    total[0, 0] = 0.0
    numbers = np.arange(tokens)[:, np.newaxis]
    total[numbers + np.arange(frames) + 2, numbers + 1] = cost
    is_tie = np.empty(tokens, np.bool_)
    least = np.empty(tokens)
    earlier, same = total[:, :-1], total[:, 1:]
    for both, up, left, row in zip(earlier, earlier[1:], same[1:], same[2:], strict=False):
        np.minimum(both, up, out=least)
        np.equal(both, up, out=is_tie)
        np.minimum(least, left, out=least)
        np.copyto(least, left, where=is_tie)
        np.add(row, least, out=row)
    return total


def _medians(values: list[Float32]) -> Float32:
    """The median of an odd number of arrays, place by place.

    Of a few more than half of them neither the least nor the greatest can be the median: both go, another one comes.
    That needs a fraction of the time of sorting.
    """
    enough = len(values) // 2 + 2
    pool, rest = values[:enough], values[enough:]
    while len(pool) > 1:
        pool = _without_greatest(_without_least(pool))
        pool += rest[:1]
        rest = rest[1:]
    return pool[0]


def _without_least(values: list[Float32]) -> list[Float32]:
    kept, least = [], values[0]
    for value in values[1:]:
        kept.append(np.maximum(least, value))
        least = np.minimum(least, value)
    return kept


def _without_greatest(values: list[Float32]) -> list[Float32]:
    kept, greatest = [], values[0]
    for value in values[1:]:
        kept.append(np.minimum(greatest, value))
        greatest = np.maximum(greatest, value)
    return kept
