# ruff: noqa: RUF001 - the punctuation of many scripts looks like that of others
"""Sentences of a text that is to be spoken: one is synthesised while the one before is playing."""

from __future__ import annotations

import re
import unicodedata


MAX_CHARS = 300
"""About 20 s of speech: what a listener may wait for, and what a cancelled speech may have made in vain."""

_CLOSERS = r"[\"'”’“‘»›)\]}」』】》〉）］*_]*"  # quotes, brackets and emphasis that end with their sentence
_WIDE_END = "。！？؟।॥።։"  # ends a sentence whatever follows
_NARROW_END = ".!?…‽"  # ends one where white space follows
_END = re.compile(f"[{_NARROW_END}{_WIDE_END}]+{_CLOSERS}")
_CLAUSE_END = re.compile(r"[,;:)–—](?=\s)|[、，；：،؛]|\s[–—-](?=\s)")
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[\w’']*")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # the "U.S" of "U.S.", the "J" of "J. R."

_NEVER_LAST_WORDS = "mr mrs ms mx dr prof messrs mme mlle e.g i.e cf viz vs approx bzw z.b d.h u.a s.o s.u vgl evtl ggf"
_TITLE_WORDS = "rev fr hr hon pres gov sen rep gen col capt cpt cmdr lt sgt maj adm st ste mt ft sr sra"
_BEFORE_NUMBER_WORDS = "no nos nr vol p pp fig figs eq ch sec art ca"
_MAYBE_LAST_WORDS = """
    a.m p.m etc usw jr inc ltd co corp dept est min max sq hrs mins secs ave blvd rd al ph.d m.d b.a m.a b.c a.d
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri
"""
_OPENER_WORDS = """
    the a an this that these those there here it he she we they you i and but or so then now in on at if when while
    after before because however also yes no not what who where why how my your his her our their
"""
_NEVER_LAST = frozenset(_NEVER_LAST_WORDS.split())
"""Shortened words that no sentence ends with."""
_TITLES = frozenset(_TITLE_WORDS.split())
"""The same, but only with a capital: in small letters they are ordinary words."""
_BEFORE_NUMBER = frozenset(_BEFORE_NUMBER_WORDS.split())
"""Shortened words, if a number follows."""
_MAYBE_LAST = frozenset(_MAYBE_LAST_WORDS.split())
"""Shortened words that a sentence may end with: it does where a capital follows."""
_OPENERS = frozenset(_OPENER_WORDS.split())
"""Words that, with a capital, begin a sentence far more often than they follow an abbreviation such as "U.S."."""

_CLINGING = ("Mn", "Mc", "Me", "Cf")  # accents, vowel signs, joiners: part of the character before


def split_sentences(text: str, max_chars: int = MAX_CHARS) -> list[str]:
    """The sentences of ``text`` in order, trimmed, none empty, none longer than ``max_chars``.

    A sentence ends at a full stop, question or exclamation mark of any common script, with the
    quotes and brackets that close there, and at the end of a line. One that is too long is cut
    after a clause, else between words, else anywhere. Nothing but white space is lost. In doubt
    a sentence goes on: a pause too few is heard less than one in the middle.
    """
    if max_chars < 1:
        raise ValueError(f"Expected at least 1 character, but got {max_chars}")
    return [part for line in text.splitlines() for sentence in _sentences(line) for part in _cut(sentence, max_chars)]


def _sentences(line: str) -> list[str]:
    found = []
    start = 0
    for end in _END.finditer(line):
        if _is_end(line, start, end):
            found.append(line[start : end.end()].strip())
            start = end.end()
    found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def _is_end(line: str, start: int, end: re.Match[str]) -> bool:
    """Whether the sentence that begins at ``start`` ends with these marks."""
    marks = end.group()
    following = _end_of(_SPACE, line, end.end())
    if following == len(line) or any(mark in _WIDE_END for mark in marks):
        return True
    if following == end.end():  # no space: "3.14", "example.com"
        return False
    if marks == ".":
        return _is_full_stop(line, start, end.start(), following)
    # '"Really?" he asked' and "well ... yes" go on; "really? yes" are two.
    is_quoted_or_trailing = marks[-1] not in "!?‽." or marks.endswith("..")
    return not (is_quoted_or_trailing and line[following].islower())


def _is_full_stop(line: str, start: int, dot: int, following: int) -> bool:
    """Whether the single dot at ``dot`` ends a sentence, rather than shortening a word or counting."""
    first = dot
    while first > start and (line[first - 1].isalnum() or line[first - 1] in ".’'-"):
        first -= 1
    word = line[first:dot].lstrip(".’'-")
    small = word.lower()
    next_word = line[following : _end_of(_WORD, line, following)]
    opens = next_word[:1].isupper() and next_word.lower() in _OPENERS
    if word.isdecimal():
        is_item = not line[start:first].strip()  # "1. First of all"
        return not is_item and (len(word) > 2 or opens)  # "am 3. Mai"
    if small in _NEVER_LAST or (small in _TITLES and word[0].isupper()):
        return False
    if small in _BEFORE_NUMBER:
        return not line[following].isdecimal()
    if small in _MAYBE_LAST:
        return line[following].isupper() or not line[following].isalnum()
    if _INITIALS.fullmatch(word) and word != "I":
        return opens
    return True


def _end_of(pattern: re.Pattern[str], line: str, position: int) -> int:
    found = pattern.match(line, position)
    return found.end() if found else position


def _cut(sentence: str, max_chars: int) -> list[str]:
    parts = []
    start = 0
    while len(sentence) - start > max_chars:
        at = start + _cutting_place(sentence[start : start + max_chars + 1], max_chars)
        parts.append(sentence[start:at].strip())
        start = _end_of(_SPACE, sentence, at)
    parts.append(sentence[start:])
    return [part for part in parts if part]


def _cutting_place(window: str, max_chars: int) -> int:
    """Where to cut a sentence that begins with ``window``, which is one longer than it may be: 1 to ``max_chars``."""
    clauses = [match.end() for match in _CLAUSE_END.finditer(window) if match.end() <= max_chars]
    if clauses and clauses[-1] > max_chars // 3:  # not for the sake of a first word
        return clauses[-1]
    spaces = [index for index in range(1, max_chars + 1) if window[index].isspace()]
    if spaces:
        return spaces[-1]
    whole = [index for index in range(1, max_chars + 1) if unicodedata.category(window[index]) not in _CLINGING]
    return whole[-1] if whole else max_chars
