"""The vocabulary of Moonshine: what its tokens spell, and where words begin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import exp
from pathlib import Path

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.results import Piece


_SPACE = "\u2581".encode()  # SentencePiece's mark for a space, github.com/google/sentencepiece README
_DOUBLED = re.compile(r"([,;:!?])\1+")  # the recogniser writes "In short,, the period" now and then
_CONTROL = (b"<unk>", b"<s>", b"</s>")
_TIMING_MARK = b"<<ST_"  # 768 reserved tokens at the end of the vocabulary; they stand for no text


class Vocabulary:
    """The byte string of every token; immutable.

    Most tokens are parts of words, and 256 of them are single bytes, out of which whatever has no
    token of its own is spelt in UTF-8.
    """

    __slots__ = ("_spellings",)

    def __init__(self, spellings: Sequence[bytes]) -> None:
        self._spellings = tuple(b"" if _is_silent(spelling) else bytes(spelling) for spelling in spellings)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read ``tokenizer.bin``: length-prefixed byte strings, one for each token.

        Raises:
            ModelMissing: there is no such file.
            ModelCorrupt: the file ends inside a token, or holds none.
        """
        if not path.is_file():
            raise ModelMissing(f"No vocabulary at {path}")
        return cls(list(_read_strings(path.read_bytes(), path.name)))

    def __len__(self) -> int:
        return len(self._spellings)

    def spelling(self, token: int) -> bytes:
        """The bytes that ``token`` stands for, U+2581 for a space; empty for a control token."""
        return self._spellings[token]

    def find(self, spelling: bytes) -> int | None:
        """The token that is written for exactly these bytes; None when there is none."""
        # A piece comes behind the single bytes, which spell only what no piece spells.
        return max((token for token, known in enumerate(self._spellings) if known == spelling), default=None)

    def begins_word(self, token: int) -> bool:
        """Whether a new word begins with ``token``: its spelling has a space in front."""
        return self._spellings[token].startswith(_SPACE)

    def text(self, tokens: Iterable[int]) -> str:
        """What ``tokens`` spell, untrimmed; bytes that are not UTF-8 become U+FFFD, and doubled commas one."""
        spelt = b"".join(self._spellings[token] for token in tokens).replace(_SPACE, b" ").decode("utf-8", "replace")
        return _DOUBLED.sub(r"\1", spelt)

    def pieces(self, tokens: Sequence[int], log_probabilities: Sequence[float] = ()) -> tuple[Piece, ...]:
        """``tokens`` as words: one for each token that begins a word, and what follows it.

        The tokens of all pieces, joined, are ``tokens``.

        Args:
            tokens: in their order.
            log_probabilities: natural logarithms, of the first tokens; the others count as certain.
        """
        starts = [at for at, token in enumerate(tokens) if at == 0 or self.begins_word(token)]
        pieces = []
        for start, end in pairwise([*starts, len(tokens)]):
            word = tuple(tokens[start:end])
            probability = exp(min(log_probabilities[start:end], default=0.0))
            pieces.append(Piece(text=self.text(word), tokens=word, probability=probability))
        return tuple(pieces)


def _is_silent(spelling: bytes) -> bool:
    """Whether the token is a command to the decoder and not text."""
    return spelling in _CONTROL or spelling.startswith(_TIMING_MARK)


def _read_strings(data: bytes, label: str) -> Iterable[bytes]:
    """Each string of the file; a length of 128 or more takes two bytes, the low seven bits first."""
    if not data:
        raise ModelCorrupt(f"{label} is empty: expected a list of tokens")
    at = 0
    while at < len(data):
        length = data[at]
        at += 1
        if length >= 128:
            if at >= len(data):
                raise ModelCorrupt(f"{label} ends inside the length of a token")
            length += 128 * (data[at] - 1)
            at += 1
        if at + length > len(data):
            raise ModelCorrupt(f"{label} ends inside a token: {at + length - len(data)} bytes are missing")
        yield data[at : at + length]
        at += length
