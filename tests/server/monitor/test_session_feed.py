"""One session, live: what is told of it, and that it is tapped only while somebody looks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alfred_voice.server.application import SESSION_FEEDS
from alfred_voice.server.monitor import session_feed as session_feed_module
from alfred_voice.server.monitor.session_feed import SessionFeeds
from tests.server.monitor.event_stream import Events, events_of
from tests.server.monitor.test_audience import transport


Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Sound = Callable[[int], bytes]


async def opened(door: Any, session_id: str = "seen") -> Any:
    """A client whose session has begun."""
    socket = await door.connect(f"?session_id={session_id}")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()
    return socket


def feed_of(session_id: str) -> str:
    return f"/monitor/sessions/{session_id}/feed"


async def seen_until(events: Events, kind: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """All windows and events up to the first event of that type."""
    windows: list[Any] = []
    told: list[dict[str, Any]] = []
    while kind not in [event["type"] for event in told]:
        lane = await events.data("lane")
        windows += lane["windows"]
        told += lane["events"]
    return windows, told


async def test_a_viewer_is_told_how_the_session_stands_and_what_is_drawn(door: Any) -> None:
    await opened(door)
    async with events_of(door.client, feed_of("seen")) as events:
        hello = await events.data("hello")

    assert hello["status"]["session_id"] == "seen"
    assert hello["thresholds"] == {"vad": 0.5, "vad_lower": 0.35, "turn": 0.5}


async def test_levels_probabilities_and_events_come_as_they_happen(door: Any, tone: Sound, silence: Sound) -> None:
    socket = await opened(door)
    async with events_of(door.client, feed_of("seen")) as events:
        await events.data("hello")
        await socket.send_bytes(silence(320) + tone(640) + silence(1500))
        windows, told = await seen_until(events, "turnComplete")

    assert [at for at, _, _ in windows[:3]] == [0, 32, 64]
    assert windows[0][1:] == [-120.0, 0.02]
    assert windows[15][1:] == [pytest.approx(-15.3, abs=0.3), 0.95]
    kinds = [event["type"] for event in told]
    assert kinds.index("speechStart") < kinds.index("speechEnd") < kinds.index("turnComplete")
    final = next(event for event in told if event["type"] == "finalTranscription")
    assert final["text"] == "turn on the lamp"
    assert final["clock_ms"] >= 960
    assert {"seq", "session_id"}.isdisjoint(final), "the client's own numbers are the client's"


async def test_what_the_daemon_says_and_who_talks_over_it_is_told(door: Any, tone: Sound) -> None:
    socket = await opened(door)
    async with events_of(door.client, feed_of("seen")) as events:
        await events.data("hello")
        await socket.send_json({"type": "speak", "text": "a long sentence " * 20})
        await seen_until(events, "ttsStart")
        await socket.send_bytes(tone(400))
        _, told = await seen_until(events, "ttsEnd")

    assert [event["type"] for event in told if event["type"] in ("interruption", "ttsEnd")] == [
        "interruption",
        "ttsEnd",
    ]
    assert told[-1]["cancelled"] is True


async def test_the_end_of_the_session_ends_the_stream(door: Any) -> None:
    socket = await opened(door)
    async with events_of(door.client, feed_of("seen")) as events:
        await events.data("hello")
        await socket.send_json({"type": "stop"})
        assert await events.data("end") == {"reason": "stop"}
        with pytest.raises(EOFError):
            await events.next()
    assert len(door.client.app[SESSION_FEEDS]) == 0


async def test_a_session_is_tapped_only_while_somebody_looks(door: Any, eventually: Eventually) -> None:
    await opened(door)

    def is_tapped() -> bool:
        return door.coordinator.roster.get("seen").tap is not None

    assert not is_tapped()
    async with events_of(door.client, feed_of("seen")) as one:
        await one.data("hello")
        assert is_tapped()
        async with events_of(door.client, feed_of("seen")) as two:
            await two.data("hello")
        await one.data("lane")
        assert is_tapped()

    await eventually(lambda: not is_tapped())
    assert len(door.client.app[SESSION_FEEDS]) == 0
    # And it can be watched again.
    async with events_of(door.client, feed_of("seen")) as again:
        await again.data("lane")


async def test_who_looks_on_gets_the_same_as_the_others(door: Any, tone: Sound) -> None:
    socket = await opened(door)
    async with events_of(door.client, feed_of("seen")) as one, events_of(door.client, feed_of("seen")) as two:
        await one.data("hello")
        await two.data("hello")
        await socket.send_bytes(tone(640))
        seen = [await seen_until(events, "speechStart") for events in (one, two)]

    assert [event["type"] for event in seen[0][1]] == [event["type"] for event in seen[1][1]]


async def test_a_session_that_is_not_open_is_404(door: Any) -> None:
    async with door.client.get(feed_of("nobody")) as answer:
        assert answer.status == 404
        assert (await answer.json())["code"] == "session_unknown"


async def test_a_viewer_that_does_not_read_is_dropped_and_the_session_goes_on(
    door: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, tone: Sound, silence: Sound
) -> None:
    monkeypatch.setattr(session_feed_module, "INTERVAL_S", 0.001)
    socket = await opened(door)
    stream = door.coordinator.roster.get("seen")
    feeds: SessionFeeds = door.client.app[SESSION_FEEDS]
    slow = transport()

    with feeds.watching(stream, slow) as (_, viewer):
        await eventually(lambda: slow.is_aborted)
        assert viewer.is_dropped

    await eventually(lambda: stream.tap is None)
    await socket.send_bytes(tone(640) + silence(1500))
    kinds = set()
    while "turnComplete" not in kinds:
        kinds.add((await socket.receive_json(timeout=5))["type"])


async def test_so_many_sessions_can_be_watched_at_a_time(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_feed_module, "MOST_WATCHED", 1)
    await opened(door, "first")
    await opened(door, "second")
    async with events_of(door.client, feed_of("first")) as events:
        await events.data("hello")
        async with door.client.get(feed_of("second")) as answer:
            assert answer.status == 503
    assert door.coordinator.roster.get("second").tap is None


async def test_so_many_can_watch_one(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_feed_module, "MOST_VIEWERS", 1)
    await opened(door)
    async with events_of(door.client, feed_of("seen")) as events:
        await events.data("hello")
        async with door.client.get(feed_of("seen")) as answer:
            assert answer.status == 503
        await events.data("lane")


async def test_closing_lets_every_viewer_go_at_once(door: Any) -> None:
    await opened(door)
    stream = door.coordinator.roster.get("seen")
    feeds: SessionFeeds = door.client.app[SESSION_FEEDS]
    with feeds.watching(stream, transport()) as (_, viewer):
        await feeds.close()
        async with asyncio.timeout(5):
            while await viewer.waiting.get() is not None:
                pass


async def test_a_bug_in_the_feed_is_logged_and_the_session_goes_on(
    door: Any, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    await opened(door)
    monkeypatch.setattr(session_feed_module, "describe_glimpse", broken)
    async with events_of(door.client, feed_of("seen")) as events:
        await events.data("hello")
        with pytest.raises(EOFError):
            await events.next()

    assert "session_feed_failed" in caplog.text
    stream = door.coordinator.roster.get("seen")
    await eventually(lambda: stream.tap is None)
    assert not stream.ended
