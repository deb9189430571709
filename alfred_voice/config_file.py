"""A YAML file of the configuration: rooms with keys, each with the line that it stands in.

A text is read by the type of its key, never by what YAML guesses: ``language: no`` is an error and not ``False``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from alfred_voice.keys import Key, shown


_STR_TAG = "tag:yaml.org,2002:str"
_NULL_TAG = "tag:yaml.org,2002:null"
_BOOL_TAG = "tag:yaml.org,2002:bool"
_WHOLE_LINE = 10**9  # columns: never fold a value


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value, or a name that is no room's."""

    path: str
    """``room.key``."""
    where: str
    """File and line."""
    node: yaml.Node | None
    """The value; None where there is no such room."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that cannot be read as it stands there."""

    path: str
    """What it is about."""
    message: str
    where: str = ""
    """File and line, where that is known."""
    broken_room: str = ""
    """A room that was not read."""


def entries_of(text: str, origin: str, rooms: Container[str]) -> Iterator[Entry | Fault]:
    """Every entry of a file and all that is wrong with its form, in order.

    Args:
        text: the file's.
        origin: what it is called in messages.
        rooms: those that there are.
    """
    root = _root_of(text, origin)
    if isinstance(root, Fault):
        yield root
        return
    for room in _entries(root, "", origin):
        if isinstance(room, Fault):
            yield room
        elif room.path not in rooms:
            yield Entry(room.path, room.where, None)
        else:
            yield from _entries(room.node, f"{room.path}.", origin)


def _root_of(text: str, origin: str) -> yaml.Node | Fault | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        return Fault(origin, f"line {line} is not YAML: {exc.problem or exc.context}")
    except yaml.YAMLError as exc:
        return Fault(origin, f"not YAML: {' '.join(str(exc).split())}")
    except RecursionError:
        return Fault(origin, "nested too deeply; expected rooms with keys")
    except (ValueError, OverflowError) as exc:
        # The library's own slips: an escape beyond Unicode, a version of thousands of digits.
        return Fault(origin, f"not YAML: {exc}")


def _entries(node: yaml.Node | None, prefix: str, origin: str) -> Iterator[Entry | Fault]:
    """The entries of a map; a room whose keys are all commented out has none."""
    if node is None or node.tag == _NULL_TAG:
        return
    about = prefix.rstrip(".") or "top level"
    if not isinstance(node, yaml.MappingNode):
        expected = "a map of keys and values" if prefix else "a map of rooms"
        where = f"{origin}, line {node.start_mark.line + 1}"
        yield Fault(about, f"expected {expected}, got {_shape(node)}", where, prefix.rstrip("."))
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        where = f"{origin}, line {line}"
        if not isinstance(key, yaml.ScalarNode):
            yield Fault(about, f"expected a name, got {_shape(key)}", where)
        elif key.value in lines:
            yield Fault(f"{prefix}{key.value}", f"given twice, first in line {lines[key.value]}", where)
        else:
            lines[key.value] = line
            yield Entry(f"{prefix}{key.value}", where, value)


def value_of(key: Key, node: yaml.Node) -> Any:
    """The value that a node of a YAML document means by its key's type.

    Raises:
        ValueError: it means none, or one out of range; the message says what came.
    """
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(_shape(node))
    if node.tag == _NULL_TAG:
        if not key.is_optional:
            raise ValueError("nothing")
        return None
    if key.is_text:
        if node.tag != _STR_TAG:
            raise ValueError(f'the bare word {node.value}, which YAML does not take for text: write "{node.value}"')
        return key.convert(node.value)
    if node.style is not None:
        raise ValueError(f"the text {shown(node.value)}; leave out the quotes")
    if key.bare is bool and node.tag != _BOOL_TAG:
        raise ValueError(shown(node.value))
    return key.read(node.value)


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "a map" if isinstance(node, yaml.MappingNode) else shown(str(node.value))


def as_yaml(value: Any) -> str:
    """One value as it would stand in the YAML file, on one line."""
    needs_quotes = isinstance(value, str) and not re.fullmatch(r"[\w./:+-]+", value, re.ASCII)
    text = yaml.safe_dump(value, default_style='"' if needs_quotes else None, width=_WHOLE_LINE, allow_unicode=True)
    return str(text).removesuffix("\n").removesuffix("\n...")
