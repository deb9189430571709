"""Stretches of speech in a whole recording, and clips of a length that a recogniser takes."""

from __future__ import annotations

from collections.abc import Sequence

from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Float32, Int16
from alfred_voice.session.cut import quiet_moments
from alfred_voice.session.options import VadOptions


Span = tuple[int, int]
"""First sample, and one past the last."""

TAIL_MS = 96
"""What is kept of the silence after speech: word ends that the detector does not hear."""

_PER_MS = SAMPLE_RATE // 1000


def segments(
    probabilities: Sequence[float] | Float32, options: VadOptions, total_samples: int | None = None
) -> list[Span]:
    """Where there is speech, in order and without overlap, padded.

    The rule is the streaming iterator's of the model (snakers4/silero-vad, ``VADIterator``): speech
    begins with the first window at or above the threshold; a silence begins with the first window
    below the lower threshold, is forgotten at the next window at or above the upper one, and ends
    the speech, where it began, at the first window below the lower threshold that comes
    ``min_silence_ms`` later. Speech shorter than ``min_speech_ms`` is dropped. What goes on to the end ends there.

    Args:
        probabilities: of speech, one for each window of 512 samples.
        options: thresholds, least lengths and the pre-roll.
        total_samples: the recording's length, where its last window is not full.
    """
    whole = len(probabilities) * WINDOW_SAMPLES
    total = whole if total_samples is None else min(total_samples, whole)
    least = options.min_speech_ms * _PER_MS
    spans = [(start, end) for start, end in _speech(probabilities, options, total) if end - start >= least]
    return _padded(spans, options.pre_roll_ms * _PER_MS, TAIL_MS * _PER_MS, total)


def clips(spans: Sequence[Span], samples: Int16, join_ms: int, max_ms: int) -> list[Span]:
    """``spans`` put together where less than ``join_ms`` lies between, and cut so that none is longer than ``max_ms``.

    A recogniser does better with a whole sentence than with its parts. What is too long is cut at its
    quietest moment, not before half of what it may be.

    Args:
        spans: in order and without overlap.
        samples: int16, shape (n,), 16 kHz: the recording.
        join_ms: shorter gaps become part of a clip, where it does not get too long by it.
        max_ms: of one clip.
    """
    longest = max_ms * _PER_MS
    joined: list[Span] = []
    for start, end in spans:
        before = joined[-1] if joined else None
        if before and start - before[1] < join_ms * _PER_MS and end - before[0] <= longest:
            joined[-1] = (before[0], end)
        else:
            joined.append((start, end))
    return [clip for span in joined for clip in _cut(span, samples, longest)]


def _speech(probabilities: Sequence[float] | Float32, options: VadOptions, total: int) -> list[Span]:
    """The spans as they are heard, without any padding."""
    spans: list[Span] = []
    start: int | None = None
    silence: int | None = None
    for window, probability in enumerate(probabilities):
        here = window * WINDOW_SAMPLES
        if probability >= options.threshold:
            silence = None
            if start is None:
                start = here
        elif start is not None and probability < options.lower_threshold:
            silence = here if silence is None else silence
            if here - silence >= options.min_silence_ms * _PER_MS:
                spans.append((start, silence))
                start = silence = None
    if start is not None:
        spans.append((start, total))
    return spans


def _padded(spans: list[Span], pre_roll: int, tail: int, total: int) -> list[Span]:
    """Where two are close, the tail of the first gets at most half of the gap, and the pre-roll what remains."""
    padded: list[Span] = []
    for index, (start, end) in enumerate(spans):
        is_last = index + 1 == len(spans)
        gap = total - end if is_last else (spans[index + 1][0] - end) // 2
        earliest = padded[-1][1] if padded else 0
        padded.append((max(start - pre_roll, earliest), end + min(tail, gap)))
    return padded


def _cut(span: Span, samples: Int16, longest: int) -> list[Span]:
    start, end = span
    parts: list[Span] = []
    while end - start > longest:
        quiet = quiet_moments(samples, start + longest // 2, start + longest, 1)
        at = quiet[0] if quiet else start + longest
        parts.append((start, at))
        start = at
    return [*parts, (start, end)]
