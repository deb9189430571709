"""When Whisper's words were said, from what the decoder looked at while it spelt them.

As openai/whisper finds it (timing.py: find_alignment, merge_punctuations); the silence around the words is then
taken off them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.engine import SAMPLE_RATE
from alfred_voice.models.whisper_vocabulary import Vocabulary
from alfred_voice.models.word_alignment import in_order, token_spans, without_pauses
from alfred_voice.results import Word


Float32 = NDArray[np.float32]

FRAME_MS = 20.0
"""What one state of the encoder stands for."""

_BEFORE = "\"'“¿([{-"
"""Marks that belong to the word after them, when a space is before them."""
_BEHIND = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - the marks of Chinese and Japanese
"""Marks that belong to the word before them."""


def aligned_words(
    fit: Float32, chances: Float32, tokens: Sequence[int], opening: int, vocabulary: Vocabulary, language: str | None
) -> tuple[Word, ...]:
    """The words of a text with their times.

    Args:
        fit: float32, shape (alignment heads, opening + tokens + 1, states): how well each token's question fits each
            state of the clip itself, without what fills it up; before the softmax.
        chances: float32, shape (tokens,): each token's probability.
        tokens: of the text alone.
        opening: how many commands stand before the text.
        vocabulary: what the tokens spell.
        language: code, which says how words are told apart.
    """
    if not tokens or fit.shape[-1] == 0:
        return ()
    weights = np.exp(fit - fit.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    # In the row before a token the decoder decides for it: from the last command to the last token.
    starts_ms = token_spans(weights, slice(opening - 1, -1))[:, 0] * FRAME_MS
    groups = vocabulary.words(tokens, language)
    bounds = np.cumsum([0, *map(len, groups)]).tolist()
    words = [
        Word(
            vocabulary.text(group),
            float(starts_ms[first]),
            float(starts_ms[last]),
            float(chances[first:last].mean()),
        )
        for group, (first, last) in zip(groups, pairwise(bounds), strict=True)
    ]
    return tuple(replace(word, word=word.word.strip()) for word in _joined(words) if word.word.strip())


def placed_words(words: Sequence[Word], samples: Float32) -> tuple[Word, ...]:
    """Words without the silence that alignment leaves at their ends, none of them without length.

    Of digits that a synthesiser had said, the first began 332 ms too early in the median and the others were 44 ms off;
    without the pauses all are 3 ms off.

    Args:
        words: as :func:`aligned_words` places them.
        samples: float32, shape (n,), 16 kHz: the clip.
    """
    if not words:
        return ()
    times = np.array([(word.start_ms, word.end_ms) for word in words])
    placed = in_order(without_pauses(samples, times), 1000 * len(samples) / SAMPLE_RATE).tolist()
    return tuple(replace(word, start_ms=start, end_ms=end) for word, (start, end) in zip(words, placed, strict=True))


def _joined(words: Sequence[Word]) -> list[Word]:
    """Marks of punctuation put to the words that they belong to, whose times stay as they are."""
    forward: list[Word] = []
    for word in reversed(words):
        if forward and word.word.startswith(" ") and word.word.strip() in _BEFORE:
            forward[-1] = replace(forward[-1], word=word.word + forward[-1].word)
        else:
            forward.append(word)
    joined: list[Word] = []
    for word in reversed(forward):
        if joined and not joined[-1].word.endswith(" ") and word.word in _BEHIND:
            joined[-1] = replace(joined[-1], word=joined[-1].word + word.word)
        else:
            joined.append(word)
    return joined
