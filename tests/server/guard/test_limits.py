"""How many sessions and how often: the limits of keys, addresses and connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import FormData, WSMsgType

from alfred_voice.clock import ManualClock
from tests.server.guard.guarded import ALICE, BOB, SCRAPER, UPGRADE, WRONG, Guard, ask, bearer, code, refused, started


async def test_a_key_has_no_more_sessions_than_it_may(guarded: Guard, eventually: Any) -> None:
    door = await guarded()
    sockets = [await started(door, ALICE) for _ in range(2)]

    async with door.client.get("/ws", headers={**UPGRADE, **bearer(ALICE)}) as answer:
        assert await code(answer) == (429, "too_many_sessions_of_key")
        assert int(answer.headers["Retry-After"]) > 0
    assert await ask(door, "GET", "/ws", headers={**UPGRADE, **bearer(SCRAPER)}) == (429, "too_many_sessions_of_key")
    other = await started(door, BOB)
    await sockets[0].close()
    await eventually(lambda: len(door.coordinator.roster) == 2)
    again = await started(door, ALICE)

    for socket in (*sockets, other, again):
        await socket.close()
    assert await refused(door, "too_many_sessions_of_key") == 2


async def test_uploads_count_as_sessions_and_a_start_that_is_one_too_many_is_told_and_closed(
    guarded: Guard, silence: Callable[[int], bytes]
) -> None:
    door = await guarded()

    async def upload(name: str) -> tuple[int, str]:
        data = FormData({"session_id": name, "sample_rate": "16000"})
        data.add_field("audio_file", silence(100), filename="a.raw")
        return await ask(door, "POST", "/process_frame", headers=bearer(ALICE), data=data)

    assert await upload("a") == (200, "")
    socket = await door.client.ws_connect("/ws", headers=bearer(ALICE))
    assert await upload("b") == (200, "")
    assert await upload("c") == (429, "too_many_sessions_of_key")

    await socket.send_str('{"type":"start"}')
    event = await socket.receive_json(timeout=5)
    assert (event["type"], event["code"], event["fatal"]) == ("error", "too_many_sessions_of_key", True)
    assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE
    assert socket.close_code == 1013


async def test_whoever_has_all_sessions_it_may_is_told_before_the_upgrade(
    guarded: Guard, silence: Callable[[int], bytes]
) -> None:
    door = await guarded()
    handshake = {**UPGRADE, **bearer(ALICE)}
    waiting = [await door.client.ws_connect("/ws", headers=bearer(ALICE)) for _ in range(2)]
    assert len(door.coordinator.roster) == 0
    assert await ask(door, "GET", "/ws", headers=handshake) == (429, "too_many_sessions_of_key")
    for socket in waiting:
        await socket.close()

    for name in ("a", "b"):
        data = FormData({"session_id": name, "sample_rate": "16000"})
        data.add_field("audio_file", silence(100), filename="a.raw")
        assert await ask(door, "POST", "/process_frame", headers=bearer(ALICE), data=data) == (200, "")
    assert await ask(door, "GET", "/ws", headers=handshake) == (429, "too_many_sessions_of_key")


async def test_an_address_has_no_more_sessions_than_it_may(opened: Guard) -> None:
    door = await opened(max_sessions_per_address=1)
    socket = await door.connect("?session_id=first")
    await socket.send_str('{"type":"start"}')
    await socket.receive_json(timeout=5)

    assert await ask(door, "GET", "/ws", headers=UPGRADE) == (429, "too_many_sessions_of_address")
    await socket.close()


async def test_a_key_asks_no_more_often_than_it_may(guarded: Guard, clock: ManualClock) -> None:
    door = await guarded()

    answers = [await ask(door, "GET", "/sessions", headers=bearer(BOB)) for _ in range(30)]
    assert set(answers) == {(200, "")}
    async with door.client.get("/sessions", headers=bearer(BOB)) as answer:
        assert await code(answer) == (429, "rate_limited")
        wait_s = int(answer.headers["Retry-After"])
    assert await ask(door, "GET", "/sessions", headers=bearer(ALICE)) == (200, "")
    clock.advance(wait_s)
    assert await ask(door, "GET", "/sessions", headers=bearer(BOB)) == (200, "")


async def test_wrong_keys_are_counted_by_address_logged_and_then_not_looked_at(
    guarded: Guard, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    door = await guarded(failed_attempts_per_minute=3)
    assert await ask(door, "GET", "/sessions", headers=bearer(ALICE)) == (200, "")

    tries = [await ask(door, "GET", "/sessions", headers=bearer(f"{WRONG}{n}")) for n in range(5)]

    assert tries == [(401, "key_refused")] * 3 + [(429, "too_many_attempts")] * 2
    assert [record.getMessage() for record in caplog.records].count("key_refused") == 3
    assert WRONG not in caplog.text
    # A right key that has not been seen from there gets the same answer as a wrong one; one that has goes on.
    assert await ask(door, "GET", "/sessions", headers=bearer(BOB)) == (429, "too_many_attempts")
    assert await ask(door, "GET", "/sessions", headers=bearer(ALICE)) == (200, "")
    clock.advance(20)
    assert await ask(door, "GET", "/sessions", headers=bearer(BOB)) == (200, "")


async def test_attempts_may_be_left_uncounted(guarded: Guard) -> None:
    door = await guarded(failed_attempts_per_minute=0)

    tries = [await ask(door, "GET", "/sessions", headers=bearer(WRONG)) for _ in range(30)]

    assert set(tries) == {(401, "key_refused")}


# Messages


async def test_messages_that_come_too_often_are_told_of_and_then_end_the_connection(opened: Guard) -> None:
    door = await opened(control_messages_per_s=0.001, control_burst=3)
    socket = await door.connect()
    await socket.send_str('{"type":"start","events":[]}')
    for number in range(5):
        await socket.send_str(f'{{"type":"ping","id":{number}}}')
    events: list[dict[str, Any]] = []
    while len(events) < 5:
        events.append(await socket.receive_json(timeout=5))
    assert [event["type"] for event in events] == ["sessionStarted", "pong", "pong", "pong", "error"]
    assert (events[-1]["code"], events[-1]["fatal"]) == ("rate_limited", False)

    for _ in range(3):
        await socket.send_str("no message")
    rest = [message.json() async for message in socket if message.type is WSMsgType.TEXT]
    assert [(event["type"], event.get("code"), event.get("fatal")) for event in rest][:1] == [
        ("error", "rate_limited", True)
    ]
    assert rest[-1]["type"] == "sessionEnded"
    assert socket.close_code == 1008


async def test_audio_and_a_stop_do_not_count_as_messages(
    opened: Guard, tone: Callable[[int], bytes], read_all: Any
) -> None:
    door = await opened(control_messages_per_s=0.001, control_burst=1)
    socket = await door.connect("", "alfred.v1.json")
    await socket.send_str('{"type":"ping"}')
    for _ in range(50):
        await socket.send_bytes(tone(20))
    await socket.send_str('{"type":"stop"}')

    events = await read_all(socket)

    assert events[-1]["type"] == "sessionEnded"
    assert events[-1]["stats"]["frames_processed"] == 50
    assert not [event for event in events if event["type"] == "error"]


async def test_refused_starts_are_answered_only_so_often(opened: Guard, read_all: Any) -> None:
    door = await opened(control_messages_per_s=0.001, control_burst=2)
    socket = await door.connect()
    for _ in range(8):
        await socket.send_str('{"type":"start","channels":7}')

    events = await read_all(socket)

    assert [event["code"] for event in events] == ["settings_invalid"] * 2 + ["rate_limited"] * 2
    assert [event["seq"] for event in events if "seq" in event] == sorted(event["seq"] for event in events)
    assert socket.close_code == 1008
