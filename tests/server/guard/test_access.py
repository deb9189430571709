"""Who may come in, and what for; over real sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from alfred_voice.clock import ManualClock
from alfred_voice.server.application import SECURITY
from alfred_voice.server.guard.cookies import LIFETIME_S
from tests.server.guard.guarded import (
    ADMIN,
    ALICE,
    BOB,
    SCRAPER,
    UPGRADE,
    WRONG,
    Guard,
    ask,
    bearer,
    code,
    refused,
    started,
)


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
