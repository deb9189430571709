"""Tells the phrases that a recogniser invents out of noise from what people say.

A recogniser trained on subtitles must answer something, and on noise it answers what subtitles hold
where nobody speaks: thanks to the viewers, a note for music, a lone "You". Such answers are known
by their words, and by how unsure the decoder was of the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from unicodedata import name as character_name


STOCK_PHRASES = frozenset(
    {
        "bye",
        "bye bye",
        "byebye",
        "don't forget to subscribe",
        "i'm sorry",
        "please subscribe",
        "see you next time",
        "so",
        "subscribe",
        "thank you",
        "thank you for listening",
        "thank you for watching",
        "thank you so much for watching",
        "thank you very much",
        "thank you very much for watching",
        "thanks for listening",
        "thanks for watching",
        "the end",
        "you",
    }
)
"""Measured on this house's recogniser, and those most often reported of others (arXiv 2501.11378)."""

FILLERS = frozenset({"ah", "eh", "hm", "hmm", "huh", "mhm", "mm", "mmhmm", "oh", "u", "uh", "um"})
"""Sounds rather than words: humming and buzzing come out as these ("u" where the limit of tokens cut one short)."""

MUSIC_MARKS = "\u2669\u266a\u266b\u266c"
"""With these subtitles mark singing and music."""


@dataclass(frozen=True, slots=True)
class HallucinationOptions:
    """From where on a text is taken for an invention.

    Measured with Moonshine tiny: of 131 clips of noise, silence, tones, clicks, hum and music of 0.5
    to 8 s no text is left; of 234 clips of speech (clean, quiet, reverberant, with 10 and 5 dB of
    noise) four lose theirs, all of them misheard; of 117 cut to 0.4 to 1 s twelve. Of 60 more clips
    of brown noise, the nearest to a voice, two keep a text. All this without the silence that finals
    get at their end; with it a rising sweep of 0.6 s keeps "Why?", too.
    """

    min_confidence: float = 0.3
    """Any text below it. Sentences made from brown noise have 0.27 to 0.41; speech in an echoing room stays above 0.35,
    and of that with 10 dB of white noise on it one clip in twenty is below 0.32."""
    unsure_confidence: float = 0.4
    """Below it a short text goes when its first token, too, was a guess."""
    unsure_opening: float = 0.15
    unsure_tokens: int = 8
    """A longer text is hardly ever an invention that a loop or a stock phrase does not give away."""
    stock_opening: float = 0.5
    """Probability of the first token from which a stock phrase is believed: out of noise "Thank you for watching"
    begins with 0.08 to 0.38, "Mm-hmm" with 0.17."""
    stock_confidence: float = 0.65
    """Confidence from which a stock phrase so begun is believed; said by a voice they have 0.7 and more."""
    max_tokens_per_second: float = 12.0
    """Faster than anyone speaks (readers reach 5, a hurried "I don't know" 9)."""
    unvoiced_ms: float = 300.0
    """What the voice activity detector may have missed at both ends of the speech."""


class HallucinationGuard:
    """Judges one text at a time; immutable."""

    __slots__ = ("options",)

    def __init__(self, options: HallucinationOptions | None = None) -> None:
        self.options = options or HallucinationOptions()

    def rejects(self, text: str, log_probabilities: Sequence[float], voiced_ms: float) -> bool:
        """Whether ``text`` is an invention.

        Args:
            text: what was recognised, trimmed.
            log_probabilities: natural logarithms, one for each token and for the end.
            voiced_ms: how much speech it was made from; the clip's length where that is not known.
        """
        if not log_probabilities or not _is_english(text):
            return True
        confidence = exp(sum(log_probabilities) / len(log_probabilities))
        opening = exp(log_probabilities[0])
        tokens = len(log_probabilities) - 1
        return (
            confidence < self.options.min_confidence
            or self._is_guess(confidence, opening, tokens)
            or self._is_too_fast(confidence, tokens, voiced_ms)
            or self._is_stock(text, confidence, opening)
        )

    def _is_guess(self, confidence: float, opening: float, tokens: int) -> bool:
        """Whether a short text was begun at random and went on so."""
        options = self.options
        return (
            tokens <= options.unsure_tokens
            and confidence < options.unsure_confidence
            and opening < options.unsure_opening
        )

    def _is_too_fast(self, confidence: float, tokens: int, voiced_ms: float) -> bool:
        """Whether nobody could have said so much, unless the decoder is sure of it."""
        options = self.options
        allowed = options.max_tokens_per_second * (voiced_ms + options.unvoiced_ms) / 1000
        return tokens > allowed and confidence < options.stock_confidence

    def _is_stock(self, text: str, confidence: float, opening: float) -> bool:
        """Whether it is a phrase that noise is known to bring up, and not clearly said."""
        options = self.options
        if text == "You":
            # Clicks bring it up with a confidence of 0.96. Said by a voice, it gets a full stop or a question mark.
            return True
        words = _words(text)
        if " ".join(words) not in STOCK_PHRASES and not FILLERS.issuperset(words):
            return False
        return opening < options.stock_opening or confidence < options.stock_confidence


def _is_english(text: str) -> bool:
    """Whether ``text`` holds a letter or digit, no letter of another script and no note for music."""
    if any(mark in text for mark in MUSIC_MARKS):
        return False
    letters = [char for char in text if char.isalpha()]
    if any(not char.isascii() and not character_name(char, "").startswith("LATIN ") for char in letters):
        return False
    return bool(letters) or any(char.isdigit() for char in text)


def _words(text: str) -> list[str]:
    """``text`` in lower case, hyphens closed up, without punctuation but for apostrophes."""
    kept = "".join(char for char in text.lower().replace("-", "") if char.isalnum() or char in "' ")
    return kept.split()
