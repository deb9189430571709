"""The client against a small server that follows a script; the real daemon is in the end-to-end tests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.test_utils import TestServer

from alfred_voice.client import (
    Conversation,
    ConversationLost,
    ConversationRefused,
    DaemonSilent,
    DaemonUnreachable,
    Timeouts,
    UnreadableMessage,
)
from alfred_voice.client.opening import address_of
from alfred_voice.errors import AlfredVoiceError


Script = Callable[[web.WebSocketResponse], Awaitable[None]]
Serve = Callable[[Script], Awaitable[str]]

STARTED = {"type": "sessionStarted", "session_id": "s-1", "seq": 0}
ENDED = {"type": "sessionEnded", "session_id": "s-1", "seq": 1, "reason": "stop", "stats": {}}


async def read_all(ws: web.WebSocketResponse, into: list[Any]) -> None:
    """Keep what comes until ``stop``."""
    async for message in ws:
        data = json.loads(message.data) if message.type is WSMsgType.TEXT else message.data
        into.append(data)
        if isinstance(data, dict) and data["type"] == "stop":
            return


async def echo_session(ws: web.WebSocketResponse) -> None:
    """The least that a daemon does: start, wait for stop, end."""
    await ws.send_json(STARTED)
    await read_all(ws, [])
    await ws.send_json(ENDED)
    await ws.close()


async def test_a_session_goes_from_start_to_a_clean_end(serve: Serve) -> None:
    url = await serve(echo_session)
    async with Conversation.connect(url) as talk:
        before = (talk.started, talk.session_id)
        first = await anext(aiter(talk))
        after = (talk.started, talk.session_id)
        await talk.stop()
        rest = [event async for event in talk]

    assert before == (None, None)
    assert after == (STARTED, "s-1")
    assert first == STARTED
    assert rest == [ENDED]
    assert talk.ended == ENDED


async def test_finish_gives_everything_to_the_end(serve: Serve) -> None:
    url = await serve(echo_session)
    async with Conversation.connect(url) as talk:
        assert await talk.finish() == [STARTED, ENDED]


async def test_every_control_goes_out_with_the_fields_of_the_protocol(serve: Serve) -> None:
    got: list[Any] = []

    async def script(ws: web.WebSocketResponse) -> None:
        await read_all(ws, got)
        await ws.close()

    async with Conversation.connect(await serve(script), start={"sample_rate": 8000, "encoding": "mulaw"}) as talk:
        await talk.send_audio(b"\x01\x02")
        await talk.speak("Hello.")
        await talk.speak("Hello.", voice="en-gb", speed=1.5, speech_id=9)
        await talk.stop_speaking()
        await talk.flush()
        await talk.ping()
        await talk.ping("p")
        await talk.ping(0)
        await talk.send({"type": "later", "field": [1]})
        await talk.finish()

    assert got == [
        {"type": "start", "sample_rate": 8000, "encoding": "mulaw"},
        b"\x01\x02",
        {"type": "speak", "text": "Hello."},
        {"type": "speak", "text": "Hello.", "voice": "en-gb", "speed": 1.5, "speech_id": 9},
        {"type": "stopSpeaking"},
        {"type": "flush"},
        {"type": "ping"},
        {"type": "ping", "id": "p"},
        {"type": "ping", "id": 0},
        {"type": "later", "field": [1]},
        {"type": "stop"},
    ]


async def test_in_msgpack_mode_everything_travels_as_maps(serve: Serve) -> None:
    got: list[Any] = []

    async def script(ws: web.WebSocketResponse) -> None:
        async for message in ws:
            assert message.type is WSMsgType.BINARY
            got.append(msgpack.unpackb(message.data))
            if got[-1]["type"] == "stop":
                break
        await ws.send_bytes(msgpack.packb({"type": "ttsStart", "speech_id": 3}))
        await ws.send_bytes(msgpack.packb({"type": "ttsAudio", "speech_id": 3, "audio": b"\0\1"}))
        await ws.close()

    async with Conversation.connect(await serve(script), mode="msgpack") as talk:
        await talk.send_audio(b"\x01\x02")
        events = await talk.finish()

    assert got == [{"type": "start"}, {"type": "audio", "audio": b"\x01\x02"}, {"type": "stop"}]
    assert events == [
        {"type": "ttsStart", "speech_id": 3},
        {"type": "ttsAudio", "speech_id": 3, "audio": b"\0\1"},
    ]


async def test_synthesised_audio_is_an_event_in_json_mode_too(serve: Serve) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_json({"type": "ttsStart", "speech_id": 3})
        await ws.send_bytes(b"\0\1")
        await read_all(ws, [])
        await ws.close()

    async with Conversation.connect(await serve(script)) as talk:
        assert await talk.finish() == [
            {"type": "ttsStart", "speech_id": 3},
            {"type": "ttsAudio", "speech_id": 3, "audio": b"\0\1"},
        ]


@pytest.mark.parametrize("size", [0, 2, 65_536, 65_538, 200_000])
async def test_audio_of_any_length_arrives_whole_in_messages_that_a_daemon_takes(serve: Serve, size: int) -> None:
    got: list[Any] = []

    async def script(ws: web.WebSocketResponse) -> None:
        await read_all(ws, got)
        await ws.close()

    audio = bytes(i % 251 for i in range(size))
    async with Conversation.connect(await serve(script)) as talk:
        await talk.send_audio(memoryview(audio))
        await talk.finish()

    pieces = [piece for piece in got if isinstance(piece, bytes)]
    assert b"".join(pieces) == audio
    assert all(len(piece) % 8 == 0 for piece in pieces[:-1])
    assert all(len(piece) <= 65_536 for piece in pieces)


async def test_nobody_at_the_address_is_said_with_the_address_and_what_to_do() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{free.getsockname()[1]}/ws"
    with pytest.raises(DaemonUnreachable, match=r"alfred-voice serve") as raised:
        async with Conversation.connect(url):
            pytest.fail("it cannot be open")
    assert url in str(raised.value)


async def test_a_server_that_never_answers_is_given_up_on() -> None:
    def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(DaemonUnreachable, match=r"no answer .* within 0.1 s"):
            async with Conversation.connect(f"ws://127.0.0.1:{port}/ws", timeouts=Timeouts(connect_s=0.1)):
                pytest.fail("it cannot be open")
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


async def test_a_refusal_carries_status_code_detail_and_when_to_come_back() -> None:
    async def handle(_request: web.Request) -> web.Response:
        body = {"title": "Too many sessions", "status": 503, "detail": "512 sessions are open", "code": "too_many"}
        return web.json_response(
            body, status=503, content_type="application/problem+json", headers={"Retry-After": "5"}
        )

    refused = await _refusal_of(handle)
    assert (refused.status, refused.problem, refused.retry_after_s) == (503, "too_many", 5.0)
    assert "503" in str(refused)
    assert "512 sessions are open" in str(refused)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [("nope", "text/plain"), ("[1]", "application/json"), ("{", "application/problem+json"), ("", "text/html")],
    ids=["text", "list", "broken", "empty"],
)
async def test_a_refusal_without_a_problem_document_still_carries_its_status(body: str, content_type: str) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text=body, status=403, content_type=content_type)

    refused = await _refusal_of(handle)
    assert (refused.status, refused.problem, refused.retry_after_s) == (403, "", None)
    assert "Forbidden" in str(refused)


async def test_a_server_that_answers_without_upgrading_is_a_refusal() -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    assert (await _refusal_of(handle)).status == 200


async def _refusal_of(handle: Callable[[web.Request], Awaitable[web.Response]]) -> ConversationRefused:
    application = web.Application()
    application.router.add_get("/ws", handle)
    server = TestServer(application)
    await server.start_server()
    try:
        with pytest.raises(ConversationRefused) as raised:
            async with Conversation.connect(f"ws://127.0.0.1:{server.port}/ws"):
                pytest.fail("it cannot be open")
        return raised.value
    finally:
        await server.close()


async def test_a_server_without_the_wanted_mode_is_a_refusal(serve: Any) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await read_all(ws, [])

    url = await serve(script, ("alfred.v1.json",))
    with pytest.raises(ConversationRefused, match="msgpack"):
        async with Conversation.connect(url, mode="msgpack"):
            pytest.fail("it cannot be open")


@pytest.mark.parametrize("code", [1001, 1008, 1009, 1011, 1013])
async def test_a_close_with_another_code_than_1000_is_an_error_that_tells_code_and_reason(
    serve: Serve, code: int
) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_json(STARTED)
        await ws.close(code=code, message=b"because")

    async with Conversation.connect(await serve(script)) as talk:
        assert await anext(talk) == STARTED
        with pytest.raises(ConversationLost, match="because") as raised:
            await anext(talk)

    assert raised.value.close_code == code
    assert raised.value.reason == "because"


async def test_a_daemon_that_goes_away_after_it_ended_the_session_closes_cleanly(serve: Serve) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_json({**ENDED, "reason": "shutdown"})
        await ws.close(code=WSCloseCode.GOING_AWAY)

    async with Conversation.connect(await serve(script)) as talk:
        assert [event["reason"] async for event in talk] == ["shutdown"]


async def test_a_close_without_a_reason_tells_the_last_error_event(serve: Serve) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_json({"type": "error", "code": "settings_invalid", "message": "sample_rate: 1", "fatal": True})
        await ws.close(code=WSCloseCode.POLICY_VIOLATION)

    with pytest.raises(ConversationLost, match="sample_rate: 1") as raised:
        async with Conversation.connect(await serve(script)) as talk:
            assert [event["type"] async for event in talk] == ["error"]
    assert raised.value.close_code == 1008


async def test_a_connection_that_just_goes_away_is_code_1006(serve: Serve) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.receive()
        assert ws._req is not None
        assert ws._req.transport is not None
        ws._req.transport.abort()

    with pytest.raises(ConversationLost) as raised:
        async with Conversation.connect(await serve(script)) as talk:
            await anext(talk)
    assert raised.value.close_code == 1006


async def test_sending_to_a_daemon_that_has_left_is_the_same_error(serve: Serve) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.close(code=1013, message=b"slow")

    async with Conversation.connect(await serve(script)) as talk:
        with pytest.raises(ConversationLost, match="slow"):
            await anext(talk)
        with pytest.raises(ConversationLost) as raised:
            await talk.send_audio(b"\0\0")
    assert raised.value.close_code == 1013


async def test_silence_longer_than_allowed_is_an_error(serve: Serve) -> None:
    async with Conversation.connect(await serve(echo_session), timeouts=Timeouts(receive_s=0.05)) as talk:
        assert await anext(talk) == STARTED
        with pytest.raises(DaemonSilent, match=r"0.05 s"):
            await anext(talk)


async def test_something_that_is_no_event_is_an_error(serve: Serve) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_str("hello")
        await read_all(ws, [])

    async with Conversation.connect(await serve(script)) as talk:
        with pytest.raises(UnreadableMessage, match="hello"):
            await anext(talk)


async def test_leaving_early_closes_cleanly(serve: Serve) -> None:
    closed: asyncio.Queue[int | None] = asyncio.Queue()

    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_json(STARTED)
        await read_all(ws, [])
        closed.put_nowait(ws.close_code)

    async with Conversation.connect(await serve(script)):
        pass
    assert await closed.get() == 1000


async def test_an_error_of_the_caller_passes_through_and_closes_the_connection(serve: Serve) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Conversation.connect(await serve(echo_session)) as talk:
            _ = 1 / 0
    with pytest.raises(ConversationLost):
        await talk.flush()


async def test_a_reader_ends_when_another_task_closes_the_conversation(serve: Serve) -> None:
    async with Conversation.connect(await serve(echo_session)) as talk:
        assert await anext(talk) == STARTED

        async def read() -> list[Any]:
            return [event async for event in talk]

        reader = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        await talk.close()
        await talk.close()
        assert await reader == []


async def test_sending_and_reading_go_on_at_the_same_time(serve: Serve) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                await ws.send_json({"type": "frameProcessed", "bytes": len(message.data)})
            elif json.loads(message.data)["type"] == "stop":
                break
        await ws.close()

    async with Conversation.connect(await serve(script)) as talk:

        async def send() -> None:
            for n in range(1, 200):
                await talk.send_audio(bytes(n))
            await talk.stop()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            sizes = [event["bytes"] async for event in talk]
    assert sizes == list(range(1, 200))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://127.0.0.1:8015/ws", "ws://127.0.0.1:8015/ws"),
        ("ws://127.0.0.1:8015", "ws://127.0.0.1:8015/ws"),
        ("http://host:1/", "ws://host:1/ws"),
        ("https://host", "wss://host/ws"),
        ("wss://host/voice/ws", "wss://host/voice/ws"),
        ("ws://host?token=a&language=de", "ws://host/ws?token=a&language=de"),
        ("ws://[::1]:8015/ws", "ws://[::1]:8015/ws"),
    ],
)
def test_an_address_may_be_written_in_several_ways(given: str, meant: str) -> None:
    assert str(address_of(given)) == meant


@pytest.mark.parametrize("given", ["", "localhost:8015", "ftp://host/ws", "/ws", "ws://", "ws://host:port/ws"])
def test_what_is_no_address_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(DaemonUnreachable, match=r"ws://127\.0\.0\.1:8015/ws"):
        address_of(given)


def test_every_error_of_the_client_belongs_to_the_one_tree_and_has_its_own_code() -> None:
    errors: list[type[AlfredVoiceError]] = [
        ConversationLost,
        ConversationRefused,
        DaemonSilent,
        DaemonUnreachable,
        UnreadableMessage,
    ]
    assert all(issubclass(error, AlfredVoiceError) for error in errors)
    assert len({error.code for error in errors}) == len(errors)
