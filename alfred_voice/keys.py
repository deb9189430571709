"""The keys of the configuration, as the options' annotations describe them.

A room of the configuration is a frozen dataclass whose fields are ``Annotated`` with a type, limits and a description.
From these come the reference, the messages and the reading of texts, so that nothing is written down twice.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta


ENVIRONMENT_PREFIX = "ALFRED_"
ROOM_SEPARATOR = "__"

# https://yaml.org/type/bool.html, and the digits that are usual in the environment.
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NOTHING = frozenset({"", "null", "none", "~"})
_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text"}
_SHOWN_CHARACTERS = 80
SECRET = {"secret": True}
"""For the ``extra`` of an option's ``Meta``: see :attr:`Key.is_secret`."""
HIDDEN = "(secret)"
"""Stands for a secret; no secret option takes it for a value."""


@dataclass(frozen=True, slots=True)
class Key:
    """One option: what the reference prints about it, and how a text becomes its value."""

    room: str
    name: str
    type: str
    """For people: "whole number", "number", "text", "true or false" or "one of text, json", and "or null"."""
    default: Any
    range: str
    """For people: "0 to 1", "2 to 35 characters", of a pattern what ``extra`` says; empty without limits."""
    description: str
    annotation: Any = field(repr=False)
    """The type with its limits and without None, as msgspec takes it."""
    is_optional: bool = field(repr=False)
    is_secret: bool = False
    """Its value is shown nowhere: not by commands, not in answers, messages or logs."""

    @property
    def path(self) -> str:
        """The name in ``--set``, messages and documents."""
        return f"{self.room}.{self.name}"

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return f"{ENVIRONMENT_PREFIX}{self.room}{ROOM_SEPARATOR}{self.name}".upper()

    @property
    def bare(self) -> Any:
        """The type without its limits: bool, int, float, str or a Literal."""
        return get_args(self.annotation)[0] if get_origin(self.annotation) is Annotated else self.annotation

    @property
    def is_text(self) -> bool:
        """True for a text, free or one of several."""
        return self.bare is str or get_origin(self.bare) is Literal

    @property
    def expected(self) -> str:
        """What a value must be, for a message."""
        name = f"a {self.type}" if self.bare in (int, float) else self.type
        return f"{name} ({self.range})" if self.range else name

    def read(self, text: str) -> Any:
        """The value that ``text`` means by this key's type, as in the environment and on the command line.

        Raises:
            ValueError: it means none, or one out of range; the message says what came.
        """
        word = text.strip()
        if self.is_optional and word.lower() in _NOTHING:
            return None
        if self.bare is bool and word.lower() in _TRUE | _FALSE:
            return word.lower() in _TRUE
        return self.convert(text if self.is_text else _number(word))

    def accept(self, value: Any) -> Any:
        """``value`` as this key's type has it, where it is one, as in JSON: a text is no number.

        Raises:
            ValueError: it is none, or one out of range; the message says what came.
        """
        if value is None and self.is_optional:
            return None
        try:
            accepted = msgspec.convert(value, self.annotation)
        except msgspec.ValidationError:
            raise ValueError(shown(value) if isinstance(value, str) else _json_shape(value)) from None
        if isinstance(accepted, float) and not math.isfinite(accepted):
            raise ValueError(str(accepted))
        return accepted

    def convert(self, text: str) -> Any:
        """The value that ``text`` is, with no word for None: a text ``none`` stays a text.

        Raises:
            ValueError: it is none, or one out of range; the message says what came.
        """
        try:
            value = msgspec.convert(text, self.annotation, strict=False)
        except msgspec.ValidationError:
            raise ValueError(self._quoted(text)) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(shown(text))
        return value

    def _quoted(self, text: str) -> str:
        return "a value that is not shown" if self.is_secret else shown(text)

    def presentable(self, value: Any) -> Any:
        """The value as people may see it; a secret that is set comes out as a word that is none."""
        return HIDDEN if self.is_secret and value else value


def keys_of(tree: Any) -> list[Key]:
    """Every key of a tree of rooms, in its order; the values in ``tree`` are the defaults."""
    keys = []
    for room in fields(tree):
        options = getattr(tree, room.name)
        hints = get_type_hints(type(options), include_extras=True)
        keys += [_key(room.name, option.name, hints[option.name], options) for option in fields(options)]
    return keys


def shown(text: str) -> str:
    """A text as a message quotes it: escaped, and not too long."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}..."


def _json_shape(value: Any) -> str:
    """A value of JSON as a message names it."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return msgspec.json.encode(value).decode()


def _number(word: str) -> str:
    # 1_000 and .5 are numbers to YAML and to people, but not to the grammar of JSON that msgspec reads.
    return re.sub(r"^(-?)\.(?=\d)", r"\g<1>0.", re.sub(r"(?<=\d)_(?=\d)", "", word))


def _key(room: str, name: str, hint: Any, options: Any) -> Key:
    bare, metas, is_optional = _take_apart(hint)
    limits = Meta(**{limit: value for meta in metas for limit, value in _limits(meta).items()})
    return Key(
        room=room,
        name=name,
        type=_type_name(bare, is_optional, f"{room}.{name}"),
        default=getattr(options, name),
        range=_range(limits),
        description=next((meta.description for meta in metas if meta.description), ""),
        annotation=Annotated[bare, limits] if _limits(limits) else bare,
        is_optional=is_optional,
        is_secret=any((meta.extra or {}).get("secret") for meta in metas),
    )


def _take_apart(hint: Any) -> tuple[Any, list[Meta], bool]:
    """The bare type, the annotations from the outermost on, and whether None is allowed."""
    metas: list[Meta] = []
    is_optional = False
    while True:
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            metas += [extra for extra in extras if isinstance(extra, Meta)]
        elif get_origin(hint) in (Union, UnionType) and len(get_args(hint)) == 2 and NoneType in get_args(hint):
            hint = next(member for member in get_args(hint) if member is not NoneType)
            is_optional = True
        else:
            return hint, metas, is_optional


def _limits(meta: Meta) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "extra")
    return {name: getattr(meta, name) for name in names if getattr(meta, name) is not None}


def _type_name(bare: Any, is_optional: bool, path: str) -> str:
    if get_origin(bare) is Literal:
        name = f"one of {', '.join(get_args(bare))}"
    elif bare in _NAMES:
        name = _NAMES[bare]
    else:
        raise AssertionError(f"{path}: a key is a bool, int, float, str or Literal, perhaps with None, not {bare}")
    return f"{name} or null" if is_optional else name


def _range(meta: Meta) -> str:
    if meta.extra is not None and "range" in meta.extra:
        return str(meta.extra["range"])
    if meta.min_length == 1 and meta.max_length is None:
        return "not empty"
    if meta.min_length is not None or meta.max_length is not None:
        return f"{_span(meta.min_length, None, meta.max_length, None)} characters"
    return _span(meta.ge, meta.gt, meta.le, meta.lt)


def _span(ge: float | None, gt: float | None, le: float | None, lt: float | None) -> str:
    if ge is not None and le is not None:
        return f"{_figure(ge)} to {_figure(le)}"
    bounds = {"at least": ge, "above": gt, "at most": le, "below": lt}
    return ", ".join(f"{word} {_figure(bound)}" for word, bound in bounds.items() if bound is not None)


def _figure(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)
