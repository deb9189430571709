"""The JavaScript client while it opens the microphone and a session: whoever takes that back gets it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]

KEEP_TRACKS = """
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tracks = [];
  window.held = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    if (window.isHeld) await new Promise((resolve) => window.held.push(resolve));
    const stream = await open(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
"""
STATES = "tracks.map((track) => track.readyState)"


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: OpenPage) -> Page:
    """A page whose microphones are kept in ``tracks``; with ``isHeld`` the browser asks until ``held`` is called."""
    page = await open_page(None)
    await page.add_init_script(KEEP_TRACKS)
    await page.goto("/")
    return page


async def test_two_calls_at_once_open_one_microphone(page: Page) -> None:
    same = await page.evaluate(
        """async () => {
          const { AlfredVoice } = await import("/static/alfred-voice.js");
          window.voice = new AlfredVoice();
          const [first, second] = await Promise.all([voice.listen(), voice.listen()]);
          return first === second;
        }"""
    )
    assert same
    assert await page.evaluate(STATES) == ["live"]
    await page.evaluate("voice.close()")
    assert await page.evaluate(STATES) == ["ended"]


@pytest.mark.parametrize("way", ["rest", "close", "stop"])
async def test_what_is_taken_back_while_the_browser_asks_stays_closed(page: Page, way: str) -> None:
    told = await page.evaluate(
        """async (way) => {
          const { AlfredVoice } = await import("/static/alfred-voice.js");
          const voice = new AlfredVoice();
          window.isHeld = true;
          const listening = voice.listen().then(() => "listens", (error) => error.code);
          while (!held.length) await new Promise((resolve) => setTimeout(resolve, 10));
          await voice[way]();
          held.pop()();
          const code = await listening;
          return [code, voice.microphone, voice.state];
        }""",
        way,
    )
    assert told == ["cancelled", None, "closed"]
    assert await page.evaluate(STATES) == ["ended"]


async def test_what_is_taken_back_and_begun_again_listens_once(page: Page) -> None:
    told = await page.evaluate(
        """async () => {
          const { AlfredVoice } = await import("/static/alfred-voice.js");
          window.voice = new AlfredVoice();
          const code = (promise) => promise.then((event) => event.type, (error) => error.code);
          const first = code(voice.listen());
          const rest = voice.rest();
          const second = code(voice.listen());
          await rest;
          return [await first, await second, voice.microphone.track.readyState, voice.state];
        }"""
    )
    assert told == ["cancelled", "sessionStarted", "live", "open"]
    assert (await page.evaluate(STATES)).count("live") == 1
    await page.evaluate("voice.close()")


async def test_closing_while_it_connects_leaves_no_session(page: Page) -> None:
    code = await page.evaluate(
        """async () => {
          const { AlfredVoice } = await import("/static/alfred-voice.js");
          const voice = new AlfredVoice();
          const connecting = voice.connect().then(() => "connected", (error) => error.code);
          voice.close();
          return connecting;
        }"""
    )
    assert code == "cancelled"
    # One that another test has just left may take a moment to go.
    await page.wait_for_function(
        "fetch('/sessions').then((answer) => answer.json()).then((all) => !all.sessions.length)"
    )


async def test_a_second_click_takes_the_first_back(page: Page) -> None:
    await page.evaluate("window.isHeld = true")
    button = page.locator("#talk")
    await button.click()
    await page.wait_for_function("() => held.length")
    await button.click()
    await page.evaluate("held.pop()()")
    await page.wait_for_function("() => tracks.length")

    await page.wait_for_function("() => tracks[0].readyState === 'ended'")
    await expect(page.locator("#phase")).to_have_text("Press and talk")
    await expect(page.locator("#link")).to_have_attribute("data-state", "closed")
    await expect(page.get_by_role("alert")).to_be_hidden()

    await page.evaluate("window.isHeld = false")
    await button.click()
    await expect(page.locator("#phase")).to_have_text("Listening")
    assert await page.evaluate(STATES) == ["ended", "live"]


async def test_an_unknown_transport_is_an_error(page: Page) -> None:
    message = await page.evaluate(
        """async () => {
          const { AlfredVoice } = await import("/static/alfred-voice.js");
          try {
            new AlfredVoice({ transport: "websockets" });
          } catch (error) {
            return `${error.name}: ${error.message}`;
          }
        }"""
    )
    assert message == 'TypeError: transport: expected "websocket" or "webrtc", got "websockets"'
