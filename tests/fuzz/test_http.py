"""What comes over the network: heads, bodies, forms, queries and handshakes, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given
from hypothesis import strategies as st

from alfred_voice.server.http.form import read_upload
from tests.event_loop import run_to_end
from tests.files.odd_files import wav
from tests.footprint import Footprint, footprint_of, settled
from tests.fuzz.inputs import HUGE, SEEN, damaged, deliberate, junk, share
from tests.fuzz.test_messages import MAPS, TEXTS
from tests.support import Daemon, status_of


ROUTES = (
    "/ws", "/", "/process_frame", "/sessions", "/session/a/status", "/pipeline/status", "/metrics", "/optimize",
    "/synthesize", "/livez", "/readyz", "/health", "/monitor", "/monitor/feed", "/static/monitor.js", "/nothing",
)  # fmt: skip
HOST = b"Host: 127.0.0.1\r\n"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="session_id"\r\n\r\nfuzz\r\n'
    b'--x\r\nContent-Disposition: form-data; name="audio_file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n" + wav(bytes(640)) + b"\r\n"
    b'--x\r\nContent-Disposition: form-data; name="final"\r\n\r\ntrue\r\n--x--\r\n'
)
FORM_TYPE = b"Content-Type: multipart/form-data; boundary=x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return line + b"\r\n" + b"".join(headers) + b"\r\n" + body


def with_length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


REQUESTS = (
    *(request(f"GET {route} HTTP/1.1".encode(), HOST) for route in ROUTES),
    request(b"POST /process_frame HTTP/1.1", HOST, FORM_TYPE, with_length(FORM), body=FORM),
    request(b"POST /optimize HTTP/1.1", HOST, with_length(b'{"triggerGC": false}'), body=b'{"triggerGC": false}'),
    request(b"POST /synthesize HTTP/1.1", HOST, with_length(b'{"text": "a"}'), body=b'{"text": "a"}'),
    request(b"POST /synthesize HTTP/1.1", HOST, CHUNKED, body=b'd\r\n{"text": "a"}\r\n0\r\n\r\n'),
    request(b"GET /ws HTTP/1.1", HOST, UPGRADE) + b"\x81\x85\0\0\0\0hello\x88\x80\0\0\0\0",
    request(b"DELETE /session/a HTTP/1.1", HOST, b"Authorization: Bearer x\r\n", b"Origin: null\r\n"),
    request(b"GET /metrics HTTP/1.0", b"Accept: text/plain;q=0.5,*/*\r\n", b"Cookie: a=b; alfred=c\r\n"),
)
ODD_HEADERS = (
    b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n", CHUNKED,
    b"Transfer-Encoding: gzip, chunked\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: br\r\n",
    b"Expect: 100-continue\r\n", b"Expect: the unexpected\r\n", b"Host: \xff\xfe\r\n", b"Host: [::1\r\n",
    b"Host: a:b:c\r\n",
    b"X: " + b"a" * 9000 + b"\r\n", b"X: a\r\n" * 300, b": empty\r\n", b"No colon\r\n", b" folded\r\n",
    b"Origin: http://[\r\n", b"Authorization: Bearer \xe9\r\n", b"Cookie: " + b"a=b;" * 500 + b"\r\n",
    b"Accept: ;q=nan,/\r\n",
    b"Content-Type: multipart/form-data; boundary=" + b"b" * 300 + b"\r\n", b"Content-Type: a; charset=none\r\n",
    b"Sec-WebSocket-Protocol: bearer., alfred.v1.json\r\n", b"Connection: close, Upgrade\r\n", b"Range: bytes=9-1\r\n",
    b'If-None-Match: "\\\r\n', b"If-Modified-Since: Mon, 99 Foo 99999 99:99:99 GMT\r\n", UPGRADE,
)  # fmt: skip
ODD_CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n", b"fffffffffffffffff\r\n", b'5;ext="\r\nhello', b"0x5\r\nhello\r\n",
    b"5\r\nhelloworld\r\n0\r\n\r\n", b"0\r\nTrailer: " + b"a" * 9000 + b"\r\n\r\n", b"\r\n\r\n\r\n", b"5\nhello\n0\n\n",
)  # fmt: skip
built = st.builds(
    lambda method, path, version, headers, body: request(
        b"%s %s HTTP/%s" % (method, path, version), *headers, body=body
    ),
    st.sampled_from([b"GET", b"POST", b"DELETE", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"get", b"\xff"]),
    st.sampled_from([route.encode() for route in ROUTES])
    | st.sampled_from(
        [
            b"*",
            b"http://[",
            b"//",
            b"/%",
            b"/%ff%00",
            b"/static/%2e%2e/",
            b"/?" + b"a" * 9000,
            b"/session/%0d%0a/status",
        ]
    )
    | st.binary(max_size=30),
    st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"0.9", b"2.0", b"9"]),
    st.lists(
        st.just(HOST) | st.sampled_from(ODD_HEADERS) | st.binary(max_size=40).map(lambda b: b + b"\r\n"), max_size=5
    ),
    st.sampled_from((b"", *ODD_CHUNKS, FORM)) | st.binary(max_size=60),
)


def answers_to(daemon: Daemon, sent: bytes) -> list[int]:
    """Send this, say no more, and read to the end: the statuses that came."""
    received = bytearray()
    # A connection that is closed with unread bytes is reset; one that is not closed at all is a timeout.
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as wire,
    ):
        wire.sendall(sent)
        with contextlib.suppress(OSError):
            wire.shutdown(socket.SHUT_WR)
        while data := wire.recv(65_536):
            received += data
    return [int(status) for status in re.findall(rb"(?:^|\n)HTTP/1\.[01] (\d{3}) ", bytes(received))]


def check(daemon: Daemon, parser: str, sent: bytes) -> None:
    SEEN[parser] += 1
    statuses = answers_to(daemon, sent)
    assert not {status for status in statuses if status >= 500 and status not in (503, 505)}, (statuses, sent)


@share(2)
@given(sent=damaged(REQUESTS, most=5) | built)
def test_no_request_of_whatever_bytes_is_answered_with_500(daemon: Daemon, sent: bytes) -> None:
    check(daemon, "HTTP requests", sent)


@share(4)
@given(body=junk(FORM))
@example(body=FORM.replace(b"session_id", b"session_id\xe2"))
def test_no_form_is_answered_with_500(daemon: Daemon, body: bytes) -> None:
    check(
        daemon,
        "forms over HTTP",
        request(b"POST /process_frame HTTP/1.1", HOST, FORM_TYPE, with_length(body), body=body),
    )


@share(4)
@given(
    body=junk(b'{"text": "a", "voice": "en-us", "speed": 1.0, "format": "pcm"}', b'{"triggerGC": true}'),
    path=st.booleans(),
)
def test_no_json_body_is_answered_with_500(daemon: Daemon, body: bytes, path: bool) -> None:
    line = b"POST /synthesize HTTP/1.1" if path else b"POST /optimize HTTP/1.1"
    check(daemon, "JSON bodies over HTTP", request(line, HOST, with_length(body), body=body))


odd_values = st.sampled_from((*HUGE, "", "a b", "mulaw", "8000", "\ud800", "a" * 300, "*")) | st.text(max_size=12)


@share(4)
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from(["session_id", "sample_rate", "encoding", "language", "engine", "token", "a"]), odd_values
        ),
        max_size=5,
    ),
    raw=st.binary(max_size=20),
    protocol=st.sampled_from([b"", b"Sec-WebSocket-Protocol: alfred.v1.msgpack\r\n"]),
)
def test_no_query_is_answered_with_500(
    daemon: Daemon, fields: list[tuple[str, str]], raw: bytes, protocol: bytes
) -> None:
    query = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in fields).encode() + raw
    line = b"GET /ws?%s HTTP/1.1" % query.replace(b" ", b"%20").replace(b"\r", b"").replace(b"\n", b"")
    check(daemon, "query strings", request(line, HOST, UPGRADE, protocol) + b"\x88\x80\0\0\0\0")


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame whose mask changes nothing."""
    head = bytes([0x80 | opcode, 0xFE]) + len(payload).to_bytes(2, "big")
    return head + bytes(4) + payload


@share(4)
@given(
    messages=st.lists(
        st.tuples(st.sampled_from([1, 2]), junk(*TEXTS, *MAPS).map(lambda data: data[:60_000])), max_size=6
    ),
    frames=junk(masked(1, TEXTS[0]), masked(2, bytes(640)), masked(8, b"\x03\xe8"), masked(9, b"x")),
    packed=st.booleans(),
)
@example(messages=[], frames=b"\x81\xff" + b"\xff" * 12, packed=False)
def test_no_message_of_a_websocket_harms_the_daemon(
    daemon: Daemon, messages: list[tuple[int, bytes]], frames: bytes, packed: bool
) -> None:
    protocol = b"Sec-WebSocket-Protocol: alfred.v1.msgpack\r\n" if packed else b""
    SEEN["messages over a WebSocket"] += len(messages)
    sent = b"".join(masked(opcode, data) for opcode, data in messages) + frames
    check(daemon, "WebSocket frames", request(b"GET /ws HTTP/1.1", HOST, UPGRADE, protocol) + sent)


class Discarding(BaseProtocol):
    """Lets the reader think that somebody sends."""


def read_form(body: bytes, content_type: str, cuts: list[int]) -> Any:
    """What the form's reader makes of a body that comes in these pieces."""

    async def read() -> Any:
        loop = asyncio.get_running_loop()
        payload = StreamReader(Discarding(loop), 1 << 24, loop=loop)
        for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
            payload.feed_data(body[begin:end])
        payload.feed_eof()
        made = make_mocked_request("POST", "/process_frame", {"Content-Type": content_type}, payload=payload)
        return await asyncio.wait_for(read_upload(made, 4096), 10)

    return run_to_end(read())


# As the daemon does, see ignore_warnings.
@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader", "ignore::aiohttp.BadContentDispositionParam")
@share(2)
@given(
    body=junk(FORM, FORM * 2, FORM.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n")),
    content_type=st.sampled_from(
        ["multipart/form-data; boundary=x"] * 6 + ["multipart/form-data", "multipart/mixed; boundary=x", "a/b"]
    ),
    cuts=st.lists(st.integers(0, 600), max_size=3).map(sorted),
)
def test_any_body_is_a_form_or_refused(body: bytes, content_type: str, cuts: list[int]) -> None:
    with deliberate("forms"):
        read_form(body, content_type, cuts)


def test_the_daemon_serves_and_has_not_grown_whatever_it_was_sent(daemon: Daemon) -> None:
    """Rounds of the same kinds of nonsense; a leak in any of them grows with each."""
    dice = random.Random(15)
    found: list[Footprint] = []
    for _ in range(4):
        for _ in range(150):
            check(daemon, "rounds of requests", disturbed(dice.choice(REQUESTS), dice))
        found.append(settled(daemon, footprint_of(daemon)))
    assert status_of(f"{daemon.base}/readyz") == 200
    assert found[-1].descriptors <= found[0].descriptors
    assert found[-1].threads <= found[0].threads
    assert found[-1].memory_mb <= 1.1 * found[0].memory_mb


def disturbed(data: bytes, dice: random.Random) -> bytes:
    """The same with a few bytes that are others."""
    changed = bytearray(data)
    for _ in range(dice.randrange(4)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)
