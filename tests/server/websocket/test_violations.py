"""Whoever breaks the WebSocket protocol (RFC 6455) is told with the right code, and only he."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.raw_socket import BINARY, CLOSE, PING, PONG, TEXT, UPGRADE, connected, frame


Eventually = Callable[[Callable[[], object]], Awaitable[None]]

CONTINUES = 0
START = frame(TEXT, b'{"type":"start"}')
PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009


def with_bits(data: bytes, bits: int) -> bytes:
    """A frame with these bits of its first byte set as well."""
    return bytes([data[0] | bits]) + data[1:]


def unmasked(opcode: int, payload: bytes) -> bytes:
    """As a server sends it, not a client."""
    return bytes([0x80 | opcode, len(payload)]) + payload


VIOLATIONS = {
    "a frame without a mask": (unmasked(BINARY, bytes(100)), PROTOCOL_ERROR),
    "a text without a mask": (unmasked(TEXT, b'{"type":"flush"}'), PROTOCOL_ERROR),
    "a ping without a mask": (unmasked(PING, b"a"), PROTOCOL_ERROR),
    "a mask that is missing in the middle of a message": (
        frame(BINARY, bytes(64), fin=False) + unmasked(CONTINUES, bytes(64)),
        PROTOCOL_ERROR,
    ),
    "the first reserved bit, which is compression's": (with_bits(frame(TEXT, b"{}"), 0x40), PROTOCOL_ERROR),
    "the second reserved bit": (with_bits(frame(TEXT, b"{}"), 0x20), PROTOCOL_ERROR),
    "the third reserved bit": (with_bits(frame(BINARY, bytes(4)), 0x10), PROTOCOL_ERROR),
    "an unknown kind of data": (frame(3, b""), PROTOCOL_ERROR),
    "an unknown kind of control": (frame(11, b""), PROTOCOL_ERROR),
    "a ping in fragments": (frame(PING, b"a", fin=False), PROTOCOL_ERROR),
    "a close in fragments": (frame(CLOSE, b"\x03\xe8", fin=False), PROTOCOL_ERROR),
    "a ping of 126 bytes": (frame(PING, bytes(126)), PROTOCOL_ERROR),
    "a close of 126 bytes": (frame(CLOSE, b"\x03\xe8" + b"a" * 124), PROTOCOL_ERROR),
    "a continuation of nothing": (frame(CONTINUES, b"a"), PROTOCOL_ERROR),
    "a last continuation twice": (
        frame(BINARY, bytes(2), fin=False) + frame(CONTINUES, bytes(2)) + frame(CONTINUES, bytes(2)),
        PROTOCOL_ERROR,
    ),
    "a new message inside of one": (frame(BINARY, bytes(2), fin=False) + frame(BINARY, bytes(2)), PROTOCOL_ERROR),
    "a new text inside of one": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), PROTOCOL_ERROR),
    "a close of one byte": (frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
    "a close with a code below 1000": (frame(CLOSE, struct.pack(">H", 999)), PROTOCOL_ERROR),
    "a close with a code that is never sent": (frame(CLOSE, struct.pack(">H", 1006)), PROTOCOL_ERROR),
    "a close with a reserved code": (frame(CLOSE, struct.pack(">H", 1004)), PROTOCOL_ERROR),
    "a close with a code above 4999": (frame(CLOSE, struct.pack(">H", 5000)), PROTOCOL_ERROR),
    "a new message inside of an empty one": (frame(TEXT, b"", fin=False) + frame(BINARY, bytes(2)), PROTOCOL_ERROR),
    "a close whose reason is no UTF-8": (frame(CLOSE, b"\x03\xe8\xff\xfe"), INVALID_DATA),
    "a text that is no UTF-8": (frame(TEXT, b'"\xff\xfe"'), INVALID_DATA),
    "a text with half a surrogate pair": (frame(TEXT, b'"\xed\xa0\x80"'), INVALID_DATA),
    "fragments that are no UTF-8 together": (
        frame(TEXT, b'"\xc3', fin=False) + frame(CONTINUES, b'"'),
        INVALID_DATA,
    ),
    "a message over the limit": (frame(BINARY, b"", declared=2_000_000), TOO_BIG),
    "fragments over the limit": (
        frame(BINARY, bytes(60_000), fin=False) + frame(CONTINUES, bytes(60_000), fin=False) * 19,
        TOO_BIG,
    ),
    "a length with its highest bit set": (b"\x82\xff" + b"\xff" * 8 + bytes(4), TOO_BIG),
}


@pytest.mark.parametrize("begun", [True, False], ids=["in a session", "before one"])
@pytest.mark.parametrize(("sent", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
async def test_a_violation_is_answered_with_its_code_and_harms_no_other_session(
    door: Any, tone: Any, silence: Any, read_all: Any, eventually: Eventually, sent: bytes, code: int, begun: bool
) -> None:
    neighbour = await door.connect("?session_id=neighbour")
    await neighbour.send_bytes(tone(400))
    await eventually(lambda: len(door.coordinator.roster.all()) == 1)
    async with connected(door.port, UPGRADE + b"\r\n" + (START if begun else b"") + sent) as wire:
        await wire.head()
        assert await wire.close_code() == code
        wire.writer.write(frame(CLOSE, struct.pack(">H", code)))
        assert await wire.rest() == b"", "nothing follows a close"
    await eventually(lambda: len(door.coordinator.roster.all()) == 1)
    await neighbour.send_bytes(silence(900))
    await neighbour.send_json({"type": "stop"})
    events = await read_all(neighbour)
    assert [event["text"] for event in events if event["type"] == "finalTranscription"] == ["turn on the lamp"]
    assert neighbour.close_code == 1000


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"", b""),
        (b"\x03\xe8", b"\x03\xe8"),
        (b"\x03\xe9bye", b"\x03\xe9"),
        (b"\x0b\xb8", b"\x0b\xb8"),
        (b"\x13\x87", b"\x13\x87"),
    ],
    ids=["no code", "1000", "1001 with a reason", "3000", "4999"],
)
async def test_a_proper_close_is_answered_with_a_close(
    door: Any, eventually: Eventually, payload: bytes, answer: bytes
) -> None:
    async with connected(door.port, UPGRADE + b"\r\n" + START + frame(CLOSE, payload)) as wire:
        await wire.head()
        while (received := await wire.receive())[0] != CLOSE:
            pass
        assert received[1][:2] in (answer, b"\x03\xe8")
    await eventually(lambda: not door.coordinator.roster.all())


async def test_control_frames_may_come_inside_of_a_fragmented_message(door: Any) -> None:
    parts = frame(TEXT, b'{"type":', fin=False) + frame(PING, b"x") + frame(CONTINUES, b'"ping","id":5}')
    async with connected(door.port, UPGRADE + b"\r\n" + parts) as wire:
        await wire.head()
        received = [await wire.receive() for _ in range(3)]
    assert received[0] == (PONG, b"x")
    assert [json.loads(data)["type"] for _, data in received[1:]] == ["sessionStarted", "pong"]


async def test_hundreds_of_violations_leave_nothing_behind(door: Any, eventually: Eventually) -> None:
    """In one process with the daemon: tasks and sessions are looked at."""
    tasks: list[int] = []
    for _ in range(3):
        for sent, _ in list(VIOLATIONS.values()) * 4:
            if len(sent) < 10_000:
                async with connected(door.port, UPGRADE + b"\r\n" + START + sent) as wire:
                    await wire.head()
                    await wire.close_code()
        await eventually(lambda: not door.coordinator.roster.all())
        await eventually(lambda: len(asyncio.all_tasks()) <= (tasks[0] if tasks else 10_000))
        tasks.append(len(asyncio.all_tasks()))
    assert tasks[-1] <= tasks[0]
