"""The dashboard: its page, its files and its feed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from alfred_voice.errors import Overloaded
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.server import monitor
from alfred_voice.server.monitor import STATIC, Feed, load_assets


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Transport:
    """As much of a transport as the feed needs."""

    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def transport() -> Any:
    return Transport()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots without waiting."""
    monkeypatch.setattr(monitor, "INTERVAL_S", 0.001)


@pytest.fixture
async def feed(played: Any, quick: None) -> AsyncIterator[Feed]:
    """A feed whose producer runs."""
    feed = Feed(cast("Coordinator", played))
    producer = asyncio.create_task(feed.run())
    yield feed
    producer.cancel()
    await asyncio.wait((producer,))


async def read_snapshots(door: Any, count: int) -> list[dict[str, Any]]:
    snapshots: list[dict[str, Any]] = []
    async with door.client.get("/monitor/feed") as answer, asyncio.timeout(10):
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        async for line in answer.content:
            if line.startswith(b"data: "):
                snapshots.append(json.loads(line[6:]))
            if len(snapshots) == count:
                break
    return snapshots


async def test_the_feed_tells_of_the_daemon_and_its_sessions(door: Any, quick: None) -> None:
    socket = await door.connect("?session_id=seen")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    first, second = await read_snapshots(door, 2)

    assert first["ready"] is True
    assert set(first["status"]) >= {"pipelineState", "performanceMetrics", "alerts"}
    assert second["sessions_total"] == 1
    assert [session["session_id"] for session in second["sessions"]] == ["seen"]


async def test_the_page_finds_every_figure_it_draws(door: Any, quick: None) -> None:
    """The script reads these names from a snapshot of the real pipeline."""
    socket = await door.connect("?session_id=seen")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()
    (snapshot,) = await read_snapshots(door, 1)
    script = (STATIC / "monitor.js").read_text("utf-8")

    known = {"pipelineState": snapshot["status"]["pipelineState"]}
    known["performanceMetrics"] = snapshot["status"]["performanceMetrics"]
    used = re.findall(r"status\.(pipelineState|performanceMetrics)\.(\w+)", script)
    assert len(used) >= 8
    for group, name in used:
        assert name in known[group]
    for name in set(re.findall(r"\bsession\.(\w+)", script)):
        assert name in snapshot["sessions"][0], name


async def test_nothing_is_measured_while_nobody_looks(feed: Feed, played: Any) -> None:
    await asyncio.sleep(0.02)
    assert played.snapshots == 0
    with feed.watching(transport()) as viewer:
        await asyncio.wait_for(viewer.waiting.get(), 5)
    await asyncio.sleep(0.01)
    measured = played.snapshots
    assert measured >= 1
    await asyncio.sleep(0.02)
    assert played.snapshots == measured


async def test_all_viewers_share_one_snapshot(feed: Feed, played: Any) -> None:
    with feed.watching(transport()) as one, feed.watching(transport()) as two:
        seen = [await asyncio.wait_for(viewer.waiting.get(), 5) for viewer in (one, two)]

    assert seen[0] is seen[1]


async def test_a_viewer_that_does_not_read_is_dropped_and_the_others_are_not(
    feed: Feed, eventually: Eventually
) -> None:
    slow = transport()
    with feed.watching(slow) as asleep, feed.watching(transport()) as awake:
        while not slow.is_aborted:
            await asyncio.wait_for(awake.waiting.get(), 5)

        assert asleep.is_dropped
        assert len(feed) == 1
        assert await asyncio.wait_for(awake.waiting.get(), 5)


async def test_there_is_a_limit_of_viewers(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "MOST_VIEWERS", 1)
    with feed.watching(transport()), pytest.raises(Overloaded), feed.watching(transport()):
        pass
    with feed.watching(transport()):
        assert len(feed) == 1


async def test_a_snapshot_that_fails_is_logged_and_the_next_one_comes(
    feed: Feed, played: Any, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    played.failure = ZeroDivisionError("a bug")
    with feed.watching(transport()) as viewer:
        await eventually(lambda: "snapshot_failed" in caplog.text)
        played.failure = None
        assert await asyncio.wait_for(viewer.waiting.get(), 5)


async def test_the_list_of_sessions_is_bounded_and_has_the_newest(
    feed: Feed, played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listed:
        def __init__(self, number: int) -> None:
            self.number = number

        def status(self) -> dict[str, int]:
            return {"number": self.number}

    monkeypatch.setattr(monitor, "MOST_SESSIONS", 3)
    monkeypatch.setattr(played.roster, "all", lambda: [Listed(number) for number in range(5)])

    snapshot = feed.snapshot()

    assert snapshot["sessions_total"] == 5
    assert [session["number"] for session in snapshot["sessions"]] == [4, 3, 2]


async def test_a_feed_that_is_closed_lets_its_viewers_end(feed: Feed) -> None:
    with feed.watching(transport()) as viewer:
        feed.close()
        async with asyncio.timeout(5):
            while await viewer.waiting.get() is not None:
                pass
        with pytest.raises(Overloaded), feed.watching(transport()):
            pass


async def test_a_viewer_that_leaves_is_forgotten(
    door: Any, quick: None, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await read_snapshots(door, 1)

    feed = next(value for key, value in door.client.app.items() if isinstance(value, Feed))
    await eventually(lambda: len(feed) == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(door: Any) -> None:
    async with door.client.get("/monitor") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        page = await answer.text()

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.search(r"\son\w+\s*=", page)
    assert not re.search(r"\sstyle\s*=|<style", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    for name in ("monitor.html", "monitor.js", "monitor.css", "favicon.svg"):
        addresses = re.findall(r"https?://[^\s\"')]+", (STATIC / name).read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name  # a name, not a place


def test_strangers_words_reach_the_page_as_text_only() -> None:
    script = (STATIC / "monitor.js").read_text("utf-8")

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


async def test_every_file_that_the_page_names_is_there_with_its_type(door: Any) -> None:
    async with door.client.get("/monitor") as answer:
        names = re.findall(r'(?:src|href)="([^"]+)"', await answer.text())

    types = {}
    for name in names:
        async with door.client.get(name) as answer:
            assert answer.status == 200, name
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            types[Path(name).suffix] = answer.content_type
    assert types == {".svg": "image/svg+xml", ".css": "text/css", ".js": "text/javascript"}


async def test_a_file_that_has_not_changed_is_not_sent_again(door: Any) -> None:
    async with door.client.get("/static/monitor.css") as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "no-cache"
    async with door.client.get("/static/monitor.css", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
        assert answer.headers["ETag"] == tag
    async with door.client.get("/static/monitor.css", headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


def test_only_files_of_a_known_kind_are_served(tmp_path: Path) -> None:
    for name in ("page.html", "style.css", "script.js", ".hidden", "notes", "data.unknown"):
        (tmp_path / name).write_text("x")

    assert set(load_assets(tmp_path)) == {"style.css", "script.js"}
