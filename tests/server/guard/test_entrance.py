"""Connections: how many, how slow, and bytes that are no request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import web

from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.server.application import Server, make_application
from alfred_voice.server.guard.entrance import HANDSHAKE_S, Entrance, TurnedAway, Visit
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security
from alfred_voice.server.options import ServerOptions


Eventually = Callable[[Callable[[], object]], Awaitable[None]]
REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def door(played: Any) -> Callable[..., Any]:
    """Opens a door with these limits; the value is its port."""

    @asynccontextmanager
    async def open_door(**options: Any) -> AsyncIterator[int]:
        security = Security(SecurityOptions(**options))
        application = make_application(cast("Coordinator", played), ServerOptions(port=0), None, security)
        server = Server(application)
        port = await server.start()
        try:
            yield port
        finally:
            await server.close(0)

    return open_door


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):  # what the test is about
            await writer.wait_closed()


async def head_of(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(10):
        return (await reader.readuntil(b"\r\n\r\n")).decode()


def refused(played: Any, reason: str) -> float:
    value = played.metrics.registry.get_sample_value("alfred_requests_refused_total", {"reason": reason})
    return float(value or 0)


async def is_cut(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(10):
            return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: loc"])
async def test_a_connection_that_does_not_say_what_it_wants_is_cut(door: Any, played: Any, sent: bytes) -> None:
    async with door(head_timeout_s=0.2) as port, connected(port) as (reader, writer):
        writer.write(sent)

        assert await is_cut(reader)
    assert refused(played, "slow_request") == 1


async def test_a_head_that_comes_byte_by_byte_is_cut_all_the_same(door: Any) -> None:
    async with door(head_timeout_s=0.3) as port, connected(port) as (reader, writer):

        async def drip() -> None:
            writer.write(b"GET /livez HTTP/1.1\r\n")
            while True:
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await is_cut(reader)
        dripping.cancel()


async def test_a_connection_that_has_asked_may_wait_before_it_asks_again(door: Any, played: Any) -> None:
    async with door(head_timeout_s=0.7) as port, connected(port) as (reader, writer):
        for _ in range(2):
            writer.write(REQUEST)
            head = await head_of(reader)
            assert head.startswith("HTTP/1.1 200 ")
            await reader.readexactly(int(head.lower().partition("content-length: ")[2].split("\r\n")[0]))
            await asyncio.sleep(1)
    assert refused(played, "slow_request") == 0


async def test_a_connection_that_asks_no_more_is_closed(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alfred_voice.server.guard.entrance.KEEP_ALIVE_S", 0.2)
    async with door() as port, connected(port) as (reader, writer):
        writer.write(REQUEST)
        assert (await head_of(reader)).startswith("HTTP/1.1 200 ")
        async with asyncio.timeout(10):
            await reader.read()


async def test_one_connection_too_many_is_told_so_and_place_is_made_by_those_who_leave(
    door: Any, played: Any, eventually: Eventually
) -> None:
    async with door(max_connections=2) as port:
        async with connected(port), connected(port):
            await asyncio.sleep(0.05)
            async with connected(port) as (reader, writer):
                writer.write(REQUEST)
                head = await head_of(reader)
                body = json.loads(await reader.read())
                assert head.startswith("HTTP/1.1 503 ")
                assert "Retry-After: 5\r\n" in head
                assert body["code"] == "too_many_connections"
        assert refused(played, "too_many_connections") == 1

        async def is_served() -> bool:
            async with connected(port) as (reader, writer):
                writer.write(REQUEST)
                return (await head_of(reader)).startswith("HTTP/1.1 200 ")

        async with asyncio.timeout(5):
            while not await is_served():  # noqa: ASYNC110  what is waited for knows of no event
                await asyncio.sleep(0.02)


async def test_one_too_many_that_says_nothing_is_cut(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alfred_voice.server.guard.entrance.TURN_AWAY_S", 0.1)
    async with door(max_connections=1) as port, connected(port):
        await asyncio.sleep(0.05)
        async with connected(port) as (reader, _):
            assert await is_cut(reader)


async def test_more_than_some_are_not_even_told(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alfred_voice.server.guard.entrance.MOST_TOLD", 1)
    async with door(max_connections=1) as port, connected(port):
        await asyncio.sleep(0.05)
        async with connected(port) as (waiting, waiting_writer):
            await asyncio.sleep(0.05)
            async with connected(port) as (reader, _):
                assert await is_cut(reader)
            waiting_writer.write(REQUEST)
            assert (await head_of(waiting)).startswith("HTTP/1.1 503 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /ws?token=very-secret-key-indeed HTTP/9.x\r\n\r\n",
        b"very-secret-key-indeed\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: very-secret-key-indeed\x00\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_request_get_a_problem_and_do_not_stand_in_the_log(
    door: Any, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with door() as port, connected(port) as (reader, writer):
        writer.write(sent)
        head = await head_of(reader)
        body = json.loads(await reader.read())

    assert " 400 " in head.splitlines()[0]
    assert "aiohttp" not in head
    assert "X-Content-Type-Options: nosniff\r\n" in head
    assert body["code"] == "request_malformed"
    assert "very-secret" not in json.dumps(body)
    assert "very-secret" not in caplog.text


async def test_a_handshake_that_never_ends_counts_until_it_is_given_up(played: Any) -> None:
    entrance = Entrance(SecurityOptions(max_connections=1), played.metrics)
    loop = asyncio.get_running_loop()
    server = web.Server(lambda _: None)  # type: ignore[arg-type, return-value]
    make = entrance.factory(server, is_tls=True)

    assert isinstance(make(), Visit)
    assert len(entrance) == 1
    assert isinstance(make(), TurnedAway)
    entrance._forget_handshakes(loop.time() + HANDSHAKE_S + 1)
    assert len(entrance) == 0


@pytest.mark.parametrize(
    ("request_bytes", "status", "code", "said"),
    [
        (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9000), 414, "url_too_long", "more than 8190 bytes"),
        (b"GET /a HTTP/1.1\r\nX: /%b\r\n\r\n" % (b"a" * 9000), 431, "header_too_long", "more than 8192 bytes"),
        (b"GET /a HTTP/1.1\r\n%b\r\n" % b"".join(b"X%d: 1\r\n" % n for n in range(200)), 431,
         "too_many_headers", "128"),
        (b"FOO /livez HTTP/1.1\r\nHost: x\r\n\r\n", 501, "method_unknown", "method"),
        (b"\x00\x01\x02\x03\r\n\r\n", 400, "request_malformed", "no HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request_malformed", "no HTTP request"),
    ],
)  # fmt: skip
async def test_a_request_that_is_too_long_or_unheard_of_is_told_from_bytes_that_are_none(
    door: Any, request_bytes: bytes, status: int, code: str, said: str
) -> None:
    async with door() as port, connected(port) as (reader, writer):
        writer.write(request_bytes)
        head = await head_of(reader)
        problem = json.loads(await reader.read())
    assert head.startswith((f"HTTP/1.1 {status} ", f"HTTP/1.0 {status} "))
    assert (problem["code"], problem["status"]) == (code, status)
    assert said in problem["detail"]
