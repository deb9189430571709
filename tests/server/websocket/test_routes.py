"""The WebSocket endpoint over the real pipeline: what a client sends and what it gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions, TtsOptions
from alfred_voice.server.options import ServerOptions


Sound = Callable[[int], bytes]
ReadAll = Callable[[ClientWebSocketResponse], Awaitable[list[dict[str, Any]]]]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]

JSON = "alfred.v1.json"
MSGPACK = "alfred.v1.msgpack"
FRAME_BYTES = 640


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def without_health(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] != "pipelineHealth"]


async def send(socket: ClientWebSocketResponse, **message: Any) -> None:
    await socket.send_str(json.dumps(message))


async def next_event(socket: ClientWebSocketResponse) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(await socket.receive_str(timeout=5))
        if event["type"] != "pipelineHealth":
            return event


async def send_frames(socket: ClientWebSocketResponse, audio: bytes) -> None:
    for start in range(0, len(audio), FRAME_BYTES):
        await socket.send_bytes(audio[start : start + FRAME_BYTES])
        await asyncio.sleep(0.001)


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


@pytest.mark.parametrize(
    ("protocols", "chosen"),
    [((), None), ((JSON,), JSON), ((MSGPACK,), MSGPACK), (("other", MSGPACK, JSON), MSGPACK), ((JSON, MSGPACK), JSON)],
)
async def test_the_clients_first_sub_protocol_that_is_ours_is_taken(
    door: Any, protocols: tuple[str, ...], chosen: str | None
) -> None:
    socket = await door.connect("", *protocols)

    assert socket.protocol == chosen


async def test_without_a_sub_protocol_messages_are_json(door: Any) -> None:
    socket = await door.connect()
    await send(socket, type="ping", id=1)

    assert (await next_event(socket))["type"] == "sessionStarted"


async def test_a_sub_protocol_that_is_none_of_ours_is_refused(door: Any) -> None:
    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect("", "graphql-ws")

    assert caught.value.status == 400


async def test_the_root_is_the_same_endpoint(door: Any) -> None:
    socket = await door.connect(path="/")
    await send(socket, type="stop")

    assert types([await next_event(socket), await next_event(socket)]) == ["sessionStarted", "sessionEnded"]


async def test_the_endpoint_without_a_websocket_asks_for_one(door: Any) -> None:
    answer = await door.client.get("/ws")

    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert (await answer.json())["code"] == "upgrade_required"


async def test_a_plain_request_is_told_why_a_handshake_would_be_refused(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=1)))
    socket = await door.connect("?session_id=taken")
    await socket.send_str('{"type":"start"}')
    await next_event(socket)

    answer = await door.client.get("/ws")
    assert (answer.status, (await answer.json())["code"]) == (503, "too_many_sessions")
    assert int(answer.headers["Retry-After"]) >= 1
    await socket.send_str('{"type":"stop"}')
    while not (await socket.receive()).type.name.startswith("CLOS"):
        pass
    assert (await door.client.get("/ws")).status == 426


async def test_the_query_gives_defaults_for_start(door: Any) -> None:
    socket = await door.connect("?session_id=from-query&sample_rate=8000&encoding=mulaw&token=secret&cache=7")
    await socket.send_bytes(bytes(160))

    started = await next_event(socket)
    assert (started["session_id"], started["sample_rate"], started["encoding"]) == ("from-query", 8000, "mulaw")


async def test_start_goes_before_the_query(door: Any) -> None:
    socket = await door.connect("?session_id=from-query&sample_rate=8000")
    await send(socket, type="start", session_id="from-start", encoding="alaw")

    started = await next_event(socket)
    assert (started["session_id"], started["sample_rate"], started["encoding"]) == ("from-start", 8000, "alaw")


async def test_a_query_that_is_no_number_is_refused_before_the_upgrade(door: Any) -> None:
    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect("?sample_rate=fast")

    assert caught.value.status == 400


async def test_each_client_that_names_no_session_gets_its_own(door: Any) -> None:
    names = set()
    for _ in range(3):
        socket = await door.connect()
        await send(socket, type="start")
        names.add((await next_event(socket))["session_id"])

    assert len(names) == 3


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sample_rate": 7999}, "sample_rate"),
        ({"sample_rate": 48001}, "sample_rate"),
        ({"sample_rate": 2**53 - 1}, "sample_rate"),
        ({"channels": 3}, "channels"),
        ({"encoding": "opus"}, "encoding"),
        ({"session_id": "a b"}, "session_id"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"events": ["nothing"]}, "nothing"),
    ],
    ids=str,
)
async def test_a_start_that_cannot_be_served_is_refused_and_a_better_one_taken(
    door: Any, fields: dict[str, Any], named: str
) -> None:
    socket = await door.connect()
    await send(socket, type="start", **fields)

    refused = await next_event(socket)
    assert (refused["type"], refused["code"], refused["fatal"]) == ("error", "settings_invalid", False)
    assert named in refused["message"]
    assert (refused["session_id"], refused["seq"]) == ("", 0)
    await send(socket, type="start")
    started = await next_event(socket)
    assert (started["type"], started["seq"]) == ("sessionStarted", 1)


async def test_numbers_go_on_over_errors_before_the_session(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await socket.send_str("nonsense")
    await send(socket, type="hello")
    await send(socket, type="start", sample_rate=1)
    await socket.send_bytes(bytes(640))
    await send(socket, type="ping", id="early")
    await send(socket, type="start", session_id="late")
    await send(socket, type="stop")

    events = await read_all(socket)

    told = [(event["seq"], event["type"], event["session_id"], event.get("code")) for event in events]
    assert told == [
        (0, "error", "", "message_malformed"),
        (1, "error", "", "message_unknown"),
        (2, "error", "", "settings_invalid"),
        (3, "error", "", "message_unexpected"),
        (4, "pong", "", None),
        (5, "sessionStarted", "late", None),
        (6, "sessionEnded", "late", None),
    ]


async def test_audio_after_a_refused_start_is_answered_once(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start", encoding="opus")
    for _ in range(50):
        await socket.send_bytes(bytes(640))
    await send(socket, type="start")
    await socket.send_bytes(bytes(640))
    await send(socket, type="stop")

    events = await read_all(socket)

    assert types(events) == ["error", "error", "sessionStarted", "sessionEnded"]
    assert "start" in events[1]["message"]
    assert events[-1]["stats"]["frames_received"] == 1


async def test_a_start_of_the_wrong_types_keeps_audio_from_being_misheard(door: Any) -> None:
    socket = await door.connect()
    await send(socket, type="start", sample_rate="8000")
    await socket.send_bytes(bytes(320))

    assert (await next_event(socket))["code"] == "message_malformed"
    assert (await next_event(socket))["code"] == "message_unexpected"
    assert door.coordinator.roster.all() == []


async def test_a_stop_after_a_refused_start_closes(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start", encoding="opus")
    await send(socket, type="stop")

    assert types(await read_all(socket)) == ["error"]
    assert socket.close_code == 1000


async def test_a_second_start_is_an_error_and_the_session_lives_on(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start")
    await send(socket, type="start", sample_rate=8000)
    await send(socket, type="ping", id=3)
    await send(socket, type="stop")

    events = await read_all(socket)

    assert types(events) == ["sessionStarted", "error", "pong", "sessionEnded"]
    assert (events[1]["code"], events[1]["fatal"]) == ("message_unexpected", False)


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


async def test_a_session_that_is_open_elsewhere_is_refused_before_the_upgrade(door: Any) -> None:
    socket = await door.connect()
    await send(socket, type="start", session_id="mine")
    await next_event(socket)

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect("?session_id=mine")

    assert caught.value.status == 409


async def test_a_start_with_a_name_that_is_taken_is_refused_and_another_one_taken(door: Any) -> None:
    first = await door.connect()
    await send(first, type="start", session_id="mine")
    await next_event(first)
    second = await door.connect()
    await send(second, type="start", session_id="mine")
    await send(second, type="start", session_id="yours")

    refused = await next_event(second)
    assert (refused["code"], refused["fatal"]) == ("session_busy", False)
    assert (await next_event(second))["session_id"] == "yours"
    await send(first, type="ping", id=1)
    assert (await next_event(first))["type"] == "pong"


async def test_a_name_is_free_again_when_its_session_has_ended(door: Any, read_all: ReadAll) -> None:
    for _ in range(3):
        socket = await door.connect("?session_id=again")
        await send(socket, type="stop")
        assert types(await read_all(socket)) == ["sessionStarted", "sessionEnded"]


async def test_beyond_the_session_limit_the_upgrade_is_refused(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=1)))
    socket = await door.connect()
    await send(socket, type="start")
    await next_event(socket)

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()
    assert caught.value.status == 503
    assert caught.value.headers is not None
    assert int(caught.value.headers["Retry-After"]) > 0

    await send(socket, type="stop")
    await next_event(socket)
    await socket.close()
    again = await door.connect()
    await send(again, type="start")
    assert (await next_event(again))["type"] == "sessionStarted"


async def test_connections_without_a_session_are_limited_too(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=2)))
    held = [await door.connect() for _ in range(2)]

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()

    assert caught.value.status == 503
    for socket in held:
        await socket.close()


async def test_a_client_that_never_starts_is_sent_away(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(idle_timeout_s=1)))
    socket = await door.connect()

    message = await socket.receive(timeout=5)

    assert (message.type, message.data) == (WSMsgType.CLOSE, 1008)


async def test_an_idle_session_is_told_its_end_and_closed(make_door: Any, read_all: ReadAll) -> None:
    limits = SessionsOptions(idle_timeout_s=1, cleanup_interval_s=0.1)
    door = await make_door(pipeline=CoordinatorOptions(sessions=limits))
    socket = await door.connect()
    await send(socket, type="start")

    events = await read_all(socket)

    assert (events[-1]["type"], events[-1]["reason"]) == ("sessionEnded", "idle")
    assert socket.close_code == 1000


async def test_a_message_beyond_the_limit_closes_with_1009_and_ends_the_session(
    make_door: Any, eventually: Eventually, read_all: ReadAll
) -> None:
    door = await make_door(ServerOptions(max_message_bytes=4096))
    socket = await door.connect()
    other = await door.connect()
    await send(socket, type="start")
    await send(other, type="start")
    await next_event(socket)
    await next_event(other)
    assert len(door.coordinator.roster.all()) == 2
    await socket.send_bytes(bytes(4097))

    events = await read_all(socket)

    assert types(events) == ["error", "sessionEnded"]
    assert (events[0]["code"], events[0]["fatal"]) == ("message_too_large", True)
    assert "4096 bytes" in events[0]["message"]
    assert events[1]["reason"] == "error"
    assert socket.close_code == 1009
    await eventually(lambda: len(door.coordinator.roster.all()) == 1)
    errors = door.coordinator.metrics.registry.get_sample_value("alfred_errors_total", {"code": "message_too_large"})
    assert errors == 1
    await send(other, type="ping", id=1)
    assert (await next_event(other))["type"] == "pong"


async def test_a_first_message_beyond_the_limit_is_told_and_closed_with_1009(door: Any, read_all: ReadAll) -> None:
    """The whole of it can be sent: the connection is not reset under the client's hands."""
    socket = await door.connect()
    await socket.send_bytes(bytes(10_000_000))

    events = await read_all(socket)

    assert [(event["type"], event["code"], event["fatal"]) for event in events] == [
        ("error", "message_too_large", True)
    ]
    assert socket.close_code == 1009
    assert door.coordinator.roster.all() == []


async def test_the_largest_message_that_is_allowed_is_taken(make_door: Any, read_all: ReadAll) -> None:
    door = await make_door(ServerOptions(max_message_bytes=64_000))
    socket = await door.connect()
    await socket.send_bytes(bytes(64_000))
    await send(socket, type="stop")

    events = await read_all(socket)

    assert events[0]["limits"]["max_message_bytes"] == 64_000
    assert events[-1]["stats"]["frames_received"] == 100


async def test_a_client_that_vanishes_leaves_nothing_behind(door: Any, tone: Sound, eventually: Eventually) -> None:
    sockets = [await door.connect() for _ in range(5)]
    for socket in sockets:
        await socket.send_bytes(tone(500))
        await next_event(socket)
    for socket in sockets:
        assert socket._response.connection is not None
        transport = socket._response.connection.transport
        assert transport is not None
        transport.abort()

    await eventually(lambda: not door.coordinator.roster.all())
    active = door.coordinator.metrics.registry.get_sample_value("alfred_sessions_active", {"transport": "websocket"})
    assert active == 0
    for socket in sockets:
        await socket.close()


async def test_a_client_that_closes_in_the_middle_is_answered_and_forgotten(
    door: Any, tone: Sound, eventually: Eventually
) -> None:
    socket = await door.connect()
    await socket.send_bytes(tone(500))
    await next_event(socket)
    await socket.close(code=1000)

    assert socket.close_code == 1000
    await eventually(lambda: not door.coordinator.roster.all())


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


async def test_while_loading_the_upgrade_is_refused(make_door: Any) -> None:
    door = await make_door(started=False)

    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()

    assert caught.value.status == 503


async def test_a_session_is_told_of_the_shutdown_and_closed_with_1001(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await send(socket, type="start")
    await next_event(socket)
    await door.coordinator.drain(5)

    events = await read_all(socket)

    assert (events[-1]["type"], events[-1]["reason"]) == ("sessionEnded", "shutdown")
    assert socket.close_code == 1001
    with pytest.raises(WSServerHandshakeError) as caught:
        await door.connect()
    assert caught.value.status == 503


async def test_a_start_while_draining_is_a_fatal_error_and_closes_with_1013(door: Any, read_all: ReadAll) -> None:
    socket = await door.connect()
    await door.coordinator.drain(5)
    await send(socket, type="start")

    events = await read_all(socket)

    assert [(event["type"], event["code"], event["fatal"]) for event in events] == [("error", "draining", True)]
    assert socket.close_code == 1013


async def test_a_session_that_is_ended_over_http_while_it_speaks_is_told_and_closed(
    door: Any, tone: Sound, read_all: ReadAll
) -> None:
    socket = await door.connect("?session_id=victim")
    await send_frames(socket, tone(600))
    answer = await door.client.delete("/session/victim")

    events = await read_all(socket)

    assert answer.status == 200
    assert (await answer.json()) == {"session_id": "victim", "ended": True}
    assert types(events).count("finalTranscription") == 1
    assert (events[-1]["type"], events[-1]["reason"]) == ("sessionEnded", "stop")
    assert socket.close_code == 1000


@pytest.mark.parametrize(
    ("query", "said"),
    [("samplerate=8000", "did you mean sample_rate?"), ("session-id=x", "did you mean session_id?"),
     ("Language=de", "did you mean language?")],
)  # fmt: skip
async def test_a_field_of_the_query_that_is_misspelt_is_refused(door: Any, query: str, said: str) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    async with door.client.get(f"/ws?{query}", headers=headers) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (400, "message_malformed")
    assert said in problem["detail"]
