"""How a browser comes in with a key and goes out again; over real sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.server.application import SECURITY
from tests.server.monitor.event_stream import events_of


ADMIN, ALICE, WRONG = "admin-key-of-16-and-more", "alice-key-of-16-and-more", "wrong-key-of-16-and-more"
KEYS = f'[keys.admin]\nkey = "{ADMIN}"\nadmin = true\n[keys.alice]\nkey = "{ALICE}"\nrequests_per_minute = 3\n'
PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
"""What a browser sends for a page."""
SIGN_IN = "/sign-in"
Guard = Callable[..., Awaitable[Any]]


@pytest.fixture
def keys() -> str:
    """Two, of which one may not ask often."""
    return KEYS


async def ask(door: Any, method: str, path: str = SIGN_IN, **options: Any) -> tuple[int, Any]:
    async with door.client.request(method, path, allow_redirects=False, **options) as answer:
        body = await answer.json(content_type=None) if "json" in answer.content_type else await answer.text()
        return answer.status, body.get("code", body) if isinstance(body, dict) else body


async def sign_in(door: Any, key: str, **more: Any) -> tuple[int, Any]:
    return await ask(door, "POST", json={"key": key, **more})


def cookie_of(door: Any, value: str) -> dict[str, str]:
    return {"Cookie": f"alfred_voice_{door.port}={value}"}


def change_keys(door: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.toml").write_text(text)
    assert door.client.app[SECURITY].keys.reload()


# The form


async def test_a_person_without_a_key_gets_a_form_and_a_program_the_problem(guarded: Guard) -> None:
    door = await guarded()

    async with door.client.get("/monitor", headers=PERSON) as answer:
        assert (answer.status, answer.content_type) == (401, "text/html")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="alfred-voice"'
        assert answer.headers["Cache-Control"] == "no-store"
        assert "form-action 'none'" in answer.headers["Content-Security-Policy"]
        text = await answer.text()
    assert 'data-code="key_needed"' in text
    assert 'type="password"' in text
    assert "data-wants-admin" in text
    for path in ("/sessions", "/monitor/feed", "/config"):
        assert await ask(door, "GET", path, headers=PERSON) == (401, "key_needed")
    assert await ask(door, "GET", "/monitor") == (401, "key_needed")
    assert await ask(door, "POST", "/monitor", headers=PERSON) == (401, "key_needed")


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [(WRONG, 401, "key_refused"), (ALICE, 403, "not_allowed"), ("<b>'\"", 401, "key_refused")],
)
async def test_the_form_says_what_was_wrong_and_never_the_key(guarded: Guard, key: str, status: int, code: str) -> None:
    door = await guarded()

    async with door.client.get("/monitor", params={"token": key}, headers=PERSON) as answer:
        text = await answer.text()
        assert answer.status == status
        assert "Set-Cookie" not in answer.headers
    assert f'data-code="{code}"' in text
    assert key not in text


async def test_the_page_to_talk_on_answers_a_wrong_key_with_a_form_for_any_key(guarded: Guard) -> None:
    door = await guarded()

    status, text = await ask(door, "GET", f"/?token={WRONG}", headers=PERSON)

    assert status == 401
    assert "data-wants-admin" not in text


# In


@pytest.mark.parametrize(("key", "name", "is_admin"), [(ADMIN, "admin", True), (ALICE, "alice", False)])
async def test_a_key_is_exchanged_for_a_cookie_that_is_the_browsers_alone(
    guarded: Guard, key: str, name: str, is_admin: bool
) -> None:
    door = await guarded()

    async with door.client.post(SIGN_IN, json={"key": key}) as answer:
        assert (answer.status, await answer.json()) == (200, {"key": name, "admin": is_admin})
        assert answer.headers["Cache-Control"] == "no-store"
        cookie = answer.headers["Set-Cookie"]
    assert key not in cookie
    for attribute in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
        assert attribute in cookie
    assert await ask(door, "GET") == (200, {"key": name, "admin": is_admin})
    assert (await ask(door, "GET", "/monitor"))[0] == (200 if is_admin else 403)


async def test_a_key_that_may_not_what_is_asked_for_gets_no_cookie(guarded: Guard) -> None:
    door = await guarded()

    async with door.client.post(SIGN_IN, json={"key": ALICE, "admin": True}) as answer:
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers
    assert await ask(door, "GET") == (401, "key_needed")


async def test_wrong_keys_are_counted_as_everywhere_and_not_logged(
    guarded: Guard, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    door = await guarded(failed_attempts_per_minute=2)

    answers = [await sign_in(door, f"{WRONG}{number}") for number in range(3)]

    assert answers == [(401, "key_refused"), (401, "key_refused"), (429, "too_many_attempts")]
    assert await sign_in(door, ADMIN) == (429, "too_many_attempts")  # a right one is not told from a wrong one
    assert (await ask(door, "GET", f"/monitor?token={ADMIN}", headers=PERSON))[0] == 429
    clock.advance(30)
    assert (await sign_in(door, ADMIN))[0] == 200
    assert WRONG not in caplog.text
    assert ADMIN not in caplog.text


async def test_a_key_signs_in_no_more_often_than_it_may_ask(guarded: Guard) -> None:
    door = await guarded()

    answers = [(await sign_in(door, ALICE))[0] for _ in range(4)]

    assert answers == [200, 200, 200, 429]


@pytest.mark.parametrize("body", ["", "[]", '{"key": 7}', "{}", '{"key": "x", "more": 1}', f'{{"key": "{ADMIN}"'])
async def test_what_is_no_key_is_told_so_without_its_words(guarded: Guard, body: str) -> None:
    door = await guarded()

    async with door.client.post(SIGN_IN, data=body) as answer:
        assert answer.status == 400
        assert ADMIN not in await answer.text()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"},  # it may use the daemon, with its own key
    ],
)
async def test_no_other_page_signs_a_browser_in_or_out(guarded: Guard, method: str, headers: dict[str, str]) -> None:
    door = await guarded(allowed_origins="https://app.example")

    assert await ask(door, method, headers=headers, json={"key": ADMIN}) == (403, "origin_refused")


async def test_behind_a_proxy_that_speaks_tls_the_daemons_own_page_may(guarded: Guard) -> None:
    door = await guarded(allowed_origins="https://voice.example")
    headers = {"Origin": "https://voice.example", "Host": "voice.example", "Sec-Fetch-Site": "same-origin"}

    assert (await ask(door, "POST", headers=headers, json={"key": ADMIN}))[0] == 200


async def test_a_browser_has_one_cookie_and_the_one_before_is_worth_nothing(guarded: Guard) -> None:
    door = await guarded()
    await sign_in(door, ADMIN)
    (before,) = [cookie.value for cookie in door.client.session.cookie_jar]
    await sign_in(door, ALICE)
    (after,) = [cookie.value for cookie in door.client.session.cookie_jar]

    assert before != after
    assert await ask(door, "GET") == (200, {"key": "alice", "admin": False})
    door.client.session.cookie_jar.clear()
    assert await ask(door, "GET", headers=cookie_of(door, after)) == (200, {"key": "alice", "admin": False})
    assert await ask(door, "GET", headers=cookie_of(door, before)) == (401, "key_needed")


async def test_a_daemon_without_keys_has_nobody_sign_in(door: Any) -> None:
    assert await ask(door, "GET") == (200, {"key": None, "admin": True})
    async with door.client.post(SIGN_IN, json={"key": "whatever"}) as answer:
        assert (answer.status, await answer.json()) == (200, {"key": None, "admin": True})
        assert "Set-Cookie" not in answer.headers
    assert await ask(door, "POST", json={"key": "x"}, headers={"Host": "evil.example"}) == (403, "host_refused")


# Out


async def test_who_signs_out_is_out_wherever_the_cookie_lies(guarded: Guard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    door = await guarded()
    await sign_in(door, ADMIN)
    (cookie,) = [cookie.value for cookie in door.client.session.cookie_jar]
    assert (await ask(door, "GET", headers=cookie_of(door, cookie)))[0] == 200

    async with door.client.delete(SIGN_IN) as answer:
        assert answer.status == 204
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert list(door.client.session.cookie_jar) == []
    assert await ask(door, "GET", headers=cookie_of(door, cookie)) == (401, "key_needed")
    assert (await ask(door, "DELETE"))[0] == 204  # once more is no error
    said = [record.getMessage() for record in caplog.records]
    assert (said.count("signed_in"), said.count("signed_out")) == (1, 1)


async def test_what_somebody_watches_ends_when_they_sign_out(guarded: Guard) -> None:
    door = await guarded()
    await sign_in(door, ADMIN)

    async with events_of(door.client, "/monitor/feed") as events:
        await events.next("now")
        await ask(door, "DELETE")
        with pytest.raises(EOFError):
            await events.next("never")


@pytest.mark.parametrize("how", ["cookie", "header"])
@pytest.mark.parametrize("left", [f'[keys.alice]\nkey = "{ALICE}"\n', f'[keys.admin]\nkey = "{ADMIN}"\n'])
async def test_what_somebody_watches_ends_when_the_key_goes_or_may_less(
    guarded: Guard, tmp_path: Path, how: str, left: str
) -> None:
    door = await guarded()
    headers = {"Authorization": f"Bearer {ADMIN}"} if how == "header" else {}
    if how == "cookie":
        await sign_in(door, ADMIN)

    async with events_of(door.client, "/monitor/feed", headers=headers) as events:
        await events.next("now")
        await events.next("now")
        change_keys(door, tmp_path, left)
        with pytest.raises(EOFError):
            await events.next("never")


async def test_what_somebody_watches_goes_on_when_other_keys_change(guarded: Guard, tmp_path: Path) -> None:
    door = await guarded()
    await sign_in(door, ADMIN)

    async with events_of(door.client, "/monitor/feed") as events:
        await events.next("now")
        change_keys(door, tmp_path, f'[keys.admin]\nkey = "{ADMIN}"\nadmin = true\n')
        for _ in range(3):
            await events.next("now")
