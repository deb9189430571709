"""What the monitor draws on canvases, by the functions that decide it and by the places that it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect

from alfred_voice.client import Conversation
from tests.support import Daemon


OpenPage = Callable[..., Awaitable[Page]]
Picture = Callable[..., Awaitable[Path]]
MARKS = "import('/static/monitor-marks.js')"
NARROW = (390, 844)


async def test_what_happens_at_once_on_a_chart_is_one_sign_with_a_number(open_page: OpenPage) -> None:
    page = await open_page("/monitor")
    kinds = [
        (100, "rung_up"), (101, "rung_up"), (102, "rung_down"), (105, "alert_raised"), (108, "sessions_refused"),
        (130, "rung_down"), (131, "rung_down"), (150, "alert_cleared"),
    ]  # fmt: skip
    marks = [{"at": at, "kind": kind, "name": "", "text": ""} for at, kind in kinds]

    signs: list[dict[str, Any]] = await page.evaluate(
        f"(marks) => {MARKS}.then((m) => m.gather(marks, (x) => x))", marks
    )

    assert [(sign["family"], sign["count"], sign["isOver"]) for sign in signs] == [
        ("alert", 5, False),
        ("rung", 2, True),
        ("alert", 1, True),
    ]


@pytest.mark.parametrize(
    ("x", "taken", "side"),
    [
        (50, [], "right"),
        (50, [[70, 84]], "left"),
        (90, [], "left"),
        (50, [[70, 84], [10, 24]], None),
        (50, [[43, 57]], "right"),
    ],
    ids=["room", "another at the right", "the edge at the right", "others at both sides", "only its own sign"],
)
async def test_words_beside_a_sign_stand_where_nothing_else_does(
    open_page: OpenPage, x: int, taken: list[list[int]], side: str | None
) -> None:
    page = await open_page("/monitor")
    found = await page.evaluate(
        f"([x, taken]) => {MARKS}.then((m) => m.roomBeside(x, 25, taken, [0, 110])?.side ?? null)", [x, taken]
    )
    assert found == side


async def test_pointing_at_a_chart_moves_nothing(open_page: OpenPage) -> None:
    page = await open_page("/monitor", size=(1280, 900))
    plots = page.locator(".plot")
    await expect(page.locator('[data-figure="lanes"]')).to_be_visible()
    await expect(page.locator('[data-figure="memory"] .plot')).not_to_have_attribute("aria-valuetext", "no data yet")

    async def places() -> list[float]:
        found: list[float] = await plots.evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect().y + scrollY)"
        )
        return found

    before = await places()
    await page.locator('[data-figure="cpu"] .plot').hover(position={"x": 200, "y": 40})
    readout = page.locator('[data-figure="cpu"] .readout')
    await expect(readout).not_to_be_empty()
    # The widest that it comes to: eight cores at work.
    await readout.evaluate("one => { one.textContent = '14:22:01 · 1,234 %'; }")
    assert await readout.evaluate("one => one.scrollWidth <= one.clientWidth"), "it is cut off"
    assert await places() == before


async def test_on_a_telephone_the_lane_begins_with_the_sessions_name(
    open_page: OpenPage, daemon: Daemon, picture: Picture
) -> None:
    name = "a-session-with-a-name-as-long-as-names-may-become-in-practice-0001"
    page = await open_page("/monitor", size=NARROW)
    async with Conversation.connect(daemon.ws, start={"session_id": name}):
        await page.get_by_role("button", name=f"Watch session {name}").click()
        title = page.locator("#lane-title")
        await expect(title).to_have_text(name)
        await expect(page.locator("#lane-state")).to_have_text("listening")
        box = await title.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= NARROW[0]
        await picture(page, "monitor-lane-narrow", whole=False)
