"""The monitor for everybody: by keyboard, by screen reader, in the dark, on a telephone, with a key, under load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support import Daemon


pytest.importorskip("playwright", reason="needs the extra `browser`")

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
StartDaemon = Callable[..., Any]
Picture = Callable[..., Awaitable[Path]]
SCRIPTED = (str(Path(__file__).parents[1] / "scripted_daemon.py"),)
WIDE, NARROW = (1440, 900), (390, 844)
LISTENERS = 100
WATCHED_MS = 8_000
MOST_BUSIER = 0.035
"""Of the page's thread: what a hundred sessions may add to its work; it was 0.016."""
LEAST_FRAMES = 0.5
"""Of those that were drawn without sessions: the daemon has become busy, too, and takes its part of the machine."""
COUNT_FRAMES = """(ms) => new Promise((resolve) => {
  let frames = 0;
  const until = performance.now() + ms;
  const step = (now) => {
    frames += 1;
    if (now < until) requestAnimationFrame(step);
    else resolve(frames);
  };
  requestAnimationFrame(step);
})"""


@dataclass(frozen=True)
class Frames:
    """What a page did for a while."""

    count: int
    busy: float
    """The share of the time that its thread worked on scripts, styles and layout, by processor time."""


@pytest.fixture(autouse=True)
def daemons_go(watch: Any) -> None:
    """Before their pages do, here; the pages complain of it."""
    watch.expect(r"ERR_(CONNECTION|INCOMPLETE|EMPTY)")


async def load(daemon: Daemon, **plan: Any) -> None:
    """Put load on the daemon, by its own load test."""
    async with aiohttp.ClientSession() as http, http.post(f"{daemon.base}/monitor/load-test", json=plan) as answer:
        assert answer.status == 202, await answer.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_axe_finds_nothing_serious(
    open_page: OpenPage,
    start_daemon: StartDaemon,
    axe: Callable[[Page], Awaitable[None]],
    picture: Picture,
    scheme: str,
    size: tuple[int, int],
) -> None:
    with start_daemon(command=SCRIPTED) as daemon:
        await load(daemon, sessions=6, seconds=60, speech=0.4)
        page = await open_page("/monitor", at=daemon, size=size, color_scheme=scheme)
        await expect(page.locator("#sessions tr")).to_have_count(6)
        await page.wait_for_timeout(3_000)
        await axe(page)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
        name = f"monitor-{scheme}-{'wide' if size is WIDE else 'narrow'}"
        await picture(page, name)
        await page.locator("#sessions .open").first.click()
        await expect(page.locator('#lane-log [data-kind="speechStart"]').first).to_be_visible()
        await axe(page)
        await picture(page, f"{name}-lane", whole=False)


async def test_health_is_told_by_word_shape_and_colour(
    open_page: OpenPage, start_daemon: StartDaemon, picture: Picture, axe: Callable[[Page], Awaitable[None]]
) -> None:
    """A limit of memory that is far too low is full load: the ladder goes all the way up."""
    limits = ("--set", "memory.limit_mb=51", "--set", "memory.gc_trigger_mb=50", "--set", "alerts.memory_mb=50")
    with start_daemon(*limits, command=SCRIPTED) as daemon:
        page = await open_page("/monitor", at=daemon)
        await expect(page.locator("#health")).to_have_text("overloaded")
        await expect(page.locator('#ladder [aria-current="step"]')).to_have_attribute("data-rung", "5")
        await expect(page.locator("#health-why")).to_contain_text("no new sessions")
        await expect(page.locator("#alerts li", has_text="resident memory is high")).to_be_visible()
        await expect(page.locator('[data-figure="memory"]')).to_have_attribute("data-level", "bad")
        await expect(page.locator("#admission")).to_contain_text("New sessions are refused: the daemon is overloaded")
        await expect(page).to_have_title("⚠ overloaded, refuses newcomers · Alfred Voice monitor")
        await expect(page.locator('#log [data-kind="sessions_refused"]').first).to_be_visible()
        shapes = page.locator(".glyph g")
        assert [await shape.is_visible() for shape in await shapes.all()].count(True) == 1
        await expect(page.locator(".when-overloaded")).to_be_visible()
        # What a mark says is had by keyboard, too.
        await page.wait_for_timeout(3_000)
        plot = page.locator('[data-figure="load"] .plot')
        await plot.focus()
        await page.keyboard.press("Home")
        told = [await plot.get_attribute("aria-valuetext") or ""]
        for _ in range(12):
            await page.keyboard.press("ArrowRight")
            told.append(await plot.get_attribute("aria-valuetext") or "")
        assert any("rung 4 to 5" in text for text in told), told
        await axe(page)
        await picture(page, "monitor-overloaded")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_name_that_the_daemon_does_not_go_by_is_explained(
    open_page: OpenPage, watch: Any, axe: Callable[[Page], Awaitable[None]], picture: Picture, scheme: str
) -> None:
    watch.expect(r"status of 403")
    page = await open_page("/monitor", host="voice.test", color_scheme=scheme)
    await expect(page.get_by_role("heading")).to_have_text("This daemon does not go by that name")
    await expect(page.locator(".line")).to_have_text("--set security.allowed_hosts=voice.test")
    await axe(page)
    await picture(page, f"host-refused-{scheme}", whole=False)


async def test_no_two_parts_have_the_same_name(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    with start_daemon(command=SCRIPTED) as daemon:
        await load(daemon, sessions=1, seconds=60, speech=0)
        page = await open_page("/monitor", at=daemon)
        await expect(page.locator("#sessions tr")).to_have_count(1)
        only = {"runOnly": {"type": "rule", "values": ["landmark-unique", "scrollable-region-focusable"]}}
        assert (await Axe().run(page, options=only)).response["violations"] == []
        await page.locator("#sessions .open").click()
        assert (await Axe().run(page, options=only)).response["violations"] == []


async def test_everything_is_reached_by_keyboard(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    with start_daemon(command=SCRIPTED) as daemon:
        await load(daemon, sessions=1, seconds=60, speech=0)
        page = await open_page("/monitor", at=daemon)
        await expect(page.locator("#sessions tr")).to_have_count(1)
        await expect(page.locator("#settings-reset")).to_be_attached()
        await page.evaluate("document.body.focus()")
        wanted = set(
            await page.evaluate(
                """() => {
                    const stops = "main :is(button:not([tabindex='-1']), input, select, [tabindex='0']):not(:disabled)";
                    const all = document.querySelectorAll(stops);
                    const seen = [...all].filter((one) => one.checkVisibility() && one.type !== "radio");
                    seen.forEach((one, index) => { one.dataset.stop = index; });
                    return seen.map((one) => one.dataset.stop);
                }"""
            )
        )
        assert len(wanted) > 40
        reached = set()
        for _ in range(len(wanted) + 30):
            await page.keyboard.press("Tab")
            stop = await page.evaluate(
                """() => {
                    const one = document.activeElement;
                    if (one === document.body) return null; // behind the last one
                    const drawn = getComputedStyle(one).outlineStyle !== "none";
                    const ring = drawn || one.closest("label:has(:focus-visible)");
                    return ring ? one.dataset.stop ?? null : `no ring: ${one.outerHTML.slice(0, 80)}`;
                }"""
            )
            assert not str(stop).startswith("no ring"), stop
            reached.add(stop)
        assert wanted <= reached, wanted - reached


async def test_a_hundred_sessions_stay_in_their_place(
    open_page: OpenPage, start_daemon: StartDaemon, picture: Picture
) -> None:
    with start_daemon(command=SCRIPTED) as daemon:
        await load(daemon, sessions=LISTENERS, seconds=60, speech=0.4)
        page = await open_page("/monitor", at=daemon, size=(1280, 900))
        await expect(page.locator("#sessions tr")).to_have_count(LISTENERS)
        table = page.get_by_role("region", name="Table of sessions")
        box = await table.bounding_box()
        assert box is not None
        assert box["height"] <= 0.7 * 900 + 1
        assert await table.evaluate("one => one.scrollWidth <= one.clientWidth"), "its last columns are out of view"
        # At one moment: what stands above may grow between two looks.
        below = await table.evaluate(
            """one => {
                one.scrollTop = one.scrollHeight;
                return one.querySelector("th").getBoundingClientRect().y - one.getBoundingClientRect().y;
            }"""
        )
        assert abs(below) <= 2, "what the columns are stays in sight"
        await picture(page, "monitor-hundred")

        # One stop of Tab, and the arrow keys from there.
        assert await page.locator("#sessions button:not([tabindex='-1'])").count() == 1
        rows = page.locator("#sessions tr")
        await rows.first.locator(".open").focus()
        await page.keyboard.press("ArrowDown")
        await expect(rows.nth(1).locator(".open")).to_be_focused()
        await page.keyboard.press("ArrowRight")
        await expect(rows.nth(1).locator(".danger")).to_be_focused()
        await page.keyboard.press("End")
        await expect(rows.last.locator(".danger")).to_be_focused()
        await expect(rows.last).to_be_in_viewport()
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Home")
        await expect(rows.first.locator(".open")).to_be_focused()


async def test_a_session_is_watched_and_ended_by_keyboard_alone(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    with start_daemon(command=SCRIPTED) as daemon:
        await load(daemon, sessions=1, seconds=60, speech=0)
        page = await open_page("/monitor", at=daemon)
        opener = page.locator("#sessions .open")
        await opener.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#lane")).to_be_visible()
        await expect(page.locator("#lane-close")).to_be_focused()
        await page.keyboard.press("Shift+Tab")
        await expect(page.locator("#lane-end")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Enter")
        await expect(page.locator("#lane-note")).to_contain_text("The session is over")
        await page.keyboard.press("Escape")
        await expect(page.locator("#lane")).to_be_hidden()


async def test_with_a_cookie_all_of_the_page_works(open_page: OpenPage, start_daemon: StartDaemon, watch: Any) -> None:
    watch.expect(r"status of 40[13]")
    key = "an-administrators-key"
    with start_daemon(command=SCRIPTED, env={"ALFRED_API_KEYS": f"me:{key}"}) as daemon:
        page = await open_page(f"/monitor?token={key}", at=daemon)
        assert "token" not in page.url
        await expect(page.locator("#link")).to_have_text("live")
        await page.locator("#test-sessions").fill("2")
        await page.locator("#test-start").click()
        await expect(page.locator("#sessions tr")).to_have_count(2)
        await page.locator("#sessions .open").first.click()
        await expect(page.locator("#lane-state")).to_have_text("listening")
        await page.keyboard.press("Escape")
        field = page.get_by_label("Speech from probability")
        await field.fill("0.55")
        await page.locator("#settings-apply").click()
        await expect(page.locator("#notice")).to_contain_text("vad.threshold 0.5 → 0.55")
        await page.get_by_role("button", name="Optimise now").click()
        await expect(page.locator("#notice")).to_contain_text("Memory was")


async def test_a_page_whose_cookie_another_process_does_not_know_asks_for_the_key(
    open_page: OpenPage, start_daemon: StartDaemon, watch: Any
) -> None:
    watch.expect(r"status of 401|ERR_|503")
    environment = {"ALFRED_API_KEYS": "me:an-administrators-key"}
    with start_daemon(command=SCRIPTED, env=environment) as daemon:
        page = await open_page("/monitor?token=an-administrators-key", at=daemon)
        await expect(page.locator("#link")).to_have_text("live")
        port = daemon.port
    await expect(page.locator("#link")).to_have_text("not live")
    with start_daemon(command=SCRIPTED, env=environment, port=port):
        await expect(page.locator("#before")).to_contain_text("it was started anew")
        await page.get_by_label("Key", exact=True).fill("an-administrators-key")
        await page.keyboard.press("Enter")
        await expect(page.locator("#link")).to_have_text("live")


async def look_at_frames(page: Page) -> Frames:
    """What drawing takes for some seconds, by the browser's own account."""
    debugger = await page.context.new_cdp_session(page)
    await debugger.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def spent() -> float:
        told = {one["name"]: one["value"] for one in (await debugger.send("Performance.getMetrics"))["metrics"]}
        return float(told["ScriptDuration"] + told["LayoutDuration"] + told["RecalcStyleDuration"])

    before = await spent()
    count: int = await page.evaluate(COUNT_FRAMES, WATCHED_MS)
    busy = (await spent() - before) / (WATCHED_MS / 1000)
    await debugger.detach()
    return Frames(count, busy)


async def test_a_hundred_sessions_leave_the_page_smooth(
    open_page: OpenPage, start_daemon: StartDaemon, record_property: Callable[[str, object], None]
) -> None:
    """Compared with the same page a moment before, so that a slow machine is slow both times."""
    with start_daemon(command=SCRIPTED) as daemon:
        page = await open_page("/monitor", at=daemon, size=WIDE)
        await expect(page.locator("#link")).to_have_text("live")
        await page.wait_for_timeout(2_000)
        calm = await look_at_frames(page)
        await load(daemon, sessions=LISTENERS, seconds=60, speech=0)
        await expect(page.locator("#sessions tr")).to_have_count(LISTENERS)
        crowded = await look_at_frames(page)
    for name, found in (("calm", calm), ("crowded", crowded)):
        record_property(name, str(found))
    assert calm.busy > 0
    assert crowded.busy <= calm.busy + MOST_BUSIER, (calm, crowded)
    assert crowded.count >= calm.count * LEAST_FRAMES, (calm, crowded)
