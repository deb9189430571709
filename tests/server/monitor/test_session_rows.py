"""The table of sessions as JSON: true, and not encoded again where nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from alfred_voice.server.monitor import session_rows
from alfred_voice.server.monitor.session_rows import SessionRows


EVIL = 'a"b\\c</script>\n\u2028é'


def rows(table: SessionRows, door: Any, now: float) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(table.encode(door.coordinator.roster.all(), now))
    return told


async def spoken(door: Any, tone: Callable[[int], bytes], silence: Callable[[int], bytes], eventually: Any) -> Any:
    """A session that has said something, and its stream."""
    socket = await door.connect("?session_id=said&language=de")
    for part in (tone(1000), silence(3000)):
        await socket.send_bytes(part)
    await eventually(lambda: len(door.coordinator.roster))
    (stream,) = door.coordinator.roster.all()
    await eventually(lambda: stream.status()["last_text"])
    await eventually(lambda: stream.session.frames_processed == 200)
    return stream


async def test_a_row_says_what_the_sessions_own_status_says(
    door: Any, tone: Callable[[int], bytes], silence: Callable[[int], bytes], eventually: Any
) -> None:
    stream = await spoken(door, tone, silence, eventually)
    status = stream.status()

    (row,) = rows(SessionRows(), door, stream.opened_at + 12.34)

    assert row["age_s"] == 12.3
    assert row["last_text"] == "turn on the lamp"
    assert row["latency_ms"]["final"]["count"] == 1
    for name, value in row.items():
        assert name == "age_s" or value == status[name], name


async def test_only_what_changes_all_the_time_is_encoded_again(
    door: Any,
    tone: Callable[[int], bytes],
    silence: Callable[[int], bytes],
    eventually: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = await spoken(door, tone, silence, eventually)
    encoded: list[str] = []
    encode = session_rows._lasting

    def note(stream: Any, heard: Any) -> bytes:
        encoded.append(heard[0])
        return encode(stream, heard)

    monkeypatch.setattr(session_rows, "_lasting", note)
    table = SessionRows()

    ages = [rows(table, door, stream.opened_at + age)[0]["age_s"] for age in (1.0, 2.0, 3.0)]
    assert ages == [1.0, 2.0, 3.0]
    assert len(encoded) == 1
    stream._account.last_text = "something else"
    assert rows(table, door, 0.0)[0]["last_text"] == "something else"
    assert len(encoded) == 2
    table.forget()
    rows(table, door, 0.0)
    assert len(encoded) == 3


async def test_nothing_is_kept_of_sessions_that_are_not_listed_any_more(door: Any) -> None:
    socket = await door.connect("?session_id=gone")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()
    table = SessionRows()
    assert len(rows(table, door, 0.0)) == 1

    assert table.encode([], 0.0) == b"[]"
    assert table._known == {}


async def test_words_of_strangers_are_quoted(door: Any) -> None:
    socket = await door.connect("?session_id=evil")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()
    (stream,) = door.coordinator.roster.all()
    stream._account.last_text = EVIL

    table = SessionRows()

    assert rows(table, door, 0.0)[0]["last_text"] == EVIL
    assert b"\n" not in table.encode([stream], 0.0)  # a server-sent event has it in one line
