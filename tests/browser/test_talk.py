"""The page at `/`: a person talks with the daemon."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sounds import Int16, joined, silence
from tests.support import word_error_rate


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
Picture = Callable[..., Awaitable[Path]]
Microphone = Callable[..., Path]
Axe = Callable[[Page], Awaitable[None]]

MOST_ERRORS = 0.1
"""Words of a hundred that may be wrong, after a loudspeaker's and a microphone's way through a browser."""


async def heard_text(page: Page) -> str:
    """The finals on the page."""
    return " ".join(await page.locator("#transcript .heard .words").all_text_contents())


async def test_the_page_prints_what_the_microphone_hears(
    open_page: OpenPage, microphone: Microphone, reading: Int16, reading_text: str, picture: Picture
) -> None:
    page = await open_page(hearing=microphone(reading, silence(3)))
    await page.get_by_role("button", name="Talk").click()

    await expect(page.locator("#live .stable")).not_to_be_empty()
    await picture(page, "talk-live")
    await expect(page.locator("#transcript .heard").last).to_contain_text("belief")
    assert word_error_rate(reading_text, await heard_text(page)) <= MOST_ERRORS
    await picture(page, "talk-heard")
