"""The monitor in a browser: what it shows is true, also of the past, and it says so when it is not."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.client import Conversation
from tests.sounds import Int16, chords, joined, silence
from tests.support import Daemon, metrics_of, wait_until_calm


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
StartDaemon = Callable[..., Any]
FRAME_BYTES = 640
SCRIPTED = (str(Path(__file__).parents[1] / "scripted_daemon.py"),)
PATIENT_MS = 20_000
"""For what a recogniser has to do first, on a machine that others use, too."""
ANYTHING = re.compile(r"\S")


@asynccontextmanager
async def talking(daemon: Daemon, session_id: str, samples: Int16) -> AsyncIterator[Conversation]:
    """A session into which speech is streamed at real time, over and over, while the test looks."""
    data = samples.astype("<i2").tobytes()

    async def send(talk: Conversation) -> None:
        at = 0
        while True:
            await talk.send_audio(data[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0"))
            at = (at + FRAME_BYTES) % len(data)
            await asyncio.sleep(0.02)

    async def listen(talk: Conversation) -> None:
        async for _ in talk:
            pass

    async with Conversation.connect(daemon.ws, start={"session_id": session_id}) as talk:
        tasks = [asyncio.create_task(send(talk)), asyncio.create_task(listen(talk))]
        try:
            yield talk
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def figure(page: Page, name: str) -> Any:
    """The big number of a chart."""
    return page.locator(f'[data-figure="{name}"] .value b')


async def number_of(page: Page, name: str) -> float:
    return float((await figure(page, name).inner_text()).replace(",", ""))


async def rows_of(page: Page, name: str = "memory") -> int:
    """How many rows of history a chart holds: the place of its newest value."""
    return int(await page.locator(f'[data-figure="{name}"] .plot').get_attribute("aria-valuemax") or 0) + 1


# At a glance


async def test_it_says_in_a_word_that_the_daemon_is_well(open_page: OpenPage) -> None:
    page = await open_page("/monitor")

    await expect(page.locator("#health")).to_have_text("healthy")
    await expect(page.locator("#link")).to_have_text("live")
    await expect(page.locator("#checks li")).to_have_text(["vad up", "stt up", "turn up", "tts up"])
    await expect(page.locator("#ladder li")).to_have_count(6)
    await expect(page.locator('#ladder [aria-current="step"]')).to_have_attribute("data-rung", "0")
    await expect(page.locator("#parts li")).to_have_count(8)
    await expect(page).to_have_title("healthy · Alfred Voice monitor")
    await expect(page.locator("#admission")).to_have_text("New sessions are let in.")


async def test_an_alert_whose_figure_is_back_does_not_say_that_it_is_high(
    open_page: OpenPage, start_daemon: StartDaemon
) -> None:
    with start_daemon("--set", "alerts.memory_mb=20", command=SCRIPTED) as daemon:
        page = await open_page("/monitor", at=daemon)
        alert = page.locator("#alerts li")
        await expect(alert).to_contain_text("resident memory is high")
        await expect(alert).to_have_attribute("data-level", "bad")
        await expect(page.locator("#health-why")).to_contain_text("a figure is beyond its limit")
        # A little above what it is: back within the limit, and not so far that the alert is cleared.
        limit = math.ceil((await asyncio.to_thread(metrics_of, daemon))["pipelineState"]["memoryUsage"] * 1.05)
        await page.get_by_label("Memory, MB", exact=True).fill(str(limit))
        await page.locator("#settings-apply").click()
        await expect(alert).to_contain_text(f"resident memory was above its limit {limit} and is ")
        await expect(alert).to_have_attribute("data-level", "warn")
        await expect(page.locator("#health-why")).to_contain_text("was beyond its limit a moment ago")
        await expect(page.locator('[data-figure="memory"]')).to_have_attribute("data-level", "ok")


async def test_what_it_shows_agrees_with_the_metrics(open_page: OpenPage, daemon: Daemon, beckett: Int16) -> None:
    page = await open_page("/monitor")
    async with talking(daemon, "measured", beckett):
        await expect(figure(page, "sessions")).to_have_text("1")
        await expect(page.locator("#lanes tr").first.locator("td").nth(5)).not_to_have_text("0")
        # Figures of a moment: what is told a quarter of a second apart may differ a little.
        for _ in range(20):
            told = await asyncio.to_thread(metrics_of, daemon)
            shown = {name: await number_of(page, name) for name in ("memory", "throughput", "frame_time", "sessions")}
            state, performance = told["pipelineState"], told["performanceMetrics"]
            true = (state["memoryUsage"], performance["throughput"], performance["averageFrameTime"])
            if tuple(shown.values()) == pytest.approx((*true, state["sessionsActive"]), rel=0.05, abs=1.5):
                break
            await asyncio.sleep(0.3)
        else:
            raise AssertionError(f"{shown} is not {true}")
        jobs = (await page.locator("#lanes tr").first.locator("td").nth(5).inner_text()).replace(",", "")
        later = await asyncio.to_thread(metrics_of, daemon)
        assert told["lanes"]["vad"]["jobs"] <= int(jobs) + 60
        assert int(jobs) <= later["lanes"]["vad"]["jobs"] + 1


# The past


async def test_the_past_is_there_after_a_reload(open_page: OpenPage) -> None:
    page = await open_page("/monitor")
    await expect(figure(page, "memory")).to_have_text(ANYTHING)
    await page.wait_for_timeout(3_000)
    before = await rows_of(page)
    assert before >= 3

    await page.reload()
    await expect(figure(page, "memory")).to_have_text(ANYTHING)

    assert await rows_of(page) >= before
    await page.wait_for_function(
        "n => Number(document.querySelector('[data-figure=memory] .plot').ariaValueMax) >= n", arg=before + 1
    )


async def test_values_of_the_past_are_had_by_pointer_and_by_keyboard(open_page: OpenPage) -> None:
    page = await open_page("/monitor")
    plot = page.locator('[data-figure="memory"] .plot')
    await expect(plot).to_have_attribute("aria-valuetext", re.compile(r"^\d\d:\d\d:\d\d: \d+ MB"))

    await plot.focus()
    await page.keyboard.press("ArrowLeft")
    first = await plot.get_attribute("aria-valuenow")
    await expect(page.locator('[data-figure="memory"] .readout')).to_have_text(re.compile(r"^\d\d:\d\d:\d\d · \d+ MB"))
    # All charts look at the same moment.
    await expect(page.locator('[data-figure="load"] .readout')).to_have_text(ANYTHING)
    await page.keyboard.press("Home")
    assert int(await plot.get_attribute("aria-valuenow") or 0) < int(first or 0)
    await page.keyboard.press("Escape")
    await expect(page.locator('[data-figure="memory"] .readout')).to_have_text("")

    box = await plot.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 40)
    await expect(page.locator('[data-figure="load"] .readout')).to_have_text(ANYTHING)


async def test_a_daemon_that_stops_shows_and_comes_back_when_it_is_there_again(
    open_page: OpenPage, start_daemon: StartDaemon, watch: Any
) -> None:
    watch.expect(r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|503")
    with start_daemon() as first:
        page = await open_page("/monitor", at=first)
        await expect(page.locator("#link")).to_have_text("live")
        port = first.port
    await expect(page.locator("#stale")).to_have_text(re.compile(r"What you see is .* old"))
    await expect(page.locator("#link")).to_have_text("not live")
    # A tab in the background has nothing else to say it by.
    await expect(page).to_have_title("✖ gone · Alfred Voice monitor")
    await expect(page.locator("#icon")).to_have_attribute("href", "/static/favicon-gone.svg")

    with start_daemon(port=port):
        await expect(page.locator("#link")).to_have_text("live")
        await expect(page.locator("#stale")).to_be_hidden()
        await expect(page.locator("#health")).to_have_text("healthy")
        await expect(page).to_have_title("healthy · Alfred Voice monitor")
        await expect(page.locator("#icon")).to_have_attribute("href", "/static/favicon.svg")


# Sessions


async def test_a_session_is_listed_while_it_speaks_and_gone_when_it_was_ended(
    open_page: OpenPage, daemon: Daemon, beckett: Int16
) -> None:
    page = await open_page("/monitor")
    async with talking(daemon, "listed", beckett):
        row = page.locator("#sessions tr", has_text="listed")
        await expect(row.locator(".state")).to_have_text("speaking")
        await expect(row.locator('[data-column="words"]')).to_have_text(re.compile(r"[a-z]{3}"), timeout=PATIENT_MS)
        await expect(row.locator('[data-column="final"]')).to_have_text(
            re.compile(r"[\d.,]+ · [\d.,]+ m?s"), timeout=PATIENT_MS
        )
        end = row.get_by_role("button", name="End session listed")
        await end.click()
        await expect(end).to_have_text("Really?")
        await end.click()
        await expect(page.locator("#notice")).to_have_text("Session listed has ended.")
        await expect(page.locator("#no-sessions")).to_be_visible()


async def test_a_sessions_lane_shows_what_is_said_and_decided(
    open_page: OpenPage, daemon: Daemon, two_cities: Int16, picture: Callable[..., Awaitable[Path]]
) -> None:
    page = await open_page("/monitor")
    async with talking(daemon, "watched", two_cities) as talk:
        await page.get_by_role("button", name="Watch session watched").click()
        await expect(page.locator("#lane")).to_be_visible()
        await expect(page.locator("#lane-state")).to_have_text("speaking")
        log = page.locator("#lane-log")
        for kind in ("speechStart", "speechEnd", "finalTranscription", "turnComplete"):
            await expect(log.locator(f'[data-kind="{kind}"]').first).to_be_visible(timeout=PATIENT_MS)
        await page.wait_for_function(
            "/[a-z]{3}/.test(document.querySelector('#live-text .unstable')?.parentElement.textContent)"
        )
        await expect(page.locator("#level")).not_to_have_attribute("aria-valuenow", "-60")
        await talk.speak("This is a long sentence that somebody talks over, and so it does not come to its end.")
        await expect(log.locator('[data-kind="ttsStart"]').first).to_contain_text("somebody talks over")
        await expect(log.locator('[data-kind="interruption"]').first).to_be_visible(timeout=PATIENT_MS)
        await picture(page, "monitor-lane", whole=False)
        told = await log.locator("li").evaluate_all("all => all.map((one) => Number(one.dataset.ms))")
        assert told == sorted(told), "the list goes by time, whatever was told first"
        await page.keyboard.press("Escape")
        await expect(page.locator("#lane")).to_be_hidden()
        await expect(page.get_by_role("button", name="Watch session watched")).to_be_focused()


async def test_a_lane_says_when_the_session_is_over(open_page: OpenPage, daemon: Daemon) -> None:
    page = await open_page("/monitor")
    async with talking(daemon, "brief", silence(1)):
        await page.get_by_role("button", name="Watch session brief").click()
        await expect(page.locator("#lane-state")).to_have_text("listening")
        button = page.locator("#lane-end")
        await button.click()
        await button.click()
        await expect(page.locator("#lane-note")).to_have_text("The session is over: stop.")
        await expect(button).to_be_hidden()
        await expect(page.locator("#lane-close")).to_be_focused()


async def test_the_table_is_sorted_and_filtered(open_page: OpenPage, daemon: Daemon) -> None:
    page = await open_page("/monitor")
    async with talking(daemon, "b-two", silence(1)), talking(daemon, "a-one", silence(1)):
        names = page.locator("#sessions .open")
        await expect(names).to_have_text(["a-one", "b-two"])  # the newest first
        head = page.locator('[data-column="session"]').first
        await head.get_by_role("button").click()
        await expect(head).to_have_attribute("aria-sort", "ascending")
        await head.get_by_role("button").click()
        await expect(names).to_have_text(["b-two", "a-one"])
        await page.locator("#filter").fill("ONE")
        await expect(names).to_have_text(["a-one"])
        await expect(page.locator("#sessions-note")).to_contain_text("1 shown")
        await page.locator("#filter").fill("three")
        await expect(page.locator("#no-match")).to_have_text("Neither name nor words of a session contain “three”.")
        await expect(page.locator("#sessions-table")).to_be_hidden()


# Words from strangers


async def test_hostile_words_stay_words(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> <b>bold</b>"
    with start_daemon("--says", evil, command=SCRIPTED) as daemon:
        page = await open_page("/monitor", at=daemon)
        async with talking(daemon, "evil", joined(chords(2), silence(1))) as talk:
            await expect(page.locator('#sessions [data-column="words"]')).to_have_text(evil)
            await page.get_by_role("button", name="Watch session evil").click()
            log = page.locator("#lane-log")
            await expect(log.locator('[data-kind="finalTranscription"]').first).to_contain_text(evil)
            await expect(page.locator("#live-text")).to_contain_text("<img src=x")
            await talk.speak(evil)
            await expect(log.locator('[data-kind="ttsStart"]').first).to_contain_text(evil)
        assert await page.locator("main :is(img, script, td b), dialog :is(img, script, li b)").count() == 0
        assert "owned" not in await page.title()


# Controls


async def test_settings_change_live_and_mistakes_are_said_beside_the_field(
    open_page: OpenPage, start_daemon: StartDaemon, watch: Any
) -> None:
    watch.expect(r"status of 400")
    with start_daemon() as daemon:
        page = await open_page("/monitor", at=daemon)
        field = page.get_by_label("Speech from probability")
        await expect(field).to_have_value("0.5")
        await field.fill("7")
        await page.get_by_label("Asked after silence of, ms").fill("soon")
        await page.locator("#settings-apply").click()
        await expect(page.locator('[id="set-vad.threshold-error"]')).to_have_text("expected a number (0 to 1), got 7")
        await expect(page.locator('[id="set-turn.silence_ms-error"]')).to_contain_text("expected a whole number")
        await expect(field).to_be_focused()
        await expect(field).to_have_attribute("aria-invalid", "true")

        await page.locator("#settings-reset").click()
        await field.fill("0.6")
        await page.get_by_label("Sessions at most").fill("7")
        await page.locator("#settings-apply").click()
        await expect(page.locator("#notice")).to_contain_text("vad.threshold 0.5 → 0.6 (new sessions)")
        await expect(page.locator("#settings-apply")).to_be_disabled()
        # Every viewer sees it, in what is drawn, too.
        await expect(page.locator('[data-figure="sessions"] .note')).to_have_text("of 7 at most")
        # Two that do not go together are both marked, in the words of the page.
        await expect(page.locator("#notice")).to_be_visible()
        up = page.get_by_label("Up from load")
        await up.fill("0.3")
        await page.locator("#settings-apply").click()
        said = "“Down below load” (0.6) must be below “Up from load” (0.3)"
        for key in ("backpressure.threshold", "backpressure.recovery"):
            await expect(page.locator(f'[id="set-{key}-error"]')).to_have_text(said)
            await expect(page.locator(f'[id="set-{key}"]')).to_have_attribute("aria-invalid", "true")
        await expect(up).to_be_focused()
        await expect(up).to_have_accessible_description(re.compile("must be below"))
        await expect(page.locator("#settings-error")).to_be_empty()
        await expect(page.locator("#notice")).to_be_hidden()


async def test_what_is_changed_in_one_monitor_shows_in_the_others(
    open_page: OpenPage, start_daemon: StartDaemon
) -> None:
    with start_daemon(command=SCRIPTED) as daemon:
        here, there = await open_page("/monitor", at=daemon), await open_page("/monitor", at=daemon)
        await there.get_by_label("Idle sessions end after, s").fill("123")
        await expect(here.get_by_label("Sessions at most")).to_have_value("512")
        asked = []
        there.on("request", lambda request: asked.append(request.url.endswith("/config")))

        await here.get_by_label("Sessions at most").fill("7")
        await here.locator("#settings-apply").click()

        await expect(there.get_by_label("Sessions at most")).to_have_value("7")
        await expect(there.locator("#settings-note")).to_have_text(
            "Changed elsewhere just now: Sessions at most 512 → 7."
        )
        # What is being typed stays.
        await expect(there.get_by_label("Idle sessions end after, s")).to_have_value("123")
        await expect(there.locator("#settings-apply")).to_be_enabled()
        await there.wait_for_timeout(1_500)
        assert asked.count(True) == 1, "settings are read when they have changed, and only then"


async def test_a_load_test_is_started_seen_and_stopped(open_page: OpenPage, daemon: Daemon) -> None:
    page = await open_page("/monitor")
    await page.locator("#test-sessions").fill("3")
    await page.locator("#test-seconds").fill("60")
    await page.locator("#test-speech").select_option("0")
    await page.locator("#test-start").click()

    await expect(page.locator("#test-state")).to_have_text(
        re.compile(r"Running for another \d+ s: 3 of 3 sessions in;")
    )
    await expect(figure(page, "sessions")).to_have_text("3")
    await expect(page.locator("#sessions tr")).to_have_count(3)
    await expect(page.locator("#test-start")).to_be_disabled()
    # It can be stopped from wherever one looks.
    await page.locator("h1").scroll_into_view_if_needed()
    strip = page.locator("#test-strip")
    await expect(strip).to_contain_text(re.compile(r"Load test: 3 of 3 in, \d+ s left"))
    await expect(strip.get_by_role("button", name="Stop the load test")).to_be_in_viewport()
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await strip.get_by_role("button", name="Stop the load test").click()
    await expect(page.locator("#test-state")).to_have_text(re.compile("^Stopped: 3 of 3 sessions in;"))
    await expect(page.locator("#test-strip")).to_be_hidden()
    await expect(figure(page, "sessions")).to_have_text("0")


async def test_a_load_test_tells_who_waits_at_the_door_and_why(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    with start_daemon("--set", "sessions.max_concurrent=2", command=SCRIPTED) as daemon:
        page = await open_page("/monitor", at=daemon)
        await page.locator("#test-sessions").fill("5")
        await page.locator("#test-speech").select_option("0")
        await page.locator("#test-start").click()
        said = page.locator("#test-state")
        await expect(said).to_contain_text(
            "2 of 5 sessions in, 3 waiting at the door (2 sessions are open; the limit is 2)"
        )
        await expect(page.locator("#test-brief")).to_contain_text("2 of 5 in, 3 waiting")
        await expect(page.locator("#admission")).to_contain_text("New sessions are refused: 2 sessions are open")
        await page.locator("#test-stop-above").click()
        await expect(said).to_contain_text("3 never let in")


async def test_idle_sessions_are_ended_and_memory_is_given_back(open_page: OpenPage, daemon: Daemon) -> None:
    page = await open_page("/monitor")
    async with Conversation.connect(daemon.ws, start={"session_id": "idle"}):
        await expect(page.locator("#sessions tr")).to_have_count(1)
        await page.get_by_label("End sessions that have been idle for").fill("0")
        button = page.locator("#end-idle button")
        await button.click()
        await button.click()
        await expect(page.locator("#notice")).to_have_text("One session was idle and ends.")
        await expect(page.locator("#no-sessions")).to_be_visible()
    await page.get_by_role("button", name="Optimise now").click()
    await expect(page.locator("#notice")).to_have_text(re.compile(r"Memory was [\d.]+ MB and is [\d.]+ MB"))
    await asyncio.to_thread(wait_until_calm, daemon)
