"""A session over a WebSocket and the real pipeline: what a client sends and what it gets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgpack
import numpy as np
import pytest
from aiohttp import WSMsgType

from alfred_voice.pipeline.options import CoordinatorOptions, TtsOptions
from tests.server.websocket.talking import FRAME_BYTES, MSGPACK, ReadAll, Sound, next_event, send, send_frames, types


def without_health(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] != "pipelineHealth"]


async def test_a_conversation_runs_from_the_first_sound_to_the_end(
    door: Any, tone: Sound, silence: Sound, read_all: ReadAll
) -> None:
    socket = await door.connect()
    await send(socket, type="start", session_id="call-1", language="en")
    await send_frames(socket, silence(400) + tone(1200) + silence(1500))
    await send(socket, type="stop")

    events = await read_all(socket)

    told = types(without_health(events))
    assert told[0] == "sessionStarted"
    assert told[-1] == "sessionEnded"
    assert told.index("speechStart") < told.index("finalTranscription") < told.index("turnComplete")
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert {event["session_id"] for event in events} == {"call-1"}
    final = next(event for event in events if event["type"] == "finalTranscription")
    assert final["text"] == "turn on the lamp"
    ended = events[-1]
    assert ended["reason"] == "stop"
    stats = ended["stats"]
    assert stats["frames_received"] == stats["frames_processed"] + stats["frames_dropped"] == 3100 // 20
    assert socket.close_code == 1000
    assert door.coordinator.roster.all() == []


async def test_the_same_conversation_runs_over_messagepack(door: Any, tone: Sound, silence: Sound) -> None:
    socket = await door.connect("", MSGPACK)
    assert socket.protocol == MSGPACK
    await socket.send_bytes(msgpack.packb({"type": "start", "session_id": "call-2", "turns": False}))
    audio = tone(1000) + silence(1500)
    for start in range(0, len(audio), FRAME_BYTES):
        await socket.send_bytes(msgpack.packb({"type": "audio", "audio": audio[start : start + FRAME_BYTES]}))
    await socket.send_bytes(msgpack.packb({"type": "stop"}))

    messages = [message async for message in socket]

    assert {message.type for message in messages} == {WSMsgType.BINARY}
    events = [msgpack.unpackb(message.data) for message in messages]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert events[0]["session_id"] == "call-2"
    assert {"speechStart", "finalTranscription", "sessionEnded"} <= set(types(events))
    assert "turnComplete" not in types(events)
    assert events[-1]["stats"]["frames_received"] == 125
    assert socket.close_code == 1000


async def test_malformed_messages_are_told_and_harm_nobody(
    door: Any, tone: Sound, silence: Sound, read_all: ReadAll
) -> None:
    good = await door.connect()
    bad = await door.connect()
    await send(good, type="start")
    await send(bad, type="start")
    await good.send_bytes(tone(500))
    for text in ("", "{", "[]", '{"type":"dance"}', '{"type":"speak"}', '{"type":"ping","id":[]}', '{"type":"audio"}'):
        await bad.send_str(text)
    await bad.send_bytes(bytes(641))
    await bad.send_bytes(tone(20))
    await send(bad, type="stop")
    await good.send_bytes(tone(500) + silence(1000))
    await send(good, type="stop")

    events = await read_all(bad)
    codes = [event["code"] for event in events if event["type"] == "error"]
    assert codes == [
        "message_malformed",
        "message_malformed",
        "message_malformed",
        "message_unknown",
        "message_malformed",
        "message_malformed",
        "message_unexpected",
        "audio_malformed",
    ]
    assert events[-1]["stats"]["frames_received"] == 1
    assert bad.close_code == 1000
    heard = await read_all(good)
    assert "finalTranscription" in types(heard)
    assert "error" not in types(heard)


async def test_the_error_about_odd_bytes_says_what_was_expected_and_what_came(door: Any) -> None:
    socket = await door.connect()
    await send(socket, type="start", encoding="pcm_f32le", channels=2)
    await socket.send_bytes(bytes(1601))

    await next_event(socket)
    message = (await next_event(socket))["message"]
    assert "8 bytes" in message
    assert "1601 bytes" in message


async def test_a_long_message_of_odd_bytes_is_refused_as_a_whole(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await socket.send_bytes(bytes(100_001))
    await send(socket, type="stop")

    events = await read_all(socket)

    assert types(events) == ["sessionStarted", "error", "sessionEnded"]
    assert "100001 bytes" in events[1]["message"]
    assert events[-1]["stats"]["frames_received"] == 0


@pytest.mark.parametrize("cut", [2, 638, 640, 642, 3200, 16_384, 16_386, 64_000])
async def test_audio_may_come_in_pieces_of_any_length(door: Any, tone: Sound, read_all: ReadAll, cut: int) -> None:
    audio = tone(2000)
    socket = await door.connect()
    if cut == 2:
        audio = audio[:3200]
    for start in range(0, len(audio), cut):
        await socket.send_bytes(audio[start : start + cut])
    await send(socket, type="stop")

    events = await read_all(socket)

    assert events[-1]["stats"]["frames_received"] == len(audio) // FRAME_BYTES


async def test_what_is_left_of_a_frame_is_filled_up_at_the_end(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await socket.send_bytes(bytes(642))
    await send(socket, type="stop")

    assert (await read_all(socket))[-1]["stats"]["frames_received"] == 2


@pytest.mark.parametrize(
    ("settings", "seconds_of_bytes"),
    [
        ({"sample_rate": 8000, "encoding": "mulaw"}, 8000),
        ({"sample_rate": 8000, "encoding": "alaw"}, 8000),
        ({"sample_rate": 48000, "channels": 2}, 192_000),
        ({"sample_rate": 44100}, 88_200),
        ({"sample_rate": 24000, "encoding": "pcm_f32le"}, 96_000),
    ],
    ids=str,
)
async def test_every_declared_format_becomes_frames_of_20_ms(
    door: Any, read_all: ReadAll, settings: dict[str, Any], seconds_of_bytes: int
) -> None:
    socket = await door.connect()
    await send(socket, type="start", **settings)
    await socket.send_bytes(bytes(seconds_of_bytes))
    await send(socket, type="stop")

    ended = (await read_all(socket))[-1]

    assert ended["stats"]["frames_received"] in (50, 51)  # a resampler may have a rest


async def test_floats_that_are_no_numbers_are_refused(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start", encoding="pcm_f32le")
    await socket.send_bytes(np.full(320, np.nan, dtype="<f4").tobytes())
    await send(socket, type="stop")

    events = await read_all(socket)

    assert events[1]["code"] == "audio_malformed"
    assert events[-1]["stats"]["frames_received"] == 0


async def test_text_where_messagepack_belongs_is_told(door: Any) -> None:
    socket = await door.connect("", MSGPACK)
    await socket.send_bytes(msgpack.packb({"type": "start"}))
    await socket.send_str('{"type": "ping"}')
    await socket.send_bytes(bytes(640))
    await socket.send_bytes(b"\xc1")
    await socket.send_bytes(msgpack.packb({"type": "ping", "id": "still here"}))

    events = [msgpack.unpackb(await socket.receive_bytes(timeout=5)) for _ in range(5)]

    assert types(events) == ["sessionStarted", "error", "error", "error", "pong"]
    assert [event.get("code") for event in events[1:4]] == [
        "message_unexpected",
        "message_malformed",
        "message_malformed",
    ]
    assert events[4]["id"] == "still here"


async def test_text_before_the_session_is_told_in_messagepack_too(door: Any) -> None:
    socket = await door.connect("", MSGPACK)
    await socket.send_str('{"type": "start"}')

    told = msgpack.unpackb(await socket.receive_bytes(timeout=5))

    assert (told["type"], told["code"], told["seq"], told["session_id"]) == ("error", "message_unexpected", 0, "")


async def test_frames_are_told_of_only_to_who_asks(door: Any, silence: Sound, read_all: ReadAll) -> None:
    asks = await door.connect()
    await send(asks, type="start", events=["frameProcessed"])
    await asks.send_bytes(silence(320))
    await send(asks, type="stop")
    does_not = await door.connect()
    await does_not.send_bytes(silence(320))
    await send(does_not, type="stop")

    told = [event for event in await read_all(asks) if event["type"] == "frameProcessed"]
    assert [event["frame"] for event in told] == list(range(16))
    assert [event["at_ms"] for event in told] == [20.0 * frame for frame in range(16)]
    assert "frameProcessed" not in types(await read_all(does_not))


async def test_a_flush_finalises_what_has_been_said_so_far(door: Any, tone: Sound) -> None:
    socket = await door.connect()
    await send_frames(socket, tone(1000))
    await send(socket, type="flush")

    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] != "turnComplete":
        seen.append(await next_event(socket))

    assert "finalTranscription" in types(seen)
    assert seen[-1]["reason"] == "flush"


async def test_speech_is_announced_and_then_sent_as_audio(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(tts=TtsOptions(lead_ms=5000)))
    socket = await door.connect()
    await send(socket, type="start", sample_rate=8000, encoding="mulaw")
    await send(socket, type="speak", text="Good evening.", speech_id=12)

    announced, audio = None, b""
    while True:
        message = await socket.receive(timeout=5)
        if message.type is WSMsgType.BINARY:
            assert announced, "audio came before its announcement"
            audio += message.data
            continue
        event = json.loads(message.data)
        if event["type"] == "ttsStart":
            announced = event
        if event["type"] == "ttsEnd":
            break

    assert announced is not None
    assert (announced["speech_id"], announced["text"], announced["voice"]) == (12, "Good evening.", "en-us")
    assert (announced["sample_rate"], announced["encoding"]) == (8000, "mulaw")
    assert (event["speech_id"], event["cancelled"]) == (12, False)
    # One byte of mu-law is one sample at 8 kHz.
    assert len(audio) / 8 == pytest.approx(event["duration_ms"], abs=21)


async def test_speech_travels_in_maps_over_messagepack(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(tts=TtsOptions(lead_ms=5000)))
    socket = await door.connect("", MSGPACK)
    await socket.send_bytes(msgpack.packb({"type": "speak", "text": "Good evening.", "speech_id": 4}))

    told: list[dict[str, Any]] = []
    while not told or told[-1]["type"] != "ttsEnd":
        told.append(msgpack.unpackb(await socket.receive_bytes(timeout=5)))

    audio = [event for event in told if event["type"] == "ttsAudio"]
    assert {event["speech_id"] for event in audio} == {4}
    assert all(isinstance(event["audio"], bytes) and event["audio"] for event in audio)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"text": "Hi", "voice": "nobody"}, "voice_unknown"), ({"text": " "}, "text_unusable")],
)
async def test_what_cannot_be_said_is_an_error_and_the_session_lives_on(
    door: Any, fields: dict[str, Any], code: str
) -> None:
    socket = await door.connect()
    await send(socket, type="speak", **fields)
    await send(socket, type="ping", id="alive")

    await next_event(socket)
    told = await next_event(socket)
    assert (told["code"], told["fatal"]) == (code, False)
    assert (await next_event(socket))["id"] == "alive"


async def test_ten_clients_at_once_hear_only_their_own(
    door: Any, tone: Sound, silence: Sound, read_all: ReadAll
) -> None:
    async def converse(number: int) -> list[dict[str, Any]]:
        socket = await door.connect(f"?session_id=caller-{number}")
        await send_frames(socket, tone(600) + silence(1200))
        await send(socket, type="stop")
        return await read_all(socket)

    conversations = await asyncio.gather(*(converse(number) for number in range(10)))

    for number, events in enumerate(conversations):
        assert {event["session_id"] for event in events} == {f"caller-{number}"}
        assert [event["seq"] for event in events] == list(range(len(events)))
        assert types(events).count("finalTranscription") == 1
        assert events[-1]["stats"]["frames_received"] == 90
