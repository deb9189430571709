"""What the open utterance sounds like so far, and which part of that will not change any more.

Local agreement: the words on which the last few hypotheses agree are committed, except for the
newest ones, whose sound was not complete yet (Macháček et al., arXiv:2307.14743, with two
hypotheses; here more of them, because a committed word is never taken back). What is committed is
forced on the recogniser from then on, so the final text begins with it, too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from alfred_voice.results import Piece


@dataclass(frozen=True, slots=True)
class AgreementOptions:
    """When a word is committed."""

    hypotheses: int = 3
    """Successive hypotheses that must agree on it."""
    held_back: int = 2
    """Newest words of each hypothesis that are never committed."""


class Hypothesis:
    """The words of one stretch of audio, growing."""

    def __init__(self, options: AgreementOptions, stable: tuple[Piece, ...] = ()) -> None:
        self._options = options
        self._recent: deque[tuple[Piece, ...]] = deque(maxlen=options.hypotheses)
        self.stable = stable
        """Committed pieces."""
        self.pieces: tuple[Piece, ...] = stable
        """All pieces of the newest hypothesis."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """The committed tokens, to be forced on the next decoding."""
        return tuple(token for piece in self.stable for token in piece.tokens)

    def receive(self, pieces: tuple[Piece, ...]) -> bool:
        """Take a newer hypothesis.

        Returns:
            False when it contradicts what has been committed since it was asked for: it is ignored.
        """
        if not starts_with(pieces, self.stable):
            return False
        self.pieces = pieces
        self._recent.append(pieces)
        if len(self._recent) == self._options.hypotheses:
            self._commit()
        return True

    def _commit(self) -> None:
        limit = min(len(pieces) for pieces in self._recent) - self._options.held_back
        agreed = len(self.stable)
        while agreed < limit and len({pieces[agreed].text for pieces in self._recent}) == 1:
            agreed += 1
        if agreed > len(self.stable):
            self.stable = self.pieces[:agreed]

    def rest_after(self, count: int) -> Hypothesis:
        """The hypothesis of what follows the first ``count`` pieces, which have become final."""
        return Hypothesis(self._options, self.stable[count:])


def starts_with(pieces: tuple[Piece, ...], prefix: tuple[Piece, ...]) -> bool:
    """Whether ``pieces`` spell the words of ``prefix`` first."""
    return len(pieces) >= len(prefix) and all(
        piece.text == wanted.text for piece, wanted in zip(pieces, prefix, strict=False)
    )


def text_of(pieces: tuple[Piece, ...]) -> str:
    """The pieces as text, trimmed."""
    return "".join(piece.text for piece in pieces).strip()


def joined(*parts: str) -> str:
    """Texts one after the other, with a space between those that are not empty."""
    return " ".join(part for part in parts if part)
