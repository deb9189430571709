"""What is sent again, kept and waited for where connections are lost, against a server that follows a script."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp import WSMsgType, web

from alfred_voice.client import (
    Conversation,
    ConversationLost,
    DaemonSilent,
    NotResumed,
    ReturnPlan,
    Timeouts,
    UnreadableMessage,
)
from alfred_voice.client.framing import framing_of
from alfred_voice.client.link import Link
from alfred_voice.client.sending import KeptSending
from tests.lost_lines import AT_ONCE, Held, Line, Server, kinds, lost_after_started, rest_of


@pytest.mark.parametrize("mode", ["json", "msgpack"])
async def test_events_go_on_where_they_broke_off_and_audio_where_the_daemon_wants_it(server: Server, mode: Any) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.hear(2)
        await line.tell("speechStart", 1)
        line.lose()

    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("speechEnd", 2)
        await line.tell("sessionResumed", 3, audio_bytes=3)
        await line.hear(3)
        await line.end(4)

    server.scripts = [first, second]
    events = []
    async with Conversation.connect(
        f"{server.url}?language=de", mode=mode, start={"sample_rate": 8000}, resumable=AT_ONCE
    ) as talk:
        await talk.send_audio(b"ab")
        await talk.send_audio(b"cd")
        await talk.send_audio(b"ef")
        async for event in talk:
            events.append(event)
            if event["type"] == "sessionResumed":
                await talk.stop()

    assert [event["seq"] for event in events] == [0, 1, 2, 3, 4]
    one, two = server.lines
    assert one.got == [{"type": "start", "sample_rate": 8000, "resumable": True}, b"ab", b"cd"]
    assert two.query == {"language": "de", "session_id": "s-1"}
    assert two.got == [
        {"type": "start", "session_id": "s-1", "resume_token": "secret", "last_seq": 1},
        b"d",
        b"ef",
        {"type": "stop"},
    ]


async def test_what_is_sent_without_a_connection_goes_out_afterwards_in_its_place(server: Server) -> None:
    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 1, audio_bytes=0)
        await line.hear(5)
        await line.end(2)

    server.scripts = [lost_after_started, second]
    held = Held()
    async with Conversation.connect(server.url, resumable=held.plan) as talk:
        await anext(talk)
        reading = asyncio.ensure_future(rest_of(talk))
        async with asyncio.timeout(5):
            await held.left.wait()
            await talk.send_audio(b"ab")
            await talk.flush()
            await talk.send_audio(b"cd")
            await talk.ping("p")
            await talk.stop()
        held.may_return.set()
        assert kinds(await reading) == ["sessionResumed", "sessionEnded"]

    assert server.lines[1].got[1:] == [
        b"ab",
        {"type": "flush"},
        b"cd",
        {"type": "ping", "id": "p"},
        {"type": "stop"},
    ]


async def test_of_control_messages_only_those_are_sent_again_that_nothing_shows_to_have_arrived(
    server: Server,
) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.hear(7)
        await line.tell("ttsEnd", 1, speech_id=7, cancelled=False)
        await line.hear()
        line.lose()

    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("ttsEnd", 2, speech_id=8, cancelled=True)
        await line.tell("sessionResumed", 3, audio_bytes=2)
        await line.hear(2)
        await line.end(4)

    server.scripts = [first, second]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        await talk.flush()
        await talk.send_audio(b"ab")
        await talk.stop_speaking()
        await talk.speak("One.", speech_id=7)
        await talk.speak("Two.")
        await talk.flush()
        await talk.speak("Three.")
        assert kinds([await anext(talk), await anext(talk)]) == ["sessionStarted", "ttsEnd"]
        await talk.ping()
        assert kinds(await rest_of(talk)) == ["ttsEnd", "sessionResumed", "sessionEnded"]

    assert server.lines[1].got[1:] == [{"type": "flush"}, {"type": "speak", "text": "Three.", "speech_id": 9}]


async def test_texts_get_numbers_as_the_daemon_would_give_them(server: Server) -> None:
    async def script(line: Line) -> None:
        await line.open()
        await line.hear(4)
        await line.end(1)

    server.scripts = [script]
    async with Conversation.connect(server.url, resumable=True) as talk:
        await talk.speak("One.")
        await talk.speak("Two.", speech_id=5)
        await talk.speak("Three.")
        await talk.stop()
        await rest_of(talk)
    assert [message.get("speech_id") for message in server.lines[0].got[1:4]] == [0, 5, 6]


async def test_who_has_more_than_is_kept_waits_until_some_of_it_is_acknowledged(server: Server) -> None:
    heard = asyncio.Event()

    async def script(line: Line) -> None:
        await line.open()
        await line.hear(2)
        await heard.wait()
        await line.tell("audioAcknowledged", 1, audio_bytes=2)
        await line.hear()
        await line.end(2)

    server.scripts = [script]
    async with Conversation.connect(server.url, resumable=ReturnPlan(keep_bytes=4)) as talk:
        reading = asyncio.ensure_future(rest_of(talk))
        await talk.send_audio(b"ab")
        await talk.send_audio(b"cd")
        sending = asyncio.ensure_future(talk.send_audio(b"ef"))
        await asyncio.sleep(0.05)
        assert not sending.done()
        heard.set()
        await asyncio.wait_for(sending, 5)
        with pytest.raises(ConversationLost):
            await talk.send_audio(b"g" * 4)
        assert kinds(await reading) == ["sessionStarted", "audioAcknowledged", "sessionEnded"]


async def test_when_nothing_is_acknowledged_in_time_that_is_an_error_and_the_message_is_not_kept(
    server: Server,
) -> None:
    async def script(line: Line) -> None:
        await line.open()
        await line.hear()
        assert (await line.ws.receive(5)).type is WSMsgType.CLOSE

    server.scripts = [script]
    plan = ReturnPlan(keep_bytes=4)
    async with Conversation.connect(server.url, resumable=plan, timeouts=Timeouts(send_s=0.05)) as talk:
        await talk.send_audio(b"abcd")
        with pytest.raises(DaemonSilent, match=r"none of the 4 bytes .* its events must be read meanwhile"):
            await talk.send_audio(b"ef")
        await anext(talk)
    assert server.lines[0].got[1:] == [b"abcd"]


async def test_who_waits_for_room_is_told_when_there_is_no_way_back(server: Server) -> None:
    server.scripts = [lost_after_started]
    server.refusals = [web.json_response({"detail": "no longer"}, status=403)]
    async with Conversation.connect(server.url, resumable=ReturnPlan(keep_bytes=4)) as talk:
        await anext(talk)
        await talk.send_audio(b"abcd")
        sending = asyncio.ensure_future(talk.send_audio(b"ef"))
        await asyncio.sleep(0)
        with pytest.raises(NotResumed, match="no longer"):
            await anext(talk)
        with pytest.raises(NotResumed, match="no longer"):
            await asyncio.wait_for(sending, 5)
        with pytest.raises(NotResumed, match="no longer"):
            await talk.flush()


async def test_a_daemon_that_keeps_no_session_is_not_come_back_to_and_nothing_is_kept_for_it(server: Server) -> None:
    async def first(line: Line) -> None:
        await line.hear()
        await line.tell("sessionStarted", 0)
        await line.hear(3)
        line.lose()

    server.scripts = [first]
    plan = ReturnPlan(keep_bytes=4, jitter=lambda: 0.0)
    async with Conversation.connect(server.url, resumable=plan, timeouts=Timeouts(send_s=1.0)) as talk:
        await anext(talk)
        for _ in range(3):
            await talk.send_audio(b"abcd")
        with pytest.raises(ConversationLost):
            await anext(talk)
    assert len(server.lines) == 1


async def test_more_audio_than_was_sent_is_not_acknowledged(server: Server) -> None:
    async def script(line: Line) -> None:
        await line.open()
        await line.tell("audioAcknowledged", 1, audio_bytes=1)
        await line.ws.receive(5)

    server.scripts = [script]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        await anext(talk)
        with pytest.raises(UnreadableMessage, match="1 bytes of audio are acknowledged, of 0"):
            await anext(talk)


async def test_audio_that_is_not_kept_any_more_cannot_be_asked_for(server: Server) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.hear()
        await line.tell("audioAcknowledged", 1, audio_bytes=4)
        line.lose()

    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 2, audio_bytes=2)
        await line.ws.receive(5)

    server.scripts = [first, second]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        await talk.send_audio(b"abcd")
        with pytest.raises(NotResumed, match="from byte 2 on; it is kept from byte 4 on"):
            await rest_of(talk)


class Wire:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []

    async def send(self, payload: str | bytes, _limit_s: float | None) -> None:
        self.sent.append(payload)


async def test_once_it_is_over_nothing_is_sent_over_a_connection_that_comes_all_the_same() -> None:
    before, after = Wire(), Wire()
    sending = KeptSending(cast(Link, before), framing_of("json"), 100, 1.0)
    await sending.audio(b"ab")
    await sending.close(ConversationLost(1000, "closed here"))
    sending.go_on(cast(Link, after), 0)
    with pytest.raises(ConversationLost, match="closed here"):
        await sending.audio(b"cd")
    await asyncio.sleep(0)
    assert (before.sent, after.sent) == ([b"ab"], [])
    assert asyncio.all_tasks() == {asyncio.current_task()}
