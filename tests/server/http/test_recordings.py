"""``POST /transcribe``: with the real worker and scripted engines, and with workers that do what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import numpy as np
import psutil
import pytest
from aiohttp import ClientResponse, FormData, web
from aiohttp.test_utils import TestClient, TestServer

from alfred_voice.app import _recording_worker
from alfred_voice.config import load
from alfred_voice.errors import Draining
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.server.application import Server, make_application
from alfred_voice.server.http.recordings import RecordingRoutes, RecordingWorker, framed
from alfred_voice.server.options import ServerOptions
from tests.files.odd_files import wav


PLAYED = """
import json, os, sys, time
job = json.load(sys.stdin)
said = job["wishes"]["prompt"]
def tell(**fields):
    print(json.dumps(fields), flush=True)
tell(type="progress", pid=os.getpid(), job={**job, "config": None}, bytes=os.path.getsize(job["file"]))
if said == "wait":
    while not os.path.exists(job["config"]["gate"]):
        time.sleep(0.01)
        tell(type="progress")
if said == "crash":
    sys.exit(3)
tell(type="segment", text="hello")
tell(type="error", code="engine_failure", detail="gave up", status=500) if said == "fail" else tell(type="result")
"""
"""A worker that does what the prompt says."""

Answer = Callable[..., Awaitable[ClientResponse]]


@pytest.fixture
async def start(played: Any) -> AsyncIterator[Callable[..., Awaitable[Answer]]]:
    """Starts a daemon; gives what sends a recording to it."""
    clients: list[TestClient[web.Request, web.Application]] = []

    async def make(worker: RecordingWorker, options: ServerOptions | None = None) -> Answer:
        application = make_application(cast("Coordinator", played), options or ServerOptions(), worker)
        client = TestClient(TestServer(application))
        await client.start_server()
        clients.append(client)

        async def send(body: Any, query: str = "", **more: Any) -> ClientResponse:
            data = io.BytesIO(body) if isinstance(body, bytes) and body else body
            return await client.post(f"/transcribe{query}", data=data, **more)

        return send

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def send(start: Callable[..., Awaitable[Answer]]) -> Answer:
    """A daemon with the real worker and scripted engines."""
    config = load(sets=["stt.engine=scripted", "vad.engine=scripted"]).config
    return await start(_recording_worker(config))


@pytest.fixture
def play(tmp_path: Path, start: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
    """A daemon whose worker does what the prompt says."""

    async def make(options: ServerOptions | None = None) -> Answer:
        command = (sys.executable, "-c", PLAYED)
        return await start(RecordingWorker(command, {"gate": str(tmp_path / "gate")}), options)

    return make


def sound(stretches: int = 2) -> bytes:
    """A WAV file with so many seconds of noise, two of silence before each."""
    noise = np.random.default_rng(0).integers(-20_000, 20_000, 16_000).astype(np.int16)
    parts = [part for _ in range(stretches) for part in (np.zeros(32_000, np.int16), noise)]
    return wav(np.concatenate([*parts, np.zeros(32_000, np.int16)]).tobytes())


def form(**fields: Any) -> FormData:
    data = FormData(default_to_multipart=True)
    for name, value in fields.items():
        is_file = name == "audio_file"
        data.add_field(name, value, filename="a.wav" if is_file else None)
    return data


def lines(body: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


# With the real worker


async def test_a_form_is_answered_with_segments_and_the_result(send: Answer) -> None:
    response = await send(form(audio_file=sound()))
    assert response.status == 200
    assert response.content_type == "application/x-ndjson"
    found = lines(await response.text())
    kinds = [line["type"] for line in found if line["type"] != "progress"]
    assert kinds == ["segment", "segment", "result"]
    segments = [line for line in found if line["type"] == "segment"]
    assert segments[1]["start_ms"] == pytest.approx(4700, abs=33)
    result = found[-1]
    assert result["text"] == "hello world hello world"
    assert result["duration_ms"] == 8000
    assert result["segments"] == [{key: one[key] for key in one if key != "type"} for one in segments]
    assert result["timing"].keys() == {"decode_s", "detect_s", "recognise_s", "total_s"}
    assert result["metadata"] == {"bytes": len(sound()), "vad": "scripted", "stt": "scripted", "workers": 1}


async def test_events_are_sent_where_they_are_asked_for(send: Answer) -> None:
    response = await send(sound(), headers={"Accept": "text/event-stream"})
    assert response.content_type == "text/event-stream"
    events = (await response.text()).strip().split("\n\n")
    names = [event.split("\n")[0] for event in events]
    assert names[-3:] == ["event: segment", "event: segment", "event: result"]
    data = json.loads(events[-1].split("\n")[1].removeprefix("data: "))
    assert data["text"] == "hello world hello world"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"this is no recording", 415, "audio_unsupported"),
        (sound()[:30], 400, "audio_malformed"),
        (sound()[:44], 400, "audio_empty"),
    ],
)
async def test_what_cannot_be_read_at_all_is_a_problem_with_its_status(
    send: Answer, body: bytes, status: int, code: str
) -> None:
    response = await send(body)
    assert response.status == status
    assert response.content_type == "application/problem+json"
    assert (await response.json())["code"] == code


async def test_a_recording_that_is_too_long_ends_with_an_error(start: Callable[..., Awaitable[Answer]]) -> None:
    config = load(sets=["stt.engine=scripted", "vad.engine=scripted"]).config
    send = await start(_recording_worker(config), ServerOptions(max_recording_s=4))
    found = lines(await (await send(sound(3))).text())
    assert (found[-1]["type"], found[-1]["code"], found[-1]["status"]) == ("error", "recording_too_long", 400)
    assert [line["type"] for line in found].count("segment") == 1


async def test_missing_models_are_told(start: Callable[..., Awaitable[Answer]], tmp_path: Path) -> None:
    send = await start(_recording_worker(load(sets=[f"models.cache_dir={tmp_path}"]).config))
    response = await send(sound())
    assert response.status == 500
    assert (await response.json())["code"] == "model_missing"


# With a worker that does what the test says


async def test_wishes_of_the_query_and_of_the_form_reach_the_worker(play: Callable[..., Awaitable[Answer]]) -> None:
    send = await play(ServerOptions(max_recordings=2, recording_workers=3, max_recording_s=77))
    by_query = await send(sound(), "?words=no&language=en-GB&prompt=lamp")
    with_key = await send(sound(), "?token=a-key-that-came-along&prompt=lamp")
    assert lines(await with_key.text())[0]["job"]["wishes"]["prompt"] == "lamp"
    by_form = await send(form(words="false", audio_file=sound(), language="en-GB", prompt="lamp"))
    for response in (by_query, by_form):
        told = lines(await response.text())[0]
        wishes = told["job"]["wishes"]
        assert (wishes["words"], wishes["language"], wishes["prompt"]) == (False, "en-GB", "lamp")
        assert (wishes["max_duration_s"], told["job"]["workers"], told["bytes"]) == (77, 3, len(sound()))


async def test_the_upload_is_gone_when_the_work_is_done(play: Callable[..., Awaitable[Answer]]) -> None:
    told = lines(await (await (await play())(sound())).text())[0]
    assert not Path(told["job"]["file"]).exists()  # noqa: ASYNC240  a moment


async def test_what_goes_wrong_late_is_the_last_line(play: Callable[..., Awaitable[Answer]]) -> None:
    response = await (await play())(sound(), "?prompt=fail")
    assert response.status == 200
    assert [line["type"] for line in lines(await response.text())] == ["progress", "segment", "error"]


async def test_a_worker_that_dies_is_told_and_its_place_is_free(
    play: Callable[..., Awaitable[Answer]], caplog: pytest.LogCaptureFixture
) -> None:
    send = await play()
    last = lines(await (await send(sound(), "?prompt=crash")).text())[-1]
    assert (last["type"], last["code"], last["status"]) == ("error", "internal_error", 500)
    (failure,) = [record for record in caplog.records if record.message == "recording_worker_failed"]
    assert failure.__dict__["exit_status"] == 3
    assert lines(await (await send(sound())).text())[-1]["type"] == "result"


async def test_a_worker_that_says_nothing_is_a_problem(start: Callable[..., Awaitable[Answer]]) -> None:
    send = await start(RecordingWorker((sys.executable, "-c", ""), None))
    response = await send(sound())
    assert response.status == 500
    assert (await response.json())["code"] == "internal_error"


async def test_one_that_is_too_large_is_refused(play: Callable[..., Awaitable[Answer]]) -> None:
    send = await play(ServerOptions(max_recording_bytes=100_000))

    async def without_length() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(10_000)

    for body in (sound(2), form(audio_file=sound(2)), without_length()):
        response = await send(body)
        assert response.status == 413
        assert (await response.json())["code"] == "message_too_large"


@pytest.mark.parametrize(
    ("query", "fields", "message"),
    [
        ("?speed=2", {"audio_file": b"x"}, "speed: unknown; expected language, words, prompt"),
        ("?words=perhaps", {"audio_file": b"x"}, "words: expected true or false, got 'perhaps'"),
        ("?language=x", {"audio_file": b"x"}, "language: expected a code such as en, de-CH or auto, got 'x'"),
        ("", {"file": "x"}, "file: unknown field; expected audio_file, language, words, prompt"),
        ("", {"words": "true"}, "audio_file: missing field"),
        ("", {"audio_file": b"x", "prompt": "y" * 2000}, "prompt: expected at most 1024 bytes"),
        ("", {"audio_file": b""}, "expected a recording, got 0 bytes"),
    ],
)
async def test_wrong_fields_are_named(
    play: Callable[..., Awaitable[Answer]], query: str, fields: dict[str, Any], message: str
) -> None:
    response = await (await play())(form(**fields), query)
    assert response.status in {400, 413}
    assert message in (await response.json())["detail"]


@pytest.mark.parametrize(("body", "code"), [(b"nonsense", "message_malformed"), (b"--x--", "message_malformed")])
async def test_a_form_that_is_none_is_refused(play: Callable[..., Awaitable[Answer]], body: bytes, code: str) -> None:
    response = await (await play())(body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert response.status == 400
    assert (await response.json())["code"] == code


async def test_a_body_of_nothing_is_refused(play: Callable[..., Awaitable[Answer]]) -> None:
    response = await (await play())(b"")
    assert (response.status, (await response.json())["code"]) == (400, "audio_empty")


async def test_who_comes_while_one_is_transcribed_is_asked_to_come_again(
    play: Callable[..., Awaitable[Answer]], tmp_path: Path
) -> None:
    send = await play()
    first = await send(sound(), "?prompt=wait")
    refused = await send(sound())
    assert refused.status == 503
    assert refused.headers["Retry-After"] == "10"
    told = await refused.json()
    assert told["code"] == "overloaded"
    assert told["detail"].startswith("1 recording is being transcribed")
    (tmp_path / "gate").touch()
    assert lines(await first.text())[-1]["type"] == "result"
    assert (await send(sound())).status == 200


async def test_several_are_transcribed_at_once_where_that_is_allowed(
    play: Callable[..., Awaitable[Answer]], tmp_path: Path
) -> None:
    send = await play(ServerOptions(max_recordings=3))
    answers = [await send(sound(), "?prompt=wait") for _ in range(3)]
    (tmp_path / "gate").touch()
    assert [lines(await answer.text())[-1]["type"] for answer in answers] == ["result"] * 3


async def test_a_client_that_leaves_ends_the_work_and_frees_the_place(
    play: Callable[..., Awaitable[Answer]], eventually: Callable[..., Awaitable[None]]
) -> None:
    send = await play()
    response = await send(sound(), "?prompt=wait")
    process = json.loads(await response.content.readline())["pid"]
    assert psutil.pid_exists(process)
    response.close()
    await eventually(lambda: not psutil.pid_exists(process))
    assert (await send(sound())).status == 200


@contextlib.asynccontextmanager
async def serving(played: Any, gate: Path) -> AsyncIterator[tuple[Server, aiohttp.ClientSession, str]]:
    """A daemon that can be stopped, a client of it and its address."""
    worker = RecordingWorker((sys.executable, "-c", PLAYED), {"gate": str(gate)})
    server = Server(make_application(cast("Coordinator", played), ServerOptions(max_recordings=2), worker))
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as client:
        yield server, client, f"http://127.0.0.1:{port}/transcribe"
        await server.close()


async def test_a_daemon_that_stops_ends_the_work_and_says_so(
    played: Any, tmp_path: Path, eventually: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(played, tmp_path / "gate") as (server, client, address):
        response = await client.post(f"{address}?prompt=wait", data=b"x")
        events = await client.post(f"{address}?prompt=wait", data=b"x", headers={"Accept": "text/event-stream"})
        process = json.loads(await response.content.readline())["pid"]
        async with asyncio.timeout(20):
            await server.close(grace_s=0.2)
        last = lines(await response.text())[-1]
        assert (last["type"], last["code"], last["status"]) == ("error", "draining", 503)
        assert (await events.text()).split("\n\n")[-2].startswith("event: error")
    await eventually(lambda: not psutil.pid_exists(process))
    assert "recording_worker_failed" not in caplog.text


async def test_a_recording_that_is_done_within_the_grace_time_is_done(played: Any, tmp_path: Path) -> None:
    async with serving(played, tmp_path / "gate") as (server, client, address):
        response = await client.post(f"{address}?prompt=wait", data=b"x")
        await response.content.readline()
        stopping = asyncio.create_task(server.close(grace_s=30))
        await asyncio.sleep(0.2)
        (tmp_path / "gate").touch()
        assert lines(await response.text())[-1]["type"] == "result"
        async with asyncio.timeout(20):
            await stopping


async def test_a_daemon_that_stops_takes_no_more_recordings() -> None:
    routes = RecordingRoutes(RecordingWorker((sys.executable, "-c", PLAYED), {}), ServerOptions(), Metrics("0"))
    await routes.drain(0)
    with pytest.raises(Draining):
        await routes.transcribe(cast("web.Request", None))


@pytest.mark.parametrize(
    ("prompt", "outcome"), [("", "done"), ("crash", "failed"), ("fail", "failed"), ("odd=1", "unusable")]
)
async def test_recordings_are_counted_by_what_became_of_them(
    play: Callable[..., Awaitable[Answer]], played: Any, prompt: str, outcome: str
) -> None:
    send = await play()
    query = f"?{prompt}" if "=" in prompt else f"?prompt={prompt}"
    await (await send(sound(), query)).read()
    samples = {
        sample.labels["outcome"]: sample.value
        for family in played.metrics.door.recordings.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert samples == {outcome: 1}


async def test_recordings_for_which_there_is_no_place_are_counted_as_refused(
    play: Callable[..., Awaitable[Answer]], played: Any, tmp_path: Path
) -> None:
    send = await play()
    first = await send(sound(), "?prompt=wait")
    await first.content.readline()
    assert (await send(sound())).status == 503
    (tmp_path / "gate").touch()
    await first.read()
    count = played.metrics.registry.get_sample_value
    assert count("alfred_recordings_total", {"outcome": "refused"}) == 1
    assert count("alfred_recordings_total", {"outcome": "done"}) == 1


async def test_without_a_worker_there_is_no_such_place(played_door: Any) -> None:
    assert (await played_door.client.post("/transcribe", data=b"x")).status == 404


def test_an_event_is_named_by_the_type_of_its_line() -> None:
    assert framed(b'{"type":"x"}\n', "x") == b'event: x\ndata: {"type":"x"}\n\n'


def test_the_daemons_settings_survive_the_way_to_the_worker() -> None:
    from alfred_voice.commands.transcribe_worker import Job

    config = load(sets=["stt.engine=scripted", "vad.threshold=0.4", "vad.negative_threshold=0.2"]).config
    job = {"file": "a", "wishes": {"words": True}, "config": _recording_worker(config).config, "workers": 2}
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job).config == config


@pytest.mark.skipif(not hasattr(os, "nice"), reason="processes have no such priority")
async def test_the_worker_stands_back_behind_the_daemon(
    start: Callable[..., Awaitable[Answer]], tmp_path: Path
) -> None:
    code = (
        "import os, sys\nfrom alfred_voice.commands import transcribe_worker\n"
        f"transcribe_worker.work = lambda job, output: open({str(tmp_path / 'nice')!r}, 'w').write(str(os.nice(0)))\n"
        "transcribe_worker.main()"
    )
    worker = RecordingWorker((sys.executable, "-c", code), msgspec.to_builtins(load().config))
    await (await (await start(worker))(sound())).read()
    assert int((tmp_path / "nice").read_text()) == 19
