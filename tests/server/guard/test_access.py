"""Who may come in, and what for; over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import FormData, WSMsgType

from alfred_voice.clock import ManualClock
from alfred_voice.server.application import SECURITY
from alfred_voice.server.guard.cookies import LIFETIME_S
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security
from alfred_voice.server.options import ServerOptions


ADMIN, ALICE, BOB, SCRAPER = "admin-key-of-16-and-more", "alice-key-of-16-and-more", "bobs-key-of-16-and-more", "s" * 16
WRONG = "wrong-key-of-16-and-more"
KEYS = f"""
[keys.admin]
key = "{ADMIN}"
admin = true
[keys.alice]
key = "{ALICE}"
max_sessions = 2
[keys.bob]
key = "{BOB}"
requests_per_minute = 30
[keys.scraper]
key = "{SCRAPER}"
max_sessions = 0
"""
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
Guard = Callable[..., Awaitable[Any]]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000)


@pytest.fixture
def guarded(make_door: Any, tmp_path: Path, clock: ManualClock) -> Guard:
    """Makes a door with four keys."""
    file = tmp_path / "keys.toml"
    file.write_text(KEYS)
    file.chmod(0o600)

    async def make(**options: Any) -> Any:
        security = Security(SecurityOptions(**options), KeySource(str(file)), None, clock)
        return await make_door(security=security)

    return make


@pytest.fixture
def opened(make_door: Any) -> Guard:
    """Makes a door without keys."""

    async def make(server: ServerOptions | None = None, **options: Any) -> Any:
        return await make_door(server, security=Security(SecurityOptions(**options)))

    return make


async def code(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    """Status and problem of an answer."""
    problem = await answer.json(content_type=None)
    return answer.status, problem.get("code", "")


async def ask(door: Any, method: str, path: str, **options: Any) -> tuple[int, str]:
    async with door.client.request(method, path, allow_redirects=False, **options) as answer:
        if answer.content_type == "application/problem+json":
            return await code(answer)
        return answer.status, ""


async def refused(door: Any, reason: str) -> float:
    """How often requests have been refused for this reason."""
    value = door.coordinator.metrics.registry.get_sample_value("alfred_requests_refused_total", {"reason": reason})
    return value or 0.0


async def started(door: Any, key: str, query: str = "") -> aiohttp.ClientWebSocketResponse:
    socket: aiohttp.ClientWebSocketResponse = await door.client.ws_connect(f"/ws{query}", headers=bearer(key))
    await socket.send_str('{"type":"start"}')
    assert (await socket.receive_json(timeout=5))["type"] == "sessionStarted"
    return socket


# Keys


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sessions"),
        ("GET", "/session/x/status"),
        ("DELETE", "/session/x"),
        ("GET", "/pipeline/status"),
        ("GET", "/metrics"),
        ("POST", "/optimize"),
        ("POST", "/synthesize"),
        ("POST", "/process_frame"),
        ("GET", "/monitor"),
        ("GET", "/monitor/feed"),
        ("GET", "/monitor/sessions/x/feed"),
        ("GET", "/monitor/load-test"),
        ("GET", "/sign-in"),
        ("POST", "/monitor/load-test"),
        ("DELETE", "/monitor/load-test"),
        ("DELETE", "/sessions?idle_s=0"),
        ("POST", "/webrtc/offer"),
        ("DELETE", "/webrtc/x"),
        ("POST", "/whip"),
        ("OPTIONS", "/whip"),
        ("DELETE", "/whip/x"),
        ("PATCH", "/whip/x"),
        ("GET", "/ws"),
        ("GET", "/nowhere"),
        ("PATCH", "/sessions"),
    ],
)
async def test_everything_needs_a_key_once_there_is_one(guarded: Guard, method: str, path: str) -> None:
    door = await guarded()

    async with door.client.request(method, path, allow_redirects=False) as answer:
        assert await code(answer) == (401, "key_needed")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="alfred-voice"'
        assert answer.headers["Cache-Control"] == "no-store"
    async with door.client.request(method, path, headers=bearer(WRONG), allow_redirects=False) as answer:
        assert await code(answer) == (401, "key_refused")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert (await refused(door, "key_needed"), await refused(door, "key_refused")) == (1, 1)


async def test_the_page_at_the_root_asks_for_a_key_itself_but_the_socket_there_needs_one(guarded: Guard) -> None:
    door = await guarded()

    assert await ask(door, "GET", "/") == (200, "")
    assert await ask(door, "HEAD", "/") == (200, "")
    assert await ask(door, "GET", "/", headers=bearer(WRONG)) == (401, "key_refused")
    for upgrade in ("websocket", "WebSocket", "\twebsocket "):
        assert await ask(door, "GET", "/", headers={**UPGRADE, "Upgrade": upgrade}) == (401, "key_needed")
    socket = await door.client.ws_connect("/", headers=bearer(ALICE))
    assert not socket.closed


async def test_the_page_at_the_root_gives_a_cookie_for_a_key_that_opens_sessions_too(guarded: Guard) -> None:
    door = await guarded()

    async with door.client.get(f"/?token={ALICE}", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")
    socket = await door.client.ws_connect("/ws")
    await socket.send_str('{"type":"start"}')
    assert (await socket.receive_json(timeout=5))["type"] == "sessionStarted"
    await socket.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/static/monitor.css"])
async def test_questions_of_health_and_static_files_need_none(guarded: Guard, path: str) -> None:
    door = await guarded()

    assert await ask(door, "GET", path) == (200, "")
    assert await ask(door, "GET", path, headers=bearer(WRONG)) == (200, "")


@pytest.mark.parametrize("form", ["bearer", "BEARER", "query", "protocol"])
async def test_a_key_may_come_in_three_forms(guarded: Guard, form: str) -> None:
    door = await guarded()
    for key, status in ((ALICE, 200), (WRONG, 401), (ALICE + "x", 401), (ALICE[:-1], 401)):
        options: dict[str, Any] = {
            "bearer": {"headers": {"Authorization": f"Bearer {key}"}},
            "BEARER": {"headers": {"Authorization": f"bEARER  {key} "}},
            "query": {"params": {"token": key}},
            "protocol": {"headers": {"Sec-WebSocket-Protocol": f"alfred.v1.json, bearer.{key}"}},
        }[form]
        assert (await ask(door, "GET", "/sessions", **options))[0] == status


@pytest.mark.parametrize("authorization", ["Basic YWxpY2U6eA==", "Bearer", "Bearer ", ALICE, f"Token {ALICE}"])
async def test_another_scheme_is_no_key(guarded: Guard, authorization: str) -> None:
    door = await guarded()

    assert await ask(door, "GET", "/sessions", headers={"Authorization": authorization}) == (401, "key_needed")


async def test_without_configured_keys_none_is_needed_and_one_that_comes_is_ignored(opened: Guard) -> None:
    door = await opened()

    assert await ask(door, "GET", "/sessions") == (200, "")
    assert await ask(door, "POST", "/optimize", headers=bearer(WRONG)) == (200, "")


@pytest.mark.parametrize("mode", ["alfred.v1.json", "alfred.v1.msgpack"])
async def test_a_key_among_the_sub_protocols_is_not_echoed(guarded: Guard, mode: str) -> None:
    door = await guarded()

    for offered in ((mode, f"bearer.{ALICE}"), (f"bearer.{ALICE}", mode)):
        socket = await door.connect("", *offered)
        assert socket.protocol == mode
        await socket.close()


async def test_a_key_alone_among_the_sub_protocols_is_told_what_is_missing_and_is_not_logged(
    guarded: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    door = await guarded()

    headers = {**UPGRADE, "Sec-WebSocket-Protocol": f"bearer.{ALICE}"}
    async with door.client.get("/ws", headers=headers) as answer:
        text = await answer.text()
        assert answer.status == 400
        assert "alfred.v1.json" in text
        assert ALICE not in text
    assert ALICE not in caplog.text


async def test_a_handshake_is_refused_before_the_upgrade(guarded: Guard) -> None:
    door = await guarded()

    for headers, expected in (({}, "key_needed"), (bearer(WRONG), "key_refused")):
        assert await ask(door, "GET", "/ws", headers={**UPGRADE, **headers}) == (401, expected)


# What a key may


async def test_a_key_sees_and_ends_its_own_sessions_only(guarded: Guard) -> None:
    door = await guarded()
    socket = await started(door, ALICE, "?session_id=hers")

    async def listed(key: str) -> list[str]:
        async with door.client.get("/sessions", headers=bearer(key)) as answer:
            body = await answer.json()
            assert body["count"] == len(body["sessions"])
            return [session["session_id"] for session in body["sessions"]]

    assert [await listed(key) for key in (ALICE, BOB, ADMIN)] == [["hers"], [], ["hers"]]
    status, end = "/session/hers/status", "/session/hers"
    assert await ask(door, "GET", status, headers=bearer(BOB)) == (404, "session_unknown")
    assert await ask(door, "DELETE", end, headers=bearer(BOB)) == (404, "session_unknown")
    assert await ask(door, "GET", "/session/no/status", headers=bearer(BOB)) == (404, "session_unknown")
    assert await ask(door, "GET", status, headers=bearer(ALICE)) == (200, "")
    assert await ask(door, "GET", status, headers=bearer(ADMIN)) == (200, "")
    assert await ask(door, "DELETE", end, headers=bearer(ALICE)) == (200, "")
    await socket.close()


async def test_nobody_puts_audio_into_the_session_of_another_key(
    guarded: Guard, silence: Callable[[int], bytes]
) -> None:
    door = await guarded()

    def form() -> FormData:
        data = FormData()
        data.add_field("session_id", "hers")
        data.add_field("audio_file", silence(100), filename="a.raw")
        data.add_field("sample_rate", "16000")
        return data

    assert await ask(door, "POST", "/process_frame", headers=bearer(ALICE), data=form()) == (200, "")
    assert await ask(door, "POST", "/process_frame", headers=bearer(BOB), data=form()) == (403, "not_allowed")
    assert await ask(door, "POST", "/process_frame", headers=bearer(ALICE), data=form()) == (200, "")


@pytest.mark.parametrize(
    ("method", "path", "ordinary"),
    [
        ("POST", "/optimize", 403),
        ("GET", "/monitor", 403),
        ("GET", "/monitor/feed", 403),
        ("GET", "/monitor/load-test", 403),
        ("DELETE", "/monitor/load-test", 403),
        ("GET", "/metrics", 200),
        ("GET", "/pipeline/status", 200),
        ("GET", "/sessions", 200),
    ],
)
async def test_what_concerns_everybody_is_for_administrators(
    guarded: Guard, method: str, path: str, ordinary: int
) -> None:
    door = await guarded()

    assert (await ask(door, method, path, headers=bearer(SCRAPER)))[0] == ordinary
    assert (await ask(door, method, path, headers=bearer(ADMIN)))[0] == 200


async def test_a_session_is_watched_and_load_made_by_administrators_only(guarded: Guard) -> None:
    door = await guarded()
    socket = await started(door, ALICE, "?session_id=hers")
    path = "/monitor/sessions/hers/feed"

    # Not even by whose session it is: the page that shows it shows everybody's.
    for key in (ALICE, BOB):
        assert await ask(door, "GET", path, headers=bearer(key)) == (403, "not_allowed")
        assert await ask(door, "POST", "/monitor/load-test", headers=bearer(key)) == (403, "not_allowed")
    assert len(door.coordinator.roster) == 1
    async with door.client.get(path, headers=bearer(ADMIN)) as answer:
        assert answer.status == 200
    assert await ask(door, "POST", "/monitor/load-test", headers=bearer(ADMIN), json={"seconds": 1}) == (202, "")
    await socket.close()


async def test_idle_sessions_are_ended_by_whose_they_are_and_by_administrators(guarded: Guard) -> None:
    door = await guarded()
    sockets = [await started(door, key, f"?session_id={name}") for key, name in ((ALICE, "hers"), (BOB, "his"))]

    async def end(key: str, idle_s: float) -> int:
        async with door.client.delete("/sessions", params={"idle_s": idle_s}, headers=bearer(key)) as answer:
            assert answer.status == 200
            return int((await answer.json())["ended"])

    assert await end(ALICE, 3600) == 0
    assert await end(ALICE, 0) == 1
    assert [stream.session_id for stream in door.coordinator.roster.all() if stream.stopped_at is None] == ["his"]
    assert await end(ADMIN, 0) == 1
    for socket in sockets:
        await socket.close()


async def test_a_page_takes_a_key_from_the_query_and_gives_a_cookie_for_it(guarded: Guard, clock: ManualClock) -> None:
    door = await guarded()

    async with door.client.get(f"/monitor?token={ADMIN}&theme=dark", allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/monitor?theme=dark"
        cookie = answer.headers["Set-Cookie"]
    assert ADMIN not in cookie
    for attribute in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert attribute in cookie
    assert "Secure" not in cookie
    name = cookie.partition("=")[0]
    assert name == f"alfred_voice_{door.port}"

    assert await ask(door, "GET", "/monitor") == (200, "")
    assert await ask(door, "GET", "/sessions") == (200, "")
    clock.advance(LIFETIME_S)
    assert await ask(door, "GET", "/monitor") == (401, "key_needed")


async def test_a_page_gives_no_cookie_for_a_key_that_may_not_see_it_or_is_none(guarded: Guard) -> None:
    door = await guarded()

    for key, status in ((ALICE, 403), (WRONG, 401)):
        async with door.client.get(f"/monitor?token={key}", allow_redirects=False) as answer:
            assert answer.status == status
            assert "Set-Cookie" not in answer.headers


async def test_a_cookie_ends_with_its_key(guarded: Guard, tmp_path: Path) -> None:
    door = await guarded()
    await ask(door, "GET", f"/monitor?token={ADMIN}")
    assert await ask(door, "GET", "/monitor") == (200, "")
    (tmp_path / "keys.toml").write_text(f'[keys.other]\nkey = "{BOB}"\n')
    assert door.client.app[SECURITY].keys.reload()

    assert await ask(door, "GET", "/monitor") == (401, "key_needed")
    assert await ask(door, "GET", "/sessions", headers=bearer(ADMIN)) == (401, "key_refused")
    assert await ask(door, "GET", "/sessions", headers=bearer(BOB)) == (200, "")


# Limits


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


# Pages of other origins, and names


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/optimize"), ("DELETE", "/session/x"), ("POST", "/process_frame"), ("POST", "/synthesize")],
)
async def test_pages_of_other_origins_change_nothing(opened: Guard, method: str, path: str) -> None:
    door = await opened()

    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": f"http://localhost:{door.port + 1}"},
    ):
        assert await ask(door, method, path, headers=headers) == (403, "origin_refused")
    assert await refused(door, "origin_refused") == 4


async def test_pages_of_other_origins_open_no_websocket_with_or_without_a_key(opened: Guard, guarded: Guard) -> None:
    door, keyed = await opened(), await guarded()
    evil = {**UPGRADE, "Origin": "http://evil.example"}

    assert await ask(door, "GET", "/ws", headers=evil) == (403, "origin_refused")
    assert await ask(door, "GET", "/", headers=evil) == (403, "origin_refused")
    assert await ask(keyed, "GET", "/ws", headers={**evil, **bearer(ALICE)}) == (403, "origin_refused")


async def test_the_daemons_own_pages_may(opened: Guard) -> None:
    door = await opened()
    own = {"Origin": f"http://127.0.0.1:{door.port}", "Sec-Fetch-Site": "same-origin"}

    assert await ask(door, "POST", "/optimize", headers=own) == (200, "")
    async with door.client.ws_connect("/ws", headers=own) as socket:
        await socket.send_str('{"type":"start"}')
        assert (await socket.receive_json(timeout=5))["type"] == "sessionStarted"


async def test_pages_of_allowed_origins_may_and_can_read_the_answer(guarded: Guard) -> None:
    door = await guarded(allowed_origins="https://app.example, https://b.example")
    origin = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}

    async with door.client.options("/sessions", headers={**origin, "Access-Control-Request-Method": "GET"}) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    async with door.client.get("/metrics", headers={**origin, **bearer(ALICE)}) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert answer.headers["Vary"] == "Accept, Origin"
    async with door.client.get("/metrics", headers=origin) as answer:
        assert answer.status == 401
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    async with door.client.ws_connect("/ws", headers={**origin, **bearer(ALICE)}) as socket:
        await socket.send_str('{"type":"start"}')
        assert (await socket.receive_json(timeout=5))["type"] == "sessionStarted"


async def test_other_origins_get_no_permission_to_read(opened: Guard) -> None:
    door = await opened(allowed_origins="https://app.example")
    evil = {"Origin": "https://evil.example"}

    asked = {**evil, "Access-Control-Request-Method": "GET"}
    assert await ask(door, "OPTIONS", "/sessions", headers=asked) == (403, "origin_refused")
    async with door.client.get("/sessions", headers=evil) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_without_keys_the_daemon_goes_by_no_name_but_its_own(opened: Guard) -> None:
    door = await opened(allowed_hosts="voice.lan")

    for host, expected in (
        (f"localhost:{door.port}", (200, "")),
        ("voice.lan", (200, "")),
        ("evil.example", (403, "host_refused")),
        (f"evil.example:{door.port}", (403, "host_refused")),
    ):
        assert await ask(door, "GET", "/sessions", headers={"Host": host}) == expected
    rebound = {**UPGRADE, "Host": "evil.example", "Origin": "http://evil.example"}
    assert await ask(door, "GET", "/ws", headers=rebound) == (403, "host_refused")
    assert await ask(door, "GET", "/livez", headers={"Host": "evil.example"}) == (200, "")


async def test_with_keys_any_name_will_do(guarded: Guard) -> None:
    door = await guarded()

    assert await ask(door, "GET", "/sessions", headers={"Host": "voice.example", **bearer(ALICE)}) == (200, "")


# Headers


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/monitor", "/nowhere", "/sessions?x=1"])
async def test_every_answer_says_what_browsers_may_do_with_it(opened: Guard, path: str) -> None:
    door = await opened()

    async with door.client.get(path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Server"] == "alfred-voice"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert ("Cross-Origin-Opener-Policy" in headers) is (path == "/monitor")
    assert "Strict-Transport-Security" not in headers


async def test_a_slow_body_is_not_waited_for(opened: Guard) -> None:
    door = await opened(ServerOptions(request_timeout_s=1))

    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(30)

    assert await ask(door, "POST", "/synthesize", data=slow()) == (408, "request_timeout")
