"""Stretches of speech in a whole recording, each told as soon as nothing that is still to come can change it."""

from __future__ import annotations

from collections.abc import Sequence

from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Float32
from alfred_voice.session.options import VadOptions


Span = tuple[int, int]
"""First sample, and one past the last."""

TAIL_MS = 96
"""What is kept of the silence after speech: word ends that the detector does not hear."""

_PER_MS = SAMPLE_RATE // 1000
_TAIL = TAIL_MS * _PER_MS


class SpeechSpans:
    """Where there is speech, in order and without overlap, padded; window by window.

    The rule is the streaming iterator's of the model (snakers4/silero-vad, ``VADIterator``): speech
    begins with the first window at or above the threshold; a silence begins with the first window
    below the lower threshold, is forgotten at the next window at or above the upper one, and ends
    the speech, where it began, at the first window below the lower threshold that comes
    ``min_silence_ms`` later. Speech shorter than ``min_speech_ms`` is dropped. What goes on to the end ends there.

    Where two spans are close, the tail of the first gets at most half of the gap, and the pre-roll what remains.
    """

    def __init__(self, options: VadOptions) -> None:
        self._threshold = options.threshold
        self._lower = options.lower_threshold
        self._min_silence = options.min_silence_ms * _PER_MS
        self._least = options.min_speech_ms * _PER_MS
        self._pre_roll = options.pre_roll_ms * _PER_MS
        self._now = 0
        """One past the last sample that has been judged."""
        self._onset: int | None = None
        self._silence: int | None = None
        self._closed: Span | None = None
        """Speech that is over, but whose tail depends on what comes."""
        self._told_until = 0

    def receive(self, probability: float, end: int) -> list[Span]:
        """Take the probability of the next window, which ends before sample ``end``; what is certain now."""
        here, self._now = self._now, end
        found: list[Span] = []
        if probability >= self._threshold:
            self._silence = None
            if self._onset is None:
                self._onset = here
        elif self._onset is None and self._closed is None:
            return []
        elif self._onset is not None and probability < self._lower:
            self._silence = here if self._silence is None else self._silence
            if here - self._silence >= self._min_silence:
                found = self._close(self._onset, self._silence)
        return found + self._certain()

    def flush(self) -> list[Span]:
        """All that is left when the recording ends where the last window did."""
        found = self._certain()
        if self._onset is not None:
            found += self._close(self._onset, self._now)
        if self._closed is not None:
            found += self._tell(self._now - self._closed[1])
        return found

    @property
    def open(self) -> Span | None:
        """Speech that goes on and is long enough to be told, up to where it lasts at least."""
        if self._onset is None or self._closed is not None or not self._lasts:
            return None
        return self._padded_start(self._onset), self._lasts_until

    @property
    def earliest(self) -> int:
        """No span still to be told begins before this sample."""
        if self._closed is not None:
            return self._padded_start(self._closed[0])
        return self._padded_start(self._now if self._onset is None else self._onset)

    def _close(self, onset: int, end: int) -> list[Span]:
        """The speech is over; what was closed before it is told."""
        found: list[Span] = []
        if end - onset >= self._least:
            if self._closed is not None:
                found = self._tell((onset - self._closed[1]) // 2)
            self._closed = (onset, end)
        self._onset = self._silence = None
        return found

    def _certain(self) -> list[Span]:
        """The closed span, when its tail depends on nothing any more."""
        if self._closed is None:
            return []
        end = self._closed[1]
        following = self._now if self._onset is None else self._onset
        if following - end >= 2 * _TAIL:
            return self._tell(_TAIL)
        return self._tell((following - end) // 2) if self._lasts else []

    def _tell(self, most: int) -> list[Span]:
        if self._closed is None:
            raise AssertionError("no span is closed")
        start, end = self._closed
        span = self._padded_start(start), end + min(_TAIL, most)
        self._closed, self._told_until = None, span[1]
        return [span]

    def _padded_start(self, start: int) -> int:
        return max(start - self._pre_roll, self._told_until)

    @property
    def _lasts_until(self) -> int:
        return self._now if self._silence is None else self._silence

    @property
    def _lasts(self) -> bool:
        """Whether the open speech is long enough to be told, whatever comes."""
        return self._onset is not None and self._lasts_until - self._onset >= self._least


def segments(
    probabilities: Sequence[float] | Float32, options: VadOptions, total_samples: int | None = None
) -> list[Span]:
    """All spans of a recording, as :class:`SpeechSpans` tells them.

    Args:
        probabilities: of speech, one for each window of 512 samples.
        options: thresholds, least lengths and the pre-roll.
        total_samples: the recording's length, where its last window is not full.
    """
    whole = len(probabilities) * WINDOW_SAMPLES
    total = whole if total_samples is None else min(total_samples, whole)
    spans = SpeechSpans(options)
    found: list[Span] = []
    for window, probability in enumerate(probabilities):
        found += spans.receive(float(probability), min((window + 1) * WINDOW_SAMPLES, total))
    return found + spans.flush()
