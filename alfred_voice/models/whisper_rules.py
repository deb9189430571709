"""What Whisper may say next: rules on its logits before a token is chosen, and what makes a text doubtful.

They are those of openai/whisper (decoding.py: SuppressBlank, SuppressTokens, ApplyTimestampRules; transcribe.py:
the thresholds), for one row at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.whisper_vocabulary import TIMESTAMP_S, Vocabulary


Float32 = NDArray[np.float32]

MAX_INITIAL_TIMESTAMP_S = 1.0
"""A text begins within the first second."""
_NEVER = np.float32(-np.inf)


class LogitRules:
    """The rules of one vocabulary; holds no state of any text.

    Args:
        vocabulary: whose tokens they are about.
        unspoken: tokens that are never said.
        blank: tokens that spell nothing but a space.
    """

    def __init__(self, vocabulary: Vocabulary, unspoken: Sequence[int], blank: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._unspoken = np.array(unspoken, np.int64)
        self._at_first = np.array([*blank, vocabulary.end], np.int64)
        self._languages = np.array(list(vocabulary.languages.values()), np.int64)
        self._codes = tuple(vocabulary.languages)

    def apply(self, logits: Float32, said: Sequence[int], *, with_timestamps: bool) -> None:
        """Make impossible what may not follow.

        Args:
            logits: float32, shape (vocabulary,); changed.
            said: what the text has so far.
            with_timestamps: whether times are among it.
        """
        if not said:
            logits[self._at_first] = _NEVER
        logits[self._unspoken] = _NEVER
        if with_timestamps:
            self._apply_to_timestamps(logits, said)

    def _apply_to_timestamps(self, logits: Float32, said: Sequence[int]) -> None:
        """Times come in pairs and never go back, the first within a second, and together they may outweigh a word."""
        first, end = self._vocabulary.first_timestamp, self._vocabulary.end
        logits[self._vocabulary.no_timestamps] = _NEVER
        if not said:
            logits[:first] = _NEVER
            logits[first + round(MAX_INITIAL_TIMESTAMP_S / TIMESTAMP_S) + 1 :] = _NEVER
        is_after_time = bool(said) and said[-1] >= first
        is_after_two = len(said) < 2 or said[-2] >= first
        if is_after_time and is_after_two:
            logits[first:] = _NEVER
        elif is_after_time:
            logits[:end] = _NEVER
        times = [token for token in said if token >= first]
        if times:
            # A segment may begin where the last one ended, but has to end later than it began.
            begins = is_after_time and not is_after_two
            logits[first : times[-1] + (0 if begins else 1)] = _NEVER
        best_word = logits[:first].max()
        if best_word > _NEVER and _log_sum(logits[first:]) > best_word:
            logits[:first] = _NEVER

    def language(self, logits: Float32, allowed: Sequence[str] = ()) -> tuple[str, dict[str, float]]:
        """The likeliest language behind the first command, and how likely each is.

        Args:
            logits: float32, shape (vocabulary,), behind the command that begins a text.
            allowed: codes to choose from; all when empty.
        """
        chances = logits[self._languages].astype(np.float64)
        if allowed:
            chances = np.where([code in allowed for code in self._codes], chances, -np.inf)
        chances = np.exp(chances - chances.max())
        chances /= chances.sum()
        found = dict(zip(self._codes, chances.tolist(), strict=True))
        return max(found, key=found.__getitem__), found

    def no_speech(self, logits: Float32) -> float:
        """The probability, behind the command that begins a text, that nobody speaks."""
        return float(np.exp(logits[self._vocabulary.no_speech] - _log_sum(logits)))


def choose(logits: Float32, temperature: float, random: np.random.Generator | None) -> tuple[int, float]:
    """A token, and the natural logarithm of its probability.

    Args:
        logits: float32, shape (vocabulary,), after the rules.
        temperature: 0 for the likeliest.
        random: for what is above.
    """
    if temperature == 0.0 or random is None:
        token = int(logits.argmax())
    else:
        # The largest of all after noise of this distribution falls on each as often as it is likely.
        token = int((logits / np.float32(temperature) + random.gumbel(size=logits.shape)).argmax())
    return token, float(logits[token] - _log_sum(logits))


def compression(text: str) -> float:
    """How much shorter zlib can say it."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _log_sum(logits: Float32) -> float:
    """The logarithm of the sum of the exponentials."""
    most = logits.max()
    if most == _NEVER:
        return float(_NEVER)
    return float(most + np.log(np.exp(logits - most).sum(dtype=np.float64)))
