"""Clients that are made up: they are bounded, speak at real time, and are gone at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from alfred_voice.errors import Draining, EngineFailure, LoadTestRunning, Overloaded
from alfred_voice.pipeline import load_test as load_test_module
from alfred_voice.pipeline.load_test import MOST_OWED, LoadTest, LoadTestPlan, script_of
from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from alfred_voice.pipeline.owner import Owner


Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Start = Callable[..., LoadTest]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts load tests; ended at the end."""
    tests: list[LoadTest] = []

    def make(house: Any, owner: Owner | None = None, **plan: Any) -> LoadTest:
        test = LoadTest(house.coordinator, house.clock)
        tests.append(test)
        test.start(LoadTestPlan(**plan), *([owner] if owner else []))
        return test

    yield make
    for test in tests:
        await test.close()


def told(test: LoadTest) -> dict[str, Any]:
    described = test.describe()
    assert described is not None
    return described


async def over(test: LoadTest) -> dict[str, Any]:
    """How it stood at the end."""
    assert test._task is not None
    await asyncio.wait_for(asyncio.shield(test._task), 30)
    return told(test)


# What they say


def test_a_script_has_as_much_speech_as_asked_and_a_quiet_room_around_it() -> None:
    spoken = np.full(16_000, 8_000, np.int16)
    frames = script_of(spoken, 0.25)
    loud = [abs(float(frame.mean())) > 4_000 for frame in frames]

    assert len(frames) == 200  # four seconds
    assert loud == [True] * 50 + [False] * 150
    assert all(frame.dtype == np.int16 and frame.shape == (320,) for frame in frames)
    assert 20 < float(np.std(frames[-1])) < 200, "a room is never quite silent"


def test_who_says_nothing_is_in_a_quiet_room() -> None:
    frames = script_of(np.empty(0, np.int16), 0.0)

    assert frames
    assert max(int(np.abs(frame).max()) for frame in frames) < 1_000


@pytest.mark.parametrize(
    "body",
    [
        '{"sessions":0}', '{"sessions":201}', '{"seconds":0}', '{"seconds":301}', '{"speech":1.1}', '{"speech":-1}',
        '{"url":"http://elsewhere"}', '{"sessions":"5"}',
    ],
)  # fmt: skip
def test_a_plan_has_limits_and_no_way_to_anywhere_else(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=LoadTestPlan)


# While it runs


async def test_its_sessions_are_open_while_it_runs_and_gone_at_the_end(
    house: Any, start: Start, eventually: Eventually
) -> None:
    test = start(house, sessions=5, seconds=1)
    await eventually(lambda: len(house.coordinator.roster) == 5)
    assert {stream.transport for stream in house.coordinator.roster.all()} == {"load_test"}
    assert told(test)["state"] == "running"

    end = await over(test)

    assert len(house.coordinator.roster) == 0
    assert (end["state"], end["opened"], end["refused"], end["left_s"]) == ("done", 5, 0, 0.0)
    assert not test.is_running


async def test_everybody_sends_a_frame_every_20_ms(house: Any, start: Start) -> None:
    end = await over(start(house, sessions=4, seconds=2, speech=0))

    # The first ones are opened at once; a machine that is busy sends late, not less.
    assert 4 * 100 * 0.9 <= end["frames"] <= 4 * 100
    metrics = house.coordinator.metrics
    assert metrics.frames_processed + metrics.frames_dropped == end["frames"]


async def test_what_they_say_is_heard(house: Any, start: Start) -> None:
    end = await over(start(house, sessions=2, seconds=3, speech=0.5))

    assert end["finals"] >= 1
    assert len(house.tts.texts) == 1, "everybody says the same, which is made once"


async def test_there_is_one_at_a_time(house: Any, start: Start) -> None:
    test = start(house, sessions=1, seconds=1)

    with pytest.raises(LoadTestRunning):
        test.start(LoadTestPlan())
    await over(test)
    test.start(LoadTestPlan(sessions=1, seconds=1, speech=0))
    assert (await over(test))["state"] == "done"


async def test_it_can_be_stopped(house: Any, start: Start, eventually: Eventually) -> None:
    test = start(house, sessions=3, seconds=300, speech=0)
    await eventually(lambda: len(house.coordinator.roster) == 3)

    test.stop()

    assert (await over(test))["state"] == "stopped"
    assert len(house.coordinator.roster) == 0


async def test_who_finds_no_room_is_counted_with_the_reason_and_the_others_go_on(
    make_house: Callable[..., Awaitable[Any]], start: Start, options: CoordinatorOptions
) -> None:
    house = await make_house(replace(options, sessions=SessionsOptions(max_concurrent=3)))

    end = await over(start(house, sessions=5, seconds=1, speech=0))

    assert (end["opened"], end["refused"]) == (3, 2)
    assert "the limit is 3" in end["reason"]


async def test_who_was_refused_comes_again_when_told_to(
    make_house: Callable[..., Awaitable[Any]], start: Start, options: CoordinatorOptions, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Overloaded, "retry_after_s", 0.2, raising=False)
    monkeypatch.setattr(Overloaded, "__init__", lambda self, message, *_: Exception.__init__(self, message))
    house = await make_house(replace(options, sessions=SessionsOptions(max_concurrent=3)))

    test = start(house, sessions=4, seconds=300, speech=0)
    await eventually(lambda: (told(test)["opened"], told(test)["refused"]) == (3, 1))
    house.coordinator.roster.all()[0].stop()
    await eventually(lambda: (told(test)["opened"], told(test)["refused"]) == (4, 0))

    test.stop()
    assert (await over(test))["state"] == "stopped"


async def test_its_sessions_count_as_those_of_who_started_it(house: Any, start: Start) -> None:
    end = await over(start(house, Owner(key="me", max_of_key=2), sessions=4, seconds=1, speech=0))

    assert (end["opened"], end["refused"]) == (2, 2)


async def test_a_daemon_that_does_not_take_sessions_is_not_tested(
    make_house: Callable[..., Awaitable[Any]], start: Start
) -> None:
    loading = await make_house(started=False)
    with pytest.raises(Overloaded, match="being loaded"):
        start(loading)
    drained = await make_house()
    await drained.coordinator.drain(1)
    with pytest.raises(Draining):
        start(drained)


async def test_it_ends_when_the_daemon_is_drained(house: Any, start: Start, eventually: Eventually) -> None:
    test = start(house, sessions=3, seconds=300, speech=0)
    await eventually(lambda: len(house.coordinator.roster) == 3)

    await house.coordinator.drain(10)

    await over(test)
    assert len(house.coordinator.roster) == 0
    with pytest.raises(Draining):
        test.start(LoadTestPlan())


async def test_a_voice_that_fails_ends_it_with_the_reason(house: Any, start: Start) -> None:
    house.tts.failure = EngineFailure("no voice today")

    end = await over(start(house, sessions=3, seconds=5))

    assert (end["state"], end["opened"]) == ("failed", 0)
    assert "no voice today" in end["reason"]


async def test_a_bug_in_it_is_logged_and_frees_its_sessions(
    house: Any, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Any, now: float) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(load_test_module._Client, "send", broken)

    end = await over(start(house, sessions=3, seconds=5, speech=0))

    assert (end["state"], end["reason"]) == ("failed", "ZeroDivisionError")
    assert "load_test_broken" in caplog.text
    assert all(stream.ended for stream in house.coordinator.roster.all())


async def test_closing_ends_it_at_once(house: Any, eventually: Eventually) -> None:
    test = LoadTest(house.coordinator, house.clock)
    await test.close()
    test.start(LoadTestPlan(sessions=3, seconds=300, speech=0))
    await eventually(lambda: len(house.coordinator.roster) == 3)

    await test.close()

    assert told(test)["state"] == "stopped"
    await eventually(lambda: len(house.coordinator.roster) == 0)


def test_nothing_is_told_before_there_was_one(house: Any) -> None:
    assert LoadTest(house.coordinator, house.clock).describe() is None


# One client


class Room:
    """As much of a stream as a client needs."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.frames: list[Any] = []
        self.stopped_at = None

    def has_room(self) -> bool:
        return len(self.frames) < self.room

    def put(self, frame: Any) -> None:
        self.frames.append(frame)


def client_of(room: Room) -> load_test_module._Client:
    script = [np.full(320, number, np.int16) for number in range(10)]
    stream: Any = room
    return load_test_module._Client(stream, script, 7, 100.0)


def test_a_client_begins_where_its_script_says_and_goes_round() -> None:
    room = Room(100)

    assert client_of(room).send(100.11) == (5, 0)
    assert [int(frame[0]) for frame in room.frames] == [7, 8, 9, 0, 1]


def test_what_a_client_has_no_room_for_is_never_said() -> None:
    room = Room(3)
    client = client_of(room)

    assert client.send(100.21) == (3, 7)
    assert client.send(100.21) == (0, 0)


def test_after_a_long_stall_only_the_newest_second_is_made_up_for() -> None:
    room = Room(1000)

    sent, skipped = client_of(room).send(104.01)

    assert sent == MOST_OWED
    assert sent + skipped == 200
