"""A real daemon with keys and TLS, one that refuses to start, and what stands in its log afterwards."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
import ssl
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alfred_voice.models.store import Store
from tests.certificates import make_certificate
from tests.sounds import Int16
from tests.support import Daemon, clean_environment, free_port, running_daemon


EVERYWHERE = "0.0.0.0"  # noqa: S104  what is to be refused
ADMIN, USER, WRONG = "admin-3f6b0c1d9e8a7b6c", "user-90ab12cd34ef56ab", "wrong-77aa66bb55cc44dd"
SPOKEN = "Rhubarb and custard."
PATH = "a-path-that-a-client-made-up"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys.toml"
    file.write_text(f'[keys.user]\nkey = "{USER}"\n')
    file.chmod(0o600)
    return file


def refused_start(folder: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """Exit code and output of a daemon that ought not to start; it has no models, so it must not come so far."""
    done = subprocess.run(
        [sys.executable, "-m", "alfred_voice", "serve", "--port", "0", *arguments],
        env=clean_environment(ALFRED_MODELS=str(folder / "none"), **env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_daemon_that_others_could_reach_does_not_start_without_a_key(tmp_path: Path) -> None:
    code, output = refused_start(tmp_path, "--host", EVERYWHERE)

    assert code == 2
    assert output.startswith(f"error: server.host: {EVERYWHERE} can be reached by other machines, and no key is")
    for way_out in ("alfred-voice keys new", "ALFRED_API_KEYS", "--insecure"):
        assert way_out in output
    assert "model" not in output


def test_keys_and_certificates_that_are_wrong_are_told_before_models_are_loaded(tmp_path: Path) -> None:
    code, output = refused_start(tmp_path, ALFRED_API_KEYS="me:tiny-secret")
    assert (code, output) == (2, "error: ALFRED_API_KEYS: me: expected 16 to 256 characters, got 11\n")

    sets = ("--set", "security.tls_cert=no.crt", "--set", "security.tls_key=no.key")
    code, output = refused_start(tmp_path, *sets)
    assert (code, output) == (2, "error: security.tls_cert: no.crt cannot be read: No such file or directory\n")


def test_a_daemon_that_is_told_to_be_open_starts_and_says_so(models: Store, tmp_path: Path) -> None:
    assert models.root.is_dir()
    with running_daemon(tmp_path, "--host", EVERYWHERE, "--insecure") as daemon:
        assert "open_to_everybody" in daemon.log_tail()


async def test_no_credential_path_or_text_stands_in_the_log_or_the_figures(
    models: Store, tmp_path: Path, keys: Path, sentence: Int16
) -> None:
    assert models.root.is_dir()
    log_file = tmp_path / "second.log"
    settings = ("log.level=debug", f"log.file={log_file}", "security.failed_attempts_per_minute=1000")
    arguments = [word for setting in (f"security.keys_file={keys}", *settings) for word in ("--set", setting)]
    with running_daemon(tmp_path, *arguments, env={"ALFRED_API_KEYS": f"admin:{ADMIN}"}) as daemon:
        cookie = await _use_every_form(daemon, sentence)
        figures = await _figures(daemon)
    log = daemon.log.read_text(errors="replace") + log_file.read_text(errors="replace")

    assert "session_opened" in log
    assert "key_refused" in log
    assert 'alfred_requests_refused_total{reason="key_refused"}' in figures
    secrets = (ADMIN, USER, WRONG, cookie, PATH, "token=", "Rhubarb", "custard", "best of times", "bearer.", "Bearer")
    for place, text in (("log", log), ("figures", figures)):
        found = [secret for secret in secrets if secret.lower() in text.lower()]
        assert not found, f"{found} in the {place}"


async def _use_every_form(daemon: Daemon, sentence: Int16) -> str:
    """Show right and wrong keys in every form, on every kind of route; the value of a cookie that came of it."""
    async with aiohttp.ClientSession(daemon.base) as http:
        for key, (method, path) in itertools.product((ADMIN, USER, WRONG), _REQUESTS):
            forms: tuple[dict[str, Any], ...] = (
                {"headers": {"Authorization": f"Bearer {key}"}},
                {"headers": {"Authorization": f"Basic {key}"}},
                {"headers": {"Authorization": f"Bearer {key}", "Origin": f"https://{PATH}.example"}},
                {"params": {"token": key}},
                {"headers": {"Sec-WebSocket-Protocol": f"alfred.v1.json, bearer.{key}"}},
                {"cookies": {f"alfred_voice_{daemon.port}": key}},
            )
            for options in forms:
                async with http.request(method, path, allow_redirects=False, timeout=_SHORT, **options) as answer:
                    assert answer.status < 500 or path == "/readyz"
        for protocols in ((f"bearer.{ADMIN}",), (f"bearer.{ADMIN}", "x"), ("alfred.v1.json", f"bearer.{WRONG}")):
            with pytest.raises(aiohttp.WSServerHandshakeError, match=r"40[01]"):
                await http.ws_connect("/ws", protocols=protocols)
        async with http.ws_connect("/ws", protocols=("alfred.v1.json", f"bearer.{ADMIN}")) as ws:
            await _talk(ws, sentence)
        async with http.ws_connect(f"/ws?token={USER}") as ws:
            await _talk(ws, sentence)
        async with http.get("/monitor", params={"token": ADMIN}, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    await _send_odd_bytes(daemon)
    return cookie


_UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
_SHORT = aiohttp.ClientTimeout(total=20)
_REQUESTS = (
    ("GET", "/sessions"),
    ("GET", "/metrics"),
    ("GET", "/monitor"),
    ("GET", "/livez"),
    ("GET", f"/{PATH}"),
    ("GET", f"/session/{PATH}/status"),
    ("POST", "/optimize"),
    ("POST", "/process_frame"),
    ("POST", "/transcribe"),
    ("PUT", f"/{PATH}"),
)


async def _talk(ws: aiohttp.ClientWebSocketResponse, sentence: Int16) -> None:
    await ws.send_json({"type": "start"})
    await ws.send_json({"type": "speak", "text": SPOKEN})
    await ws.send_json({"type": "speak", "text": SPOKEN, "voice": PATH})
    await ws.send_bytes(sentence.tobytes())
    await ws.send_json({"type": "stop"})
    events = [json.loads(message.data) async for message in ws if message.type is aiohttp.WSMsgType.TEXT]
    assert "best of times" in next(event["text"] for event in events if event["type"] == "finalTranscription")


async def _send_odd_bytes(daemon: Daemon) -> None:
    """What no client library would send, with keys in it."""
    for line in (
        f"GET /ws?token={ADMIN} HTTP/9.9\r\n\r\n",
        f"GET /{PATH}?token={WRONG}\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET / HTTP/1.1\r\nAuthorization: Bearer {USER}\x00\r\n\r\n",
        f"{ADMIN}\r\n\r\n",
        # The library looks at the first of two such headers only, and would log what it finds there.
        f"{_UPGRADE}Sec-WebSocket-Protocol: bearer.{ADMIN}\r\nSec-WebSocket-Protocol: alfred.v1.json\r\n\r\n",
        f"GET /sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\nContent-Length: x\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(line.encode())
        assert (await reader.readline()).split(b" ")[1] in (b"101", b"400")
        writer.close()
        await writer.wait_closed()


async def _figures(daemon: Daemon) -> str:
    texts = []
    async with aiohttp.ClientSession(daemon.base, headers={"Authorization": f"Bearer {ADMIN}"}) as http:
        for accept in ("text/plain", "application/json", "application/openmetrics-text"):
            async with http.get("/metrics", headers={"Accept": accept}) as answer:
                assert answer.status == 200
                texts.append(await answer.text())
    return "\n".join(texts)


@contextmanager
def daemon_with_tls(folder: Path, cert: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """A daemon with a certificate, ready; its process, port and log."""
    port, log = free_port(), folder / "tls.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "alfred_voice", "serve", "--port", str(port), *arguments],
            stdout=output,
            stderr=output,
            cwd=folder,
            env=clean_environment(ALFRED_API_KEYS=f"admin:{ADMIN}"),
        )
    try:
        deadline = time.monotonic() + 60
        while b"ready at" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process, port, log
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_daemon_speaks_tls_and_the_client_finds_it_with_a_key(models: Store, tmp_path: Path, sentence: Int16) -> None:
    assert models.root.is_dir()
    cert, key = make_certificate(tmp_path)
    recording = tmp_path / "sentence.wav"
    with wave.open(str(recording), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(sentence.tobytes())
    settings = (f"security.tls_cert={cert}", f"security.tls_key={key}", "security.head_timeout_s=3")
    sets = [word for setting in settings for word in ("--set", setting)]
    with daemon_with_tls(tmp_path, cert, *sets) as (process, port, log):
        assert re.search(rf"ready at https://127\.0\.0\.1:{port};", log.read_text())
        ready = [sys.executable, str(Path(__file__).parents[2] / "scripts/ready.py"), str(process.pid)]
        assert subprocess.run(ready, capture_output=True, text=True, check=True).stdout == f"https://127.0.0.1:{port}\n"

        heard = talk(f"https://localhost:{port}", recording, cert, ALFRED_API_KEY=ADMIN)
        assert heard.returncode == 0, heard.stderr
        assert "best of times" in heard.stdout
        other = talk(f"wss://localhost:{port}/ws", recording, cert, "--key-env", "MY_KEY", MY_KEY=ADMIN)
        assert other.returncode == 0, other.stderr
        without = talk(f"wss://localhost:{port}/ws", recording, cert)
        assert without.returncode == 1
        assert "401" in without.stderr
        assert "set ALFRED_API_KEY" in without.stderr
        plain = talk(f"ws://localhost:{port}/ws", recording, cert)
        assert (plain.returncode, f"try wss://localhost:{port}/ws" in plain.stderr) == (2, True), plain.stderr
        assert slow_connection_is_cut(port, cert)
        assert ADMIN not in log.read_text()


def talk(url: str, recording: Path, cert: Path, *arguments: str, **env: str) -> Any:
    """``alfred-voice talk``, which trusts this certificate only."""
    command = [sys.executable, "-m", "alfred_voice", "talk", str(recording), "--pace", "0", "--url", url, *arguments]
    environment = clean_environment(SSL_CERT_FILE=str(cert), **env)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def slow_connection_is_cut(port: int, cert: Path) -> bool:
    """Whether a client that never ends its request's head loses its connection."""
    context = ssl.create_default_context(cafile=str(cert))
    with (
        socket.create_connection(("localhost", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
        try:
            return connection.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
