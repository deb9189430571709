"""Sessions over WebRTC that outlive their connection, over the real pipeline with scripted engines and a real peer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from alfred_voice.server.application import RESUMPTION
from alfred_voice.server.webrtc.negotiation import Negotiation
from alfred_voice.server.webrtc.offer import Offer
from alfred_voice.server.webrtc.options import WebRtcOptions
from tests.rtc_client import Caller, Event, calling, on_this_machine
from tests.server.webrtc.test_offer import AUDIO, CHANNEL, offer
from tests.server.webrtc.test_routes import ALICE, BOB, count, make_guarded, post, silence, speech


__all__ = ["make_guarded", "on_this_machine"]  # fixtures

Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.usefixtures("on_this_machine")


def base_of(door: Any) -> str:
    return f"http://127.0.0.1:{door.port}"


def state_of(door: Any, session_id: str = "call") -> str:
    return str(door.coordinator.roster.get(session_id).status()["state"])


def wanted(**fields: Any) -> dict[str, Any]:
    """What a client asks for that means to come back."""
    return {"session_id": "call", "resumable": True, **fields}


async def token_of(caller: Caller) -> str:
    return str((await caller.wait_for("sessionStarted"))["resume"]["token"])


def returning(token: str, last_seq: int, session_id: str = "call") -> dict[str, Any]:
    """What a client says that has come back."""
    return {"session_id": session_id, "resume_token": token, "last_seq": last_seq}


def last_seq_of(caller: Caller) -> int:
    return int(caller.events[-1]["seq"])


async def goodbye(caller: Caller) -> Event:
    caller.send(type="stop")
    return await caller.wait_for("sessionEnded")


@pytest.fixture
async def hasty(make_door: Any) -> Any:
    """A door that takes a peer for lost after a moment."""
    return await make_door(webrtc=WebRtcOptions(disconnect_grace_s=0.6))


async def test_a_call_that_was_cut_in_the_middle_of_a_word_goes_on_over_another_offer(door: Any) -> None:
    said = np.concatenate([speech(800), silence(1_500), speech(900)])
    async with calling(base_of(door), said, start=wanted()) as first:
        token = await token_of(first)
        await first.wait_for("speechStart", count=2)
        heard = list(first.events)
        first.vanish()
        rest = np.concatenate([speech(700), silence(1_500), speech(600), silence(1_500)])
        start = returning(token, heard[-1]["seq"])
        async with calling(base_of(door), rest, start=start) as second:
            assert (second.session_id, second.connection_id) == ("call", second.answer["connection_id"])
            assert second.connection_id != first.connection_id
            await second.wait_for("sessionResumed")
            await second.microphone.spoken.wait()
            await second.wait_for("turnComplete", count=2)
            ended = await goodbye(second)
        told = [*heard, *second.events]
    assert [event["seq"] for event in told] == list(range(len(told))), "an event is missing, or was told twice"
    finals = [event for event in told if event["type"] == "finalTranscription"]
    assert [final["utterance"] for final in finals] == [0, 1, 2]
    assert all(final["text"] == "turn on the lamp" for final in finals)
    assert sum(event["type"] == "sessionStarted" for event in told) == 1
    stats = ended["stats"]
    assert stats["frames_received"] == stats["frames_processed"] + stats["frames_dropped"]
    assert stats["frames_dropped"] == 0
    assert stats["utterances"] == 3
    spoken_ms = 800 + 1_500 + 700 + 1_500 + 600 + 1_500
    assert stats["frames_received"] * 20 >= spoken_ms


async def test_what_was_told_into_the_void_is_told_again(hasty: Any, eventually: Eventually) -> None:
    async with calling(base_of(hasty), speech(600), start=wanted()) as first:
        token = await token_of(first)
        await first.wait_for("speechStart")
        heard = list(first.events)
        first.vanish()
        # All packets are away, and the connection still seems to stand: this goes nowhere.
        hasty.coordinator.roster.get("call").flush()
        await eventually(lambda: state_of(hasty) == "detached")
        await eventually(lambda: count(hasty, "alfred_webrtc_connections_total", outcome="lost") == 1)
        async with calling(base_of(hasty), start=returning(token, heard[-1]["seq"])) as second:
            resumed = await second.wait_for("sessionResumed")
            final = await second.wait_for("finalTranscription")
            assert final["seq"] < resumed["seq"]
            assert resumed["audio_bytes"] > 0
            await goodbye(second)
        told = [*heard, *second.events]
    assert [event["seq"] for event in told] == list(range(len(told)))


async def test_a_connection_that_still_stands_is_taken_over_and_closed(door: Any, eventually: Eventually) -> None:
    async with calling(base_of(door), start=wanted()) as first:
        token = await token_of(first)
        async with calling(base_of(door), start=returning(token, last_seq_of(first))) as second:
            await second.wait_for("sessionResumed")
            await first.until(lambda: first.connection.connectionState == "closed")
            await eventually(lambda: count(door, "alfred_webrtc_connections_total", outcome="taken_over") == 1)
            # What the first one asks for is nobody's wish any more.
            assert await first.delete() == 404
            second.microphone.say(np.concatenate([speech(600), silence(600)]))
            assert (await second.wait_for("finalTranscription"))["text"] == "turn on the lamp"
            status = door.coordinator.roster.get("call").status()
            assert (status["state"], status["webrtc"]["state"]) == ("listening", "connected")
            assert (await goodbye(second))["reason"] == "stop"


async def test_speech_of_the_daemon_stops_with_the_connection_that_heard_it(door: Any) -> None:
    async with calling(base_of(door), start=wanted()) as first:
        token = await token_of(first)
        first.send(type="speak", text="a" * 400, speech_id=5)
        await first.wait_for("ttsStart")
        first.vanish()
        async with calling(base_of(door), start=returning(token, last_seq_of(first))) as second:
            end = await second.wait_for("ttsEnd")
            assert (end["speech_id"], end["cancelled"]) == (5, True)
            second.send(type="speak", text="back again, and heard", speech_id=6)
            await second.wait_for("ttsEnd", count=2)
            await second.until(lambda: len(second.loud_after(0)) > 3)


async def test_a_session_whose_client_does_not_come_back_is_let_go_of(make_door: Any, eventually: Eventually) -> None:
    pipeline = replace(CoordinatorOptions(), sessions=SessionsOptions(resume_grace_s=0.3))
    door = await make_door(webrtc=WebRtcOptions(disconnect_grace_s=0.6), pipeline=pipeline)
    async with calling(base_of(door), start=wanted()) as caller:
        token = await token_of(caller)
        caller.vanish()
        await eventually(lambda: not door.coordinator.roster.all())
    status, problem = await post(door, offer(AUDIO, CHANNEL), start=returning(token, 0))
    assert (status, problem["code"]) == (409, "resume_refused")


async def test_a_session_that_did_not_ask_for_it_ends_with_its_connection(hasty: Any, eventually: Eventually) -> None:
    async with calling(base_of(hasty), start={"session_id": "call"}) as caller:
        assert "resume" not in await caller.wait_for("sessionStarted")
        caller.vanish()
        await eventually(lambda: not hasty.coordinator.roster.all())


async def test_who_hangs_up_does_not_come_back(door: Any, eventually: Eventually) -> None:
    async with calling(base_of(door), start=wanted()) as caller:
        token = await token_of(caller)
    await eventually(lambda: not door.coordinator.roster.all())
    status, problem = await post(door, offer(AUDIO, CHANNEL), start=returning(token, 0))
    assert (status, problem["code"]) == (409, "resume_refused")


async def test_a_way_back_that_leads_nowhere_costs_nothing_but_time(make_door: Any, eventually: Eventually) -> None:
    door = await make_door(webrtc=WebRtcOptions(disconnect_grace_s=0.6, connect_timeout_s=0.5))
    async with calling(base_of(door), start=wanted()) as first:
        token = await token_of(first)
        first.vanish()
        status, _ = await post(door, offer(AUDIO, CHANNEL), start=returning(token, last_seq_of(first)))
        assert status == 200
        await eventually(lambda: state_of(door) == "detached")
        async with calling(base_of(door), start=returning(token, last_seq_of(first))) as second:
            await second.wait_for("sessionResumed", count=2)
            assert (await goodbye(second))["reason"] == "stop"


async def test_a_wrong_token_or_event_takes_nobodys_session(door: Any) -> None:
    async with calling(base_of(door), start=wanted()) as caller:
        token = await token_of(caller)
        for start in (
            returning("wrong", 0),
            returning(token, 10_000),
            returning(token, 0, session_id="other"),
        ):
            status, problem = await post(door, offer(AUDIO, CHANNEL), start=start)
            assert (status, problem["code"]) == (409, "resume_refused"), start
        status, problem = await post(door, offer(AUDIO, CHANNEL), start={**returning(token, 0), "partials": True})
        assert (status, problem["code"]) == (400, "message_malformed")
        caller.send(type="ping")
        await caller.wait_for("pong")


async def test_a_session_is_resumed_by_the_way_that_it_came(door: Any) -> None:
    async with calling(base_of(door), start=wanted()) as caller:
        token = await token_of(caller)
        socket = await door.connect("?session_id=call")
        await socket.send_json({"type": "start", "resume_token": token, "last_seq": 0})
        assert (await socket.receive_json())["code"] == "resume_refused"
        await socket.send_json({"type": "start", "session_id": "native", "resumable": True})
        token = (await socket.receive_json())["resume"]["token"]
        status, problem = await post(door, offer(AUDIO, CHANNEL), start=returning(token, 0, session_id="native"))
        assert (status, problem["code"]) == (409, "resume_refused")
        caller.send(type="ping")
        await caller.wait_for("pong")


async def test_a_session_whose_time_runs_out_while_an_offer_is_answered_is_gone(
    door: Any, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    async with calling(base_of(door), start=wanted()) as caller:
        token = await token_of(caller)
        answer = Negotiation.answer
        closed: list[Negotiation] = []
        close = Negotiation.close

        async def answer_late(negotiation: Negotiation, asked: Offer) -> str:
            sdp = await answer(negotiation, asked)
            caller.send(type="stop")
            await eventually(lambda: not door.client.app[RESUMPTION].knows("call"))
            return sdp

        async def note_close(negotiation: Negotiation, within_s: float) -> None:
            await close(negotiation, within_s)
            closed.append(negotiation)

        monkeypatch.setattr(Negotiation, "answer", answer_late)
        monkeypatch.setattr(Negotiation, "close", note_close)
        status, problem = await post(door, offer(AUDIO, CHANNEL), start=returning(token, last_seq_of(caller)))
        assert (status, problem["code"]) == (409, "resume_refused")
        await eventually(lambda: len(closed) == 2)


async def test_another_key_cannot_take_a_session_over(make_guarded: Any) -> None:
    door = await make_guarded()
    async with calling(base_of(door), start=wanted(), headers={"Authorization": f"Bearer {ALICE}"}) as caller:
        token = await token_of(caller)
        door.client.session.headers["Authorization"] = f"Bearer {BOB}"
        status, problem = await post(door, offer(AUDIO, CHANNEL), start=returning(token, 0))
        assert (status, problem["code"]) == (409, "resume_refused")
        # Alice may have one session, and it is the one that she comes back to.
        start = returning(token, last_seq_of(caller))
        async with calling(base_of(door), start=start, headers={"Authorization": f"Bearer {ALICE}"}) as again:
            await again.wait_for("sessionResumed")


async def test_of_two_who_come_back_at_once_one_has_the_session_in_the_end(door: Any) -> None:
    async with calling(base_of(door), start=wanted()) as first:
        token = await token_of(first)
        first.vanish()
        answers = await asyncio.gather(
            *(post(door, offer(AUDIO, CHANNEL), start=returning(token, last_seq_of(first))) for _ in range(3))
        )
        assert [status for status, _ in answers] == [200, 200, 200]
        async with calling(base_of(door), start=returning(token, last_seq_of(first))) as last:
            await last.wait_for("sessionResumed", count=4)
            assert (await goodbye(last))["reason"] == "stop"
    assert door.coordinator.roster.all() == []
