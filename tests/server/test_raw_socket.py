"""What no client library would send, byte by byte."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.raw_socket import BINARY, PING, PONG, TEXT, UPGRADE, connected, frame


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


async def test_a_handshake_by_hand_is_answered_as_the_rfc_says(door: Any) -> None:
    async with connected(door.port, UPGRADE + b"\r\n") as wire:
        head = await wire.head()

    assert head.startswith("HTTP/1.1 101 ")
    # SHA-1 of the key and the RFC's GUID.
    assert "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=" in head
    assert "permessage-deflate" not in head


async def test_compression_is_never_agreed_on(door: Any) -> None:
    extension = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    async with connected(door.port, UPGRADE + extension) as wire:
        assert "Sec-WebSocket-Extensions" not in await wire.head()


async def test_sub_protocols_may_come_in_several_headers(door: Any) -> None:
    offered = b"Sec-WebSocket-Protocol: unknown\r\nSec-WebSocket-Protocol: alfred.v1.json\r\n\r\n"
    async with connected(door.port, UPGRADE + offered) as wire:
        head = await wire.head()

    assert head.startswith("HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "broken",
    [
        UPGRADE.replace(b"Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Key: short"),
        UPGRADE.replace(b"Version: 13", b"Version: 99"),
        UPGRADE.replace(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b""),
        UPGRADE.replace(b"Connection: Upgrade\r\n", b""),
    ],
    ids=["key", "version", "no key", "no connection header"],
)
async def test_a_broken_handshake_is_a_problem_document(door: Any, broken: bytes) -> None:
    async with connected(door.port, broken + b"\r\n") as wire:
        head = await wire.head()

    assert head.startswith("HTTP/1.1 400 ")
    assert "application/problem+json" in head


async def test_audio_may_come_with_the_handshake_and_in_fragments(door: Any) -> None:
    fragments = frame(BINARY, bytes(300), fin=False) + frame(0, bytes(200), fin=False) + frame(0, bytes(140))
    async with connected(door.port, UPGRADE + b"\r\n" + fragments + frame(TEXT, b'{"type":"stop"}')) as wire:
        await wire.head()
        events = []
        while (received := await wire.receive())[0] == TEXT:
            events.append(json.loads(received[1]))

    assert [event["type"] for event in events] == ["sessionStarted", "sessionEnded"]
    assert events[-1]["stats"]["frames_received"] == 1
    assert received[1][:2] == (1000).to_bytes(2, "big")


async def test_a_ping_of_the_websocket_itself_is_answered(door: Any) -> None:
    async with connected(door.port, UPGRADE + b"\r\n" + frame(PING, b"abc")) as wire:
        await wire.head()
        assert await wire.receive() == (PONG, b"abc")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(3, b""), 1002),
        (frame(0, b"continues nothing"), 1002),
        (b"\xc2" + frame(BINARY, b"")[1:], 1002),
    ],
    ids=["text that is not UTF-8", "reserved opcode", "stray continuation", "reserved bit"],
)
async def test_what_breaks_the_websocket_closes_it_and_nothing_else(
    door: Any, eventually: Eventually, sent: bytes, code: int
) -> None:
    async with connected(door.port, UPGRADE + b"\r\n" + frame(TEXT, b'{"type":"start"}') + sent) as wire:
        await wire.head()
        assert await wire.close_code() == code

    await eventually(lambda: not door.coordinator.roster.all())
    assert (await door.client.get("/livez")).status == 200


async def test_a_message_of_ten_megabytes_is_refused_by_its_head_alone(door: Any, eventually: Eventually) -> None:
    head = frame(BINARY, b"", declared=10_000_000)
    async with connected(door.port, UPGRADE + b"\r\n" + frame(TEXT, b'{"type":"start"}') + head) as wire:
        await wire.head()
        assert await wire.close_code() == 1009

    await eventually(lambda: not door.coordinator.roster.all())


async def test_ten_megabytes_that_are_sent_all_the_same_are_taken_and_thrown_away(door: Any) -> None:
    body = os.urandom(4) + bytes(10_000_000)
    async with connected(door.port, UPGRADE + b"\r\n\x82\xff" + struct.pack(">Q", 10_000_000) + body) as wire:
        await wire.head()
        opcode, told = await wire.receive()
        assert (opcode, json.loads(told)["code"]) == (TEXT, "message_too_large")
        assert await wire.close_code() == 1009


async def test_small_fragments_cannot_add_up_beyond_the_limit(door: Any) -> None:
    fragment = frame(0, bytes(60_000), fin=False)
    async with connected(door.port, UPGRADE + b"\r\n" + frame(BINARY, b"", fin=False) + fragment * 20) as wire:
        await wire.head()
        assert await wire.close_code() == 1009


async def test_a_connection_that_breaks_off_in_a_frame_is_forgotten(door: Any, eventually: Eventually) -> None:
    async with connected(door.port, UPGRADE + b"\r\n" + frame(BINARY, bytes(640)) + frame(BINARY, bytes(640))[:99]):
        await eventually(lambda: door.coordinator.roster.all())

    await eventually(lambda: not door.coordinator.roster.all())


async def test_a_reset_in_the_middle_of_speech_is_forgotten(door: Any, eventually: Eventually) -> None:
    speak = frame(TEXT, b'{"type":"speak","text":"a very long story that takes its time to be told"}')
    async with connected(door.port, UPGRADE + b"\r\n" + speak) as wire:
        await eventually(lambda: door.coordinator.roster.all())
        raw = wire.writer.get_extra_info("socket")
        raw.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER of no seconds: close() resets

    await eventually(lambda: not door.coordinator.roster.all())


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server/http.py",
        "/static/../../pyproject.toml",
        "/static/%2e%2e/server/http.py",
        "/static/..%2fserver%2fhttp.py",
        "/static/%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/static/monitor.html",
        "/static/.gitkeep",
        "/static/",
        "/static",
    ],
)
async def test_no_path_leads_out_of_the_static_files(door: Any, path: str) -> None:
    async with connected(
        door.port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    ) as wire:
        answer = await wire.rest()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert json.loads(body)["code"] == "not_found"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["no request", "version", "TLS hello", "negative length", "endless path"],
)
async def test_what_is_not_http_gets_400_and_harms_nobody(door: Any, request_bytes: bytes) -> None:
    async with connected(door.port, request_bytes, b"\r\n\r\n") as wire:
        assert (await wire.rest()).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))

    assert (await door.client.get("/livez")).status == 200
