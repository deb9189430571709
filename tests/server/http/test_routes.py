"""The routes that tell of the daemon, over the real pipeline with scripted engines."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from alfred_voice import __version__
from alfred_voice.errors import EngineFailure
from alfred_voice.server.http.routes import prefers_text
from alfred_voice.server.options import ServerOptions


Sound = Callable[[int], bytes]
Eventually = Callable[[Callable[[], object]], Any]

LIVE = ["/livez", "/readyz", "/health", "/sessions", "/pipeline/status", "/metrics"]


async def get(door: Any, path: str, **headers: str) -> Any:
    async with door.client.get(path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


@pytest.mark.parametrize("path", LIVE)
async def test_what_is_live_is_json_that_nobody_keeps(door: Any, path: str) -> None:
    async with door.client.get(path) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert isinstance(await answer.json(), dict)


@pytest.mark.parametrize("path", LIVE)
async def test_what_is_live_can_be_asked_for_by_head_and_not_changed(door: Any, path: str) -> None:
    async with door.client.head(path) as answer:
        assert answer.status == 200
        assert await answer.read() == b""
    async with door.client.post(path) as answer:
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]
        assert answer.content_type == "application/problem+json"


async def test_a_ready_daemon_names_its_engines_and_its_version(door: Any) -> None:
    checks = dict.fromkeys(("vad", "stt", "turn", "tts"), "pass")

    assert await get(door, "/readyz") == {"status": "ready", "checks": checks}
    assert await get(door, "/health") == {
        "status": "ready",
        "alive": True,
        "ready": True,
        "checks": checks,
        "version": __version__,
    }


@pytest.mark.parametrize(("path", "word"), [("/readyz", "loading"), ("/health", "loading")])
async def test_a_loading_daemon_is_alive_but_not_ready(make_door: Any, path: str, word: str) -> None:
    door = await make_door(started=False)

    async with door.client.get(path) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        body = await answer.json()
    assert body["status"] == "not_ready"
    assert word in body["checks"]
    assert (await door.client.get("/livez")).status == 200


async def test_a_draining_daemon_is_alive_but_not_ready(door: Any) -> None:
    await door.coordinator.drain(1)

    async with door.client.get("/readyz") as answer:
        assert answer.status == 503
        assert "draining" in (await answer.json())["checks"]
    assert (await door.client.get("/livez")).status == 200


async def test_the_pipelines_status_is_the_coordinators(door: Any) -> None:
    status = await get(door, "/pipeline/status")

    assert set(status) == {
        "pipelineState",
        "performanceMetrics",
        "performanceMonitor",
        "resourceOptimization",
        "alerts",
    }
    assert status["performanceMonitor"] == status["performanceMetrics"]
    assert status["pipelineState"]["degradationStep"] == "none"


async def test_sessions_are_listed_and_shown(door: Any) -> None:
    for name in ("first", "second"):
        socket = await door.connect(f"?session_id={name}")
        await socket.send_bytes(bytes(640 * 4))
        await socket.receive_str()

    listed = await get(door, "/sessions")
    status = await get(door, "/session/second/status")

    assert listed["count"] == 2
    assert [session["session_id"] for session in listed["sessions"]] == ["first", "second"]
    assert (status["session_id"], status["transport"], status["sample_rate"]) == ("second", "websocket", 16_000)


@pytest.mark.parametrize(("method", "path"), [("GET", "/session/nobody/status"), ("DELETE", "/session/nobody")])
async def test_a_session_that_is_not_there_is_404(door: Any, method: str, path: str) -> None:
    async with door.client.request(method, path) as answer:
        assert answer.status == 404
        assert (await answer.json())["code"] == "session_unknown"


async def test_a_session_of_a_websocket_can_be_ended(door: Any) -> None:
    socket = await door.connect("?session_id=going")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    async with door.client.delete("/session/going") as answer:
        assert answer.status == 200
        assert await answer.json() == {"session_id": "going", "ended": True}

    told = [json.loads(message.data)["type"] async for message in socket]
    assert told[-1] == "sessionEnded"
    assert socket.close_code == 1000
    assert (await get(door, "/sessions"))["count"] == 0


async def test_only_sessions_that_have_been_idle_for_so_long_are_ended(door: Any) -> None:
    for name in ("quiet", "busy"):
        socket = await door.connect(f"?session_id={name}")
        await socket.send_str('{"type":"start"}')
        await socket.receive_str()
    stream = door.coordinator.roster.get("quiet")
    stream.last_active -= 100

    async with door.client.delete("/sessions?idle_s=90") as answer:
        assert (answer.status, await answer.json()) == (200, {"ended": 1})

    assert stream.stopped_at is not None
    assert door.coordinator.roster.get("busy").stopped_at is None


@pytest.mark.parametrize("query", ["", "?idle_s=", "?idle_s=-1", "?idle_s=nan", "?idle_s=inf", "?idle_s=soon"])
async def test_how_long_they_have_to_be_idle_must_be_said(door: Any, query: str) -> None:
    socket = await door.connect()
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    async with door.client.delete(f"/sessions{query}") as answer:
        assert answer.status == 400
        assert (await answer.json())["code"] == "message_malformed"
    assert all(stream.stopped_at is None for stream in door.coordinator.roster.all())


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/json", False),
        ("text/plain", True),
        ("TEXT/PLAIN; version=0.0.4", True),
        ("application/openmetrics-text", True),
        # What Prometheus sends.
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            True,
        ),
        # What a widespread client library for browsers sends.
        ("application/json, text/plain, */*", False),
        ("text/plain, application/json", True),
        ("text/plain;q=0.5, application/json", False),
        ("text/plain;q=0", False),
        ("text/plain;q=high", True),
        ("text/*", False),
    ],
)
def test_text_metrics_are_for_who_names_them(accept: str, is_text: bool) -> None:
    assert prefers_text(accept) is is_text


async def test_metrics_in_json_hold_the_status_too(door: Any) -> None:
    assert "pipelineState" in await get(door, "/metrics", Accept="*/*")


async def test_metrics_in_prometheus_text_count_the_sessions(door: Any) -> None:
    socket = await door.connect()
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    async with door.client.get("/metrics", headers={"Accept": "text/plain;version=0.0.4"}) as answer:
        assert answer.content_type == "text/plain"
        assert answer.headers["Vary"] == "Accept"
        families = {family.name: family for family in parse_prometheus(await answer.text())}

    samples = families["alfred_sessions_active"].samples
    assert [sample.value for sample in samples if sample.labels == {"transport": "websocket"}] == [1.0]


async def test_metrics_in_openmetrics_are_whole(door: Any) -> None:
    async with door.client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as answer:
        assert answer.content_type == "application/openmetrics-text"
        text = await answer.text()

    assert text.endswith("# EOF\n")
    assert len(list(parse_openmetrics(text))) > 10  # type: ignore[no-untyped-call]


EVERYTHING = {"sessionsCleanedUp", "bytesFreed", "objectsCollected"}


@pytest.mark.parametrize(
    ("body", "done"),
    [
        (b"", EVERYTHING),
        (b"  \n", EVERYTHING),
        (b"{}", EVERYTHING),
        (b'{"triggerGC": true}', {"objectsCollected"}),
        (b'{"cleanupSessions": true, "triggerGC": false}', {"sessionsCleanedUp"}),
        (b'{"optimizeBuffers": true}', {"bytesFreed"}),
        (b'{"triggerGC": false}', set()),
    ],
)
async def test_what_is_named_is_optimised_and_everything_when_nothing_is(
    door: Any, body: bytes, done: set[str]
) -> None:
    async with door.client.post("/optimize", data=body) as answer:
        assert answer.status == 200
        report = await answer.json()

    assert set(report) & EVERYTHING == done
    assert report["memoryBefore"] > 0
    assert report["memoryAfter"] > 0


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b"{", b'{"triggerGC": 1}', b'{"trigger_gc": true}', b'{"all": true}', b"\xff", b"[" * 100_000],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("path", ["/optimize", "/synthesize"])
async def test_a_body_that_is_not_what_it_should_be_is_400(door: Any, path: str, body: bytes) -> None:
    async with door.client.post(path, data=body) as answer:
        assert answer.status == 400
        problem = await answer.json()
    assert problem["code"] == "message_malformed"
    assert len(problem["detail"]) < 200


async def test_a_body_beyond_the_limit_is_413(make_door: Any) -> None:
    door = await make_door(ServerOptions(max_message_bytes=4096))

    async with door.client.post("/synthesize", data=b" " * 5000) as answer:
        assert answer.status == 413
        assert (await answer.json())["code"] == "message_too_large"


async def test_speech_comes_as_a_wav_file_that_anybody_can_read(door: Any) -> None:
    async with door.client.post("/synthesize", json={"text": "Good evening to you."}) as answer:
        assert answer.status == 200
        assert answer.content_type == "audio/wav"
        data = await answer.read()

    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22_050)
    samples = np.frombuffer(data[44:], dtype="<i2")
    # The scripted voice hums for 10 ms a character.
    assert len(samples) == pytest.approx(0.2 * 22_050, rel=0.05)
    assert np.abs(samples).max() > 5000


async def test_speech_comes_as_raw_samples_with_their_rate(door: Any) -> None:
    async with door.client.post("/synthesize", json={"text": "Good evening.", "format": "pcm"}) as answer:
        assert answer.status == 200
        assert (answer.headers["X-Sample-Rate"], answer.headers["X-Encoding"]) == ("22050", "pcm_s16le")
        data = await answer.read()

    assert not data.startswith(b"RIFF")
    assert len(data) == pytest.approx(2 * 0.13 * 22_050, rel=0.05)


@pytest.mark.parametrize(
    ("asked", "code", "named"),
    [
        ({"text": "Hi", "voice": "nobody"}, "voice_unknown", "en-us"),
        ({"text": ""}, "text_unusable", ""),
        ({"text": " \n"}, "text_unusable", ""),
        ({"text": "a" * 5001}, "text_unusable", "5000"),
        ({"text": "Hi", "speed": 50}, "speech_invalid", "speed"),
        ({"text": "Hi", "speed": "fast"}, "message_malformed", "speed"),
        ({"text": "Hi", "format": "mp3"}, "message_malformed", "format"),
        ({"voice": "en-us"}, "message_malformed", "text"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_said_is_a_problem_document(
    door: Any, asked: dict[str, Any], code: str, named: str
) -> None:
    async with door.client.post("/synthesize", json=asked) as answer:
        assert answer.status == 400
        problem = await answer.json()

    assert problem["code"] == code
    assert named in problem["detail"]


async def test_an_engine_that_fails_at_once_is_500_and_says_so(door: Any) -> None:
    door.tts.failure = EngineFailure("the voice is gone")

    async with door.client.post("/synthesize", json={"text": "Hi"}) as answer:
        assert answer.status == 500
        assert (await answer.json())["code"] == "engine_failure"


async def test_an_engine_that_fails_in_the_middle_cuts_the_stream_off(
    played_door: Any, played: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a speech must not look like a whole one."""

    async def speak(text: str, voice: str | None, speed: float | None) -> Any:
        yield np.ones(4000, np.int16)
        raise EngineFailure("the voice is gone")

    played.synthesise = speak
    reader, writer = await asyncio.open_connection("127.0.0.1", played_door.port)
    body = b'{"text":"Hi"}'
    writer.write(b"POST /synthesize HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    received = b""
    try:
        async with asyncio.timeout(5):
            while chunk := await reader.read(65_536):
                received += chunk
    except ConnectionResetError:
        pass  # cut off before everything was read
    writer.close()

    assert not received.endswith(b"0\r\n\r\n")
    assert "synthesis_cut" in caplog.text


async def test_a_listener_that_leaves_stops_the_voice(
    played_door: Any, played: Any, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    closed = asyncio.Event()

    async def speak(text: str, voice: str | None, speed: float | None) -> Any:
        try:
            while True:
                yield np.ones(4000, np.int16)
                await asyncio.sleep(0)
        finally:
            closed.set()

    played.synthesise = speak
    answer = await played_door.client.post("/synthesize", json={"text": "Hi"})
    await answer.content.read(1000)
    answer.close()

    async with asyncio.timeout(5):
        await closed.wait()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_voice_that_takes_too_long_is_503(make_played_door: Any, played: Any) -> None:
    async def speak(text: str, voice: str | None, speed: float | None) -> Any:
        await asyncio.sleep(60)
        yield np.ones(1, np.int16)

    played.synthesise = speak
    door = await make_played_door(ServerOptions(request_timeout_s=1))

    async with door.client.post("/synthesize", json={"text": "Hi"}) as answer:
        assert answer.status == 503
        assert "Retry-After" in answer.headers


async def test_a_bug_in_a_route_is_500_and_the_daemon_goes_on(played_door: Any, played: Any) -> None:
    played.failure = ZeroDivisionError("a bug")
    async with played_door.client.get("/pipeline/status") as answer:
        assert answer.status == 500
        assert "bug" not in await answer.text()
    played.failure = None

    assert (await played_door.client.get("/pipeline/status")).status == 200


@pytest.mark.parametrize("path", ["/nothing", "/session", "/session/a/b/status", "/ws/x", "/monitor/x"])
async def test_an_unknown_path_is_a_problem_document(door: Any, path: str) -> None:
    async with door.client.get(path) as answer:
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"text": "x", "format": "mp3"}, "format: expected one of wav, pcm, got 'mp3'"),
        ({"text": "x", "foo": 1}, "foo: unknown field; expected text, voice, speed, format"),
        ({"text": 1}, "text: Expected `str`, got `int`"),
        ([1], "expected a JSON object: Expected `object`, got `array`"),
    ],
)
async def test_a_wrong_field_of_a_body_is_named_with_what_may_stand_there(door: Any, body: Any, said: str) -> None:
    async with door.client.post("/synthesize", json=body) as answer:
        problem = await answer.json(content_type=None)
    assert answer.status == 400
    assert problem["detail"] == said
