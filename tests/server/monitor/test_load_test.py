"""The door of the load test: its limits, one at a time, and who may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alfred_voice.pipeline.load_test import MOST_SECONDS, MOST_SESSIONS


Eventually = Callable[[Callable[[], object]], Awaitable[None]]
PATH = "/monitor/load-test"


async def ask(door: Any, method: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    async with door.client.request(method, PATH, json=body) as answer:
        return answer.status, await answer.json()


async def test_the_limits_are_told_and_that_there_was_none(door: Any) -> None:
    assert await ask(door, "GET") == (
        200,
        {"limits": {"sessions": MOST_SESSIONS, "seconds": MOST_SECONDS}, "load_test": None},
    )


async def test_one_is_started_seen_and_stopped(door: Any, eventually: Eventually) -> None:
    status, told = await ask(door, "POST", {"sessions": 4, "seconds": 60, "speech": 0})
    assert (status, told["load_test"]["state"]) == (202, "preparing")
    await eventually(lambda: len(door.coordinator.roster) == 4)
    await eventually(lambda: door.coordinator.metrics.frames_processed > 0)
    assert (await ask(door, "GET"))[1]["load_test"]["state"] == "running"

    assert (await ask(door, "POST", {}))[0] == 409
    status, _ = await ask(door, "DELETE")

    assert status == 200
    await eventually(lambda: len(door.coordinator.roster) == 0)


async def test_its_sessions_are_listed_like_others(door: Any, eventually: Eventually) -> None:
    await ask(door, "POST", {"sessions": 1, "seconds": 60, "speech": 0})
    await eventually(lambda: len(door.coordinator.roster) == 1)
    async with door.client.get("/sessions") as answer:
        (session,) = (await answer.json())["sessions"]

    assert (session["session_id"], session["transport"]) == ("load-test-1-1", "load_test")
    await ask(door, "DELETE")
    await eventually(lambda: len(door.coordinator.roster) == 0)


@pytest.mark.parametrize("body", [{"sessions": MOST_SESSIONS + 1}, {"seconds": MOST_SECONDS + 1}, {"host": "x"}, []])
async def test_more_than_the_limits_is_400(door: Any, body: Any) -> None:
    status, told = await ask(door, "POST", body)

    assert (status, told["code"]) == (400, "message_malformed")
    assert len(door.coordinator.roster) == 0


async def test_a_daemon_that_is_drained_refuses(door: Any) -> None:
    await door.coordinator.drain(1)

    status, told = await ask(door, "POST", {"sessions": 1, "seconds": 1})

    assert (status, told["code"]) == (503, "draining")


async def test_to_stop_none_is_no_error(door: Any) -> None:
    assert (await ask(door, "DELETE"))[0] == 200


async def test_a_daemon_that_ends_ends_it(make_door: Any, eventually: Eventually) -> None:
    door = await make_door()
    await ask(door, "POST", {"sessions": 3, "seconds": 60, "speech": 0})
    await eventually(lambda: len(door.coordinator.roster) == 3)

    await door.client.close()

    await eventually(lambda: all(stream.ended for stream in door.coordinator.roster.all()))
