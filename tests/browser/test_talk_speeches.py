"""What Alfred is to say, on the page at ``/``: one sentence after the other, and none that is lost without a word."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.browser.test_talk import LONG, say
from tests.browser.test_talk_files import download, milliseconds
from tests.sounds import Int16
from tests.support import Daemon


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
StartDaemon = Callable[..., AbstractContextManager[Daemon]]
Microphone = Callable[..., Any]

KEEP_IDLE = """() => {
  window.idle = [];
  const button = document.getElementById("quiet");
  new MutationObserver(() => window.idle.push(button.disabled)).observe(button, { attributes: true });
}"""


def stamps(subtitles: str) -> list[tuple[int, int]]:
    """Begin and end of each cue, in ms."""
    found = re.findall(r"([\d:,]{12}) --> ([\d:,]{12})", subtitles)
    return [(milliseconds(begin), milliseconds(end)) for begin, end in found]


async def test_several_sentences_are_one_speech_after_the_other(open_page: OpenPage) -> None:
    page = await open_page()
    await page.evaluate(KEEP_IDLE)
    for text in ("One two three.", "Four five six.", "Seven eight nine."):
        await say(page, text)
    notes = page.locator("#transcript .said .note")
    await expect(notes).to_have_count(3)
    await expect(notes.nth(2)).to_have_text("queued")
    await expect(notes.nth(1)).to_have_text("speaking")
    await expect(page.get_by_role("button", name="Be quiet")).to_be_enabled()
    await expect(page.locator("#phase")).to_have_text("Alfred speaks")
    for i in range(3):
        await expect(notes.nth(i)).to_have_text(re.compile(r"^\d+\.\d s$"))

    assert await page.evaluate("idle") == [False, True], "it was taken for done while there was more to say"
    times = stamps((await download(page, "SRT"))[1])
    assert len(times) == 3
    assert all(end > begin + 400 for begin, end in times)
    assert all(later >= end - 50 for (_, end), (later, _) in itertools.pairwise(times)), times


async def test_being_quiet_drops_what_waits(open_page: OpenPage) -> None:
    page = await open_page()
    for text in (LONG, "Four five six.", "Seven eight nine."):
        await say(page, text)
    await expect(page.locator("#phase")).to_have_text("Alfred speaks")
    await asyncio.sleep(1)
    await page.keyboard.press("Escape")

    notes = page.locator("#transcript .said .note")
    await expect(notes).to_have_text(["stopped", "dropped", "dropped"])
    await expect(page.get_by_role("button", name="Be quiet")).to_be_disabled()
    _, text = await download(page, "TXT")
    assert text == f"Alfred: {LONG} [cut off]\n"


async def test_what_is_refused_comes_back_into_its_field(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    with start_daemon("--set", "tts.max_queued=1") as daemon:
        page = await open_page(at=daemon)
        await say(page, LONG)
        await expect(page.locator("#transcript .said .note")).to_have_text("speaking")
        await say(page, "Two.")
        await say(page, "Three.")

        await expect(page.get_by_role("alert")).to_contain_text("too much to say")
        await expect(page.get_by_label("A sentence for Alfred to say")).to_have_value("Three.")
        await expect(page.locator("#transcript .said .words")).to_have_text([LONG, "Two."])
        await page.close()


async def test_enter_while_it_connects_says_it_once(open_page: OpenPage) -> None:
    page = await open_page()
    await page.get_by_label("A sentence for Alfred to say").fill("Good morning.")
    for _ in range(3):
        await page.keyboard.press("Enter")
    said = page.locator("#transcript .said")
    await expect(said.locator(".note")).to_have_text(re.compile(r"^\d+\.\d s$"))
    await expect(said).to_have_count(1)


async def test_a_session_that_the_operator_ends_is_told(open_page: OpenPage) -> None:
    page = await open_page()
    await page.get_by_role("button", name="Talk", exact=True).click()
    await expect(page.locator("#link")).to_have_attribute("data-state", "open")
    await page.evaluate(
        """async () => {
          const { sessions } = await (await fetch("/sessions")).json();
          for (const { session_id } of sessions) await fetch(`/session/${session_id}`, { method: "DELETE" });
        }"""
    )
    await expect(page.get_by_role("alert")).to_contain_text("ended by the daemon's operator")
    await expect(page.locator("#phase")).to_have_text("Press and talk")

    await page.get_by_role("button", name="Talk", exact=True).click()
    await expect(page.locator("#phase")).to_have_text("Listening")
    await expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize("transport", ["WebSocket", "WebRTC"])
async def test_what_was_understood_stays_when_the_daemon_is_gone(
    open_page: OpenPage,
    start_daemon: StartDaemon,
    microphone: Microphone,
    two_cities: Int16,
    transport: str,
    watch: Any,
) -> None:
    watch.expect("WebSocket connection to .* failed|ERR_CONNECTION|ERR_EMPTY_RESPONSE")
    with start_daemon() as daemon:
        page = await open_page(at=daemon, hearing=microphone(two_cities, lead_s=4.0))
        await page.get_by_text(transport, exact=True).click()
        await page.get_by_role("button", name="Talk", exact=True).click()
        await expect(page.locator("#live")).to_contain_text("best")
        daemon.process.kill()
        daemon.process.wait()
        daemon.process.returncode = 0  # it was meant to die
    await expect(page.locator("#link")).to_have_attribute("data-state", "reconnecting")
    # By WebSocket the rest is kept for a minute, by WebRTC it is not heard; either way the person gives up.
    await page.evaluate("dispatchEvent(new Event('pagehide'))")

    unfinished = page.locator("#transcript .heard", has_text="unfinished")
    await expect(unfinished.locator(".words")).to_contain_text("best")
    await expect(page.locator("#live")).to_be_hidden()
    _, text = await download(page, "TXT")
    assert text.endswith("[unfinished]\n")
    await page.close()
