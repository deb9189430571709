"""The monitor's stream: what it tells, how often, and that it rests while nobody looks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import pytest

from alfred_voice.clock import ManualClock, SystemClock
from alfred_voice.pipeline.backpressure import Rung
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.history import History, Mark
from alfred_voice.server.application import FEED
from alfred_voice.server.monitor import feed as feed_module
from alfred_voice.server.monitor.feed import SESSIONS_EVERY, Feed
from tests.server.monitor.event_stream import events_of
from tests.server.monitor.test_audience import transport


Eventually = Callable[[Callable[[], object]], Awaitable[None]]
CLOSE = 0.05
"""What figures may differ by that are looked at a moment apart."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages without waiting."""
    monkeypatch.setattr(feed_module, "INTERVAL_S", 0.001)


@pytest.fixture
async def feed(played: Any, quick: None) -> AsyncIterator[Feed]:
    """A feed whose producer runs."""
    feed = Feed(cast("Coordinator", played), lambda: None, ManualClock(100))
    producer = asyncio.create_task(feed.run())
    yield feed
    producer.cancel()
    await asyncio.wait((producer,))


def parse(message: bytes) -> dict[str, Any]:
    """The events of a message by their names."""
    blocks = [block.splitlines() for block in message.decode().strip().split("\n\n")]
    return {name.removeprefix("event: "): json.loads(data.removeprefix("data: ")) for name, data in blocks}


# What is told


async def test_a_viewer_is_told_first_what_it_needs_to_draw_everything(door: Any) -> None:
    socket = await door.connect("?session_id=seen")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()

    async with events_of(door.client, "/monitor/feed") as events:
        kinds = [await events.next() for _ in range(3)]

    hello, now, sessions = (data for _, data in kinds)
    assert [name for name, _ in kinds] == ["hello", "now", "sessions"]
    assert [rung["rung"] for rung in hello["rungs"]] == list(range(len(Rung)))
    assert hello["rungs"][3]["name"] == "rationed partials"
    assert hello["rungs"][3]["measures"]["partial_share"] == 0.25
    assert set(hello["history"]) == {"first", "at", "columns", "marks", "marked"}
    assert (now["ready"], now["checks"]["stt"], now["load_test"]) == (True, "pass", None)
    assert now["limits"]["frame_target_ms"] == 10.0
    assert sessions["total"] == 1
    assert [session["session_id"] for session in sessions["sessions"]] == ["seen"]


async def test_the_figures_are_those_of_the_metrics(door: Any) -> None:
    async with events_of(door.client, "/monitor/feed") as events:
        now = await events.data("now")
        async with door.client.get("/metrics", headers={"Accept": "application/json"}) as answer:
            metrics = await answer.json()

    assert set(now) == set(metrics) | {"ready", "checks", "load_test", "settings_version"}
    for name in ("limits", "alerts", "resourceOptimization"):
        assert now[name] == metrics[name]
    assert set(now["lanes"]) == set(metrics["lanes"]) == {"vad", "stt", "turn", "tts"}
    assert now["pipelineState"]["memoryUsage"] == pytest.approx(metrics["pipelineState"]["memoryUsage"], rel=CLOSE)
    assert now["at"] == pytest.approx(metrics["at"], abs=5)


async def test_rows_of_the_history_follow_without_a_gap(door: Any, eventually: Eventually) -> None:
    await eventually(lambda: door.coordinator.history.count >= 1)
    async with events_of(door.client, "/monitor/feed") as events:
        history = (await events.data("hello"))["history"]
        indexes = [history["first"] + place for place in range(len(history["at"]))]
        while len(indexes) < len(history["at"]) + 2:
            indexes += [row["index"] for row in (await events.data("rows"))["rows"]]

    assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))


def test_sessions_and_history_come_more_rarely_than_the_figures(played: Any) -> None:
    feed = Feed(cast("Coordinator", played), lambda: None, ManualClock(100))

    told = [set(parse(feed.next_message())) for _ in range(2 * SESSIONS_EVERY)]

    assert told[0] == told[SESSIONS_EVERY] == {"now", "sessions", "rows"}
    assert told[1 : 1 + SESSIONS_EVERY - 1] == [{"now"}] * (SESSIONS_EVERY - 1)


def test_rows_and_marks_are_told_once(played: Any) -> None:
    feed = Feed(cast("Coordinator", played), lambda: None, ManualClock(100))
    history = played.history
    history.add(1.0, (0.5,))
    with feed.audience.watching(transport()):
        told = parse(feed.hello())
        history.add(2.0, (0.75,))
        history.mark(Mark(2.0, "rung_up", "1", "why"))
        first = parse(feed.next_message())
        again = [parse(feed.next_message()) for _ in range(SESSIONS_EVERY)][-1]

    assert told["hello"]["history"]["columns"] == {"load": [0.5]}
    assert first["rows"]["rows"] == [{"index": 1, "at": 2.0, "values": [0.75]}]
    assert [mark["name"] for mark in first["rows"]["marks"]] == ["1"]
    assert again["rows"] == {"rows": [], "marks": [], "marked": 1}


def test_who_comes_after_a_while_without_viewers_is_not_told_the_past_twice(played: Any) -> None:
    feed = Feed(cast("Coordinator", played), lambda: None, ManualClock(100))
    for number in range(50):
        played.history.add(float(number), (0.0,))
    with feed.audience.watching(transport()):
        feed.hello()
        told = parse(feed.next_message())

    assert told["rows"]["rows"] == []


def test_viewers_are_introduced_anew_when_the_history_begins_anew(played: Any) -> None:
    """As it does when the engines are there, whose lanes are columns."""
    feed = Feed(cast("Coordinator", played), lambda: None, ManualClock(100))
    played.history = History(("load", "lane.vad"))

    told = parse(feed.next_message())

    assert set(told["hello"]["history"]["columns"]) == {"load", "lane.vad"}


def test_a_load_test_is_told_of(played: Any) -> None:
    feed = Feed(cast("Coordinator", played), lambda: {"state": "running"}, ManualClock())

    assert parse(feed.next_message())["now"]["load_test"] == {"state": "running"}


def test_it_is_told_when_a_setting_has_changed(played: Any) -> None:
    feed = Feed(cast("Coordinator", played), lambda: None, ManualClock())
    assert parse(feed.next_message())["now"]["settings_version"] is None, "of a daemon whose settings cannot change"
    feed.settings_version = lambda: 3
    assert parse(feed.next_message())["now"]["settings_version"] == 3


async def test_the_list_of_sessions_is_bounded_and_has_the_newest(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MOST_SESSIONS", 3)
    for number in range(5):
        socket = await door.connect(f"?session_id=s{number}")
        await socket.send_str('{"type":"start"}')
        await socket.receive_str()

    told = parse(Feed(door.coordinator, lambda: None, SystemClock()).next_message())["sessions"]

    assert told["total"] == 5
    assert [session["session_id"] for session in told["sessions"]] == ["s4", "s3", "s2"]


# What it costs


async def test_processor_time_is_counted_for_what_is_done_for_viewers(door: Any, quick: None) -> None:
    def counted() -> float:
        return float(door.coordinator.metrics.registry.get_sample_value("alfred_monitor_seconds_total"))

    await asyncio.sleep(0.05)
    assert counted() == 0
    async with events_of(door.client, "/monitor/feed") as events:
        await events.next("hello")
        first = counted()
        for _ in range(20):
            await events.next("now")
    assert 0 < first < counted() < 5


def test_what_is_counted_is_the_time_inside(played: Any) -> None:
    clock = ManualClock()
    feed = Feed(cast("Coordinator", played), lambda: None, clock)
    with feed.counted():
        clock.advance(0.25)
    clock.advance(1)
    with suppress(ZeroDivisionError), feed.counted():
        clock.advance(0.5)
        raise ZeroDivisionError

    assert played.metrics.registry.get_sample_value("alfred_monitor_seconds_total") == 0.75


# When


async def test_nothing_is_measured_while_nobody_looks(feed: Feed, played: Any) -> None:
    await asyncio.sleep(0.02)
    assert played.snapshots == 0
    with feed.audience.watching(transport()) as viewer:
        await asyncio.wait_for(viewer.waiting.get(), 5)
    await asyncio.sleep(0.01)
    measured = played.snapshots
    assert measured >= 1
    await asyncio.sleep(0.02)
    assert played.snapshots == measured


async def test_many_viewers_cost_one_look(feed: Feed, played: Any) -> None:
    with feed.audience.watching(transport()) as one, feed.audience.watching(transport()) as two:
        for _ in range(3):
            messages = [await asyncio.wait_for(viewer.waiting.get(), 5) for viewer in (one, two)]
            assert messages[0] is messages[1]


async def test_a_message_that_fails_is_logged_and_the_next_one_comes(
    feed: Feed, played: Any, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    played.failure = ZeroDivisionError("a bug")
    with feed.audience.watching(transport()) as viewer:
        await eventually(lambda: "snapshot_failed" in caplog.text)
        played.failure = None
        assert await asyncio.wait_for(viewer.waiting.get(), 5)


async def test_a_viewer_that_leaves_is_forgotten(
    door: Any, quick: None, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        async with events_of(door.client, "/monitor/feed") as events:
            await events.next()

    audience = door.client.app[FEED].audience
    await eventually(lambda: len(audience) == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
