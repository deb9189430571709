"""Pages of other origins, other names of the daemon, and what browsers are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alfred_voice.server.options import ServerOptions
from tests.server.guard.guarded import ALICE, UPGRADE, Guard, ask, bearer, refused


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


@pytest.mark.parametrize(("method", "path"), [("GET", "/ws"), ("POST", "/webrtc/offer")])
async def test_other_origins_can_read_why_they_are_refused_and_nothing_else(
    opened: Guard, guarded: Guard, method: str, path: str
) -> None:
    for door in (await opened(), await guarded()):
        async with door.client.request(method, path, headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status == 403
            assert (await answer.json(content_type=None))["code"] == "origin_refused"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in answer.headers
        async with door.client.get(path) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
        for open_to_all in ("/livez", "/static/alfred-voice.js"):
            async with door.client.get(open_to_all, headers={"Origin": "https://evil.example"}) as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers


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


async def test_the_opener_policy_is_sent_where_browsers_heed_it(opened: Guard) -> None:
    door = await opened(allowed_hosts="voice.example")

    for headers, is_sent in (
        ({"Host": "voice.example"}, False),
        ({"Host": "voice.example", "X-Forwarded-Proto": "https"}, True),
        ({"Host": "localhost"}, True),
    ):
        async with door.client.get("/monitor", headers=headers) as answer:
            assert answer.status == 200
            assert ("Cross-Origin-Opener-Policy" in answer.headers) is is_sent, headers


async def test_a_person_who_comes_by_another_name_is_told_which_setting_names_the_daemon(opened: Guard) -> None:
    door = await opened()
    person = {"Accept": "text/html,*/*;q=0.8", "Host": "<b>voice.test:80"}

    for path in ("/", "/monitor"):
        async with door.client.get(path, headers=person) as answer:
            assert (answer.status, answer.content_type) == (403, "text/html")
            assert answer.headers["Vary"] == "Accept"
            text = await answer.text()
        assert "--set security.allowed_hosts=&lt;b&gt;voice.test<" in text
        assert "<b>voice" not in text
    assert await ask(door, "GET", "/monitor", headers={"Host": "voice.test"}) == (403, "host_refused")
    assert await ask(door, "GET", "/metrics", headers=person) == (403, "host_refused")
    assert await refused(door, "host_refused") == 4


async def test_a_slow_body_is_not_waited_for(opened: Guard) -> None:
    door = await opened(ServerOptions(request_timeout_s=1))

    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(30)

    assert await ask(door, "POST", "/synthesize", data=slow()) == (408, "request_timeout")
