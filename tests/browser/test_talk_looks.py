"""What the page at ``/`` looks like, and whether everybody can use it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.sounds import Int16, silence


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
Picture = Callable[..., Awaitable[Path]]
Microphone = Callable[..., Path]
Axe = Callable[[Page], Awaitable[None]]

SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


async def converse(page: Page) -> None:
    """One utterance, said back, and the next one on its way."""
    await page.get_by_label("Say back what I say").check()
    await page.get_by_role("button", name="Talk", exact=True).click()
    await expect(page.locator("#transcript .said").first).to_be_visible()
    await expect(page.locator("#transcript .said .note").first).to_have_text(re.compile(r"^\d+\.\d s$|^you "))
    await expect(page.locator("#live .stable")).not_to_be_empty()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_nobody_is_left_out(
    open_page: OpenPage,
    microphone: Microphone,
    sentence: Int16,
    two_cities: Int16,
    picture: Picture,
    axe: Axe,
    scheme: str,
    size: str,
) -> None:
    hearing = microphone(sentence, silence(7), two_cities[25 * 16_000 :])
    page = await open_page(hearing=hearing, size=SIZES[size], color_scheme=scheme)
    await axe(page)
    await picture(page, f"talk-{size}-{scheme}-empty")

    await converse(page)
    await picture(page, f"talk-{size}-{scheme}")
    await axe(page)
    wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0, f"the page is {wider} pixels wider than the screen"


async def test_errors_can_be_read_by_everybody(open_page: OpenPage, axe: Axe, picture: Picture) -> None:
    for scheme in ("light", "dark"):
        page = await open_page(microphone="none", color_scheme=scheme)
        await page.get_by_role("button", name="Talk", exact=True).click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await axe(page)
        await picture(page, f"talk-error-{scheme}")


async def test_what_is_on_can_be_told_without_the_pages_colours(open_page: OpenPage, picture: Picture) -> None:
    page = await open_page(forced_colors="active")
    await picture(page, "talk-forced-colours")
    ground = "(element) => getComputedStyle(element).backgroundColor"
    for one, other in (
        ("#clean", "#echo"),
        ("[name=transport][value=websocket] + span", "[name=transport][value=webrtc] + span"),
        ("#tab-python", "#tab-curl"),
    ):
        shown = [await page.locator(selector).evaluate(ground) for selector in (one, other)]
        assert shown[0] != shown[1], f"{one} looks like {other}"
    for selector in ("#talk", ".meter", ".switch input", ".legend li"):
        pseudo = "::before" if selector == ".legend li" else None
        width = "(element, pseudo) => parseFloat(getComputedStyle(element, pseudo).borderTopWidth)"
        assert await page.locator(selector).first.evaluate(width, pseudo) >= 1, f"{selector} has no outline"


async def test_the_keyboard_is_enough(open_page: OpenPage) -> None:
    page = await open_page()
    for _ in range(4):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == "talk":
            break
    await expect(page.locator("#talk")).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.locator("#phase")).to_have_text("Listening")
    await page.keyboard.press("Enter")
    await expect(page.locator("#phase")).to_have_text("Press and talk")

    await page.get_by_role("tab", name="Python").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="JavaScript")).to_be_focused()
    await expect(page.get_by_role("tab", name="JavaScript")).to_have_attribute("aria-selected", "true")
    await expect(page.get_by_role("tabpanel")).to_contain_text("new AlfredVoice")
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_role("tab", name="curl")).to_be_focused()


async def test_the_level_is_told_in_decibels(open_page: OpenPage, microphone: Microphone, beckett: Int16) -> None:
    page = await open_page(hearing=microphone(beckett))
    meter = page.get_by_role("meter", name="Microphone level")
    await expect(meter).to_have_attribute("aria-valuetext", "silent")
    await page.get_by_role("button", name="Talk", exact=True).click()

    await expect(meter).to_have_attribute("aria-valuenow", re.compile(r"^-[1-3]?\d$"))  # louder than -40
    await expect(meter).to_have_attribute("aria-valuetext", re.compile(r"^-\d+ decibels$"))
