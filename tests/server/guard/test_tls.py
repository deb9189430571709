"""The certificate: what is wrong with one, and taking over another."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from alfred_voice.errors import ConfigError
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.server.application import Server, make_application
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security
from alfred_voice.server.guard.tls import Certificate, certificate_of
from alfred_voice.server.options import ServerOptions
from tests.certificates import make_certificate


KEY = "a-key-of-16-letters"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


def trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


@asynccontextmanager
async def listening(played: Any, certificate: Certificate, keys: str = "") -> AsyncIterator[int]:
    """The port of a door with this certificate."""
    security = Security(certificate=certificate, keys=KeySource(environ={"ALFRED_API_KEYS": keys}))
    application = make_application(cast("Coordinator", played), ServerOptions(port=0, grace_s=1), None, security)
    server = Server(application)
    port = await server.start()
    try:
        yield port
    finally:
        await server.close(0)


def test_without_files_there_is_no_tls() -> None:
    assert certificate_of(SecurityOptions()) is None


@pytest.mark.parametrize("files", [("x.pem", None), (None, "x.pem")])
def test_one_file_without_the_other_is_refused(files: tuple[str | None, str | None]) -> None:
    with pytest.raises(ValueError, match="expected tls_cert and tls_key together"):
        SecurityOptions(tls_cert=files[0], tls_key=files[1])


def test_what_is_wrong_with_a_certificate_is_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = pair
    other_cert, other_key = make_certificate(tmp_path, "other")
    empty = tmp_path / "empty.pem"
    empty.touch()

    for files, sentence in (
        ((tmp_path / "no.crt", key), r"security\.tls_cert: .*no\.crt cannot be read: No such file"),
        ((cert, tmp_path / "no.key"), r"security\.tls_key: .*no\.key cannot be read: No such file"),
        ((cert, other_key), r"the key in .*other\.key is not that of the certificate in .*server\.crt"),
        ((empty, key), r"expected a certificate in .*empty\.pem and its key"),
        ((cert, empty), r"and its key in .*empty\.pem"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            Certificate(str(files[0]), str(files[1]))
    assert other_cert.exists()


def test_an_encrypted_key_is_an_error_and_not_a_question(pair: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = pair
    locked = tmp_path / "locked.key"
    openssl = shutil.which("openssl")
    assert openssl is not None
    command = [openssl, "ec", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)

    with pytest.raises(ConfigError, match=r"locked\.key is encrypted"):
        Certificate(str(cert), str(locked))


async def test_requests_and_websockets_go_over_tls_and_browsers_are_told_to_stay_there(
    played: Any, pair: tuple[Path, Path]
) -> None:
    cert, key = pair
    async with listening(played, Certificate(str(cert), str(key))) as port, aiohttp.ClientSession() as http:
        url, context = f"https://127.0.0.1:{port}", trusting(cert)
        async with http.get(f"{url}/livez", ssl=context, headers={"Host": "voice.example"}) as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        async with http.get(f"{url}/livez", ssl=context) as answer:
            assert "Strict-Transport-Security" not in answer.headers
        own = {"Origin": url}
        async with http.ws_connect(f"wss://127.0.0.1:{port}/ws", ssl=context, headers=own) as ws:
            await ws.send_str('{"type":"start"}')
            assert (await ws.receive_json(timeout=5))["type"] == "sessionStarted"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(f"wss://127.0.0.1:{port}/ws", ssl=context, headers={"Origin": f"http{url[5:]}"})


async def test_over_tls_a_cookie_goes_nowhere_else(played: Any, pair: tuple[Path, Path]) -> None:
    cert, key = pair
    async with (
        listening(played, Certificate(str(cert), str(key)), f"me:{KEY}") as port,
        aiohttp.ClientSession() as http,
        http.get(f"https://127.0.0.1:{port}/monitor?token={KEY}", ssl=trusting(cert), allow_redirects=False) as answer,
    ):
        assert answer.status == 303
        assert "; Secure" in answer.headers["Set-Cookie"]
        assert answer.headers["Set-Cookie"].startswith("__Host-")


async def test_old_versions_of_tls_and_no_tls_at_all_are_refused(played: Any, pair: tuple[Path, Path]) -> None:
    cert, key = pair
    certificate = Certificate(str(cert), str(key))
    assert certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2
    async with listening(played, certificate) as port, aiohttp.ClientSession() as http:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await http.get(f"http://127.0.0.1:{port}/livez")


async def test_a_new_certificate_is_taken_over_while_connections_stay(
    played: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = pair
    old = trusting(cert)
    certificate = Certificate(str(cert), str(key))
    async with (
        listening(played, certificate) as port,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"wss://127.0.0.1:{port}/ws", ssl=old) as ws,
    ):
        await ws.send_str('{"type":"start"}')
        await ws.receive_json(timeout=5)
        new_cert, new_key = make_certificate(tmp_path, "new")
        replace(new_cert, cert)
        replace(new_key, key)
        certificate.look()

        assert await asyncio.to_thread(common_name, port, cert) == "new"
        await ws.send_str('{"type":"ping","id":1}')
        assert (await ws.receive_json(timeout=5))["type"] == "pong"


async def test_files_that_do_not_match_leave_the_old_certificate_until_they_do(
    played: Any, pair: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = pair
    trusted = tmp_path / "trusted.pem"
    new_cert, new_key = make_certificate(tmp_path, "new")
    trusted.write_text(cert.read_text() + new_cert.read_text())
    certificate = Certificate(str(cert), str(key))
    async with listening(played, certificate) as port:
        replace(new_cert, cert)
        certificate.look()
        certificate.look()
        assert [record.getMessage() for record in caplog.records] == ["certificate_not_reloaded"]
        assert await asyncio.to_thread(common_name, port, trusted) == "server"

        replace(new_key, key)
        certificate.look()
        assert await asyncio.to_thread(common_name, port, trusted) == "new"


def test_files_that_have_not_changed_are_not_read(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = Certificate(str(pair[0]), str(pair[1]))
    monkeypatch.setattr(Certificate, "_load_into", lambda *_: pytest.fail("read"))

    certificate.look()


async def test_the_files_are_looked_at_now_and_then(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alfred_voice.server.guard.tls.LOOK_EVERY_S", 0.001)
    certificate = Certificate(str(pair[0]), str(pair[1]))
    looks: list[None] = []
    monkeypatch.setattr(Certificate, "look", lambda self: looks.append(None))

    watching = asyncio.create_task(certificate.watch())
    async with asyncio.timeout(5):
        while len(looks) < 2:  # noqa: ASYNC110  what is waited for knows of no event
            await asyncio.sleep(0.001)
    watching.cancel()


def replace(source: Path, target: Path) -> None:
    """Put one file in the place of another, with another time of change."""
    target.write_bytes(source.read_bytes())
    later = target.stat().st_mtime_ns + 5_000_000_000
    os.utime(target, ns=(later, later))


def common_name(port: int, trusted: Path) -> str:
    """The name in the certificate that is shown to a new connection."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        trusting(trusted).wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        found = connection.getpeercert()
    assert found is not None
    subject: Any = found["subject"]
    return str(subject[0][0][1])
