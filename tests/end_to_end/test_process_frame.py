"""The same speech through uploads: WAV files and raw samples, call by call."""

from __future__ import annotations

import io
import itertools
import wave
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
import soxr

from tests.sounds import Int16, joined, mulaw_bytes, silence
from tests.support import Daemon, Heard, check_session, stream, word_error_rate, words


ANSWER = {"session_id", "frames", "stream_ms", "speech_probability", "is_speech", "events", "processing_ms"}


@pytest.fixture
async def http(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(daemon.base) as session:
        yield session


def wav(samples: Int16, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


async def upload(
    http: aiohttp.ClientSession, session_id: str, audio: bytes | None, **fields: Any
) -> tuple[int, dict[str, Any]]:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("session_id", session_id)
    for name, value in fields.items():
        form.add_field(name, str(value).lower())
    if audio is not None:
        form.add_field("audio_file", audio, filename="audio.wav", content_type="application/octet-stream")
    async with http.post("/process_frame", data=form) as response:
        return response.status, await response.json(content_type=None)


async def converse(http: aiohttp.ClientSession, session_id: str, parts: list[bytes], **fields: Any) -> Heard:
    """Upload the parts one after the other, the last of them as the final one."""
    heard = Heard()
    for n, part in enumerate(parts):
        is_last = n == len(parts) - 1
        status, answer = await upload(http, session_id, part, **fields, **({"final": True} if is_last else {}))
        assert status == 200, answer
        assert set(answer) >= ANSWER
        assert answer["session_id"] == session_id
        heard.frames_sent += answer["frames"]
        heard.arrivals += [(float(n), event) for event in answer["events"]]
    return heard


def in_parts(samples: Int16, count: int) -> list[Int16]:
    """Parts whose lengths are no multiple of a frame."""
    edges = np.linspace(0, len(samples), count + 1).astype(int)
    return [samples[a:b] for a, b in itertools.pairwise(edges)]


def raw(samples: Int16) -> bytes:
    return samples.astype("<i2").tobytes()


def wavs_at_48_khz(samples: Int16) -> bytes:
    return wav(np.asarray(soxr.resample(samples, 16_000, 48_000)), 48_000)


def mulaw_at_8_khz(samples: Int16) -> bytes:
    return mulaw_bytes(np.asarray(soxr.resample(samples, 16_000, 8_000)))


@pytest.mark.parametrize(
    ("encode", "fields"),
    [
        (wav, {}),
        (wavs_at_48_khz, {}),
        (raw, {}),
        (raw, {"sample_rate": 16_000, "encoding": "pcm_s16le"}),
        (mulaw_at_8_khz, {"sample_rate": 8_000, "encoding": "mulaw"}),
    ],
    ids=["wav", "wav 48 kHz", "raw", "raw declared", "mu-law"],
)
async def test_speech_in_several_uploads_gives_the_words_and_events(
    http: aiohttp.ClientSession,
    reading: Int16,
    reading_text: str,
    request: pytest.FixtureRequest,
    encode: Callable[[Int16], bytes],
    fields: dict[str, Any],
) -> None:
    session_id = f"upload-{request.node.callspec.id.replace(' ', '-')}"
    audio = joined(reading, silence(1.0))
    heard = await converse(http, session_id, [encode(part) for part in in_parts(audio, 4)], **fields)

    check_session(heard)
    assert word_error_rate(reading_text, heard.text) <= 0.1, heard.text
    expected_frames = len(audio) / 320
    assert abs(heard.frames_sent - expected_frames) <= 2
    assert heard.stats["frames_received"] == heard.frames_sent
    assert [event["frame"] for event in heard.of("frameProcessed")] == list(range(heard.frames_sent))


async def test_uploads_give_the_text_that_a_socket_gives(
    daemon: Daemon, http: aiohttp.ClientSession, sentence: Int16
) -> None:
    audio = joined(sentence, silence(1.0))
    over_socket = await stream(daemon.ws, audio)
    over_http = await converse(http, "same-as-socket", [wav(audio)])
    # Partials that were committed on the way bind the final's commas; uploads come too fast for many of them.
    assert words(over_http.text) == words(over_socket.text)
    for event_type in ("speechStart", "speechEnd"):
        assert [e["at_ms"] for e in over_http.of(event_type)] == [e["at_ms"] for e in over_socket.of(event_type)]


async def test_each_call_gives_what_is_new_since_the_call_before(http: aiohttp.ClientSession, sentence: Int16) -> None:
    first_part, second_part = in_parts(joined(sentence, silence(1.0)), 2)
    _, first = await upload(http, "two-calls", raw(first_part))
    _, second = await upload(http, "two-calls", raw(second_part), final=True)

    assert first["events"][0]["type"] == "sessionStarted"
    assert [event["seq"] for event in first["events"]] == list(range(len(first["events"])))
    assert second["events"][0]["seq"] == len(first["events"])
    assert second["events"][-1]["type"] == "sessionEnded"
    assert first["stream_ms"] == pytest.approx(first["frames"] * 20)
    assert second["stream_ms"] == pytest.approx((first["frames"] + second["frames"]) * 20)
    assert all(0 <= answer["speech_probability"] <= 1 for answer in (first, second))
    assert first["is_speech"] is True
    assert second["is_speech"] is False
    assert first["processing_ms"] > 0


async def test_an_open_session_can_be_seen_and_ended(http: aiohttp.ClientSession, sentence: Int16) -> None:
    await upload(http, "to-be-ended", wav(sentence))
    async with http.get("/session/to-be-ended/status") as response:
        assert response.status == 200
        status = await response.json()
    async with http.delete("/session/to-be-ended") as response:
        assert response.status == 200
    async with http.get("/session/to-be-ended/status") as response:
        assert response.status == 404

    assert status["session_id"] == "to-be-ended"


async def test_a_final_call_without_audio_ends_the_session(http: aiohttp.ClientSession, sentence: Int16) -> None:
    await upload(http, "ended-later", wav(sentence))
    status, answer = await upload(http, "ended-later", None, final=True)
    assert status == 200
    assert answer["frames"] == 0
    assert [event["type"] for event in answer["events"]][-1] == "sessionEnded"
    assert any(event["type"] == "finalTranscription" and event["text"] for event in answer["events"])


async def test_a_session_of_a_socket_is_busy_for_uploads(daemon: Daemon, sentence: Int16) -> None:
    async with aiohttp.ClientSession(daemon.base) as http, http.ws_connect("/ws") as ws:
        await ws.send_json({"type": "start", "session_id": "mine"})
        assert (await ws.receive_json())["type"] == "sessionStarted"
        status, problem = await upload(http, "mine", wav(sentence))
    assert status == 409
    assert problem["code"] == "session_busy"


async def test_the_name_of_a_session_that_is_over_can_be_used_again(
    http: aiohttp.ClientSession, sentence: Int16
) -> None:
    first = await converse(http, "again", [wav(sentence)])
    second = await converse(http, "again", [wav(sentence)])
    assert first.text == second.text
    assert second.events[0]["seq"] == 0
