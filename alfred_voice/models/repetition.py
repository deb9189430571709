"""Recognises the loops into which a greedy decoder can fall."""

from __future__ import annotations

from collections.abc import Callable, Sequence


# How often an n-gram may stand in a row, by its length n in tokens. People say "no no no no no" and "very very very
# good", and read out "zero zero zero"; a phrase of several words is said twice, rarely three times ("I don't know, I
# don't know, I don't know"). A loop does not stop, so a generous limit costs only the decoder steps up to it. Seen from
# this model on noise: one note for as long as the limit of tokens let it; a sentence of ten tokens over and over.
MAX_REPEATS = {1: 8, 2: 6, 3: 5, 4: 4, 5: 4} | dict.fromkeys(range(6, 17), 3)


def loop_end(tokens: Sequence[int], begins_word: Callable[[int], bool], first: int = 0) -> int | None:
    """How many of ``tokens`` to keep because they end in a loop; None when they do not.

    To be asked after each new token. What is kept holds the repeated words once, whole: the loop is
    found as soon as it is long enough, wherever in a word that is, so the cut moves on to the next
    word's beginning.

    Args:
        tokens: what has been decoded so far.
        begins_word: whether a token begins a word.
        first: tokens before this one are given and do not count.
    """
    for size, limit in MAX_REPEATS.items():
        start = len(tokens) - size * (limit + 1)
        if start >= first and _repeats(tokens, start, size):
            once = start + size
            ends = (end for end in range(once, once + size) if begins_word(tokens[end]))
            return next(ends, once)
    return None


def _repeats(tokens: Sequence[int], start: int, size: int) -> bool:
    """Whether from ``start`` on each token is the one ``size`` places before it."""
    return all(tokens[at] == tokens[at - size] for at in range(len(tokens) - 1, start + size - 1, -1))
