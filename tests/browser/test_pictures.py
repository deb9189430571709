"""The pictures of README and docs, with real speech going on: ``scripts/screenshots`` keeps them."""

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

SIZE = (1280, 920)
PHONE = (390, 844)


async def converse(page: Page, *, echo: bool = True) -> None:
    """Something was said and said back, and the next sentence is on its way."""
    await page.get_by_label("Say back what I say").set_checked(echo)
    await page.get_by_role("button", name="Talk", exact=True).click()
    await expect(page.locator("#transcript .heard").first).to_be_visible()
    if echo:
        await expect(page.locator("#transcript .said .note").first).not_to_have_text("speaking")
    await page.get_by_label("Say back what I say").uncheck()
    await expect(page.locator("#live .stable")).to_have_text(re.compile(r"\w"))


@pytest.mark.parametrize(
    ("name", "scheme", "size"), [("light", "light", SIZE), ("dark", "dark", SIZE), ("phone", "dark", PHONE)]
)
async def test_the_talk_page(
    open_page: OpenPage,
    microphone: Microphone,
    two_cities: Int16,
    sentence: Int16,
    picture: Picture,
    name: str,
    scheme: str,
    size: tuple[int, int],
) -> None:
    hearing = microphone(sentence, silence(5.5), two_cities[25 * 16_000 :])
    page = await open_page(hearing=hearing, size=size, color_scheme=scheme)
    await converse(page)

    path = await picture(page, f"talk-{name}", whole=False)
    assert path.stat().st_size < 300_000


async def test_the_monitor(open_page: OpenPage, microphone: Microphone, two_cities: Int16, picture: Picture) -> None:
    talk = await open_page(hearing=microphone(two_cities))
    page = await open_page("/monitor", size=SIZE)
    await converse(talk, echo=False)
    await expect(page.locator("#sessions tr").first).to_be_visible()

    path = await picture(page, "monitor-light", whole=False)
    assert path.stat().st_size < 300_000
