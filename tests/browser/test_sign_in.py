"""Coming in and going out: with the wrong key, the right one, one that may not, and one that is revoked meanwhile."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Daemon


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
Check = Callable[[Page], Awaitable[None]]
Picture = Callable[..., Awaitable[Path]]
SCRIPTED = (str(Path(__file__).parents[1] / "scripted_daemon.py"),)
ADMIN, OTHER, WRONG = "an-administrators-key", "somebody-elses-key", "a-key-that-nobody-has"
WIDE, NARROW = (1440, 900), (390, 844)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys.toml"
    file.write_text(f'[keys.me]\nkey = "{ADMIN}"\nadmin = true\n[keys.you]\nkey = "{OTHER}"\n', "utf-8")
    file.chmod(0o600)
    return file


@pytest.fixture
def keyed(start_daemon: Any, keys: Path, watch: Any) -> Iterator[Daemon]:
    """A daemon with an administrator's key and another one."""
    watch.expect(r"status of 4(01|03|29)|ERR_(CONNECTION|INCOMPLETE|EMPTY)")
    with start_daemon("--set", f"security.keys_file={keys}", command=SCRIPTED) as daemon:
        yield daemon


def change(keys: Path, text: str, daemon: Daemon) -> None:
    """Other keys from now on."""
    keys.write_text(text, "utf-8")
    os.kill(daemon.process.pid, signal.SIGHUP)


def key_field(page: Page) -> Any:
    return page.get_by_label("Key", exact=True)


async def sign_in(page: Page, key: str) -> None:
    await key_field(page).fill(key)
    await page.keyboard.press("Enter")


async def expect_no_trace(page: Page, daemon: Daemon) -> None:
    """No key lies where somebody might find it later."""
    stored: str = await page.evaluate(
        "JSON.stringify([location.href, document.cookie, {...sessionStorage}, {...localStorage}, document.title])"
    )
    for key in (ADMIN, OTHER, WRONG):
        assert key not in stored
        assert key not in daemon.log_tail(100_000)


async def test_who_has_no_key_gets_a_form_and_comes_in_by_keyboard_with_the_right_one(
    open_page: OpenPage, keyed: Daemon
) -> None:
    page = await open_page(None, at=keyed)
    answer = await page.goto("/monitor")
    assert answer is not None
    assert answer.status == 401
    await expect(page.get_by_role("heading", name="Sign in to the monitor")).to_be_visible()
    field = key_field(page)
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("type", "password")
    await expect(page.get_by_role("alert")).to_be_empty()

    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("Type or paste a key.")
    await sign_in(page, WRONG)
    await expect(page.get_by_role("alert")).to_have_text("The daemon does not know this key.")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_be_focused()
    await sign_in(page, f"  {ADMIN}\t")

    await expect(page.locator("#link")).to_have_text("live")
    await expect(page.locator(".who-name")).to_contain_text("me")
    await expect_no_trace(page, keyed)
    # The past of this tab has no form in it: back leads out of the daemon's pages.
    assert await page.evaluate("history.length") <= 2


async def test_a_key_that_may_not_see_it_is_told_so_and_gets_no_cookie(open_page: OpenPage, keyed: Daemon) -> None:
    page = await open_page("/monitor", at=keyed)
    await sign_in(page, OTHER)

    await expect(page.get_by_role("alert")).to_have_text(
        "This key does not open the monitor: it is no administrator's."
    )
    assert await page.context.cookies() == []
    answer = await page.goto(f"/monitor?token={OTHER}")
    assert answer is not None
    assert answer.status == 403
    await expect(page.get_by_role("alert")).to_contain_text("no administrator's")
    await expect_no_trace(page, keyed)


async def test_a_wrong_key_in_the_address_is_taken_out_of_it(open_page: OpenPage, keyed: Daemon) -> None:
    page = await open_page(f"/monitor?token={WRONG}&range=60", at=keyed)

    await expect(page.get_by_role("alert")).to_have_text("The daemon does not know this key.")
    assert page.url.endswith("/monitor?range=60")
    await expect_no_trace(page, keyed)


async def test_who_guesses_has_to_wait_and_is_told_for_how_long(open_page: OpenPage, keyed: Daemon) -> None:
    page = await open_page("/monitor", at=keyed)
    for _ in range(11):
        await sign_in(page, WRONG)
        await expect(page.get_by_role("alert")).not_to_be_empty()
        await expect(page.locator("#submit")).not_to_have_attribute("aria-busy", "true")

    await expect(page.get_by_role("alert")).to_have_text(re.compile(r"Too many wrong keys .* Try again in \d s"))
    await expect(page.locator("#submit")).to_be_disabled()
    await expect(page.locator("#submit")).to_be_enabled()
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(open_page: OpenPage, keyed: Daemon) -> None:
    page = await open_page("/monitor", at=keyed)
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")

    (cookie,) = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert ADMIN not in cookie["value"]


async def test_signing_out_leads_to_the_form_in_every_tab(open_page: OpenPage, keyed: Daemon) -> None:
    page = await open_page("/monitor", at=keyed)
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")
    other = await page.context.new_page()
    await other.goto(f"{keyed.base}/monitor")
    await expect(other.locator("#link")).to_have_text("live")
    (cookie,) = await page.context.cookies()

    await page.get_by_role("button", name="Sign out").click()

    await expect(page.get_by_text("You have signed out.")).to_be_visible()
    await expect(key_field(page)).to_be_focused()
    await expect(key_field(other)).to_be_visible()
    await expect(other.get_by_text("does not let this browser in any more")).to_be_visible()
    assert await page.context.cookies() == []
    # Whoever has kept the cookie has nothing.
    await page.context.add_cookies([{"name": cookie["name"], "value": cookie["value"], "url": keyed.base}])
    await page.reload()
    await expect(key_field(page)).to_be_visible()
    await other.close()


async def test_a_key_that_is_revoked_shuts_the_page_that_is_open(
    open_page: OpenPage, keyed: Daemon, keys: Path
) -> None:
    page = await open_page("/monitor", at=keyed)
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")

    change(keys, f'[keys.you]\nkey = "{OTHER}"\n', keyed)

    await expect(key_field(page)).to_be_visible()
    await expect(page.locator("#before")).to_contain_text("the key was revoked")
    await sign_in(page, ADMIN)
    await expect(page.get_by_role("alert")).to_have_text("The daemon does not know this key.")


async def test_a_key_that_is_no_administrators_any_more_is_told_so(
    open_page: OpenPage, keyed: Daemon, keys: Path
) -> None:
    page = await open_page("/monitor", at=keyed)
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")

    change(keys, f'[keys.me]\nkey = "{ADMIN}"\n', keyed)

    await expect(page.get_by_role("alert")).to_contain_text("no administrator's")


async def test_who_comes_by_a_link_of_another_site_need_not_sign_in_again(
    open_page: OpenPage, keyed: Daemon, watch: Any
) -> None:
    page = await open_page("/monitor", at=keyed)
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")

    foreign = keyed.base.replace("127.0.0.1", "localhost")  # another name is another site
    watch.homes.append(foreign.removeprefix("http://"))
    link = f'<a href="{keyed.base}/monitor">look</a>'
    await page.route(f"{foreign}/**", lambda route: route.fulfill(body=link, content_type="text/html"))
    await page.goto(f"{foreign}/wiki")
    async with page.expect_response(lambda answer: answer.url == f"{keyed.base}/monitor") as first:
        await page.get_by_text("look").click()
    assert (await first.value).status == 401  # the browser has kept the cookie back

    await expect(page.locator("#link")).to_have_text("live")


async def test_the_pages_of_a_daemon_without_keys_have_no_way_out(open_page: OpenPage) -> None:
    for path in ("/monitor", "/"):
        page = await open_page(path)
        await expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


async def test_who_has_signed_in_to_the_monitor_talks_without_a_key(open_page: OpenPage, keyed: Daemon) -> None:
    page = await open_page("/monitor", at=keyed)
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")
    await page.goto("/")

    await expect(page.locator("#signed-in")).to_contain_text("Signed in with the key me")
    await expect(key_field(page)).to_be_hidden()
    await page.get_by_role("button", name="Talk", exact=True).click()
    await expect(page.locator("#link")).to_have_attribute("data-state", "open")
    await page.get_by_role("button", name="Sign out").click()
    await expect(key_field(page)).to_be_focused()
    await expect(page.locator("#link")).to_have_attribute("data-state", "closed")
    assert await page.context.cookies() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_axe_finds_nothing_serious_in_the_form(
    open_page: OpenPage, keyed: Daemon, axe: Check, picture: Picture, scheme: str, size: tuple[int, int]
) -> None:
    page = await open_page("/monitor", at=keyed, size=size, color_scheme=scheme)
    await axe(page)
    await sign_in(page, WRONG)
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await axe(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    await picture(page, f"sign-in-{scheme}-{'wide' if size is WIDE else 'narrow'}", whole=False)
    await sign_in(page, ADMIN)
    await expect(page.locator("#link")).to_have_text("live")
    await axe(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    await picture(page, f"signed-in-{scheme}-{'wide' if size is WIDE else 'narrow'}", whole=False)
