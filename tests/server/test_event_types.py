"""The types that the JavaScript client names for the daemon's events are the daemon's."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from alfred_voice.events import EVENT_TYPES, PipelineHealth, SessionStats
from alfred_voice.results import Word
from alfred_voice.server.assets import STATIC
from alfred_voice.server.protocol.wire import _SPARSE


TEXT = (STATIC / "alfred-voice-events.js").read_text("utf-8")
PROPERTY = re.compile(r"@property \{(?P<type>.*)\} (?P<name>\S+)$", re.MULTILINE)
PLAIN = {"int": "number", "float": "number", "str": "string", "bool": "boolean"}
"""What a field of Python is in JavaScript, where that is simple."""


def properties(name: str) -> dict[str, str]:
    """The properties of a typedef with their types."""
    found = re.search(rf"@typedef \{{object\}} {name}\n(.*?)\*/", TEXT, re.DOTALL)
    assert found, name
    return {match["name"]: match["type"] for match in PROPERTY.finditer(found[1])}


@pytest.mark.parametrize(("kind", "name"), EVENT_TYPES.items(), ids=list(EVENT_TYPES.values()))
def test_an_event_has_the_same_fields_there(kind: type, name: str) -> None:
    told = properties(kind.__name__)

    assert told.pop("type") == f'"{name}"'
    if kind is PipelineHealth:
        assert set(told) == {"pipelineState"}  # its objects stand at the top level
        return
    assert list(told) == [f"[{field.name}]" if field.name in _SPARSE else field.name for field in fields(kind)]
    for field in fields(kind):
        if str(field.type) in PLAIN:
            assert told[field.name] == PLAIN[str(field.type)], field.name


def test_all_events_are_there_under_their_names() -> None:
    assert properties("DaemonEvents") == {name: kind.__name__ for kind, name in EVENT_TYPES.items()}


@pytest.mark.parametrize("kind", [SessionStats, Word])
def test_what_events_hold_has_the_same_fields_there(kind: type) -> None:
    found = re.search(rf"@typedef \{{\{{(.*)\}}\}} {kind.__name__}$", TEXT, re.MULTILINE)
    assert found

    assert [part.split(":")[0] for part in found[1].split(", ")] == [field.name for field in fields(kind)]
