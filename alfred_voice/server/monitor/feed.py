"""What the monitor draws: the daemon's figures twice a second, its sessions and a row of history every second.

Server-sent events: they go one way only, pass through every proxy as plain HTTP, and can be read with ``curl -N``.
One producer makes each message once, for all viewers; it rests while nobody looks. Events by name:

``hello``, first
    What does not change, and the history: ``version``, ``rungs``, ``history``.
``now``
    The body of ``GET /metrics`` in JSON, with ``ready``, ``checks``, ``load_test`` and ``settings_version``.
``sessions``
    ``total``, and of the newest of them what the table shows: see :mod:`alfred_voice.server.monitor.session_rows`.
``rows``
    Rows of the history and marks since the message before; ``marked`` counts all marks that there ever were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from alfred_voice import __version__
from alfred_voice.clock import Clock
from alfred_voice.pipeline.backpressure import Rung
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.measures import MEASURES
from alfred_voice.server.monitor.audience import Audience, event
from alfred_voice.server.monitor.session_rows import SessionRows


_log = logging.getLogger(__name__)

INTERVAL_S = 0.5
"""Between two messages."""
SESSIONS_EVERY = 2
"""Messages from one with sessions and history to the next."""
MOST_VIEWERS = 64
MOST_SESSIONS = 200
"""The most that a message lists; it counts them all."""


class Feed:
    """Looks while somebody else does.

    Args:
        coordinator: whose figures they are.
        load_test: how the newest load test stands; None for none.
        clock: the time, and what of it the processor has worked.
    """

    def __init__(self, coordinator: Coordinator, load_test: Callable[[], dict[str, Any] | None], clock: Clock) -> None:
        self.audience = Audience(MOST_VIEWERS, "the monitor")
        self._coordinator = coordinator
        self._load_test = load_test
        self.settings_version: Callable[[], int | None] = lambda: None
        """Is another one when a setting has changed; None where none can."""
        self._clock = clock
        self._table = SessionRows()
        self._turn = 0
        self._history = coordinator.history
        self._rows = self._marks = 0

    async def run(self) -> None:
        """Produce until cancelled; a message that fails is logged and left out, and viewers see that it is missing."""
        while True:
            if not len(self.audience):
                self._table.forget()
                await self.audience.has_viewers.wait()
            try:
                with self.counted():
                    self.audience.show(self.next_message())
            except Exception:  # noqa: BLE001  one bad message must not end the feed
                _log.exception("snapshot_failed")
            await asyncio.sleep(INTERVAL_S)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the processor time of what is done inside: what viewers cost is told in ``/metrics``."""
        before = self._clock.spent()
        try:
            yield
        finally:
            self._coordinator.metrics.door.monitor.inc(self._clock.spent() - before)

    def hello(self) -> bytes:
        """What a viewer is told first: all that one needs who has seen nothing."""
        if len(self.audience) <= 1:
            # The others need no news of what has been since the last one left: there are none.
            self._keep_up()
        return self._introduce() + self._now() + self._sessions()

    def _introduce(self) -> bytes:
        told = {
            "version": __version__,
            "interval_ms": round(INTERVAL_S * 1000),
            "rungs": [_describe_rung(rung) for rung in Rung],
            "history": self._coordinator.history.describe(),
        }
        return event("hello", msgspec.json.encode(told))

    def next_message(self) -> bytes:
        """What all viewers are told next."""
        message = self._now()
        if self._turn % SESSIONS_EVERY == 0:
            message += self._sessions() + self._news()
        self._turn += 1
        return message

    def _now(self) -> bytes:
        is_ready, checks = self._coordinator.readiness()
        told = {
            **self._coordinator.describe(),
            "ready": is_ready,
            "checks": checks,
            "load_test": self._load_test(),
            "settings_version": self.settings_version(),
        }
        return event("now", msgspec.json.encode(told))

    def _sessions(self) -> bytes:
        streams = self._coordinator.roster.all()
        rows = self._table.encode(streams[::-1][:MOST_SESSIONS], self._clock.now())
        return event("sessions", b'{"total":%d,"sessions":%b}' % (len(streams), rows))

    def _news(self) -> bytes:
        """The rows of history since the last time; a viewer that has just come may have had them."""
        history = self._coordinator.history
        if history is not self._history:  # the lanes are there now, and with them it has begun anew
            self._keep_up()
            return self._introduce()
        rows, marks = history.rows_since(self._rows), history.marks_since(self._marks)
        self._keep_up()
        return event("rows", msgspec.json.encode({"rows": rows, "marks": marks, "marked": history.marked}))

    def _keep_up(self) -> None:
        history = self._history = self._coordinator.history
        self._rows, self._marks = history.count, history.marked


def _describe_rung(rung: Rung) -> dict[str, Any]:
    measures = MEASURES[rung]
    return {
        "rung": int(rung),
        "name": rung.name.lower().replace("_", " "),
        "step": rung.step,
        "measures": measures,
    }


async def produce(feed: Feed) -> AsyncIterator[None]:
    """The producer's life beside the application's."""
    producer = asyncio.create_task(feed.run(), name="monitor-feed")
    yield
    producer.cancel()
    await asyncio.wait((producer,))
