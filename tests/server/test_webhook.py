"""Alerts on their way to another server: each once, with patience, and never in the daemon's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from alfred_voice.clock import ManualClock
from alfred_voice.pipeline.alerts import Alert, AlertChange
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import AlertOptions, CoordinatorOptions
from alfred_voice.server import webhook as webhook_module
from alfred_voice.server.webhook import MOST_WAITING, Sender, Webhook, end, notice_of


ALERT = Alert("load", "load is high", "%", 91.234, 80.0, 100.0)
RAISED, CLEARED = AlertChange(ALERT, is_raised=True), AlertChange(ALERT, is_raised=False)
SENDER = Sender("voice-1", "9.9")
SECRET = "k3y-in-the-path"  # noqa: S105  made up


class Receiver:
    """A server that answers as it is told, and notes what it got."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[dict[str, Any]] = []
        self.attempts = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.server = TestServer(self._application())

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_post(f"/{SECRET}", self.receive)
        return application

    async def receive(self, request: web.Request) -> web.Response:
        self.attempts += 1
        await self.gate.wait()
        status = self.answers.pop(0) if self.answers else 204
        if status < 300:
            self.got.append(await request.json())
        headers = {"Location": f"/{SECRET}"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    @property
    def url(self) -> str:
        return str(self.server.make_url(f"/{SECRET}"))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start_server()
    yield receiver
    receiver.gate.set()
    await receiver.server.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0")


Make = Callable[..., Webhook]


@pytest.fixture
async def make(metrics: Metrics) -> AsyncIterator[Make]:
    """Makes a webhook whose task runs."""
    tasks: list[asyncio.Task[None]] = []

    def started(url: str, timeout_s: float = 5.0, pauses_s: tuple[float, ...] = (0.0, 0.0)) -> Webhook:
        webhook = Webhook(url, timeout_s, SENDER, ManualClock(100.0), metrics, pauses_s)
        tasks.append(asyncio.create_task(webhook.run()))
        return webhook

    yield started
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("alfred_webhook_notices_total", {"outcome": outcome}) or 0.0


@pytest.fixture
def failures(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[logging.LogRecord]]]:
    yield lambda: [record for record in caplog.records if record.getMessage() == "webhook_failed"]
    assert SECRET not in caplog.text
    for record in caplog.records:
        assert SECRET not in str(vars(record))


def test_a_notice_says_what_when_and_where() -> None:
    assert notice_of(RAISED, 103.0, 1_700_000_000.5, SENDER) == {
        "event": "alert_raised",
        "code": "load",
        "message": "load is high: 91.2 %, limit 80",
        "value": 91.23,
        "limit": 80.0,
        "at": "2023-11-14T22:13:20.500Z",
        "host": "voice-1",
        "version": "9.9",
    }
    assert notice_of(CLEARED, 103.0, 0.0, SENDER)["event"] == "alert_cleared"


async def test_each_change_is_posted_once_and_in_order(receiver: Receiver, make: Make, metrics: Metrics) -> None:
    webhook = make(receiver.url)
    webhook.notify(RAISED)
    webhook.notify(CLEARED)
    await asyncio.wait_for(webhook.emptied(), 5)
    assert [notice["event"] for notice in receiver.got] == ["alert_raised", "alert_cleared"]
    assert (receiver.attempts, counted(metrics, "sent")) == (2, 2)


@pytest.mark.parametrize(
    ("answers", "attempts", "arrives"),
    [
        pytest.param([500, 200], 2, True, id="a fault in passing is tried again"),
        pytest.param([503, 429, 200], 3, True, id="and once more"),
        pytest.param([500, 502, 503, 200], 3, False, id="but not for ever"),
        pytest.param([404, 200], 1, False, id="what will not change is not tried again"),
        pytest.param([302, 200], 1, False, id="a redirection is not followed"),
    ],
)
async def test_three_tries_for_what_may_pass(
    receiver: Receiver, make: Make, metrics: Metrics, failures: Any, answers: list[int], attempts: int, arrives: bool
) -> None:
    receiver.answers = answers
    webhook = make(receiver.url)
    webhook.notify(RAISED)
    await asyncio.wait_for(webhook.emptied(), 5)
    assert receiver.attempts == attempts
    assert bool(receiver.got) is arrives
    assert len(failures()) == (0 if arrives else 1)
    assert (counted(metrics, "sent"), counted(metrics, "dropped")) == ((1, 0) if arrives else (0, 1))


async def test_after_a_failure_the_next_one_is_told(receiver: Receiver, make: Make, failures: Any) -> None:
    receiver.answers = [404]
    webhook = make(receiver.url)
    webhook.notify(RAISED)
    webhook.notify(CLEARED)
    await asyncio.wait_for(webhook.emptied(), 5)
    assert [notice["event"] for notice in receiver.got] == ["alert_cleared"]
    assert [record.reason for record in failures()] == ["status 404"]


async def test_a_server_that_does_not_answer_is_given_up(receiver: Receiver, make: Make, failures: Any) -> None:
    receiver.gate.clear()
    webhook = make(receiver.url, timeout_s=0.1)
    webhook.notify(RAISED)
    await asyncio.wait_for(webhook.emptied(), 10)
    assert receiver.attempts == 3
    assert len(failures()) == 1


async def test_a_server_that_is_not_there_costs_one_line(make: Make, failures: Any, unused_tcp_port: int) -> None:
    webhook = make(f"http://127.0.0.1:{unused_tcp_port}/{SECRET}")
    webhook.notify(RAISED)
    await asyncio.wait_for(webhook.emptied(), 5)
    (record,) = failures()
    assert (record.alert, record.change) == ("load", "alert_raised")


async def test_a_crowd_is_not_kept_and_nobody_waits(
    receiver: Receiver, make: Make, metrics: Metrics, failures: Any
) -> None:
    receiver.gate.clear()
    webhook = make(receiver.url)
    for _ in range(MOST_WAITING + 3):
        webhook.notify(RAISED)
    assert len(failures()) == counted(metrics, "dropped") == 3
    receiver.gate.set()
    await asyncio.wait_for(webhook.emptied(), 10)
    assert len(receiver.got) == MOST_WAITING


async def test_the_end_comes_though_a_server_hangs(
    receiver: Receiver, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook_module, "CLOSE_WITHIN_S", 0.1)
    receiver.gate.clear()
    webhook = Webhook(receiver.url, 60.0, SENDER, ManualClock(), metrics)
    task = asyncio.create_task(webhook.run())
    webhook.notify(RAISED)
    await asyncio.wait_for(end(webhook, task), 10)
    assert task.cancelled()
    assert [record.getMessage() for record in caplog.records] == ["webhook_cut"]


async def test_what_waits_at_the_end_still_goes_out(receiver: Receiver, metrics: Metrics) -> None:
    webhook = Webhook(receiver.url, 5.0, SENDER, ManualClock(), metrics)
    webhook.notify(CLEARED)
    await end(webhook, asyncio.create_task(webhook.run()))
    assert len(receiver.got) == 1


async def test_the_daemon_tells_of_an_engine_that_is_down(
    receiver: Receiver, make_door: Callable[..., Awaitable[Any]], eventually: Callable[..., Awaitable[None]]
) -> None:
    options = CoordinatorOptions()
    roomy = replace(options.alerts, memory_mb=1e6, webhook_url=receiver.url)
    door = await make_door(pipeline=replace(options, alerts=roomy))
    synthesiser = door.coordinator._synthesiser
    synthesiser.figures.state = "down"
    # A test run may be large and slow enough for other alerts.
    await eventually(lambda: any(notice["code"] == "engine_down" for notice in receiver.got))
    (told,) = [notice for notice in receiver.got if notice["code"] == "engine_down"]
    assert (told["event"], told["value"], told["limit"]) == ("alert_raised", 1.0, 0.0)
    assert "tts" in told["message"]


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/x", "file:///etc/passwd", "https://?", "https://a b/c", "https://h:0/x", "http://h:99999/x",
     "(secret)", "https://ex\u00e4mple/x"],
)  # fmt: skip
def test_only_addresses_of_the_web_are_taken_and_none_is_shown(url: str) -> None:
    with pytest.raises(ValueError, match="not shown") as caught:
        AlertOptions(webhook_url=url)
    assert url not in str(caught.value)


def test_the_address_is_not_in_what_is_printed_of_the_options() -> None:
    assert SECRET not in repr(AlertOptions(webhook_url=f"https://h/{SECRET}"))
