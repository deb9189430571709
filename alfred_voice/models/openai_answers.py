"""Reads what a server says that speaks OpenAI's protocol: transcriptions, completions and errors.

Nothing here trusts what comes: a field that is missing or of another type is an :exc:`EngineFailure` that names it,
figures are brought into their ranges, and characters that are no text are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from math import exp
from typing import TypeVar

import msgspec

from alfred_voice.errors import EngineFailure
from alfred_voice.results import Piece, Transcript, Word


MOST_TOLD = 200
"""Characters of a server's own words in a message of ours."""

MOST_TEXT_CHARS = 16_384
"""Of one clip; who reads fast says 1,500 in a minute."""

_SILENT_FROM = 0.6
_SILENT_BELOW = -1.0
"""Whisper's own rule for silence: no_speech_prob above the one and avg_logprob below the other."""

BY_CHARACTER = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts that are written without spaces, as part of a regular expression's set."""
# Each of their characters is a piece of its own, with the punctuation around it.
_SPELLED = re.compile(rf"\W*[{BY_CHARACTER}]\W*|[^{BY_CHARACTER}]+")
_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)

_NAMES = """
    af afrikaans am amharic ar arabic as assamese az azerbaijani ba bashkir be belarusian bg bulgarian bn bengali
    bo tibetan br breton bs bosnian ca catalan cs czech cy welsh da danish de german el greek en english es spanish
    et estonian eu basque fa persian fi finnish fo faroese fr french gl galician gu gujarati ha hausa haw hawaiian
    he hebrew hi hindi hr croatian hu hungarian hy armenian id indonesian is icelandic it italian ja japanese
    jw javanese ka georgian kk kazakh km khmer kn kannada ko korean la latin lb luxembourgish ln lingala lo lao
    lt lithuanian lv latvian mg malagasy mi maori mk macedonian ml malayalam mn mongolian mr marathi ms malay
    mt maltese my myanmar ne nepali nl dutch nn nynorsk no norwegian oc occitan pa punjabi pl polish ps pashto
    pt portuguese ro romanian ru russian sa sanskrit sd sindhi si sinhala sk slovak sl slovenian sn shona so somali
    sq albanian sr serbian su sundanese sv swedish sw swahili ta tamil te telugu tg tajik th thai tk turkmen
    tl tagalog tr turkish tt tatar uk ukrainian ur urdu uz uzbek vi vietnamese yi yiddish yo yoruba yue cantonese
    zh chinese
"""
_WORDS = _NAMES.split()
LANGUAGES = dict(zip(_WORDS[1::2], _WORDS[::2], strict=True)) | {"haitian creole": "ht", "mandarin": "zh"}
"""English name -> code, as Whisper has them."""
_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*", re.IGNORECASE)

A = TypeVar("A")


class _WordAnswer(msgspec.Struct):
    word: str
    start: float | None = None
    """Seconds."""
    end: float | None = None
    probability: float | None = None


class _SegmentAnswer(msgspec.Struct):
    start: float = 0.0
    end: float = 0.0
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    words: list[_WordAnswer] | None = None


class _TranscriptionAnswer(msgspec.Struct):
    text: str
    language: str | None = None
    segments: list[_SegmentAnswer] | None = None
    words: list[_WordAnswer] | None = None


class _MessageAnswer(msgspec.Struct):
    content: str | None = None


class _ChoiceAnswer(msgspec.Struct):
    message: _MessageAnswer
    finish_reason: str | None = None


class _CompletionAnswer(msgspec.Struct):
    choices: list[_ChoiceAnswer]


class _Explanation(msgspec.Struct):
    message: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: _Explanation | str | None = None
    message: str | None = None
    detail: object = None


def read_transcription(body: bytes, clip_ms: float, language: str, *, wants_words: bool) -> Transcript:
    """The transcript in an answer of ``json`` or ``verbose_json``.

    The confidence is what the segments' mean log probabilities say, of the text and of each of its pieces; 1 for a
    text that comes without any.

    Args:
        body: the answer.
        clip_ms: the clip's length, which no word's time exceeds.
        language: told where the answer names none that is known.
        wants_words: whether the times of words are kept.

    Raises:
        EngineFailure: the answer is no transcription.
    """
    answer = _decoded(body, _TranscriptionAnswer)
    if len(answer.text) > MOST_TEXT_CHARS:
        raise EngineFailure(f"expected a text of at most {MOST_TEXT_CHARS} characters, got {len(answer.text)}")
    segments = answer.segments or []
    pieces = () if _is_silence(segments) else pieces_of(answer.text)
    if not pieces:
        return Transcript("", language=language_code(answer.language, language))
    confidence = _confidence(segments)
    timed = answer.words or [word for segment in segments for word in segment.words or ()]
    return Transcript(
        "".join(piece.text for piece in pieces).strip(),
        pieces=tuple(replace(piece, probability=confidence) for piece in pieces),
        words=tuple(_words(timed, clip_ms, confidence)) if wants_words else (),
        confidence=confidence,
        language=language_code(answer.language, language),
    )


def read_completion(body: bytes) -> str:
    """The text of a chat completion's first choice, trimmed, without the thoughts that some models put before it.

    Raises:
        EngineFailure: the answer is no completion, is cut off, or has no text.
    """
    choices = _decoded(body, _CompletionAnswer).choices
    if not choices:
        raise EngineFailure("expected a completion with a choice, got none")
    if choices[0].finish_reason == "length":
        raise EngineFailure("the completion was cut off at its limit of tokens")
    text = _visible(_THOUGHTS.sub("", choices[0].message.content or "", count=1)).strip()
    if not text:
        raise EngineFailure("expected a completion with a text, got an empty one")
    return text


def read_error(body: bytes) -> str:
    """What a server says of its error, fit for a message of ours; empty when it says nothing."""
    try:
        answer = msgspec.json.decode(body, type=_ErrorAnswer)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return ""
    error = answer.error.message if isinstance(answer.error, _Explanation) else answer.error
    return told(error or answer.message or str(answer.detail or ""))


def told(text: str) -> str:
    """Somebody else's words in one line of printable characters, shortened."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * MOST_TOLD]).split())
    return line if len(line) <= MOST_TOLD else f"{line[: MOST_TOLD - 1]}…"


def pieces_of(text: str) -> tuple[Piece, ...]:
    """A text as the session compares and commits it.

    A piece is a word, or a character where a script has no spaces. Marks that stand alone belong to the word before
    them; at the beginning, to the one after them.
    """
    texts: list[str] = []
    is_opening = True
    for word in _visible(text).split():
        for at, spelled in enumerate(_SPELLED.findall(word)):
            shown = spelled if at else f" {spelled}"
            has_letter = any(char.isalnum() for char in spelled)
            if texts and (is_opening or not has_letter):
                texts[-1] += shown
            else:
                texts.append(shown)
            is_opening = is_opening and not has_letter
    return tuple(Piece(shown) for shown in texts)


def language_code(named: str | None, otherwise: str) -> str:
    """A language's code from its English name or a code in any case; ``otherwise`` for what is neither."""
    name = (named or "").strip().lower()
    if name in LANGUAGES:
        return LANGUAGES[name]
    return name if _CODE.fullmatch(name) else otherwise


def _decoded(body: bytes, kind: type[A]) -> A:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        raise EngineFailure(f"the answer is not as expected: {told(str(exc))}") from exc
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise EngineFailure(f"expected an answer in JSON, got {len(body)} bytes of something else") from exc


def _visible(text: str) -> str:
    """``text`` without control characters, but for white space, and without halves of characters."""
    return "".join(char for char in text if char.isspace() or unicodedata.category(char) not in {"Cc", "Cs"})


def _is_silence(segments: Sequence[_SegmentAnswer]) -> bool:
    """Whether all was made up out of silence, by Whisper's own rule."""
    return bool(segments) and all(
        (segment.no_speech_prob or 0.0) > _SILENT_FROM and (segment.avg_logprob or 0.0) < _SILENT_BELOW
        for segment in segments
    )


def _confidence(segments: Sequence[_SegmentAnswer]) -> float:
    """The segments' mean log probabilities as one probability, each for as long as it lasts; 1 when there are none."""
    known = [(segment.avg_logprob, segment) for segment in segments if segment.avg_logprob is not None]
    if not known:
        return 1.0
    lengths = [max(0.0, segment.end - segment.start) for _, segment in known]
    weights = lengths if 0 < sum(lengths) < float("inf") else [1.0] * len(known)
    # Below -1000 it is 0 anyway, and sums stay finite.
    mean = sum(
        max(-1000.0, logarithm) * weight / sum(weights) for (logarithm, _), weight in zip(known, weights, strict=True)
    )
    return exp(min(0.0, mean))


def _words(timed: Sequence[_WordAnswer], clip_ms: float, confidence: float) -> list[Word]:
    """Words on the clip's clock, none before the one before it."""
    words: list[Word] = []
    reached_ms = 0.0
    for found in timed:
        text = _visible(found.word).strip()
        if not text or found.start is None or found.end is None:
            continue
        start_ms = min(max(found.start * 1000, reached_ms), clip_ms)
        end_ms = min(max(found.end * 1000, start_ms), clip_ms)
        probability = confidence if found.probability is None else min(max(found.probability, 0.0), 1.0)
        words.append(Word(text, start_ms, end_ms, probability))
        reached_ms = start_ms
    return words
