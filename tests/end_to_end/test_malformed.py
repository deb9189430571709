"""Clients that do everything wrong, and a neighbour who must not notice."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import Any

import aiohttp
import msgpack
import pytest

from tests.sounds import Int16
from tests.support import At, Daemon, check_session, read_message, stream, word_error_rate


ALIVE = {"type": "ping", "id": "alive"}

WRONG_IN_JSON: dict[str, Any] = {
    "not json": "hello",
    "broken json": '{"type": "flush"',
    "empty text": "",
    "a list": "[1, 2]",
    "a number": "7",
    "null": "null",
    "no type": '{"text": "x"}',
    "type of the wrong type": '{"type": 5}',
    "unknown type": '{"type": "fly"}',
    "unknown field": '{"type": "flush", "now": true}',
    "text of the wrong type": '{"type": "speak", "text": 5}',
    "missing text": '{"type": "speak"}',
    "speed of the wrong type": '{"type": "speak", "text": "x", "speed": "fast"}',
    "second start": '{"type": "start"}',
    "audio as json": '{"type": "audio", "audio": "AAAA"}',
    "deep json": "[" * 50_000,
    "nul": '{"type": "\\u0000"}',
    "odd bytes": b"\x01\x02\x03",
    "one byte": b"\x01",
}
WRONG_IN_MSGPACK: dict[str, Any] = {
    "not msgpack": b"\xc1",
    "empty": b"",
    "truncated": msgpack.packb({"type": "speak", "text": "hello"})[:-2],
    "a list": msgpack.packb([1, 2]),
    "trailing bytes": msgpack.packb({"type": "flush"}) + b"\x00",
    "unknown type": msgpack.packb({"type": "fly"}),
    "audio of the wrong type": msgpack.packb({"type": "audio", "audio": "text"}),
    "audio without audio": msgpack.packb({"type": "audio"}),
    "odd bytes": msgpack.packb({"type": "audio", "audio": b"\x01\x02\x03"}),
    "text frame": '{"type": "flush"}',
}
WRONG_STARTS: dict[str, dict[str, Any]] = {
    "rate too low": {"sample_rate": 4_000},
    "rate too high": {"sample_rate": 96_000},
    "rate of the wrong type": {"sample_rate": "16000"},
    "channels": {"channels": 3},
    "encoding": {"encoding": "opus"},
    "session id": {"session_id": "has spaces"},
    "long session id": {"session_id": "x" * 129},
    "events": {"events": ["speechStart", "no-such-event"]},
    "events of the wrong type": {"events": "all"},
    "partials of the wrong type": {"partials": "no"},
    "unknown field": {"colour": "red"},
}


async def test_wrong_messages_get_errors_and_harm_nobody(daemon: Daemon, sentence: Int16, sentence_text: str) -> None:
    """Every wrong message on a session of its own, all at once, while another speaker is heard."""
    cases: list[tuple[str, Any]] = [("json", m) for m in WRONG_IN_JSON.values()]
    cases += [("msgpack", m) for m in WRONG_IN_MSGPACK.values()]
    neighbour = asyncio.ensure_future(stream(daemon.ws, sentence, tail_s=1.0))
    runs = await asyncio.gather(
        *[
            stream(daemon.ws, b"", mode=mode, controls=[At(0.3, message), At(0.4, ALIVE)])  # type: ignore[arg-type]
            for mode, message in cases
        ]
    )

    for (mode, message), heard in zip(cases, runs, strict=True):
        error = heard.one("error")
        assert error["fatal"] is False, (mode, message, error)
        assert error["code"], (mode, message)
        assert error["message"], (mode, message)
        assert heard.one("pong")["id"] == "alive", (mode, message)
        check_session(heard)
        assert heard.close_code == 1000, (mode, message)
    await _is_unharmed(neighbour, sentence_text)


async def _is_unharmed(neighbour: asyncio.Future[Any], sentence_text: str) -> None:
    heard = await neighbour
    check_session(heard)
    assert heard.stats["frames_received"] == heard.frames_sent
    assert word_error_rate(sentence_text, heard.text) <= 0.25, heard.text


@pytest.mark.parametrize("fields", WRONG_STARTS.values(), ids=WRONG_STARTS)
async def test_a_wrong_start_is_an_error_that_names_the_field_and_a_right_one_may_follow(
    daemon: Daemon, fields: dict[str, Any]
) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(daemon.ws) as ws:
        await ws.send_json({"type": "start", **fields})
        error = await _next_of(ws, "error")
        assert next(iter(fields)) in error["message"], error
        if error["fatal"]:
            assert (await ws.receive(10)).type is aiohttp.WSMsgType.CLOSE
            assert ws.close_code in (1003, 1008)
            return
        await ws.send_bytes(bytes(640))
        assert (await _next_of(ws, "error"))["code"]
        await ws.send_json({"type": "start"})
        assert await _next_of(ws, "sessionStarted")


async def _next_of(ws: aiohttp.ClientWebSocketResponse, event_type: str) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while True:
            message = await ws.receive()
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            event = read_message(message)
            if event["type"] == event_type:
                return event


async def test_a_message_of_ten_megabytes_is_refused_with_1009(
    daemon: Daemon, sentence: Int16, sentence_text: str
) -> None:
    neighbour = asyncio.ensure_future(stream(daemon.ws, sentence, tail_s=1.0))
    async with aiohttp.ClientSession() as http:
        for big in (bytes(10_000_000), "x" * 10_000_000):
            async with http.ws_connect(daemon.ws) as ws:
                await ws.send_json({"type": "start"})
                assert await _next_of(ws, "sessionStarted")
                # The daemon may hang up before the whole message is out.
                with contextlib.suppress(ConnectionError):
                    await (ws.send_bytes(big) if isinstance(big, bytes) else ws.send_str(big))
                async with asyncio.timeout(15):
                    async for _ in ws:
                        pass
                assert ws.close_code == 1009
    await _is_unharmed(neighbour, sentence_text)


async def test_a_client_that_vanishes_frees_its_session(daemon: Daemon, sentence: Int16) -> None:
    async with aiohttp.ClientSession() as http:
        ws = await http.ws_connect(daemon.ws)
        await ws.send_json({"type": "start", "session_id": "vanishes"})
        assert await _next_of(ws, "sessionStarted")
        await ws.send_bytes(sentence.tobytes()[:64_000])
        transport = ws.get_extra_info("socket")
        assert transport is not None
        assert ws._response.connection is not None
        assert ws._response.connection.transport is not None
        ws._response.connection.transport.abort()
        async with asyncio.timeout(15):
            while True:
                async with http.get(f"{daemon.base}/session/vanishes/status") as response:
                    if response.status == 404:
                        break
                await asyncio.sleep(0.05)


class TestHttp:
    """Wrong requests get problem documents."""

    @staticmethod
    async def problem(
        http: aiohttp.ClientSession, method: str, path: str, **request: Any
    ) -> tuple[int, dict[str, Any]]:
        async with http.request(method, path, **request) as response:
            assert response.content_type == "application/problem+json", await response.text()
            problem = await response.json(content_type=None)
            assert problem["status"] == response.status
            assert problem["code"]
            assert problem["title"]
            return response.status, problem

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/session/nobody/status"), ("DELETE", "/session/nobody")],
    )
    async def test_unknown_sessions_are_404(self, daemon: Daemon, method: str, path: str) -> None:
        async with aiohttp.ClientSession(daemon.base) as http:
            status, problem = await self.problem(http, method, path)
        assert (status, problem["code"]) == (404, "session_unknown")
        assert "nobody" in problem["detail"]

    async def test_unknown_paths_and_methods_are_told(self, daemon: Daemon) -> None:
        async with aiohttp.ClientSession(daemon.base) as http:
            assert (await self.problem(http, "GET", "/nowhere"))[0] == 404
            assert (await self.problem(http, "DELETE", "/metrics"))[0] == 405

    @pytest.mark.parametrize("body", ["", "{", "[]", "5", '{"text": 5}', '{"text": "x", "colour": 1}', "{}"], ids=repr)
    async def test_a_wrong_synthesis_is_400(self, daemon: Daemon, body: str) -> None:
        async with aiohttp.ClientSession(daemon.base) as http:
            status, _ = await self.problem(
                http, "POST", "/synthesize", data=body, headers={"Content-Type": "application/json"}
            )
        assert status == 400

    @pytest.mark.parametrize("body", ["{", "[]", '{"triggerGC": "yes"}', '{"unknown": true}'], ids=repr)
    async def test_a_wrong_optimisation_is_400(self, daemon: Daemon, body: str) -> None:
        async with aiohttp.ClientSession(daemon.base) as http:
            status, _ = await self.problem(
                http, "POST", "/optimize", data=body, headers={"Content-Type": "application/json"}
            )
        assert status == 400

    @pytest.mark.parametrize(
        ("fields", "audio", "expected"),
        [
            ({}, bytes(640), {400}),
            ({"session_id": "has spaces"}, bytes(640), {400}),
            ({"session_id": "bad-1"}, None, {400}),
            ({"session_id": "bad-2"}, b"", {400}),
            ({"session_id": "bad-3"}, bytes(641), {400}),
            ({"session_id": "bad-4"}, b"RIFF\x24\x00\x00\x00WAVEfmt ", {400}),
            ({"session_id": "bad-5"}, b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00", {400}),
            ({"session_id": "bad-6", "sample_rate": "1000"}, bytes(640), {400, 415}),
            ({"session_id": "bad-7", "encoding": "opus"}, bytes(640), {400, 415}),
            ({"session_id": "bad-8", "sample_rate": "many"}, bytes(640), {400}),
            ({"session_id": "bad-9", "final": "perhaps"}, bytes(640), {400}),
        ],
        ids=[
            "no session id",
            "session id",
            "no audio",
            "empty file",
            "odd bytes",
            "truncated wav",
            "broken wav",
            "rate",
            "encoding",
            "rate is no number",
            "final",
        ],
    )
    async def test_a_wrong_upload_is_refused(
        self, daemon: Daemon, fields: dict[str, str], audio: bytes | None, expected: set[int]
    ) -> None:
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, value)
        if audio is not None:
            form.add_field("audio_file", audio, filename="a.wav", content_type="application/octet-stream")
        # Whatever else is missing, it is a form.
        form.add_field("channels", "1")
        async with aiohttp.ClientSession(daemon.base) as http:
            status, problem = await self.problem(http, "POST", "/process_frame", data=form)
            assert status in expected, problem
            async with http.get("/sessions") as response:
                open_sessions = json.dumps(await response.json())
        assert fields.get("session_id", "-none-") not in open_sessions

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"hello", "text/plain"),
            (b"{}", "application/json"),
            (b"", "multipart/form-data; boundary=x"),
            (b"garbage", "multipart/form-data; boundary=x"),
            (b"garbage", "multipart/form-data"),
            (b'--x\r\nContent-Disposition: form-data; name="session_id"\r\n\r\na', "multipart/form-data; boundary=x"),
        ],
        ids=["text", "json", "empty", "garbage", "no boundary", "unfinished"],
    )
    async def test_a_body_that_is_no_form_is_400(self, daemon: Daemon, body: bytes, content_type: str) -> None:
        async with aiohttp.ClientSession(daemon.base) as http:
            status, _ = await self.problem(
                http, "POST", "/process_frame", data=body, headers={"Content-Type": content_type}
            )
        assert status == 400

    async def test_too_large_an_upload_is_413(self, daemon: Daemon) -> None:
        form = aiohttp.FormData()
        form.add_field("session_id", "too-large")
        form.add_field("audio_file", io.BytesIO(bytes(27_000_000)), filename="a.raw")
        async with aiohttp.ClientSession(daemon.base) as http:
            try:
                status, _ = await self.problem(http, "POST", "/process_frame", data=form)
            except aiohttp.ClientOSError:
                pytest.skip("the daemon hung up while the upload was still going, before its answer could be read")
        assert status == 413
