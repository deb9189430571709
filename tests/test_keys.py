from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from alfred_voice.keys import Key, keys_of


@dataclass(frozen=True)
class Room:
    flag: Annotated[bool, Meta(description="a flag")] = False
    count: Annotated[int, Meta(ge=0, le=10, description="a count")] = 3
    ratio: Annotated[float, Meta(gt=0, lt=1, description="a ratio")] = 0.5
    speed: Annotated[float, Meta(gt=0, description="open above")] = 1.0
    name: Annotated[str, Meta(min_length=2, max_length=4, description="a name")] = "abc"
    filled: Annotated[str, Meta(min_length=1, description="any but nothing")] = "x"
    mode: Annotated[Literal["fast", "slow"], Meta(description="a choice")] = "fast"
    inner: Annotated[Annotated[float, Meta(ge=0.25)] | None, Meta(description="limits inside")] = None
    outer: Annotated[float | None, Meta(le=2.5, description="limits outside")] = None
    bare: str = "undescribed"


@dataclass(frozen=True)
class Tree:
    room: Room = field(default_factory=Room)


@pytest.fixture
def keys() -> dict[str, Key]:
    return {key.name: key for key in keys_of(Tree())}


def test_every_field_becomes_a_key_in_order(keys: dict[str, Key]) -> None:
    assert list(keys) == ["flag", "count", "ratio", "speed", "name", "filled", "mode", "inner", "outer", "bare"]
    assert keys["count"].path == "room.count"
    assert keys["count"].variable == "ALFRED_ROOM__COUNT"


@pytest.mark.parametrize(
    ("name", "kind", "limits", "description", "default"),
    [
        ("flag", "true or false", "", "a flag", False),
        ("count", "whole number", "0 to 10", "a count", 3),
        ("ratio", "number", "above 0, below 1", "a ratio", 0.5),
        ("speed", "number", "above 0", "open above", 1.0),
        ("name", "text", "2 to 4 characters", "a name", "abc"),
        ("filled", "text", "not empty", "any but nothing", "x"),
        ("mode", "one of fast, slow", "", "a choice", "fast"),
        ("inner", "number or null", "at least 0.25", "limits inside", None),
        ("outer", "number or null", "at most 2.5", "limits outside", None),
        ("bare", "text", "", "", "undescribed"),
    ],
)
def test_a_key_says_what_its_annotation_says(
    keys: dict[str, Key], name: str, kind: str, limits: str, description: str, default: Any
) -> None:
    key = keys[name]

    assert (key.type, key.range, key.description, key.default) == (kind, limits, description, default)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *[("flag", word, True) for word in ("true", "True", "YES", "on", "1", " on ")],
        *[("flag", word, False) for word in ("false", "FALSE", "no", "Off", "0")],
        ("count", "0", 0),
        ("count", " 10 ", 10),
        ("count", "1_0", 10),
        ("ratio", ".5", 0.5),
        ("ratio", "1e-1", 0.1),
        ("speed", "7", 7.0),
        ("speed", "1_000", 1000.0),
        ("name", "ab", "ab"),
        ("name", "none", "none"),
        ("name", "no", "no"),
        ("name", " a ", " a "),
        ("name", "1_0", "1_0"),
        ("bare", "", ""),
        ("mode", "slow", "slow"),
        *[("inner", word, None) for word in ("", "null", "None", "~", " ")],
        ("inner", "0.25", 0.25),
        ("outer", "-.5", -0.5),
        ("outer", "-3", -3.0),
    ],
)
def test_a_text_is_read_by_the_type_of_the_key(keys: dict[str, Key], name: str, text: str, value: Any) -> None:
    read = keys[name].read(text)

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flag", ""),
        ("flag", "maybe"),
        ("flag", "2"),
        ("count", "11"),
        ("count", "-1"),
        ("count", "1.5"),
        ("count", "010"),
        ("count", "0x1"),
        ("count", "2:00"),
        ("count", ""),
        ("count", "null"),
        ("count", "yes"),
        ("count", "1__0"),
        ("count", "_1"),
        ("ratio", "0"),
        ("ratio", "1"),
        ("ratio", "nan"),
        ("speed", "inf"),
        ("speed", "-inf"),
        ("speed", "1e999"),
        ("name", "a"),
        ("name", "abcde"),
        ("filled", ""),
        ("mode", "Slow"),
        ("mode", ""),
        ("inner", "0.2"),
        ("outer", "2.6"),
    ],
)
def test_a_text_of_the_wrong_kind_or_out_of_range_is_refused(keys: dict[str, Key], name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".*") as refused:
        keys[name].read(text)

    assert str(refused.value).startswith("'")


def test_a_refused_text_is_quoted_escaped_and_cut(keys: dict[str, Key]) -> None:
    with pytest.raises(ValueError, match=r"^'\\x1b\[31mx+'\.\.\.$") as refused:
        keys["count"].read("\x1b[31m" + "x" * 1000)

    assert len(str(refused.value)) < 100


def test_converting_knows_no_word_for_nothing(keys: dict[str, Key]) -> None:
    with pytest.raises(ValueError, match="'null'"):
        keys["inner"].convert("null")


def test_a_message_can_say_what_was_expected(keys: dict[str, Key]) -> None:
    assert keys["count"].expected == "a whole number (0 to 10)"
    assert keys["flag"].expected == "true or false"
    assert keys["mode"].expected == "one of fast, slow"
    assert keys["inner"].expected == "a number or null (at least 0.25)"


@dataclass(frozen=True)
class ListRoom:
    items: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ListTree:
    room: ListRoom = field(default_factory=ListRoom)


def test_a_field_of_a_type_that_no_text_can_mean_is_a_fault_of_the_program() -> None:
    with pytest.raises(AssertionError, match=r"room\.items: a key is a bool"):
        keys_of(ListTree())
