"""A connection over a pipeline that the test plays: waiting, closing, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from alfred_voice.errors import (
    AlfredVoiceError,
    EngineFailure,
    MalformedAudio,
    Overloaded,
    UnsupportedAudio,
    UnusableText,
)
from alfred_voice.events import Pong, SessionFinished, SessionStats, WarningRaised
from alfred_voice.server.errors import MessageTooLarge
from alfred_voice.server.websocket import connection, conversation


ReadAll = Callable[[ClientWebSocketResponse], Awaitable[list[dict[str, Any]]]]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]

START = '{"type":"start"}'
FRAME = np.arange(320, dtype="<i2").tobytes()


async def open_session(door: Any, query: str = "", start: str = START) -> ClientWebSocketResponse:
    socket: ClientWebSocketResponse = await door.connect(query)
    await socket.send_str(start)
    assert json.loads(await socket.receive_str(timeout=5))["type"] == "sessionStarted"
    return socket


async def test_a_frame_in_the_houses_format_arrives_as_it_was_sent(played_door: Any, eventually: Eventually) -> None:
    socket = await open_session(played_door)
    await socket.send_bytes(FRAME)

    stream = played_door.coordinator.stream
    await eventually(lambda: stream.frames)
    (frame,) = stream.frames
    assert frame.dtype == np.int16
    assert np.array_equal(frame, np.arange(320))


async def test_the_reader_waits_while_the_session_has_no_room(played_door: Any, eventually: Eventually) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.free.clear()
    for _ in range(30):
        await socket.send_bytes(FRAME)
    await eventually(lambda: ("room",) in stream.asked)
    assert stream.frames == []

    stream.free.set()

    await eventually(lambda: len(stream.frames) == 30)


async def test_a_waiting_reader_does_not_keep_the_writer_from_the_end(
    played_door: Any, eventually: Eventually, read_all: ReadAll
) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.free.clear()
    await socket.send_bytes(FRAME)
    await eventually(lambda: ("room",) in stream.asked)

    stream.finish("max_duration")

    assert [event["type"] for event in await read_all(socket)] == ["sessionEnded"]
    assert socket.close_code == 1000


async def test_what_a_client_asks_for_reaches_the_session(played_door: Any, eventually: Eventually) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    await socket.send_str('{"type":"speak","text":"Hi","voice":"v","speed":1.5,"speech_id":9}')
    await socket.send_str('{"type":"stopSpeaking"}')
    await socket.send_bytes(FRAME + FRAME[:100])
    await socket.send_str('{"type":"flush"}')
    await socket.send_str('{"type":"stop"}')
    await eventually(lambda: stream.ended)

    # The flush comes behind the frame that was not full.
    assert stream.asked == [("speak", "Hi", "v", 1.5, 9), ("stop_speaking",), ("flush", 2), ("stop", "stop")]


async def test_a_refusal_of_the_session_becomes_an_error_event(played_door: Any) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.refusal = UnusableText("nothing to say")
    await socket.send_str('{"type":"speak","text":""}')

    told = json.loads(await socket.receive_str(timeout=5))

    assert (told["type"], told["code"], told["message"], told["fatal"]) == (
        "error",
        "text_unusable",
        "nothing to say",
        False,
    )


@pytest.mark.parametrize(
    ("reason", "code"), [("stop", 1000), ("idle", 1000), ("max_duration", 1000), ("shutdown", 1001)]
)
async def test_the_end_of_the_session_closes_with_the_code_of_its_reason(
    played_door: Any, read_all: ReadAll, reason: Any, code: int
) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.finish(reason)

    events = await read_all(socket)

    assert (events[-1]["type"], events[-1]["reason"]) == ("sessionEnded", reason)
    assert socket.close_code == code
    assert stream.is_abandoned


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineFailure("it broke"), 1011),
        (AlfredVoiceError("it broke"), 1011),
        (MalformedAudio("no"), 1008),
        (UnsupportedAudio("no"), 1003),
        (MessageTooLarge("no"), 1009),
        (Overloaded("no"), 1013),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_fatal_error_closes_with_the_code_that_fits_it(
    played_door: Any, read_all: ReadAll, error: AlfredVoiceError, code: int
) -> None:
    socket = await open_session(played_door)
    played_door.coordinator.stream.report(error, fatal=True)

    events = await read_all(socket)

    assert [event["type"] for event in events] == ["error", "sessionEnded"]
    assert socket.close_code == code


async def test_everything_that_was_told_before_the_end_is_sent_before_the_close(
    played_door: Any, read_all: ReadAll
) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    for number in range(500):
        stream.tell(Pong(number))
    stream.finish("stop")

    events = await read_all(socket)

    assert [event.get("id") for event in events[:-1]] == list(range(500))
    assert [event["seq"] for event in events] == list(range(1, 502))


async def test_speech_and_events_keep_their_order(played_door: Any) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.tell(Pong(1))
    stream.tell_audio(5, b"\x01\x02")
    stream.tell(Pong(2))
    stream.finish("stop")

    received = [await socket.receive(timeout=5) for _ in range(4)]

    assert [message.type for message in received] == [
        WSMsgType.TEXT,
        WSMsgType.BINARY,
        WSMsgType.TEXT,
        WSMsgType.TEXT,
    ]
    assert received[1].data == b"\x01\x02"


async def test_a_full_outbox_closes_with_1013(played_door: Any, eventually: Eventually) -> None:
    played_door.coordinator.outbox_events = 20
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    for number in range(21):
        stream.tell(WarningRaised("w", str(number)))

    message = await socket.receive(timeout=5)

    assert (message.type, message.data) == (WSMsgType.CLOSE, 1013)
    await eventually(lambda: stream.is_abandoned)


async def test_a_client_that_reads_nothing_is_cut_off(
    played_door: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer hangs in the network then, and never gets to know that the outbox is full."""
    monkeypatch.setattr(conversation, "STALL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT_S", 0.05)
    client = sockets.socket()
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", played_door.port))
    await loop.sock_sendall(
        client,
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        b"\x81\x90\x00\x00\x00\x00" + START.encode(),
    )
    await eventually(lambda: played_door.coordinator.roster.streams)
    stream = played_door.coordinator.stream
    piece = bytes(100_000)

    def fill() -> bool:
        stream.tell_audio(1, piece)
        return bool(stream.is_abandoned)

    await eventually(fill)

    client.close()


async def test_a_client_that_leaves_frees_its_session_even_while_it_is_spoken_to(
    played_door: Any, eventually: Eventually
) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.tell_audio(1, bytes(640))
    await socket.close()

    await eventually(lambda: stream.is_abandoned)


async def test_audio_after_the_stop_is_let_go(played_door: Any, eventually: Eventually, read_all: ReadAll) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    await socket.send_bytes(FRAME)
    await socket.send_str('{"type":"stop"}')
    await socket.send_bytes(FRAME)
    await socket.send_str('{"type":"nonsense"}')

    events = await read_all(socket)

    assert [event["type"] for event in events] == ["sessionEnded"]
    assert len(stream.frames) == 1
    assert socket.close_code == 1000


async def test_audio_for_a_session_that_ended_by_itself_is_let_go(
    played_door: Any, read_all: ReadAll, eventually: Eventually
) -> None:
    """The client cannot know yet; it is no error of its own."""
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.stop("idle")
    await socket.send_bytes(FRAME)
    await socket.send_bytes(FRAME)

    assert [event["type"] for event in await read_all(socket)] == ["sessionEnded"]
    assert stream.frames == []


async def test_a_fault_of_ours_closes_with_1011_and_is_logged(
    played_door: Any, read_all: ReadAll, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await open_session(played_door)
    played_door.coordinator.stream.refusal = ZeroDivisionError("a bug")
    await socket.send_str('{"type":"speak","text":"x"}')

    assert await read_all(socket) == []
    assert socket.close_code == 1011
    await eventually(lambda: "connection_failed" in caplog.text)
    assert played_door.coordinator.stream.is_abandoned


async def test_the_stats_of_the_end_are_those_of_the_session(played_door: Any, read_all: ReadAll) -> None:
    socket = await open_session(played_door)
    stream = played_door.coordinator.stream
    stream.tell(SessionFinished("stop", SessionStats(7, 5, 2, 1, 99.96)))
    stream.outbox.close()

    (event,) = await read_all(socket)

    assert event["stats"] == {
        "frames_received": 7,
        "frames_processed": 5,
        "frames_dropped": 2,
        "utterances": 1,
        "speech_ms": 100.0,
    }
