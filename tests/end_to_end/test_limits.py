"""Limits and the end: idleness, the longest life, the most sessions, and a shutdown in mid-sentence."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import aiohttp

from tests.sounds import Int16, joined, silence
from tests.support import At, check_session, status_of, stream


async def test_sessions_end_by_idleness_and_age_and_no_more_than_the_limit_are_taken(
    start_daemon: Any, sentence: Int16
) -> None:
    limits = {
        "sessions.max_concurrent": 2,
        "sessions.idle_timeout_s": 2,
        "sessions.max_duration_s": 5,
        "sessions.cleanup_interval_s": 0.2,
    }
    arguments = [part for key, value in limits.items() for part in ("--set", f"{key}={value}")]
    with start_daemon(*arguments) as daemon:
        talk = joined(sentence, sentence, sentence, sentence, sentence, sentence)
        idle = asyncio.ensure_future(stream(daemon.ws, sentence[: 16_000 * 2], stop=False))
        old = asyncio.ensure_future(stream(daemon.ws, talk, stop=False))
        await asyncio.sleep(1.0)
        async with aiohttp.ClientSession(daemon.base) as http:
            async with http.get("/readyz") as response:
                assert response.status in (200, 503)
            async with http.get(
                "/ws", headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
            ) as response:  # fmt: skip
                assert response.status == 503
                assert int(response.headers["Retry-After"]) > 0
                assert response.content_type == "application/problem+json"
                assert (await response.json(content_type=None))["code"] == "too_many_sessions"
        idle_heard, old_heard = await asyncio.gather(idle, old)
        after = await stream(daemon.ws, silence(0.2))

    check_session(idle_heard, reason="idle")
    assert idle_heard.text
    assert idle_heard.close_code == 1000
    check_session(old_heard, reason="max_duration")
    assert old_heard.text
    assert old_heard.close_code == 1000
    assert 4 <= old_heard.arrivals[-1][0] <= 15
    check_session(after)


async def test_a_client_that_only_listens_is_not_idle_while_it_is_spoken_to_or_pings(start_daemon: Any) -> None:
    with start_daemon("--set", "sessions.idle_timeout_s=1", "--set", "sessions.cleanup_interval_s=0.2") as daemon:
        heard = await stream(daemon.ws, b"", controls=[At(n * 0.5, {"type": "ping", "id": n}) for n in range(8)])
    check_session(heard, reason="stop")
    assert [event["id"] for event in heard.of("pong")] == list(range(8))


async def test_a_shutdown_finishes_what_is_being_said_and_tells_the_session(start_daemon: Any, sentence: Int16) -> None:
    with start_daemon() as daemon:
        speaking = asyncio.ensure_future(
            stream(daemon.ws, joined(sentence, sentence, sentence), stop=False, start={"session_id": "last"})
        )
        speaking_back = asyncio.ensure_future(
            stream(
                daemon.ws,
                silence(9.0),
                stop=False,
                controls=[At(0.5, {"type": "speak", "text": "One two three four five six seven eight nine ten."})],
            )
        )
        await asyncio.sleep(2.2)
        daemon.process.send_signal(signal.SIGTERM)
        statuses = await asyncio.to_thread(_statuses_until_gone, daemon)
        heard, spoken_to = await asyncio.gather(speaking, speaking_back)
        assert await asyncio.to_thread(daemon.wait) == 0, daemon.log_tail()

    check_session(heard, reason="shutdown")
    assert heard.text, heard.types
    assert heard.close_code in (1000, 1001)
    check_session(spoken_to, reason="shutdown")
    assert spoken_to.of("ttsStart")
    assert len(spoken_to.of("ttsEnd")) == 1
    assert set(statuses) <= {200, 503}


def _statuses_until_gone(daemon: Any) -> list[int]:
    """What ``/readyz`` says until nobody answers."""
    statuses: list[int] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = status_of(f"{daemon.base}/readyz")
        if status is None:
            return statuses
        statuses.append(status)
        time.sleep(0.005)
    raise AssertionError(f"still there: {statuses[-5:]}")


async def test_a_second_signal_or_no_session_does_not_spoil_the_exit(start_daemon: Any) -> None:
    with start_daemon() as daemon:
        daemon.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.02)
        daemon.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(daemon.wait) == 0
