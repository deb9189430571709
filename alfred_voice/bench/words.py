"""Texts as words: how many of them a recogniser got wrong, and which it got right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence


_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words without case, punctuation and accents; an apostrophe inside a word stays, a hyphen parts two."""
    plain = unicodedata.normalize("NFKD", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))


def word_errors(expected: str, heard: str) -> tuple[int, int]:
    """How many words must be replaced, left out or put in to make one text of the other.

    Returns:
        That number, and the number of expected words; their ratio is the word error rate, which may exceed 1.
    """
    wanted, got = words_of(expected), words_of(heard)
    return _distances(wanted, got)[-1][-1], len(wanted)


def matching(wanted: Sequence[str], got: Sequence[str]) -> list[tuple[int, int]]:
    """Places in ``wanted`` and ``got`` of the words that are the same in the cheapest way from one to the other.

    Of several such ways, the one that matches as early as it can: in the beginning of a text, a word that is said
    twice in the whole of it counts as heard for its first time.
    """
    table = _distances(wanted, got)
    pairs = []
    at, other = len(wanted), len(got)
    while at and other:
        if table[at][other] == table[at - 1][other] + 1:
            at -= 1
        elif table[at][other] == table[at][other - 1] + 1:
            other -= 1
        else:
            at, other = at - 1, other - 1
            if wanted[at] == got[other]:
                pairs.append((at, other))
    return pairs[::-1]


def _distances(wanted: Sequence[str], got: Sequence[str]) -> list[list[int]]:
    """Levenshtein's table: the distance of every beginning of ``wanted`` from every beginning of ``got``."""
    table = [list(range(len(got) + 1))]
    for row, word in enumerate(wanted, start=1):
        above = table[-1]
        line = [row]
        for column, other in enumerate(got, start=1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (word != other)))
        table.append(line)
    return table
