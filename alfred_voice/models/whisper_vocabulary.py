"""The vocabulary of Whisper: what its tokens spell, which of them are commands, and where words begin.

The order of the commands and the symbols that are kept from being said are openai-whisper's (tokenizer.py).
"""

from __future__ import annotations

import base64
import binascii
import string
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from math import exp
from pathlib import Path

from alfred_voice.errors import EngineFailure, ModelCorrupt, ModelMissing
from alfred_voice.models.whisper_languages import LANGUAGES, UNSPACED
from alfred_voice.results import Piece


TIMESTAMPS = 1501
"""Tokens for 0.00 to 30.00 s."""
TIMESTAMP_S = 0.02

_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How a text is divided before its parts are spelt; GPT-2's (openai/gpt-2, encoder.py)."""
_MUSIC = "♩♪♫♬♭♮♯"
_UNSPOKEN = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))"),
    *("[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
)
"""Symbols of subtitles that nobody says."""


class Vocabulary:
    """What every token stands for; immutable.

    Attributes:
        end: the text is complete.
        start: a text begins; before it stands what came earlier.
        transcribe: write what is said.
        translate: write it in English.
        earlier: an earlier text begins.
        no_speech: nobody speaks.
        no_timestamps: no times are wanted.
        first_timestamp: 0.00 s; the others follow, every 20 ms.
    """

    def __init__(self, spellings: Sequence[bytes], languages: int) -> None:
        self._spellings = tuple(spellings)
        known = tuple(LANGUAGES)
        if not 0 < languages <= len(known):
            raise ModelCorrupt(f"expected 1 to {len(known)} languages, got {languages}")
        self.end = len(spellings)
        self.start = self.end + 1
        self.languages = {code: self.start + 1 + at for at, code in enumerate(known[:languages])}
        """Code -> token."""
        self.translate = self.start + 1 + languages
        self.transcribe, self._model, self.earlier, self.no_speech, self.no_timestamps, self.first_timestamp = range(
            self.translate + 1, self.translate + 7
        )

    @classmethod
    def load(cls, path: Path, languages: int) -> Vocabulary:
        """Read a ``.tiktoken`` file: on each line a token's bytes in base64, and its number.

        Raises:
            ModelMissing: there is no such file.
            ModelCorrupt: it is of another form.
        """
        if not path.is_file():
            raise ModelMissing(f"No vocabulary at {path}")
        return cls(_read(path), languages)

    def __len__(self) -> int:
        return self.first_timestamp + TIMESTAMPS

    def opening(self, language: str | None, *, translates: bool = False, with_timestamps: bool = False) -> list[int]:
        """The commands before a text; ``language`` is None for a model that knows only English."""
        tokens = [self.start]
        if language is not None:
            tokens += [self.languages[language], self.translate if translates else self.transcribe]
        return tokens if with_timestamps else [*tokens, self.no_timestamps]

    def begins_word(self, token: int) -> bool:
        """Whether a new word begins with ``token``: its spelling has a space in front."""
        return token < self.end and self._spellings[token].startswith(b" ")

    def text(self, tokens: Iterable[int]) -> str:
        """What ``tokens`` spell, untrimmed; commands spell nothing, and bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self._spellings[token] for token in tokens if token < self.end).decode("utf-8", "replace")

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without commands."""
        return self._encoder()(text) if text else []

    def unspoken(self) -> list[int]:
        """Tokens that a transcript is kept from: commands that come only at its beginning, symbols nobody says."""
        encode = self._encoder()
        found = {encode(" -")[0], encode(" '")[0]}
        for symbol in (*_UNSPOKEN, *_MUSIC):
            for tokens in (encode(symbol), encode(f" {symbol}")):
                if len(tokens) == 1 or symbol in _MUSIC:
                    found.add(tokens[0])
        commands = {self.transcribe, self.translate, self.start, self.earlier, self._model, self.no_speech}
        return sorted(found | commands)

    def characters(self, tokens: Sequence[int]) -> list[list[int]]:
        """``tokens`` in groups that each spell whole characters."""
        groups: list[list[int]] = []
        group: list[int] = []
        whole, at = self.text(tokens), 0
        for token in tokens:
            group.append(token)
            spelt = self.text(group)
            broken = spelt.find("\ufffd")
            # A replacement that is in the whole text, too, will not be mended by what follows.
            if broken < 0 or (at + broken < len(whole) and whole[at + broken] == "\ufffd"):
                groups.append(group)
                at += len(spelt)
                group = []
        return [*groups, group] if group else groups

    def words(self, tokens: Sequence[int], language: str | None = None) -> list[list[int]]:
        """``tokens`` in words; a mark of punctuation is one by itself, as is each character where no spaces are set."""
        groups = self.characters(tokens)
        if language in UNSPACED:
            return groups
        words: list[list[int]] = []
        for group in groups:
            spelt = self.text(group)
            is_mark = spelt.strip() in string.punctuation
            if not words or group[0] >= self.end or spelt.startswith(" ") or is_mark:
                words.append(list(group))
            else:
                words[-1].extend(group)
        return words

    def pieces(self, tokens: Sequence[int], log_probabilities: Sequence[float] = ()) -> tuple[Piece, ...]:
        """Text tokens as words: one for each token that begins a word, and what follows it.

        Args:
            tokens: in their order.
            log_probabilities: natural logarithms, of the first tokens; the others count as certain.
        """
        starts = [at for at, token in enumerate(tokens) if at == 0 or self.begins_word(token)]
        pieces = []
        for first, last in pairwise([*starts, len(tokens)]):
            word = tuple(tokens[first:last])
            probability = exp(min(log_probabilities[first:last], default=0.0))
            pieces.append(Piece(text=self.text(word), tokens=word, probability=probability))
        return tuple(pieces)

    def _encoder(self) -> Callable[[str], list[int]]:
        """Writes texts in tokens; is made in 40 ms and takes ten megabytes, so that nobody keeps it."""
        try:
            import tiktoken
        except ImportError as exc:
            raise EngineFailure("The package tiktoken is needed to write a text in Whisper's tokens") from exc
        ranks = {spelling: token for token, spelling in enumerate(self._spellings)}
        encoding = tiktoken.Encoding("whisper", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
        return partial(encoding.encode, disallowed_special=())


def _read(path: Path) -> list[bytes]:
    spellings: list[bytes] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            spelling, token = line.split()
            if int(token) != len(spellings):
                raise ValueError(f"token {int(token)} where {len(spellings)} was expected")
            # The last token of the multilingual vocabulary spells nothing, and is written as a lone sign.
            spellings.append(b"" if spelling == b"=" else base64.b64decode(spelling, validate=True))
        except (ValueError, binascii.Error) as exc:
            raise ModelCorrupt(f"{path.name}, line {number}: {exc}") from exc
    if not spellings:
        raise ModelCorrupt(f"{path.name} holds no token")
    return spellings
