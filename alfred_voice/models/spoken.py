"""Which language is spoken: how it is named, and what a recogniser makes of one that it does not know."""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable


AUTO = "auto"
"""The language that is found out, where a recogniser can."""
PATTERN = "^(?i:auto|[a-z]{2,3}([-_][a-z0-9]{1,8})*)$"
"""A language of two or three letters with what may follow (BCP 47, RFC 5646 section 2.1), or ``auto``. Longer names of
languages are reserved there and none has been given."""
SHAPE = "such as en, de-CH or auto"

_SHAPE = re.compile(PATTERN)
_LONGEST = 35


@runtime_checkable
class KnowsLanguages(Protocol):
    """What a recogniser offers beside, that knows which languages it can do."""

    languages: frozenset[str]
    """Their codes, without regions."""


def is_language(text: str) -> bool:
    """Whether a text can name a language."""
    return len(text) <= _LONGEST and _SHAPE.fullmatch(text) is not None


def primary(language: str) -> str:
    """The language without its region: ``de`` of ``de-CH``."""
    return re.split("[-_]", language, maxsplit=1)[0].lower()


def only_language(engine: object) -> str | None:
    """The language of an engine that knows one alone; None of any other."""
    if isinstance(engine, KnowsLanguages) and len(engine.languages) == 1:
        return next(iter(engine.languages))
    return None


def unknown_language(language: str, engine: object, name: str) -> str:
    """What becomes of a language that the engine does not know, in a sentence; empty where it knows it, or may.

    Args:
        language: what is asked for.
        engine: a recogniser.
        name: what it is called.
    """
    asked = primary(language)
    if asked == AUTO or not isinstance(engine, KnowsLanguages) or asked in engine.languages:
        return ""
    only = only_language(engine)
    if only is not None:
        return f"{name} knows no language but {only}: what is said is heard as that, not as {language}"
    return f"{name} does not know the language {language}: it finds out by itself what is spoken"
