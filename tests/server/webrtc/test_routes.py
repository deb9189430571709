"""The routes of WebRTC and WHIP, over the real pipeline with scripted engines and a real second peer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security
from alfred_voice.server.webrtc import peer as peer_room
from alfred_voice.server.webrtc import routes as webrtc
from alfred_voice.server.webrtc.options import WebRtcOptions
from tests.rtc_client import Caller, Int16, calling, on_this_machine
from tests.server.webrtc.test_offer import AUDIO, CHANNEL, VIDEO, offer


__all__ = ["on_this_machine"]  # a fixture

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
SDP = {"Content-Type": "application/sdp"}
ALICE, BOB, ADMIN = ("alices-key-of-16-and-more", "bobs-key-of-16-and-more", "admins-key-of-16-and-more")

pytestmark = pytest.mark.usefixtures("on_this_machine")


@pytest.fixture
def base(door: Any) -> str:
    return f"http://127.0.0.1:{door.port}"


@pytest.fixture
async def make_guarded(make_door: Any, tmp_path: Path) -> Callable[..., Awaitable[Any]]:
    file = tmp_path / "keys.toml"
    file.write_text(
        f'[keys.alice]\nkey = "{ALICE}"\nmax_sessions = 1\n[keys.bob]\nkey = "{BOB}"\n'
        f'[keys.admin]\nkey = "{ADMIN}"\nadmin = true\n'
    )
    file.chmod(0o600)

    async def make() -> Any:
        return await make_door(security=Security(SecurityOptions(), KeySource(str(file))))

    return make


def speech(ms: int) -> Int16:
    """What the scripted detector takes for speech."""
    tone: Int16 = (8_000 * np.sin(2 * np.pi * 300 / 16_000 * np.arange(16 * ms))).astype(np.int16)
    return tone


def silence(ms: int) -> Int16:
    return np.zeros(16 * ms, np.int16)


async def post(door: Any, sdp: str, **more: Any) -> tuple[int, dict[str, Any]]:
    async with door.client.post("/webrtc/offer", json={"sdp": sdp, "type": "offer", **more}) as response:
        return response.status, await response.json()


def count(door: Any, family: str, **labels: str) -> float:
    return float(door.coordinator.metrics.registry.get_sample_value(family, labels) or 0.0)


def decoders() -> list[threading.Thread]:
    """Threads of the library's, of which there is none for long."""
    return [thread for thread in threading.enumerate() if "decoder" in thread.name]


# A call


async def test_a_call_hears_words_and_is_told_of_them_on_its_channel(base: str) -> None:
    async with calling(base, np.concatenate([speech(800), silence(600)])) as caller:
        final = await caller.wait_for("finalTranscription")
        assert final["text"] == "turn on the lamp"
        await caller.wait_for("turnComplete")
        caller.send(type="stop")
        ended = await caller.wait_for("sessionEnded")
        assert [event["seq"] for event in caller.events] == list(range(len(caller.events)))
        assert {event["session_id"] for event in caller.events} == {caller.session_id}
        assert caller.events[0]["type"] == "sessionStarted"
        assert (caller.events[0]["sample_rate"], caller.events[0]["encoding"]) == (48_000, "pcm_s16le")
        assert ended["reason"] == "stop"
        assert ended["stats"]["frames_dropped"] == 0
        assert ended["stats"]["frames_processed"] >= 50


async def test_speech_of_the_daemon_comes_on_the_track_and_is_announced_on_the_channel(base: str) -> None:
    async with calling(base) as caller:
        await caller.wait_for("sessionStarted")
        caller.send(type="speak", text="fifty letters of a speech that takes half a second", speech_id=4)
        started, ended = await caller.wait_for("ttsStart"), await caller.wait_for("ttsEnd")
        assert (started["speech_id"], started["sample_rate"]) == (4, 48_000)
        assert (ended["speech_id"], ended["cancelled"]) == (4, False)
        assert ended["duration_ms"] == pytest.approx(500, abs=30)
        await caller.until(lambda: len(caller.loud_after(0)) * 20 >= 460)
        assert all(event["type"] != "ttsAudio" for event in caller.events)


async def test_the_daemon_is_silent_at_once_when_it_is_interrupted(base: str) -> None:
    async with calling(base) as caller:
        await caller.wait_for("sessionStarted")
        caller.send(type="speak", text="a" * 400)
        await caller.until(lambda: len(caller.loud_after(0)) > 20)
        caller.microphone.say(np.concatenate([speech(600), silence(400)]))
        ended = await caller.wait_for("ttsEnd")
        assert ended["cancelled"]
        await asyncio.sleep(1.0)
        # What is on its way and in this client's own buffer (80 ms) is still heard, and no more.
        last = caller.loud_after(0)[-1] - caller.at(ended)
        assert last < 0.3
        interrupted = await caller.wait_for("interruption")
        assert 300 < interrupted["spoken_ms"] < 2_500
        assert ended["duration_ms"] == pytest.approx(interrupted["spoken_ms"], abs=300)


async def test_messages_that_cannot_be_carried_out_are_answered_and_the_call_goes_on(base: str) -> None:
    async with calling(base) as caller:
        await caller.wait_for("sessionStarted")
        assert caller.channel is not None
        for wrong in ("nonsense", '{"type": "dance"}', '{"type": "start"}', b"\x00\x01"):
            caller.channel.send(wrong)
        await caller.wait_for("error", count=4)
        codes = [event["code"] for event in caller.of("error")]
        assert codes == ["message_malformed", "message_unknown", "message_unexpected", "message_unexpected"]
        caller.send(type="ping", id=7)
        assert (await caller.wait_for("pong"))["id"] == 7


async def test_a_message_that_is_too_long_ends_the_session(base: str) -> None:
    async with calling(base) as caller:
        await caller.wait_for("sessionStarted")
        assert caller.channel is not None
        caller.channel._RTCDataChannel__transport._remote_max_message_size = 0  # type: ignore[attr-defined]
        caller.channel.send("x" * (peer_room.MOST_MESSAGE_BYTES + 1))
        assert (await caller.wait_for("error"))["code"] == "message_too_large"
        assert (await caller.wait_for("sessionEnded"))["reason"] == "error"


async def test_what_was_said_before_the_channel_opened_is_told_then(base: str) -> None:
    async with calling(base, channel=None, offers=False) as caller:
        caller.channel = caller.connection.createDataChannel("other")
        assert await caller.offer() == 200
        await caller.until(lambda: caller.connection.connectionState == "connected")
        await asyncio.sleep(0.3)
        assert caller.events == []
        late = caller.connection.createDataChannel("alfred")
        late.on("message", lambda data: caller.events.append({"type": data}))
        await caller.until(lambda: caller.events)
        assert '"sessionStarted"' in caller.events[0]["type"]


async def test_a_call_without_a_channel_is_heard_and_ends_when_it_is_deleted(door: Any, base: str) -> None:
    async with calling(base, np.concatenate([speech(800), silence(600)]), channel=None) as caller:
        status: dict[str, Any] = {}

        async def has_heard() -> bool:
            nonlocal status
            async with door.client.get(f"/session/{caller.session_id}/status") as response:
                status = await response.json()
            return bool(status["last_text"])

        async with asyncio.timeout(10):
            while not await has_heard():  # noqa: ASYNC110  what is waited for knows of no event
                await asyncio.sleep(0.05)
        assert status["last_text"] == "turn on the lamp"
        assert status["transport"] == "webrtc"
        assert status["webrtc"]["channel"] == "none"
        assert status["webrtc"]["packets_received"] > 10
        assert status["webrtc"]["packets_lost"] == 0
        assert await caller.delete() == 204
        assert door.coordinator.roster.all() == []
        assert await caller.delete() == 404


async def test_the_session_takes_what_start_asks_for(base: str) -> None:
    start = {"session_id": "mine", "events": ["frameProcessed"], "partials": False}
    async with calling(base, speech(300), start=start) as caller:
        assert caller.session_id == "mine"
        await caller.wait_for("frameProcessed")


# The life of a connection


async def test_a_call_that_is_hung_up_leaves_nothing_behind(door: Any, base: str, eventually: Eventually) -> None:
    before = asyncio.all_tasks()
    async with calling(base) as caller:
        await caller.wait_for("sessionStarted")
        assert decoders() == [thread for thread in decoders() if thread.is_alive()]
    await eventually(lambda: not door.coordinator.roster.all())
    await eventually(lambda: count(door, "alfred_webrtc_connections_total", outcome="left") == 1)
    await eventually(lambda: not decoders())
    ours = [task for task in asyncio.all_tasks() - before if "peer" in task.get_name()]
    assert ours == []


async def test_no_thread_decodes_for_the_daemon(base: str) -> None:
    async with calling(base, listens=False) as caller:
        await caller.wait_for("sessionStarted")
        await caller.until(lambda: caller.connection.connectionState == "connected")
        # This client does not listen, so any decoder would be the daemon's.
        await caller.until(lambda: not decoders(), within_s=5)


async def test_a_connection_that_never_stands_is_given_up(make_door: Any, eventually: Eventually) -> None:
    door = await make_door(webrtc=WebRtcOptions(connect_timeout_s=1.0))
    status, _ = await post(door, offer(AUDIO, CHANNEL))
    assert status == 200
    assert len(door.coordinator.roster.all()) == 1
    await eventually(lambda: not door.coordinator.roster.all())
    await eventually(lambda: count(door, "alfred_webrtc_connections_total", outcome="timeout") == 1)


async def test_a_call_goes_on_over_another_offer(base: str) -> None:
    async with calling(base, np.concatenate([speech(800), silence(600)])) as caller:
        await caller.wait_for("turnComplete")
        caller.connection.getTransceivers()[0].direction = "sendonly"
        first = caller.answer
        assert await caller.offer(connection_id=caller.connection_id) == 200
        assert caller.answer["session_id"] == first["session_id"]
        assert caller.connection.getTransceivers()[0].currentDirection == "sendonly"
        caller.microphone.say(np.concatenate([speech(800), silence(600)]))
        await caller.wait_for("turnComplete", count=2)
        caller.connection.getTransceivers()[0].direction = "sendrecv"
        assert await caller.offer(connection_id=caller.connection_id) == 200
        caller.send(type="speak", text="here I am again")
        await caller.until(lambda: len(caller.loud_after(0)) > 3)


async def test_ice_is_not_restarted(door: Any) -> None:
    _, answer = await post(door, offer(AUDIO))
    restarted = offer(AUDIO).replace("a=ice-ufrag:abcd", "a=ice-ufrag:efgh")
    status, problem = await post(door, restarted, connection_id=answer["connection_id"])
    assert (status, problem["code"]) == (400, "message_malformed")
    assert "restart" in problem["detail"]
    assert len(door.coordinator.roster.all()) == 1


async def test_a_session_that_fails_touches_no_other(base: str, door: Any) -> None:
    async with calling(base) as well, calling(base) as bad:
        await bad.wait_for("sessionStarted")
        await well.wait_for("sessionStarted")
        (stream,) = [each for each in door.coordinator.roster.all() if each.session_id == bad.session_id]

        def fail(_: object) -> None:
            raise RuntimeError("a fault of the test's")

        incoming = stream.more_status.__self__._incoming
        incoming._ingest = type("Broken", (), {"feed": lambda *_: fail(_)})()
        assert (await bad.wait_for("sessionEnded"))["reason"] == "error"
        well.send(type="ping")
        await well.wait_for("pong")


async def test_the_daemon_ends_calls_with_their_last_words_when_it_goes(base: str, door: Any) -> None:
    async with calling(base, speech(5_000)) as caller:
        await caller.wait_for("speechStart")
        await door.coordinator.drain(5.0)
        assert (await caller.wait_for("finalTranscription"))["text"] == "turn on the lamp"
        assert (await caller.wait_for("sessionEnded"))["reason"] == "shutdown"
        await caller.until(lambda: caller.connection.connectionState == "closed", 5)


# What is refused


@pytest.mark.parametrize(
    ("start", "code"),
    [
        ({"sample_rate": 16_000}, "settings_invalid"),
        ({"encoding": "mulaw"}, "settings_invalid"),
        ({"resume_token": "t", "language": "de"}, "message_malformed"),
        ({"session_id": "not a name"}, "settings_invalid"),
        ({"engine": "nobody"}, "settings_invalid"),
        ({"colour": "red"}, "message_malformed"),
        ({"partials": "yes"}, "message_malformed"),
    ],
)
async def test_a_start_that_cannot_be_served_opens_nothing(door: Any, start: dict[str, Any], code: str) -> None:
    status, problem = await post(door, offer(AUDIO), start=start)
    assert (status, problem["code"]) == (400, code)
    assert door.coordinator.roster.all() == []


@pytest.mark.parametrize("sdp", ["", "v=0", offer(VIDEO), offer(AUDIO, leave_out="a=fingerprint")])
async def test_a_bad_offer_is_a_problem_document(door: Any, sdp: str) -> None:
    status, problem = await post(door, sdp)
    assert (status, problem["code"], problem["status"]) == (400, "message_malformed", 400)
    assert door.coordinator.roster.all() == []


async def test_an_offer_in_another_form_is_refused(door: Any) -> None:
    async with door.client.post("/webrtc/offer", data=offer(AUDIO), headers=SDP) as response:
        assert (response.status, (await response.json())["code"]) == (415, "media_type_unsupported")
    async with door.client.post("/webrtc/offer", json={"sdp": 5}) as response:
        assert response.status == 400
    async with door.client.post("/webrtc/offer", json={"sdp": offer(AUDIO), "type": "answer"}) as response:
        assert response.status == 400


async def test_an_offer_for_a_connection_that_is_not_there_is_refused(door: Any) -> None:
    status, problem = await post(door, offer(AUDIO), connection_id="nobody")
    assert (status, problem["code"]) == (404, "connection_unknown")


async def test_no_more_calls_than_sessions_may_be_open(make_door: Any) -> None:
    door = await make_door(pipeline=CoordinatorOptions(sessions=SessionsOptions(max_concurrent=1)))
    assert (await post(door, offer(AUDIO)))[0] == 200
    async with door.client.post("/webrtc/offer", json={"sdp": offer(AUDIO)}) as response:
        assert (response.status, (await response.json())["code"]) == (503, "too_many_sessions")
        assert int(response.headers["Retry-After"]) > 0
    # The other way round as well: the limit is one for all.
    async with door.client.get("/ws", headers={"Upgrade": "websocket", "Connection": "Upgrade"}) as response:
        assert response.status == 503


async def test_two_calls_cannot_have_one_session(door: Any) -> None:
    start = {"session_id": "one"}
    assert (await post(door, offer(AUDIO), start=start))[0] == 200
    assert (await post(door, offer(AUDIO), start=start))[0] == 409
    assert len(door.coordinator.roster.all()) == 1


async def test_without_its_packages_the_daemon_says_so(make_door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "find_spec", lambda _: None)
    status, problem = await post(await make_door(), offer(AUDIO))
    assert (status, problem["code"]) == (501, "not_offered")
    assert "pip install -e '.[webrtc]'" in problem["detail"]


async def test_it_can_be_switched_off(make_door: Any) -> None:
    door = await make_door(webrtc=WebRtcOptions(enabled=False))
    status, problem = await post(door, offer(AUDIO))
    assert (status, problem["code"]) == (501, "not_offered")
    async with door.client.post("/whip", data=offer(AUDIO), headers=SDP) as response:
        assert response.status == 501


async def test_video_is_answered_as_inactive(door: Any) -> None:
    status, answer = await post(door, offer(AUDIO, VIDEO))
    assert status == 200
    audio, video = answer["sdp"].split("m=video")
    assert "a=sendrecv" in audio
    assert "a=inactive" in video


async def test_only_opus_is_answered(door: Any) -> None:
    _, answer = await post(door, offer(AUDIO))
    assert "opus/48000/2" in answer["sdp"]
    assert "PCMU" not in answer["sdp"]


async def test_a_daemon_for_this_machine_has_no_other_candidates(door: Any) -> None:
    _, answer = await post(door, offer(AUDIO))
    lines = [line.split() for line in answer["sdp"].splitlines() if line.startswith("a=candidate:")]
    assert [line[4] for line in lines] == ["127.0.0.1"]


# Keys


async def test_a_key_is_needed_and_counts_its_calls(make_guarded: Any) -> None:
    door = await make_guarded()
    assert (await post(door, offer(AUDIO)))[0] == 401
    door.client.session.headers["Authorization"] = f"Bearer {ALICE}"
    assert (await post(door, offer(AUDIO)))[0] == 200
    status, problem = await post(door, offer(AUDIO))
    assert (status, problem["code"]) == (429, "too_many_sessions_of_key")


async def test_another_key_neither_ends_a_call_nor_offers_for_it(make_guarded: Any) -> None:
    door = await make_guarded()
    session = door.client.session
    session.headers["Authorization"] = f"Bearer {ALICE}"
    _, answer = await post(door, offer(AUDIO))
    path = f"/webrtc/{answer['connection_id']}"
    session.headers["Authorization"] = f"Bearer {BOB}"
    async with door.client.delete(path) as response:
        assert (response.status, (await response.json())["code"]) == (404, "connection_unknown")
    assert (await post(door, offer(AUDIO), connection_id=answer["connection_id"]))[0] == 404
    assert len(door.coordinator.roster.all()) == 1
    session.headers["Authorization"] = f"Bearer {ADMIN}"
    async with door.client.delete(path) as response:
        assert response.status == 204
    assert door.coordinator.roster.all() == []


# WHIP


async def test_whip_answers_a_description_with_a_description(door: Any) -> None:
    text = offer(AUDIO).replace("a=sendrecv", "a=sendonly")
    async with door.client.post("/whip?session_id=from-whip", data=text, headers=SDP) as response:
        assert response.status == 201
        assert response.headers["Content-Type"] == "application/sdp"
        assert response.headers["X-Session-Id"] == "from-whip"
        location = response.headers["Location"]
        answer = await response.text()
    assert location.startswith("/whip/")
    assert "a=recvonly" in answer
    assert "127.0.0.1" in answer
    async with door.client.patch(location, data="a=candidate", headers=SDP) as response:
        assert (response.status, response.headers["Allow"]) == (405, "DELETE,GET,HEAD,OPTIONS")
    async with door.client.get(location) as response:
        assert (response.status, await response.read()) == (204, b"")
    async with door.client.delete(location) as response:
        assert response.status == 200
    assert door.coordinator.roster.all() == []
    async with door.client.delete(location) as response:
        assert response.status == 404


async def test_whip_says_what_may_be_posted(door: Any) -> None:
    async with door.client.options("/whip") as response:
        assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    async with door.client.options("/whip/any") as response:
        assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")
        assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"
    async with door.client.get("/whip") as response:
        assert (response.status, await response.read()) == (204, b"")
    async with door.client.get("/whip/any") as response:
        assert response.status == 404


async def test_what_may_be_done_is_what_is_named_where_something_else_was_asked_for(door: Any) -> None:
    for method, path, allowed in (
        ("GET", "/webrtc/offer", "POST"),
        ("DELETE", "/webrtc/offer", "POST"),
        ("GET", "/webrtc/any", "DELETE"),
        ("PUT", "/whip/any", "DELETE,GET,HEAD,OPTIONS"),
        ("PATCH", "/whip/any", "DELETE,GET,HEAD,OPTIONS"),
    ):
        async with door.client.request(method, path) as response:
            assert (response.status, response.headers["Allow"]) == (405, allowed), f"{method} {path}"
            assert "not trickled" in (await response.json())["detail"] or method != "PATCH"


async def test_a_slip_in_the_query_of_whip_is_told_and_opens_nothing(door: Any) -> None:
    text = offer(AUDIO).replace("a=sendrecv", "a=sendonly")
    async with door.client.post("/whip?sesion_id=mine", data=text, headers=SDP) as response:
        problem = await response.json()
    assert (response.status, problem["code"]) == (400, "message_malformed")
    assert problem["detail"] == "query: unknown field 'sesion_id'; did you mean session_id?"
    assert door.coordinator.roster.all() == []
    async with door.client.post("/whip?cache=1", data=text, headers=SDP) as response:
        assert response.status == 201


async def test_whip_tells_pages_of_allowed_origins_what_they_may_do(make_door: Any) -> None:
    origin = "https://studio.example"
    security = Security(SecurityOptions(allowed_origins=origin), KeySource())
    door = await make_door(security=security)
    asking = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    async with door.client.options("/whip/any", headers=asking) as response:
        assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")
        assert "If-Match" in response.headers["Access-Control-Allow-Headers"]
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    publishing = offer(AUDIO).replace("a=sendrecv", "a=sendonly")
    async with door.client.post("/whip", data=publishing, headers={**SDP, "Origin": origin}) as response:
        assert response.status == 201
        assert "Location" in response.headers["Access-Control-Expose-Headers"]


async def test_whoever_publishes_is_heard_and_hears_nothing(door: Any) -> None:
    async with door.client.post("/whip", data=offer(AUDIO), headers=SDP) as response:
        assert response.status == 201
        answer = await response.text()
    assert "a=recvonly" in answer
    assert "a=sendrecv" not in answer


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
async def test_whip_is_for_those_who_send(door: Any, direction: str) -> None:
    text = offer(AUDIO).replace("a=sendrecv", f"a={direction}")
    async with door.client.post("/whip", data=text, headers=SDP) as response:
        assert (response.status, (await response.json())["code"]) == (422, "offer_unusable")
    async with door.client.post("/whip", data=offer(CHANNEL), headers=SDP) as response:
        assert response.status == 422
    assert door.coordinator.roster.all() == []


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/sdp", 201),
        ("text/html, application/*;q=0.5", 201),
        ("*/*", 201),
        ("application/json", 406),
        ("application/sdp;q=0, text/plain", 406),
    ],
)
async def test_whip_answers_with_what_is_accepted(door: Any, accept: str, status: int) -> None:
    async with door.client.post("/whip", data=offer(AUDIO), headers={**SDP, "Accept": accept}) as response:
        assert response.status == status


async def test_whip_sessions_have_one_owner_of_their_name(door: Any) -> None:
    async with door.client.post("/whip?session_id=studio", data=offer(AUDIO), headers=SDP) as response:
        assert response.status == 201
    async with door.client.post("/whip?session_id=studio", data=offer(AUDIO), headers=SDP) as response:
        assert (response.status, (await response.json())["code"]) == (409, "session_busy")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{}", {"Content-Type": "application/json"}, 415),
        ("nonsense", SDP, 400),
        (b"\xff\xfe", SDP, 400),
        (offer(VIDEO), SDP, 400),
    ],
)
async def test_whip_refuses_what_it_cannot_answer(door: Any, body: Any, headers: dict[str, str], status: int) -> None:
    async with door.client.post("/whip", data=body, headers=headers) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
    async with door.client.post("/whip?session_id=not%20one", data=offer(AUDIO), headers=SDP) as response:
        assert response.status == 400
    assert door.coordinator.roster.all() == []


async def test_whip_is_heard(base: str, door: Any, eventually: Eventually) -> None:
    from aiortc import RTCSessionDescription

    async with calling(
        base, np.concatenate([speech(800), silence(600)]), channel=None, listens=False, offers=False
    ) as caller:
        await _publish(caller, RTCSessionDescription)
        await eventually(lambda: any(stream.status()["last_text"] for stream in door.coordinator.roster.all()))


async def _publish(caller: Caller, description: Any) -> None:
    connection = caller.connection
    await connection.setLocalDescription(await connection.createOffer())
    async with caller.http.post(f"{caller.base}/whip", data=connection.localDescription.sdp, headers=SDP) as response:
        assert response.status == 201
        await connection.setRemoteDescription(description(await response.text(), "answer"))
