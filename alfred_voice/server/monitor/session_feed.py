"""One session, live: how loud it is, what the detector thinks, and what it is told, as server-sent events.

A session is tapped while somebody watches it, and at no other time. Events by name: ``hello``, first, with the
session's status and the thresholds that are drawn; then ``lane``, ten times a second, with ``clock_ms``, ``windows``
([first sample in ms, dBFS, probability]) and ``events`` (as the client gets them, with ``clock_ms``); ``status`` once a
second; ``end`` when the session is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from alfred_voice.errors import Overloaded
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.tap import Glimpse, Tap, Told
from alfred_voice.server.monitor.audience import Audience, Viewer, event
from alfred_voice.server.protocol.wire import describe_event


_log = logging.getLogger(__name__)

INTERVAL_S = 0.1
STATUS_EVERY = 10
"""Messages from one with the status to the next."""
MOST_VIEWERS = 8
"""Of one session."""
MOST_BEHIND = 30
"""Messages that a viewer may be behind: three seconds."""
MOST_WATCHED = 16
"""Sessions at a time."""
LEVEL_DIGITS = 1
PROBABILITY_DIGITS = 3


class SessionFeed:
    """A session that is watched."""

    def __init__(self, stream: Stream, thresholds: dict[str, float], on_end: Callable[[Stream], None]) -> None:
        self.audience = Audience(MOST_VIEWERS, "this session", MOST_BEHIND)
        self._stream = stream
        self._thresholds = thresholds
        self._on_end = on_end
        self._tap = stream.tap = Tap()
        self._turn = 0

    async def run(self) -> None:
        """Tell what the session hears and says, until nobody watches or it is over."""
        try:
            while len(self.audience) and not self._stream.ended:
                await asyncio.sleep(INTERVAL_S)
                self.audience.show(self.next_message())
            self.audience.show(self.next_message() + self._end())
        except Exception:  # noqa: BLE001  the top of a task that nobody waits for
            _log.exception("session_feed_failed", extra={"session": self._stream.session_id})
        finally:
            # All in one go: who comes later finds no feed that is over.
            self._stream.tap = None
            self._on_end(self._stream)
            self.audience.close()

    def hello(self) -> bytes:
        """What a viewer is told first."""
        told = {"status": self._stream.status(), "thresholds": self._thresholds, "interval_ms": INTERVAL_S * 1000}
        return event("hello", msgspec.json.encode(told))

    def next_message(self) -> bytes:
        """What all viewers are told next."""
        message = event("lane", msgspec.json.encode(describe_glimpse(self._tap.take(), self._stream)))
        if self._turn % STATUS_EVERY == 0:
            message += event("status", msgspec.json.encode(self._stream.status()))
        self._turn += 1
        return message

    def _end(self) -> bytes:
        return event("end", msgspec.json.encode({"reason": self._stream.end_reason}))


def describe_glimpse(glimpse: Glimpse, stream: Stream) -> dict[str, Any]:
    """As JSON."""
    return {
        "clock_ms": round(stream.session.stream_ms, 1),
        "buffered_ms": stream.buffered_ms,
        "windows": [
            (round(heard.at_ms), round(heard.level_dbfs, LEVEL_DIGITS), round(heard.probability, PROBABILITY_DIGITS))
            for heard in glimpse.heard
        ],
        "events": [_describe_told(told) for told in glimpse.told],
    }


def _describe_told(told: Told) -> dict[str, Any]:
    return {**describe_event(told.event), "clock_ms": round(told.clock_ms, 1)}


class SessionFeeds:
    """The sessions that are watched. Lives on the event loop."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._feeds: dict[Stream, SessionFeed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        """Sessions that are watched now."""
        return len(self._feeds)

    @contextmanager
    def watching(self, stream: Stream, transport: asyncio.Transport) -> Iterator[tuple[SessionFeed, Viewer]]:
        """A viewer's place at a session; the first one taps it.

        Raises:
            Overloaded: too many sessions are watched, or too many watch this one.
        """
        feed = self._feeds.get(stream)
        if feed is None:
            feed = self._open(stream)
        with feed.audience.watching(transport) as viewer:
            yield feed, viewer

    def _open(self, stream: Stream) -> SessionFeed:
        if self._is_closed or len(self._feeds) >= MOST_WATCHED:
            raise Overloaded(f"expected at most {MOST_WATCHED} sessions that are watched at a time")
        vad, turn = self._coordinator.options.session.vad, self._coordinator.options.session.turn
        thresholds = {"vad": vad.threshold, "vad_lower": vad.lower_threshold, "turn": turn.threshold}
        feed = self._feeds[stream] = SessionFeed(stream, thresholds, self._forget)
        task = asyncio.get_running_loop().create_task(feed.run(), name="session-feed")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return feed

    def _forget(self, stream: Stream) -> None:
        del self._feeds[stream]

    async def close(self) -> None:
        """Let every viewer's stream end."""
        self._is_closed = True
        for task in list(self._tasks):
            task.cancel()
        for feed in self._feeds.values():
            feed.audience.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
