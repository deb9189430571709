"""``POST /process_frame`` over the real pipeline with scripted engines."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import wave
from collections.abc import Callable
from typing import Any

import aiohttp
import numpy as np
import pytest

from alfred_voice.pipeline.options import CoordinatorOptions, PipelineOptions, SessionsOptions
from alfred_voice.server.options import ServerOptions


Sound = Callable[[int], bytes]
Eventually = Callable[[Callable[[], object]], Any]


def wav(pcm: bytes, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(pcm)
    return buffer.getvalue()


async def upload(door: Any, audio: bytes | None = None, session_id: str = "s", **fields: Any) -> tuple[int, Any]:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("session_id", session_id)
    if audio is not None:
        # As a file, since the client library warns of large bytes.
        form.add_field("audio_file", io.BytesIO(audio), filename="a.wav")
    for name, value in fields.items():
        form.add_field(name, str(value))
    async with door.client.post("/process_frame", data=form) as answer:
        assert answer.content_type == ("application/json" if answer.status == 200 else "application/problem+json")
        return answer.status, await answer.json()


def types(answer: Any) -> list[str]:
    return [event["type"] for event in answer["events"] if event["type"] not in ("frameProcessed", "pipelineHealth")]


async def test_one_upload_is_a_whole_session(door: Any, tone: Sound, silence: Sound) -> None:
    status, answer = await upload(door, wav(silence(400) + tone(1000) + silence(1000)), final="true")

    assert status == 200
    assert (answer["session_id"], answer["frames"], answer["stream_ms"]) == ("s", 120, 2400)
    told = types(answer)
    assert told[0] == "sessionStarted"
    assert told[-1] == "sessionEnded"
    assert told.index("speechStart") < told.index("finalTranscription") < told.index("turnComplete")
    frames = [event for event in answer["events"] if event["type"] == "frameProcessed"]
    assert [event["frame"] for event in frames] == list(range(120))
    assert [event["seq"] for event in answer["events"]] == list(range(len(answer["events"])))
    assert answer["events"][-1]["stats"]["frames_received"] == 120
    assert answer["processing_ms"] > 0
    assert door.coordinator.roster.all() == []


async def test_each_call_tells_what_is_new(door: Any, tone: Sound, silence: Sound) -> None:
    seqs: list[int] = []
    told: list[str] = []
    for audio, is_speech in ((silence(320), False), (tone(640), True), (silence(1600), False)):
        status, answer = await upload(door, audio)
        assert status == 200
        assert answer["is_speech"] is is_speech
        assert (answer["speech_probability"] > 0.5) is is_speech
        seqs += [event["seq"] for event in answer["events"]]
        told += types(answer)
    _, last = await upload(door, None, final="true")
    seqs += [event["seq"] for event in last["events"]]
    told += types(last)

    assert seqs == list(range(len(seqs)))
    assert (last["frames"], last["stream_ms"]) == (0, 2560)
    assert told[0] == "sessionStarted"
    assert told[-1] == "sessionEnded"
    assert told.count("finalTranscription") == 1


async def test_a_single_frame_is_enough(door: Any, silence: Sound) -> None:
    status, answer = await upload(door, silence(20))

    assert (status, answer["frames"], answer["stream_ms"]) == (200, 1, 20)


async def test_parts_of_frames_carry_over_to_the_next_call(door: Any, silence: Sound) -> None:
    audio = silence(1000)
    edges = [0, 2, 1002, 9000, 20_002, len(audio)]
    frames = 0
    for start, end in itertools.pairwise(edges):
        _, answer = await upload(door, audio[start:end])
        frames += answer["frames"]

    assert frames == 50


@pytest.mark.parametrize(
    ("fields", "second_of_bytes"),
    [
        ({}, 32_000),
        ({"sample_rate": 8000, "encoding": "mulaw"}, 8000),
        ({"sample_rate": 48000, "channels": 2}, 192_000),
        ({"encoding": "pcm_f32le"}, 64_000),
    ],
    ids=str,
)
async def test_raw_samples_are_read_in_the_declared_format(
    door: Any, fields: dict[str, Any], second_of_bytes: int
) -> None:
    _, answer = await upload(door, bytes(second_of_bytes), final="true", **fields)

    assert answer["events"][-1]["stats"]["frames_received"] in (50, 51)


@pytest.mark.parametrize(("rate", "channels", "width"), [(8000, 1, 2), (44_100, 2, 2), (48_000, 1, 3), (16_000, 1, 1)])
async def test_the_header_of_a_wav_file_goes_before_the_fields(door: Any, rate: int, channels: int, width: int) -> None:
    audio = wav(bytes(rate * channels * width), rate, channels, width)

    _, answer = await upload(door, audio, final="true", sample_rate=16_000)

    assert answer["events"][-1]["stats"]["frames_received"] in (50, 51)


async def test_a_minute_of_audio_fits_through_a_small_outbox(make_door: Any, tone: Sound, silence: Sound) -> None:
    limits = CoordinatorOptions(pipeline=PipelineOptions(outbox_events=100, queue_frames=20))
    door = await make_door(pipeline=limits)

    status, answer = await upload(door, wav((tone(1000) + silence(2000)) * 20), final="true")

    assert status == 200
    assert answer["frames"] == 3000
    frames = [event["frame"] for event in answer["events"] if event["type"] == "frameProcessed"]
    assert frames == list(range(3000))
    assert types(answer).count("finalTranscription") == 20


async def test_fields_may_come_in_any_order(door: Any, silence: Sound) -> None:
    for order in itertools.permutations(("session_id", "audio_file", "final")):
        form = aiohttp.FormData()
        for name in order:
            if name == "audio_file":
                form.add_field(name, silence(40), filename="x")
            else:
                form.add_field(name, {"session_id": "o", "final": "1"}[name])
        async with door.client.post("/process_frame", data=form) as answer:
            assert answer.status == 200
            assert (await answer.json())["events"][-1]["type"] == "sessionEnded"


@pytest.mark.parametrize(
    ("fields", "status", "code", "named"),
    [
        ({"session_id": ""}, 400, "settings_invalid", "session_id"),
        ({"session_id": "a b"}, 400, "settings_invalid", "session_id"),
        ({"sample_rate": "fast"}, 400, "settings_invalid", "sample_rate"),
        ({"sample_rate": "-8000"}, 400, "settings_invalid", "sample_rate"),
        ({"sample_rate": "7999"}, 400, "settings_invalid", "sample_rate"),
        ({"sample_rate": "9" * 500}, 400, "settings_invalid", "sample_rate"),
        ({"sample_rate": "٨٠٠٠"}, 400, "settings_invalid", "sample_rate"),
        ({"channels": "0"}, 400, "settings_invalid", "channels"),
        ({"channels": "9"}, 400, "settings_invalid", "channels"),
        ({"encoding": "opus"}, 400, "settings_invalid", "encoding"),
        ({"final": "perhaps"}, 400, "settings_invalid", "final"),
        ({"colour": "red"}, 400, "message_malformed", "colour"),
        ({"session_id": "x" * 2000}, 413, "message_too_large", "session_id"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named(
    door: Any, silence: Sound, fields: dict[str, str], status: int, code: str, named: str
) -> None:
    came, problem = await upload(door, silence(40), **fields)

    assert (came, problem["code"]) == (status, code)
    assert named in problem["detail"]
    assert len(problem["detail"]) < 300
    assert door.coordinator.roster.all() == []


@pytest.mark.parametrize(
    ("audio", "status", "code"),
    [
        (b"", 400, "audio_empty"),
        (b"\x00", 400, "audio_malformed"),
        (bytes(641), 400, "audio_malformed"),
        (wav(b""), 400, "audio_empty"),
        (wav(bytes(3200))[:1000], 400, "audio_malformed"),
        (wav(bytes(3200))[:30], 400, "audio_malformed"),
        (b"RIFF\xff\xff\xff\xffWAVEjunk", 400, "audio_malformed"),
        (wav(bytes(640), rate=1000), 415, "audio_unsupported"),
        (b"fLaC" + bytes(100), 400, "audio_malformed"),
        (b"OggS" + bytes(100), 400, "audio_malformed"),
        (b"ID3" + bytes(100), 400, "audio_malformed"),
    ],
    ids=[
        "empty file",
        "one byte",
        "odd bytes",
        "WAV without samples",
        "truncated WAV",
        "truncated WAV header",
        "broken WAV",
        "WAV of 1 kHz",
        "broken FLAC",
        "broken Ogg",
        "broken MP3",
    ],
)
async def test_audio_that_cannot_be_used_opens_no_session(door: Any, audio: bytes, status: int, code: str) -> None:
    came, problem = await upload(door, audio)

    assert (came, problem["code"]) == (status, code), problem
    assert door.coordinator.roster.all() == []


async def test_a_bad_upload_does_not_harm_the_open_session(door: Any, silence: Sound) -> None:
    await upload(door, silence(100))
    status, _ = await upload(door, bytes(641))
    assert status == 400
    _, answer = await upload(door, silence(100), final="true")

    assert answer["frames"] == 5
    assert answer["events"][-1]["stats"]["frames_received"] == 10


@pytest.mark.parametrize("left_out", ["session_id", "audio_file"])
async def test_a_missing_field_is_named(door: Any, silence: Sound, left_out: str) -> None:
    form = aiohttp.FormData(default_to_multipart=True)
    if left_out != "session_id":
        form.add_field("session_id", "s")
    if left_out != "audio_file":
        form.add_field("audio_file", silence(20), filename="x")
    async with door.client.post("/process_frame", data=form) as answer:
        assert answer.status == 400
        assert left_out in (await answer.json())["detail"]


async def test_a_field_that_comes_twice_is_refused(door: Any, silence: Sound) -> None:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("session_id", "a")
    form.add_field("session_id", "b")
    form.add_field("audio_file", silence(20), filename="x")
    async with door.client.post("/process_frame", data=form) as answer:
        assert answer.status == 400
        assert "session_id" in (await answer.json())["detail"]


PART = b'--x\r\nContent-Disposition: form-data; name="session_id"\r\n'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"hello", "text/plain"),
        (b'{"session_id": "a"}', "application/json"),
        (b"session_id=a", "application/x-www-form-urlencoded"),
        (b"", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data"),
        (b"garbage", "multipart/form-data; boundary=" + "x" * 200),
        (PART + b"\r\na", "multipart/form-data; boundary=x"),
        (PART + b"\r\na\r\n", "multipart/form-data; boundary=x"),
        (PART[:20], "multipart/form-data; boundary=x"),
        (PART + b"Content-Length: 5000\r\n\r\na\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (PART + b"Content-Length: many\r\n\r\na\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (PART + b"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (PART + b"Content-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\nno name\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (PART + b"\r\n\xff\xfe\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ],
    ids=[
        "text",
        "JSON",
        "urlencoded",
        "empty",
        "garbage",
        "no boundary",
        "long boundary",
        "unfinished",
        "unfinished line",
        "unfinished header",
        "wrong length",
        "length that is none",
        "base64",
        "nested",
        "no name",
        "no UTF-8",
    ],
)
async def test_a_body_that_is_no_form_is_400(door: Any, body: bytes, content_type: str) -> None:
    async with door.client.post("/process_frame", data=body, headers={"Content-Type": content_type}) as answer:
        assert answer.status == 400, await answer.text()
        assert answer.content_type == "application/problem+json"
        assert (await answer.json())["code"] in ("message_malformed", "settings_invalid")


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_an_upload_beyond_the_limit_is_413(make_door: Any, is_chunked: bool) -> None:
    door = await make_door(ServerOptions(max_upload_bytes=10_000))
    body = PART.replace(b"session_id", b"audio_file") + b"\r\n" + bytes(60_000) + b"\r\n--x--\r\n"

    async def pieces() -> Any:
        for start in range(0, len(body), 4096):
            yield body[start : start + 4096]

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    data = pieces() if is_chunked else body
    async with door.client.post("/process_frame", data=data, headers=headers) as answer:
        assert answer.status == 413
        assert (await answer.json())["code"] == "message_too_large"


async def test_the_largest_upload_that_is_allowed_is_taken(make_door: Any) -> None:
    door = await make_door(ServerOptions(max_upload_bytes=64_000))

    assert (await upload(door, bytes(64_000)))[0] == 200
    assert (await upload(door, bytes(64_002)))[0] == 413


async def test_an_upload_that_does_not_arrive_is_given_up(make_door: Any) -> None:
    door = await make_door(ServerOptions(request_timeout_s=1))
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(
        b"POST /process_frame HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 5000\r\n\r\n" + PART
    )

    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()

    assert head.startswith(b"HTTP/1.1 408 ")


async def test_a_session_of_a_websocket_is_busy(door: Any, silence: Sound) -> None:
    socket = await door.connect("?session_id=mine")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    status, problem = await upload(door, silence(20), "mine")

    assert (status, problem["code"]) == (409, "session_busy")
    await socket.send_str('{"type":"ping"}')
    assert json.loads(await socket.receive_str(timeout=5))["type"] in ("pong", "pipelineHealth")


async def test_two_calls_at_once_on_one_session_do_not_mix(door: Any, silence: Sound) -> None:
    answers = await asyncio.gather(*(upload(door, silence(5000)) for _ in range(4)))

    statuses = sorted(status for status, _ in answers)
    assert statuses[0] == 200
    assert set(statuses) <= {200, 409}
    assert statuses.count(409) >= 1
    _, answer = await upload(door, None, final="true")
    assert answer["events"][-1]["stats"]["frames_received"] == 250 * statuses.count(200)


async def test_many_sessions_at_once_hear_only_their_own(door: Any, tone: Sound, silence: Sound) -> None:
    async def run(number: int) -> Any:
        for part in (tone(500), silence(1000)):
            status, answer = await upload(door, part, f"caller-{number}")
            assert status == 200
            assert {event["session_id"] for event in answer["events"]} == {f"caller-{number}"}
        return (await upload(door, None, f"caller-{number}", final="true"))[1]

    for answer in await asyncio.gather(*(run(number) for number in range(10))):
        assert answer["events"][-1]["stats"]["frames_received"] == 75


async def test_the_format_of_an_open_session_stays(door: Any, silence: Sound) -> None:
    await upload(door, silence(20), sample_rate=16_000)

    status, problem = await upload(door, silence(20), sample_rate=8000)
    assert (status, problem["code"]) == (400, "settings_invalid")
    assert "16000" in problem["detail"]
    assert (await upload(door, silence(20), sample_rate=16_000))[0] == 200


async def test_a_final_call_for_a_session_that_never_was_is_404(door: Any) -> None:
    status, problem = await upload(door, None, "never", final="true")

    assert (status, problem["code"]) == (404, "session_unknown")


async def test_the_session_can_be_ended_over_http_and_its_last_words_are_not_lost(door: Any, tone: Sound) -> None:
    await upload(door, tone(800))
    async with door.client.delete("/session/s") as answer:
        assert answer.status == 200
        ended = await answer.json()

    assert ended["ended"] is True
    assert types(ended)[-1] == "sessionEnded"
    assert "finalTranscription" in types(ended)
    assert (await door.client.get("/session/s/status")).status == 404
    assert (await door.client.delete("/session/s")).status == 404


async def test_a_name_can_be_used_again_when_its_session_has_been_idle_too_long(
    make_door: Any, silence: Sound, eventually: Eventually
) -> None:
    limits = CoordinatorOptions(sessions=SessionsOptions(idle_timeout_s=1, cleanup_interval_s=0.1))
    door = await make_door(pipeline=limits)
    await upload(door, silence(100))
    await eventually(lambda: not door.coordinator.roster.all())

    status, answer = await upload(door, silence(100))

    assert status == 200
    assert answer["stream_ms"] == 100
    assert (answer["events"][0]["type"], answer["events"][0]["seq"]) == ("sessionStarted", 0)


async def test_beyond_the_session_limit_a_new_session_is_503_and_an_open_one_goes_on(
    make_door: Any, silence: Sound
) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=1)))
    await upload(door, silence(20), "first")

    status, problem = await upload(door, silence(20), "second")
    assert (status, problem["code"]) == (503, "too_many_sessions")
    assert (await upload(door, silence(20), "first", final="true"))[0] == 200
    assert (await upload(door, silence(20), "second"))[0] == 200


async def test_noise_is_not_taken_for_a_file_of_some_format(door: Any) -> None:
    noise = np.random.default_rng(1).integers(-3000, 3000, 16_000).astype("<i2").tobytes()

    status, answer = await upload(door, noise)

    assert (status, answer["frames"]) == (200, 50)
