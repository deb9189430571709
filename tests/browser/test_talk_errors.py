"""What the page at ``/`` says when something is not as it should be, and what it does about it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.resuming import wire_to
from tests.sounds import Int16, silence
from tests.support import Daemon, word_errors


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
Microphone = Callable[..., Any]
StartDaemon = Callable[..., AbstractContextManager[Daemon]]

CUTS_S = (1.5, 2.5, 1.0, 3.0)
"""Between the moments at which a connection is lost."""
KEEP_STATES = """
  window.states = [];
  addEventListener("DOMContentLoaded", () => {
    const link = document.getElementById("link");
    new MutationObserver(() => window.states.push(link.dataset.state)).observe(link, { attributes: true });
  });
"""
KEY = "a-key-that-has-enough-letters"


async def press_talk(page: Page) -> None:
    await page.get_by_role("button", name="Talk", exact=True).click()


async def heard_text(page: Page) -> str:
    return " ".join(await page.locator("#transcript .heard .words").all_text_contents())


async def expect_notice(page: Page, code: str, *words: str) -> None:
    """A message that says what is wrong and what to do; the page is ready for another try."""
    notice = page.get_by_role("alert")
    await expect(notice).to_have_attribute("data-code", code)
    for word in words:
        await expect(notice).to_contain_text(word)
    await expect(page.locator("#talk")).to_have_attribute("aria-pressed", "false")
    await expect(page.locator("#phase")).to_have_text("Press and talk")


async def test_a_machine_without_a_microphone(open_page: OpenPage) -> None:
    page = await open_page(microphone="none")
    await press_talk(page)

    await expect_notice(page, "no_microphone", "No microphone was found", "Plug one in")
    await page.get_by_role("button", name="Close this message").click()
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_a_browser_that_may_not_use_the_microphone(open_page: OpenPage) -> None:
    page = await open_page(microphone="deny")
    await press_talk(page)

    await expect_notice(page, "permission_denied", "not allowed to use the microphone", "allow the microphone")
    await expect(page.locator("#link")).to_have_text("not connected")


async def test_an_address_that_is_not_secure(open_page: OpenPage, start_daemon: StartDaemon, watch: Any) -> None:
    watch.expect("Cross-Origin-Opener-Policy header has been ignored")
    with start_daemon("--set", "security.allowed_hosts=voice.example") as daemon:
        page = await open_page(at=daemon, host="voice.example")
        await press_talk(page)
        await expect_notice(page, "insecure_context", "not secure", "https", "localhost")

        # Without a microphone there is still a voice, which can be told to be quiet.
        await page.get_by_label("A sentence for Alfred to say").fill("Good morning. Tea is served.")
        await page.get_by_role("button", name="Speak", exact=True).click()
        note = page.locator("#transcript .said .note")
        await expect(note.first).to_have_text(re.compile(r"^[1-9]\.\d s$"))
        await page.get_by_label("A sentence for Alfred to say").fill("One two three four five. " * 9)
        await page.get_by_role("button", name="Speak", exact=True).click()
        await expect(page.locator("#phase")).to_have_text("Alfred speaks")
        await page.get_by_role("button", name="Be quiet").click()
        await expect(note.last).to_have_text("stopped")


async def test_a_daemon_that_has_gone(open_page: OpenPage, start_daemon: StartDaemon, watch: Any) -> None:
    watch.expect("ERR_CONNECTION_REFUSED")
    with start_daemon() as daemon:
        page = await open_page(at=daemon)
    await press_talk(page)

    await expect_notice(page, "daemon_gone", "does not answer")


async def test_a_daemon_that_goes_away_while_it_talks_by_webrtc(
    open_page: OpenPage, start_daemon: StartDaemon, microphone: Microphone, two_cities: Int16
) -> None:
    with start_daemon("--set", "server.grace_s=1") as daemon:
        page = await open_page(at=daemon, hearing=microphone(two_cities))
        await page.get_by_text("WebRTC", exact=True).click()
        await press_talk(page)
        await expect(page.locator("#live .guess")).not_to_be_empty()
        daemon.terminate()
        await expect_notice(page, "draining", "shutting down")
        await expect(page.locator("#link")).to_have_text("not connected")


async def test_a_daemon_that_does_not_offer_webrtc(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    with start_daemon("--set", "webrtc.enabled=false") as daemon:
        page = await open_page(at=daemon)
        await expect(page.get_by_role("radio", name="WebRTC")).to_be_disabled()
        await expect(page.get_by_role("radio", name="WebSocket")).to_be_checked()


async def test_a_daemon_that_goes_in_the_middle_of_a_sentence(
    open_page: OpenPage, start_daemon: StartDaemon, microphone: Microphone, two_cities: Int16
) -> None:
    with start_daemon("--set", "server.grace_s=1") as daemon:
        page = await open_page(at=daemon, hearing=microphone(two_cities))
        await press_talk(page)
        await expect(page.locator("#live .guess")).not_to_be_empty()
        daemon.terminate()
        await expect_notice(page, "draining", "shutting down")
        # What had been said by then was finished and is not lost.
        await expect(page.locator("#transcript .heard", has_text="It was").first).to_be_visible()


async def test_a_daemon_that_has_no_room(open_page: OpenPage, start_daemon: StartDaemon, watch: Any) -> None:
    watch.expect("503")
    with start_daemon("--set", "sessions.max_concurrent=1") as daemon:
        first, second = await open_page(at=daemon), await open_page(at=daemon)
        await press_talk(first)
        await expect(first.locator("#link")).to_have_attribute("data-state", "open")
        await press_talk(second)

        await expect_notice(second, "too_many_sessions", "has no room", "Try again in")
        await first.close()
        await asyncio.sleep(0.5)
        await press_talk(second)
        await expect(second.locator("#link")).to_have_attribute("data-state", "open")
        await expect(second.get_by_role("alert")).to_be_hidden()


async def test_a_daemon_that_wants_a_key(
    open_page: OpenPage, start_daemon: StartDaemon, watch: Any, microphone: Microphone, sentence: Int16
) -> None:
    watch.expect("401|no valid credentials")
    with start_daemon(env={"ALFRED_API_KEYS": f"me:{KEY}"}) as daemon:
        page = await open_page(at=daemon, hearing=microphone(silence(10), sentence, silence(3)))
        field = page.get_by_label("Key", exact=True)
        await expect(field).to_be_visible()
        await press_talk(page)
        await expect_notice(page, "key_needed", "wants a key")
        await expect(field).to_be_focused()

        await field.fill(KEY[:-1])
        await page.keyboard.press("Enter")  # it is tried at once, and not only when somebody talks
        await expect_notice(page, "key_refused", "does not know this key")
        await expect(field).to_be_focused()

        await field.fill(KEY)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_be_hidden()
        await expect(page.locator("#signed-in")).to_contain_text("Signed in with the key me")
        await page.reload()
        await expect(page.locator("#signed-in")).to_contain_text("Signed in with the key me")
        await press_talk(page)
        await expect(page.locator("#link")).to_have_attribute("data-state", "open")
        assert KEY not in await page.locator("main").inner_text()
        await expect(page.locator("#code")).to_contain_text("ALFRED_API_KEY")
        assert KEY not in daemon.log_tail(100_000)
        assert KEY not in page.url

        await page.get_by_role("button", name="Sign out").click()
        await expect(page.locator("#link")).to_have_attribute("data-state", "closed")
        await expect(field).to_be_focused()
        assert await page.evaluate("sessionStorage.length") == 0
        await press_talk(page)
        await expect_notice(page, "key_needed", "wants a key")


async def test_a_connection_that_is_lost_again_and_again_loses_no_word(
    open_page: OpenPage,
    daemon: Daemon,
    microphone: Microphone,
    reading: Int16,
    reading_text: str,
    watch: Any,
) -> None:
    watch.expect("WebSocket connection to .* failed")
    whole = await open_page(hearing=microphone(reading, silence(3)))
    await press_talk(whole)
    async with wire_to(daemon.base) as wire:
        page = await open_page(None, port=wire.port, hearing=microphone(reading, silence(3)))
        await page.add_init_script(KEEP_STATES)
        await page.goto("/")
        await press_talk(page)
        for seconds in CUTS_S:
            await expect(page.locator("#link")).to_have_attribute("data-state", "open")
            await asyncio.sleep(seconds)
            wire.cut()
        await expect(page.locator("#transcript .heard").last).to_contain_text("belief")
        heard_on = await heard_text(page)
        states: list[str] = await page.evaluate("states")
        await page.close()
    assert states == ["connecting", "open", *["reconnecting", "open"] * len(CUTS_S)]
    await expect(whole.locator("#transcript .heard").last).to_contain_text("belief")
    assert word_errors(await heard_text(whole), heard_on) <= 2  # two microphones never hear quite the same
    assert word_errors(reading_text, heard_on) <= 3


async def test_another_daemon_in_the_place_of_the_one_before_goes_on_listening(
    open_page: OpenPage,
    daemon: Daemon,
    start_daemon: StartDaemon,
    microphone: Microphone,
    two_cities: Int16,
    watch: Any,
) -> None:
    watch.expect("WebSocket connection to .* failed")
    async with wire_to(daemon.base) as wire:
        page = await open_page(port=wire.port, hearing=microphone(two_cities))
        await press_talk(page)
        await expect(page.locator("#transcript .heard", has_text="It was the").first).to_be_visible()
        with start_daemon() as other:
            wire._to = ("127.0.0.1", other.port)
            wire.cut()
            await expect(page.locator("#link")).to_have_attribute("data-state", "open")
            count = await page.locator("#transcript .heard").count()
            await expect(page.locator("#transcript .heard").nth(count)).to_be_visible()
            await page.close()
    await asyncio.sleep(0.1)


async def test_a_cut_line_stops_the_voice(open_page: OpenPage, daemon: Daemon, watch: Any) -> None:
    watch.expect("WebSocket connection to .* failed")
    async with wire_to(daemon.base) as wire:
        page = await open_page(port=wire.port)
        await page.get_by_label("A sentence for Alfred to say").fill("One two three four five. " * 20)
        await page.get_by_role("button", name="Speak", exact=True).click()
        await expect(page.locator("#phase")).to_have_text("Alfred speaks")
        wire.cut()
        await expect(page.locator("#transcript .said")).to_have_attribute("data-end", "cut")
        await page.close()


async def test_a_session_that_the_daemon_refuses(open_page: OpenPage) -> None:
    page = await open_page()
    code, state = await page.evaluate(
        """async () => {
          const { AlfredVoice } = await import("/static/alfred-voice.js");
          const voice = new AlfredVoice({ start: { language: "no such language" } });
          try {
            await voice.connect();
          } catch (error) {
            return [error.code, voice.state];
          }
        }"""
    )
    assert (code, state) == ("settings_invalid", "closed")


async def test_speaking_without_a_session_is_an_error(open_page: OpenPage) -> None:
    page = await open_page()
    code = await page.evaluate(
        """async () => {
          const { AlfredVoice, AlfredVoiceError } = await import("/static/alfred-voice.js");
          try {
            new AlfredVoice().speak("Hello");
          } catch (error) {
            return error instanceof AlfredVoiceError && error.code;
          }
        }"""
    )
    assert code == "not_connected"
