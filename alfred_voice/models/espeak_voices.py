"""The names under which espeak-ng's voices can be asked for.

The library resolves names by itself, but not well enough to be left with it: it takes an unknown
variant for no variant at all, and does not find some of its own language codes (measured with
1.52: ``en-us+nonsense`` is accepted, ``en-gb`` is not). Here a name is looked up in the library's
own lists, and the library is given the identifier that stands there.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from alfred_voice.errors import UnknownVoice
from alfred_voice.results import Voice


NEAR_MATCHES = 5
"""How many near matches an error names."""
MAX_QUOTED = 60
"""Characters of a wrong name that an error repeats."""


@dataclass(frozen=True, slots=True)
class ListedVoice:
    """A voice, or a variant, as the library lists it."""

    name: str
    """For people: ``English (America)``."""
    languages: tuple[tuple[int, str], ...]
    """(priority, code) of each, its own first; of several voices for a code the smallest number is the best."""
    identifier: str
    """Its file below the folder of voices: ``gmw/en-US``; a variant's begins with ``!v/``."""
    gender: str
    """``male``, ``female`` or empty."""

    @property
    def file(self) -> str:
        """The last part of the identifier."""
        return self.identifier.rsplit("/", 1)[-1]

    @property
    def language(self) -> str:
        """The code of the language that the voice was made for."""
        return self.languages[0][1]


class VoiceIndex:
    """All voices and variants, and what each may be called."""

    def __init__(self, bases: Sequence[ListedVoice], variants: Sequence[ListedVoice]) -> None:
        self._bases = _by_public_name(bases)
        self._base_of = _aliases(self._bases)
        self._variants = {variant.file.lower(): variant for variant in variants}
        self._variant_of = {_key(variant.name): variant for variant in variants} | {
            _key(variant.file): variant for variant in variants
        }

    def voices(self) -> list[Voice]:
        """The voices without variants, sorted by name."""
        return [
            Voice(name, voice.language, voice.gender, voice.name.strip()) for name, voice in sorted(self._bases.items())
        ]

    def variants(self) -> list[Voice]:
        """The variants, sorted; each name may be put after any voice's: ``en-us`` and ``+f3`` make ``en-us+f3``."""
        return [Voice(f"+{name}", "", variant.gender, variant.name) for name, variant in sorted(self._variants.items())]

    def resolve(self, voice: str) -> str:
        """What the library is to be asked for, for a voice that a person named.

        Args:
            voice: a language code (``en-us``, ``de``), a voice's name or identifier, in any case, and
                perhaps ``+`` and a variant (``en-us+f3``).

        Raises:
            UnknownVoice: no such voice, or no such variant; the message names near ones.
        """
        base, plus, variant = voice.strip().partition("+")
        found = self._base_of.get(_key(base))
        if found is None:
            raise UnknownVoice(self._no_voice(base))
        if not plus:
            return found.identifier
        varied = self._variant_of.get(_key(variant))
        if varied is None:
            raise UnknownVoice(self._no_variant(variant))
        return f"{found.identifier}+{varied.file}"

    def _no_voice(self, asked: str) -> str:
        key = _key(asked)[:MAX_QUOTED]
        within = [alias for alias in self._base_of if len(key) >= 4 and key in alias]
        close = difflib.get_close_matches(key, self._base_of, n=NEAR_MATCHES)
        family = [alias for alias in self._base_of if key and alias.split("-")[0] == key.split("-")[0]]
        names = {voice.identifier: name for name, voice in self._bases.items()}
        near = list(dict.fromkeys(names[self._base_of[alias].identifier] for alias in [*within, *close, *family]))
        return (
            f"No voice is called {_quoted(asked)}{_near(near)}; "
            f"there are {len(self._bases)}, and `alfred-voice say --voices` lists them"
        )

    def _no_variant(self, asked: str) -> str:
        near = difflib.get_close_matches(_key(asked)[:MAX_QUOTED], self._variants, n=NEAR_MATCHES, cutoff=0.5)
        return (
            f"No variant of a voice is called {_quoted(asked)}{_near([f'+{name}' for name in near])}; "
            f"there are {len(self._variants)}, and `alfred-voice say --voices +` lists them"
        )


def _by_public_name(voices: Sequence[ListedVoice]) -> dict[str, ListedVoice]:
    """Each voice under its language code, or under its file's name where another voice has the code."""
    named: dict[str, ListedVoice] = {}
    for voice in voices:
        name = voice.language.lower()
        named[voice.file.lower() if name in named else name] = voice
    return named


def _aliases(named: dict[str, ListedVoice]) -> dict[str, ListedVoice]:
    """Everything that a voice may be called; what comes first wins."""
    aliases = {_key(name): voice for name, voice in named.items()}
    languages = [(priority, code, voice) for voice in named.values() for priority, code in voice.languages]
    for _, code, voice in sorted(languages, key=lambda entry: entry[0]):
        aliases.setdefault(_key(code), voice)
    for voice in named.values():
        for name in (voice.name, voice.identifier, voice.file):
            aliases.setdefault(_key(name), voice)
    return aliases


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _quoted(name: str) -> str:
    return repr(name if len(name) <= MAX_QUOTED else name[: MAX_QUOTED - 1] + "…")


def _near(names: list[str]) -> str:
    return f" (near: {', '.join(names[:NEAR_MATCHES])})" if names else ""
