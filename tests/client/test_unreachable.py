"""What clients are told where no conversation and no settings can be had, over real sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from alfred_voice.client import Conversation, DaemonUnreachable, Settings
from alfred_voice.client.settings import base_of
from tests.certificates import make_certificate


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[int]:
    """The port of a server with a certificate that nobody trusts, for localhost."""
    cert, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = TestServer(web.Application(), scheme="https", host="localhost")
    await server.start_server(ssl=context)
    assert server.port is not None
    yield server.port
    await server.close()


@pytest.fixture
async def plain() -> AsyncIterator[int]:
    """The port of a server without TLS."""
    server = TestServer(web.Application())
    await server.start_server()
    assert server.port is not None
    yield server.port
    await server.close()


async def told_of_conversation(url: str) -> str:
    with pytest.raises(DaemonUnreachable) as raised:
        async with Conversation.connect(url):
            pytest.fail("it cannot be open")
    return str(raised.value)


async def told_of_settings(url: str) -> str:
    with pytest.raises(DaemonUnreachable) as raised:
        async with Settings.connect(url) as settings:
            await settings.read()
    return str(raised.value)


@pytest.mark.parametrize("told", [told_of_conversation, told_of_settings])
async def test_a_certificate_that_is_not_trusted_is_no_daemon_that_is_missing(secure: int, told: object) -> None:
    assert callable(told)
    message = await told(f"https://localhost:{secure}")
    assert "SSL_CERT_FILE=FILE.crt" in message
    assert "self" in message, "what the certificate's fault is"
    assert "alfred-voice serve" not in message


@pytest.mark.parametrize(("told", "other"), [(told_of_conversation, "wss"), (told_of_settings, "https")])
async def test_no_tls_where_it_is_spoken_says_so(secure: int, told: object, other: str) -> None:
    assert callable(told)
    message = await told(f"http://localhost:{secure}?token=secret")
    assert f"does it speak TLS? try {other}://localhost:{secure}" in message
    assert "secret" not in message


@pytest.mark.parametrize(("told", "other"), [(told_of_conversation, "ws"), (told_of_settings, "http")])
async def test_tls_where_it_is_not_spoken_says_so(plain: int, told: object, other: str) -> None:
    assert callable(told)
    assert f"try {other}://127.0.0.1:{plain}" in await told(f"https://127.0.0.1:{plain}")


async def test_settings_of_a_daemon_that_is_not_there_say_how_to_start_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    message = await told_of_settings(url)
    assert message.startswith(f"no daemon answers at {url}")
    assert message.endswith("start one with: alfred-voice serve")
    assert "Connect call failed" not in message


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:8015", "http://127.0.0.1:8015/"),
        ("https://voice.example/", "https://voice.example/"),
        ("ws://127.0.0.1:8015/ws", "http://127.0.0.1:8015/"),
        ("wss://voice.example/voice/ws?token=x", "https://voice.example/voice"),
    ],
)
def test_the_settings_are_where_the_conversation_is(given: str, meant: str) -> None:
    assert str(base_of(given)) == meant


@pytest.mark.parametrize("given", ["", "localhost:9473", "ftp://host", "http://", "http://host:port"])
async def test_what_is_no_address_of_settings_is_refused_with_an_example(given: str) -> None:
    message = await told_of_settings(given)
    assert message.startswith(f"expected an address like http://127.0.0.1:8015, got {given!r}")
