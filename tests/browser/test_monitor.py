"""The monitor in a browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


async def test_the_monitor_opens_and_says_that_the_daemon_is_healthy(
    open_page: Callable[..., Awaitable[Page]],
    picture: Callable[..., Awaitable[Path]],
) -> None:
    page = await open_page("/monitor")

    await expect(page.locator("#health")).to_have_text("healthy")
    await picture(page, "monitor")
