"""Speech or silence, window by window: hysteresis over the detector's probabilities.

The rule is that of the model's own streaming iterator (snakers4/silero-vad, `VADIterator`): speech
begins at the first window at or above the threshold; silence begins at the first window below the
lower threshold and is forgotten at the next window at or above the upper one; the silence has
ended the speech when ``min_silence_ms`` have passed *after* its first window. On top of it, speech
that never reaches ``min_speech_ms`` is not told at all.
"""

from __future__ import annotations

import math
from enum import IntEnum

from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES
from alfred_voice.session.options import VadOptions


SAMPLES_PER_MS = SAMPLE_RATE // 1000


class SpeechState(IntEnum):
    """Where the speaker is."""

    QUIET = 0
    """No speech."""
    STARTING = 1
    """Speech that is still too short to be told."""
    SPEAKING = 2
    """Speech that has been told."""
    STOPPING = 3
    """Told speech, and a silence that may yet turn out to be a dip."""


class Change(IntEnum):
    """What a window changed."""

    NONE = 0
    STARTED = 1
    """Speech is told: it began at ``onset``."""
    PAUSED = 2
    """The first window of a silence in told speech."""
    RESUMED = 3
    """The silence was a dip: the same speech goes on."""
    ENDED = 4
    """The speech is over: its last sample is before ``silence_start``."""


class SpeechDetector:
    """The state machine of one session; samples are counted on the session's clock."""

    __slots__ = (
        "_dip_start", "_min_silence", "_min_windows", "_negative", "_threshold", "onset", "silence_start",
        "state", "voiced_windows",
    )  # fmt: skip

    def __init__(self, options: VadOptions) -> None:
        self._threshold = options.threshold
        self._negative = options.lower_threshold
        self._min_silence = options.min_silence_ms * SAMPLES_PER_MS
        self._min_windows = math.ceil(options.min_speech_ms * SAMPLES_PER_MS / WINDOW_SAMPLES)
        self.state = SpeechState.QUIET
        self.onset = 0
        """First sample of the speech that is going on, or of the last one."""
        self.silence_start = 0
        """First sample after the last told speech; meaningless while SPEAKING."""
        self.voiced_windows = 0
        """Windows of speech since ``onset``."""
        self._dip_start: int | None = None

    @property
    def in_speech(self) -> bool:
        """Told speech that has not been told to be over."""
        return self.state >= SpeechState.SPEAKING

    @property
    def is_voiced(self) -> bool:
        """Whether the last window was speech, told or not; a dip is none."""
        return self.state is SpeechState.SPEAKING or (self.state is SpeechState.STARTING and self._dip_start is None)

    def receive(self, probability: float, window_start: int) -> Change:
        """Take the probability of the window that begins at sample ``window_start``."""
        if probability >= self._threshold:
            return self._receive_speech(window_start)
        if self.state is SpeechState.QUIET:
            return Change.NONE
        if probability < self._negative:
            return self._receive_silence(window_start)
        if self._dip_start is None:
            return self._count_voiced()
        return Change.NONE

    def _receive_speech(self, window_start: int) -> Change:
        was = self.state
        if was is SpeechState.QUIET:
            self.state, self.onset, self.voiced_windows = SpeechState.STARTING, window_start, 0
        self._dip_start = None
        if was is SpeechState.STOPPING:
            self.state = SpeechState.SPEAKING
        change = self._count_voiced()
        return Change.RESUMED if was is SpeechState.STOPPING else change

    def _count_voiced(self) -> Change:
        self.voiced_windows += 1
        if self.state is SpeechState.STARTING and self.voiced_windows >= self._min_windows:
            self.state = SpeechState.SPEAKING
            return Change.STARTED
        return Change.NONE

    def _receive_silence(self, window_start: int) -> Change:
        first = self._dip_start is None
        if self._dip_start is None:
            self._dip_start = window_start
        if window_start - self._dip_start >= self._min_silence:
            return self._end()
        if not first or self.state is SpeechState.STARTING:
            return Change.NONE
        self.state, self.silence_start = SpeechState.STOPPING, self._dip_start
        return Change.PAUSED

    def _end(self) -> Change:
        was_told = self.in_speech
        self.state, self._dip_start = SpeechState.QUIET, None
        return Change.ENDED if was_told else Change.NONE

    def end_now(self, at_sample: int) -> Change:
        """End whatever is going on as if the silence had lasted; told speech ends at ``at_sample`` at the latest."""
        if self.state is SpeechState.SPEAKING:
            self.silence_start = at_sample
        return self._end()
