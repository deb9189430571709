"""The page at ``/``: a person talks with the daemon."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sounds import Int16, silence
from tests.support import word_error_rate


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
Picture = Callable[..., Awaitable[Path]]
Microphone = Callable[..., Path]

MOST_ERRORS = 0.1
"""The share of words that may be wrong."""
LEAD_S = {"WebSocket": 1.0, "WebRTC": 4.0}
"""Silence before the speech: by WebSocket nothing is lost that is said before the connection stands."""
LONG = (
    "This is a sentence that goes on and on, and has so many words in it that somebody who has heard the half of it "
    "would rather say something now than wait until the other half of it has been said as well."
)
KEEP_TRACKS = """
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tracks = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await open(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
"""
KEEP_PARTIALS = """
  window.partials = [];
  addEventListener("DOMContentLoaded", () => {
    const live = document.getElementById("live");
    const note = () => live.hidden || window.partials.push([...live.children].map((part) => part.textContent));
    new MutationObserver(note).observe(live, { childList: true, subtree: true, characterData: true });
  });
"""


TRANSPORTS = pytest.mark.parametrize("transport", ["WebSocket", "WebRTC"])


async def press_talk(page: Page, transport: str = "WebSocket") -> None:
    await page.get_by_text(transport, exact=True).click()
    await page.get_by_role("button", name="Talk", exact=True).click()


async def heard_text(page: Page) -> str:
    """The finals on the page."""
    return " ".join(await page.locator("#transcript .heard .words").all_text_contents())


async def say(page: Page, text: str) -> None:
    await page.get_by_label("A sentence for Alfred to say").fill(text)
    await page.get_by_role("button", name="Speak", exact=True).click()


def seconds_in(note: str) -> float:
    found = re.search(r"([\d.]+) s", note)
    assert found, note
    return float(found[1])


@TRANSPORTS
async def test_the_page_prints_what_the_microphone_hears_while_it_is_being_said(
    open_page: OpenPage, microphone: Microphone, reading: Int16, reading_text: str, picture: Picture, transport: str
) -> None:
    page = await open_page(None, hearing=microphone(reading, silence(3), lead_s=LEAD_S[transport]))
    await page.add_init_script(KEEP_PARTIALS)
    await page.goto("/")
    await press_talk(page, transport)

    await expect(page.locator("#live .stable")).not_to_be_empty()
    await expect(page.locator("#phase")).to_have_text("I hear you")
    await expect(page.locator("#link")).to_have_text(f"connected by {transport}")
    await picture(page, f"talk-{transport}-hearing")
    await expect(page.locator("#transcript .heard").last).to_contain_text("belief")
    assert word_error_rate(reading_text, await heard_text(page)) <= MOST_ERRORS
    await picture(page, f"talk-{transport}-heard")

    partials: list[list[str]] = await page.evaluate("window.partials")
    assert len(partials) >= 10
    assert any(stable and guess for stable, guess in partials), "nothing was certain before the rest"
    assert not await page.locator("#live").is_visible()


async def test_the_figures_beside_it_are_those_of_the_conversation(
    open_page: OpenPage, microphone: Microphone, sentence: Int16
) -> None:
    page = await open_page(hearing=microphone(sentence, silence(3)))
    await press_talk(page)
    note = page.locator("#transcript .heard .note")

    await expect(note).to_have_text(re.compile(r"^\d+ ms$"))
    await expect(page.locator("[data-figure=final] b")).to_have_text((await note.inner_text()).removesuffix(" ms"))
    for figure in ("first", "turn"):
        await expect(page.locator(f"[data-figure={figure}] b")).to_have_text(re.compile(r"^\d+$"))
    await expect(page.locator("[data-figure=cut] b")).to_have_text("\N{EN DASH}")
    await expect(page.locator("#latency-note")).to_have_text(re.compile("median of [1-3] utterance"))
    await expect(page.locator("#latency-wait")).to_have_text(re.compile(r"; [1-9]\d+ ms of that are waited for"))


@TRANSPORTS
async def test_the_microphone_is_given_back_when_the_person_is_done(
    open_page: OpenPage, microphone: Microphone, sentence: Int16, transport: str
) -> None:
    page = await open_page(None, hearing=microphone(sentence, silence(20), lead_s=LEAD_S[transport]))
    await page.add_init_script(KEEP_TRACKS)
    await page.goto("/")
    await press_talk(page, transport)
    await expect(page.locator("#live .guess")).not_to_be_empty()
    assert await page.evaluate("tracks.map((track) => track.readyState)") == ["live"]
    await expect(page.locator("#live")).to_contain_text("best")

    await page.get_by_role("button", name="Stop", exact=True).click()

    # What was being said is finished at once, without waiting for a pause that nobody hears any more.
    await expect(page.locator("#transcript .heard").last).to_contain_text("It was the best")
    assert await page.evaluate("tracks.map((track) => track.readyState)") == ["ended"]
    await expect(page.locator("#phase")).to_have_text("Press and talk")
    await expect(page.locator("#meter")).to_have_attribute("aria-valuetext", "silent")


@TRANSPORTS
async def test_a_typed_sentence_is_said_without_a_microphone(
    open_page: OpenPage, picture: Picture, transport: str
) -> None:
    page = await open_page(microphone="deny")
    await page.get_by_text(transport, exact=True).click()
    await say(page, "Good morning. Tea is served in the library.")

    said = page.locator("#transcript .said")
    await expect(page.locator("#phase")).to_have_text("Alfred speaks")
    await expect(said.locator(".words")).to_have_text("Good morning. Tea is served in the library.")
    await picture(page, "talk-speaking")
    await expect(said.locator(".note")).to_have_text(re.compile(r"^\d+\.\d s$"))
    assert 1.5 < seconds_in(await said.locator(".note").inner_text()) < 8
    await expect(page.locator("#phase")).to_have_text("Press and talk")
    await expect(page.get_by_label("A sentence for Alfred to say")).to_have_value("")


@TRANSPORTS
async def test_what_is_said_can_be_heard_in_the_loudspeaker(open_page: OpenPage, transport: str) -> None:
    page = await open_page()
    levels: list[float] = await page.evaluate(
        """async (transport) => {
          const { AlfredVoice } = await import("/static/alfred-voice.js");
          const voice = new AlfredVoice({ transport: transport.toLowerCase() });
          await voice.connect();
          const levels = [voice.speaker.level];
          const over = new Promise((resolve) => voice.addEventListener("spoken", resolve));
          const watch = setInterval(() => levels.push(voice.speaker.level), 20);
          voice.speak("One, two, three.");
          await over;
          clearInterval(watch);
          voice.close();
          return levels;
        }""",
        transport,
    )
    assert levels[0] == -100
    assert max(levels) > -30


@TRANSPORTS
async def test_it_says_back_what_it_heard(
    open_page: OpenPage, microphone: Microphone, sentence: Int16, sentence_text: str, transport: str
) -> None:
    page = await open_page(hearing=microphone(sentence, silence(10), lead_s=LEAD_S[transport]))
    await page.get_by_label("Say back what I say").check()
    await press_talk(page, transport)

    said = page.locator("#transcript .said").last
    await expect(said.locator(".note")).to_have_text(re.compile(r"^\d+\.\d s$"))
    echoed = " ".join(await page.locator("#transcript .said .words").all_text_contents())
    assert word_error_rate(sentence_text, echoed) <= MOST_ERRORS


@TRANSPORTS
async def test_speaking_over_it_stops_it(
    open_page: OpenPage, microphone: Microphone, sentence: Int16, picture: Picture, transport: str
) -> None:
    page = await open_page(hearing=microphone(sentence, silence(6), lead_s=4.0))
    await press_talk(page, transport)
    await expect(page.locator("#link")).to_have_attribute("data-state", "open")
    await say(page, LONG)
    said = page.locator("#transcript .said")
    await expect(said.locator(".note")).to_have_text("speaking")

    await expect(said).to_have_attribute("data-end", "cut")
    note = await said.locator(".note").inner_text()
    assert note.startswith("you interrupted after")
    assert 0.5 < seconds_in(note) < 6
    await expect(page.locator("[data-figure=cut] b")).to_have_text(re.compile(r"^\d+$"))
    await expect(page.locator("#transcript .heard").last).to_contain_text("times")
    await picture(page, "talk-interrupted")


@pytest.mark.parametrize("way", ["button", "escape"])
async def test_it_can_be_told_to_be_quiet(open_page: OpenPage, way: str) -> None:
    page = await open_page()
    quiet = page.get_by_role("button", name="Be quiet")
    await expect(quiet).to_be_disabled()
    await say(page, LONG)
    await expect(page.locator("#phase")).to_have_text("Alfred speaks")

    await (quiet.click() if way == "button" else page.keyboard.press("Escape"))

    await expect(page.locator("#transcript .said .note")).to_have_text("stopped")
    await expect(page.locator("#phase")).to_have_text("Press and talk")


HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


async def test_a_hostile_text_stays_text(open_page: OpenPage, watch: Any) -> None:
    watch.expect("415.*/transcribe")
    page = await open_page()
    await say(page, HOSTILE)
    await expect(page.locator("#transcript .said .words")).to_have_text(HOSTILE)
    await page.get_by_role("button", name="Be quiet").click()

    files: Any = [{"name": f"{HOSTILE.replace('/', '-')}.wav", "mimeType": "audio/wav", "buffer": b"no sound"}]
    await page.locator("#file").set_input_files(files)
    await expect(page.locator("#transcript .heading").first).to_contain_text("<img src=x onerror=")
    await expect(page.locator("#notice")).to_be_visible()

    assert await page.locator("main img, main script").count() == 0
    assert await page.title() == "Alfred Voice"
