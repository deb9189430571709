"""Tells another server of each alert: one POST for each, from a bounded queue, and never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from alfred_voice.clock import Clock
from alfred_voice.pipeline.alerts import AlertChange
from alfred_voice.pipeline.metrics import Metrics


_log = logging.getLogger(__name__)

MOST_WAITING = 64
PAUSES_S = (1.0, 5.0)
"""Before the second and the third attempt."""
CLOSE_WITHIN_S = 3.0
"""What waits at the daemon's end gets so long."""
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class Sender:
    """Which daemon it is that has an alert."""

    host: str
    version: str


class Webhook:
    """Posts changes of alerts. Lives on the event loop; :meth:`run` is its one task.

    Args:
        url: where to; a secret, which no log record holds.
        timeout_s: longest that one attempt may take.
        sender: who tells it.
        clock: dates the changes.
        metrics: where deliveries are counted.
        pauses_s: between attempts; there is one attempt more than there are pauses.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        sender: Sender,
        clock: Clock,
        metrics: Metrics,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._sender = sender
        self._clock = clock
        self._counts = metrics.notices.webhook
        self._pauses_s = pauses_s
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_WAITING)

    def notify(self, change: AlertChange) -> None:
        """Take a change of an alert; never waits, and drops it when too many wait already."""
        notice = notice_of(change, self._clock.now(), self._clock.wall(), self._sender)
        try:
            self._waiting.put_nowait(notice)
        except asyncio.QueueFull:
            self._drop(notice, f"{MOST_WAITING} wait already")

    async def run(self) -> None:
        """Post what comes, one after the other, for ever."""
        # No proxy and no password file of the environment: what is configured here is all there is.
        async with aiohttp.ClientSession(timeout=self._timeout, trust_env=False) as client:
            while True:
                notice = await self._waiting.get()
                try:
                    await self._deliver(client, notice)
                finally:
                    self._waiting.task_done()

    async def emptied(self) -> None:
        """Wait until everything has been posted or dropped."""
        await self._waiting.join()

    async def _deliver(self, client: aiohttp.ClientSession, notice: dict[str, Any]) -> None:
        reason = ""
        for pause_s in (*self._pauses_s, None):
            reason, may_pass = await self._post(client, notice)
            if not reason:
                self._counts.labels("sent").inc()
                return
            if pause_s is None or not may_pass:
                break
            await asyncio.sleep(pause_s)
        self._drop(notice, reason)

    async def _post(self, client: aiohttp.ClientSession, notice: dict[str, Any]) -> tuple[str, bool]:
        """Post once: why it failed, empty when it did not, and whether another attempt may help."""
        body = msgspec.json.encode(notice)
        headers = {"Content-Type": "application/json", "User-Agent": f"alfred-voice/{self._sender.version}"}
        try:
            # A redirection could lead anywhere, also back into this machine.
            async with client.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Its text may hold the address.
            return type(error).__name__, True
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return "", False
        return f"status {status}", status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING

    def _drop(self, notice: dict[str, Any], reason: str) -> None:
        self._counts.labels("dropped").inc()
        _log.warning("webhook_failed", extra={"alert": notice["code"], "change": notice["event"], "reason": reason})


def notice_of(change: AlertChange, now: float, wall: float, sender: Sender) -> dict[str, Any]:
    """What is told of a change.

    Args:
        change: the alert that was raised or cleared.
        now: clock seconds.
        wall: the same moment in seconds since 1970.
        sender: who tells it.
    """
    alert = change.alert.describe(now)
    at = datetime.fromtimestamp(wall, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "event": "alert_raised" if change.is_raised else "alert_cleared",
        "code": alert["code"],
        "message": change.message,
        "value": alert["value"],
        "limit": alert["limit"],
        "at": at,
        "host": sender.host,
        "version": sender.version,
    }


async def end(webhook: Webhook, task: asyncio.Task[None]) -> None:
    """Let what waits go out, for a moment, and end the webhook's task."""
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await webhook.emptied()
    except TimeoutError:
        _log.warning("webhook_cut")
    task.cancel()
    await asyncio.wait((task,))
