"""Coming back to a session whose connection was lost, against a server that follows a script."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from alfred_voice.client import (
    Conversation,
    ConversationLost,
    NotResumed,
    ReturnPlan,
    UnreadableMessage,
)
from tests.lost_lines import AT_ONCE, Held, Line, Server, Waits, kinds, lost_after_started, rest_of


async def test_a_session_that_is_not_known_any_more_is_lost_with_the_daemons_reason(server: Server) -> None:
    async def second(line: Line) -> None:
        await line.hear()
        await line.ws.send_json(
            {"type": "error", "session_id": "", "seq": 0, "code": "resume_refused", "message": "gone", "fatal": False}
        )
        await line.ws.receive(5)

    server.scripts = [lost_after_started, second]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        await anext(talk)
        for _ in range(2):
            with pytest.raises(ConversationLost) as raised:
                await anext(talk)
            assert isinstance(raised.value, NotResumed)
            assert (raised.value.close_code, raised.value.reason) == (1006, "gone (resume_refused)")
            assert "cannot be resumed: gone" in str(raised.value)
    assert len(server.lines) == 2


async def test_an_error_of_the_session_itself_that_was_missed_is_no_refusal(server: Server) -> None:
    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("error", 1, code="row_failure", message="x", fatal=False)
        await line.tell("sessionResumed", 2, audio_bytes=0)
        await line.end(3)

    server.scripts = [lost_after_started, second]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        assert kinds(await rest_of(talk)) == ["sessionStarted", "error", "sessionResumed", "sessionEnded"]


async def test_attempts_are_made_with_growing_pauses_for_as_long_as_the_session_is_kept(server: Server) -> None:
    async def brief(line: Line) -> None:
        await line.open(grace_s=4.0)
        line.lose()

    server.scripts = [brief]
    server.refusals = [web.Response(status=502) for _ in range(20)]
    waits = Waits(first_wait_s=0.5, longest_wait_s=1.0)
    async with Conversation.connect(server.url, resumable=waits.plan) as talk:
        await anext(talk)
        with pytest.raises(NotResumed, match=r"not back within 4 s: .* answers 502"):
            await anext(talk)
    assert waits.waited == [0.5, 1.0, 1.0, 1.0, 0.5]
    assert len(waits.absences) == 1


async def test_a_daemon_that_is_not_there_is_tried_again_and_when_to_come_back_is_heeded(server: Server) -> None:
    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 1, audio_bytes=0)
        await line.end(2)

    server.scripts = [lost_after_started, second]
    server.refusals = [
        web.Response(status=503, headers={"Retry-After": "5"}),
        web.Response(status=429),
    ]
    waits = Waits()
    async with Conversation.connect(server.url, resumable=waits.plan) as talk:
        await rest_of(talk)
    assert waits.waited == [0.1, 5.2, 0.4]
    assert [absence.lasted_s for absence in waits.absences] == [None, pytest.approx(5.7)]
    assert [absence.attempts for absence in waits.absences] == [0, 3]
    assert waits.absences[0].reason == "closed with code 1006"


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_an_answer_that_will_not_change_is_not_asked_for_again(server: Server, status: int) -> None:
    server.scripts = [lost_after_started]
    server.refusals = [web.Response(status=status) for _ in range(3)]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        await anext(talk)
        with pytest.raises(NotResumed, match=str(status)):
            await anext(talk)
    assert len(server.refusals) == 2


async def test_connections_that_are_lost_before_the_session_is_back_are_one_absence(server: Server) -> None:
    async def lost_again(line: Line) -> None:
        await line.hear()
        await line.tell("speechStart", line_seq())
        line.lose()

    numbers = iter([1, 2])

    def line_seq() -> int:
        return next(numbers)

    async def last(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 3, audio_bytes=0)
        await line.end(4)

    server.scripts = [lost_after_started, lost_again, lost_again, last]
    server.refusals = [web.Response(status=503, headers={"Retry-After": "5"})]
    waits = Waits()
    async with Conversation.connect(server.url, resumable=waits.plan) as talk:
        assert [event["seq"] for event in await rest_of(talk)] == [0, 1, 2, 3, 4]
    assert waits.waited == [0.1, 5.2, 0.4, 0.8]
    assert [absence.attempts for absence in waits.absences] == [0, 4]
    assert [line.got[0]["last_seq"] for line in server.lines[1:]] == [0, 1, 2]


async def test_after_a_return_waits_are_short_again(server: Server) -> None:
    async def returned_and_lost(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 1, audio_bytes=0)
        line.lose()

    async def last(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 2, audio_bytes=0)
        await line.end(3)

    server.scripts = [lost_after_started, returned_and_lost, last]
    waits = Waits()
    async with Conversation.connect(server.url, resumable=waits.plan) as talk:
        await rest_of(talk)
    assert waits.waited == [0.1, 0.1]
    assert len(waits.absences) == 4


@pytest.mark.parametrize("code", [1001, 1011, 1013])
async def test_a_close_that_may_pass_is_followed(server: Server, code: int) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.ws.close(code=code, message=b"because")

    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 1, audio_bytes=0)
        await line.end(2)

    server.scripts = [first, second]
    waits = Waits()
    async with Conversation.connect(server.url, resumable=waits.plan) as talk:
        await rest_of(talk)
    assert waits.absences[0].reason == f"closed with code {code}: because"


@pytest.mark.parametrize("code", [1003, 1008, 1009])
async def test_a_close_that_says_no_is_the_end(server: Server, code: int) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.ws.close(code=code, message=b"because")

    server.scripts = [first]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        await anext(talk)
        with pytest.raises(ConversationLost, match="because") as raised:
            await anext(talk)
    assert raised.value.close_code == code
    assert not isinstance(raised.value, NotResumed)
    assert len(server.lines) == 1


async def test_a_clean_close_is_the_end_and_nothing_can_be_sent_any_more(server: Server) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.ws.close()

    server.scripts = [first]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        assert kinds(await rest_of(talk)) == ["sessionStarted"]
        assert await rest_of(talk) == []
        with pytest.raises(ConversationLost):
            await talk.send_audio(b"ab")
    assert len(server.lines) == 1


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_connection_that_is_lost_behind_the_sessions_end_is_not_missed(server: Server, resumable: bool) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.tell("sessionEnded", 1, reason="idle", stats={})
        line.lose()

    server.scripts = [first]
    async with Conversation.connect(server.url, resumable=resumable) as talk:
        assert kinds(await rest_of(talk)) == ["sessionStarted", "sessionEnded"]
    assert len(server.lines) == 1


async def test_a_session_that_ended_in_failure_is_not_come_back_to(server: Server) -> None:
    async def first(line: Line) -> None:
        await line.open()
        await line.tell("sessionEnded", 1, reason="error", stats={})
        await line.ws.close(code=1011, message=b"because")

    server.scripts = [first]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        with pytest.raises(ConversationLost, match="because"):
            await rest_of(talk)
    assert len(server.lines) == 1


async def test_a_connection_that_is_lost_before_there_is_a_session_is_lost(server: Server) -> None:
    async def first(line: Line) -> None:
        await line.hear()
        line.lose()

    server.scripts = [first]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        with pytest.raises(ConversationLost):
            await anext(talk)
    assert len(server.lines) == 1


async def test_who_closes_while_away_does_not_come_back(server: Server) -> None:
    server.scripts = [lost_after_started]
    held = Held()
    async with Conversation.connect(server.url, resumable=held.plan) as talk:
        reading = asyncio.ensure_future(rest_of(talk))
        await asyncio.wait_for(held.left.wait(), 5)
        await talk.close()
        assert kinds(await asyncio.wait_for(reading, 5)) == ["sessionStarted"]
        with pytest.raises(ConversationLost, match="closed here"):
            await talk.flush()
    assert len(server.lines) == 1


async def test_a_reader_that_gave_up_while_away_may_go_on(server: Server) -> None:
    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 1, audio_bytes=0)
        await line.end(2)

    server.scripts = [lost_after_started, second]
    held = Held()
    async with Conversation.connect(server.url, resumable=held.plan) as talk:
        await anext(talk)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(talk), 0.1)
        held.may_return.set()
        assert kinds(await rest_of(talk)) == ["sessionResumed", "sessionEnded"]
    assert [absence.lasted_s is None for absence in held.absences] == [True, False]


async def test_a_connection_over_which_nothing_comes_any_more_is_lost(server: Server) -> None:
    async def silent(line: Line) -> None:
        await line.open()
        await line.hear()
        await line.ws.receive(5)

    async def second(line: Line) -> None:
        await line.hear()
        await line.tell("sessionResumed", 1, audio_bytes=0)
        await line.hear()
        await line.end(2)

    server.scripts = [silent, second]
    async with Conversation.connect(server.url, resumable=ReturnPlan(silence_s=0.1, jitter=lambda: 0.0)) as talk:
        await talk.send_audio(b"ab")
        assert kinds(await rest_of(talk)) == ["sessionStarted", "sessionResumed", "sessionEnded"]
    assert server.lines[1].got[1:] == [b"ab"]
    assert server.lines[0].ws.close_code == 1001, "1000 would have ended the session"


@pytest.mark.parametrize("seq", [0, 2], ids=["twice", "missing"])
async def test_an_event_that_comes_twice_or_not_at_all_is_an_error(server: Server, seq: int) -> None:
    async def script(line: Line) -> None:
        await line.open()
        await line.tell("speechStart", seq)
        await line.ws.receive(5)

    server.scripts = [script]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        await anext(talk)
        with pytest.raises(UnreadableMessage, match=f"expected the event 1 of the session, got {seq}"):
            await anext(talk)


async def test_speech_has_no_number_and_is_passed_on(server: Server) -> None:
    async def script(line: Line) -> None:
        await line.open()
        await line.tell("ttsStart", 1, speech_id=0)
        await line.ws.send_bytes(b"xy")
        await line.tell("ttsEnd", 2, speech_id=0)
        await line.end(3)

    server.scripts = [script]
    async with Conversation.connect(server.url, resumable=AT_ONCE) as talk:
        events = await rest_of(talk)
    assert kinds(events) == ["sessionStarted", "ttsStart", "ttsAudio", "ttsEnd", "sessionEnded"]
