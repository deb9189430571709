"""Sessions that outlive their connection, at the door over a real pipeline with scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions


Event = dict[str, Any]
Tone = Callable[[int], bytes]


async def until(socket: ClientWebSocketResponse, kind: str) -> list[Event]:
    """The events up to the first of this kind, which comes last."""
    events: list[Event] = []
    async with asyncio.timeout(5):
        while not events or events[-1]["type"] != kind:
            events.append(await socket.receive_json())
    return events


async def opened(door: Any, session_id: str = "call", **fields: Any) -> tuple[ClientWebSocketResponse, Event]:
    """A resumable session's connection and its first event."""
    socket = await door.connect()
    await socket.send_json({"type": "start", "session_id": session_id, "resumable": True, **fields})
    (started,) = await until(socket, "sessionStarted")
    return socket, started


async def resumed(door: Any, token: str, last_seq: int, session_id: str = "call") -> ClientWebSocketResponse:
    socket: ClientWebSocketResponse = await door.connect(f"?session_id={session_id}")
    await socket.send_json({"type": "start", "resume_token": token, "last_seq": last_seq})
    return socket


def lose(socket: ClientWebSocketResponse) -> None:
    """Break the connection without a word."""
    transport = socket._conn.transport  # type: ignore[union-attr]
    assert transport is not None
    transport.abort()


def state_of(door: Any, session_id: str = "call") -> str:
    return str(door.coordinator.roster.get(session_id).status()["state"])


@pytest.fixture
async def brief(make_door: Callable[..., Awaitable[Any]]) -> Any:
    """A door at which a lost session is kept for a fifth of a second."""
    return await make_door(pipeline=replace(CoordinatorOptions(), sessions=SessionsOptions(resume_grace_s=0.2)))


async def test_who_asks_for_it_is_told_a_token_and_others_are_not(door: Any) -> None:
    _, started = await opened(door)
    assert len(started["resume"]["token"]) >= 24
    assert started["resume"]["grace_s"] == 30
    plain = await door.connect()
    await plain.send_json({"type": "start"})
    (started,) = await until(plain, "sessionStarted")
    assert "resume" not in started


async def test_what_was_missed_is_told_again_and_then_from_where_to_send_on(
    door: Any, tone: Tone, silence: Tone, eventually: Any
) -> None:
    socket, started = await opened(door)
    await socket.send_bytes(tone(600))
    heard = await until(socket, "speechStart")
    await socket.send_bytes(silence(900))
    stream = door.coordinator.roster.get("call")
    await eventually(lambda: stream.status()["utterances"] == 1 and stream.status()["stream_ms"] == 1500)
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")
    again = await resumed(door, started["resume"]["token"], heard[-1]["seq"])
    missed = await until(again, "sessionResumed")
    assert [event["seq"] for event in missed] == list(range(heard[-1]["seq"] + 1, missed[-1]["seq"] + 1))
    assert missed[-1]["audio_bytes"] == len(tone(600)) + len(silence(900))
    assert state_of(door) == "listening"
    await again.send_json({"type": "stop"})
    rest = await until(again, "sessionEnded")
    finals = [event for event in (*missed, *rest) if event["type"] == "finalTranscription"]
    assert [final["text"] for final in finals] == ["turn on the lamp"]


@pytest.mark.parametrize("size", [641, 20_001], ids=["short", "long"])
async def test_audio_that_was_refused_is_not_asked_for_again(
    door: Any, silence: Tone, eventually: Any, size: int
) -> None:
    socket, started = await opened(door)
    await socket.send_bytes(silence(100))
    await socket.send_bytes(bytes(size))
    await socket.send_bytes(silence(20))
    refused = (await until(socket, "error"))[-1]
    await eventually(lambda: door.coordinator.roster.get("call").status()["stream_ms"] == 120)
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")
    again = await resumed(door, started["resume"]["token"], refused["seq"])
    assert (await until(again, "sessionResumed"))[-1]["audio_bytes"] == len(silence(120)) + size


async def test_what_is_told_while_nobody_is_there_comes_with_the_return(door: Any, tone: Tone, eventually: Any) -> None:
    socket, started = await opened(door)
    await socket.send_bytes(tone(600))
    heard = await until(socket, "speechStart")
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")
    door.coordinator.roster.get("call").flush()
    again = await resumed(door, started["resume"]["token"], heard[-1]["seq"])
    await again.send_json({"type": "stop"})
    events = await until(again, "sessionEnded")
    assert [event["text"] for event in events if event["type"] == "finalTranscription"] == ["turn on the lamp"]
    assert [event["seq"] for event in events] == list(range(heard[-1]["seq"] + 1, events[-1]["seq"] + 1))


async def test_speech_of_the_daemon_stops_where_nobody_hears_it(door: Any, eventually: Any) -> None:
    socket, started = await opened(door)
    await socket.send_json({"type": "speak", "text": "a long story " * 30, "speech_id": 7})
    first = await until(socket, "ttsStart")
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")
    again = await resumed(door, started["resume"]["token"], first[-1]["seq"])
    (end,) = [event for event in await until(again, "sessionResumed") if event["type"] == "ttsEnd"]
    assert (end["speech_id"], end["cancelled"]) == (7, True)


async def test_a_connection_that_is_only_thought_to_be_alive_is_taken_over(door: Any) -> None:
    socket, started = await opened(door)
    again = await resumed(door, started["resume"]["token"], 0)
    await until(again, "sessionResumed")
    closing = await asyncio.wait_for(_closing(socket), 5)
    assert closing == 1008
    await again.send_json({"type": "stop"})
    assert (await until(again, "sessionEnded"))[-1]["reason"] == "stop"


async def _closing(socket: ClientWebSocketResponse) -> int | None:
    async for _ in socket:
        pass
    return socket.close_code


async def test_of_two_who_come_back_at_once_one_has_the_session_in_the_end(door: Any, eventually: Any) -> None:
    socket, started = await opened(door)
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")
    both = await asyncio.gather(*(resumed(door, started["resume"]["token"], 0) for _ in range(2)))
    closed = await asyncio.wait(
        [asyncio.create_task(_closing(each)) for each in both], return_when=asyncio.FIRST_COMPLETED, timeout=5
    )
    assert [task.result() for task in closed[0]] == [1008]
    assert state_of(door) == "listening"
    for task in closed[1]:
        task.cancel()


@pytest.mark.parametrize(
    ("shown", "session_id", "last_seq"),
    [("wrong", "call", 0), ("", "call", 0), ("right", "other", 0), ("right", "call", 99), ("right", "call", -5)],
)
async def test_who_cannot_come_back_is_told_so_and_can_begin_anew(
    door: Any, shown: str, session_id: str, last_seq: int
) -> None:
    _, started = await opened(door)
    socket = await door.connect()
    token = started["resume"]["token"] if shown == "right" else shown
    await socket.send_json({"type": "start", "session_id": session_id, "resume_token": token, "last_seq": last_seq})
    error = (await until(socket, "error"))[-1]
    assert error["code"] == ("message_malformed" if last_seq < -1 else "resume_refused")
    assert not error["fatal"]
    assert state_of(door) == "listening", "the session itself is not touched"
    await socket.send_json({"type": "start", "session_id": "new"})
    await until(socket, "sessionStarted")


async def test_a_session_that_goes_on_keeps_its_settings(door: Any) -> None:
    _, started = await opened(door)
    socket = await door.connect()
    token = started["resume"]["token"]
    await socket.send_json({"type": "start", "session_id": "call", "resume_token": token, "sample_rate": 8000})
    assert "expected only session_id and last_seq" in (await until(socket, "error"))[-1]["message"]


async def test_events_beyond_those_that_are_kept_are_gone(make_door: Any, eventually: Any) -> None:
    door = await make_door(pipeline=replace(CoordinatorOptions(), sessions=SessionsOptions(resume_events=16)))
    socket, started = await opened(door)
    for number in range(20):
        await socket.send_json({"type": "ping", "id": number})
        await until(socket, "pong")
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")
    refused = await resumed(door, started["resume"]["token"], 2)
    assert "what came behind it is gone" in (await until(refused, "error"))[-1]["message"]
    seq = door.coordinator.roster.get("call").outbox._seq - 1
    again = await resumed(door, started["resume"]["token"], seq - 10)
    assert len(await until(again, "sessionResumed")) == 11


async def test_who_does_not_come_back_in_time_is_forgotten(brief: Any, eventually: Any) -> None:
    socket, started = await opened(brief)
    lose(socket)
    await eventually(lambda: not brief.coordinator.roster.all())
    late = await brief.connect()
    await late.send_json({"type": "start", "session_id": "call", "resume_token": started["resume"]["token"]})
    assert (await until(late, "error"))[-1]["code"] == "resume_refused"


async def test_who_leaves_with_a_word_is_not_waited_for(door: Any, eventually: Any) -> None:
    socket, _ = await opened(door)
    await socket.close(code=1000)
    await eventually(lambda: not door.coordinator.roster.all())


async def test_a_session_that_ended_meanwhile_still_tells_its_end(door: Any, eventually: Any) -> None:
    socket, started = await opened(door)
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")
    door.coordinator.roster.get("call").stop("idle")
    await eventually(lambda: not door.coordinator.roster.all())
    again = await resumed(door, started["resume"]["token"], 0)
    assert (await until(again, "sessionEnded"))[-1]["reason"] == "idle"


async def test_a_namesake_of_a_session_that_ended_is_not_forgotten_with_it(brief: Any, eventually: Any) -> None:
    socket, _ = await opened(brief)
    lose(socket)
    await eventually(lambda: state_of(brief) == "detached")
    brief.coordinator.roster.get("call").stop("idle")
    await eventually(lambda: not brief.coordinator.roster.all())
    other, started = await opened(brief)
    await asyncio.sleep(0.3)
    lose(other)
    again = await resumed(brief, started["resume"]["token"], 0)
    await until(again, "sessionResumed")


async def test_load_is_no_reason_to_keep_out_who_was_in(door: Any, eventually: Any, monkeypatch: Any) -> None:
    socket, started = await opened(door)
    lose(socket)
    await eventually(lambda: state_of(door) == "detached")

    def refuse() -> None:
        raise AssertionError("nobody asks")

    monkeypatch.setattr(door.coordinator, "admit", refuse)
    again = await resumed(door, started["resume"]["token"], 0)
    await until(again, "sessionResumed")


async def test_audio_is_acknowledged_once_a_second(door: Any, silence: Tone) -> None:
    socket, _ = await opened(door)
    await socket.send_bytes(silence(100))
    async with asyncio.timeout(5):
        events = await until(socket, "audioAcknowledged")
    assert events[-1]["audio_bytes"] == len(silence(100))
