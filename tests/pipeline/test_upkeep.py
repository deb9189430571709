"""What is done again and again, one tick at a time: the step, the clients' news of it, limits and memory."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.errors import Overloaded
from alfred_voice.events import (
    BackpressureRecovered,
    BackpressureTriggered,
    PipelineHealth,
    SessionFinished,
    WarningRaised,
)
from alfred_voice.pipeline import upkeep as upkeep_module
from alfred_voice.pipeline.backpressure import LoadParts, Rung
from alfred_voice.pipeline.degradation import FREE_RATE_AFTER_S, KEPT_FRAMES, LOST_FRAMES
from alfred_voice.pipeline.demand import TALK_WINDOW_S
from alfred_voice.pipeline.memory import Memory
from alfred_voice.pipeline.options import (
    BackpressureOptions,
    CoordinatorOptions,
    MemoryOptions,
    PipelineOptions,
    SessionsOptions,
)
from alfred_voice.pipeline.roster import STOP_PATIENCE_S
from alfred_voice.pipeline.upkeep import COLLECT_EVERY_S, COLLECT_PRESSING_S, Upkeep


FRAME = np.zeros(320, np.int16)
GIVEN_AT_ONCE = 7
"""Frames that a session takes before anything has been judged: 2,240 samples hold its four windows of 512."""
LATE_S = 10.0
"""A lag of the loop that is full load after a few ticks."""


class Bench:
    """A pipeline whose ticks a test makes."""

    def __init__(self, house: Any, clock: ManualClock) -> None:
        self.house = house
        self.clock = clock
        self.upkeep: Upkeep = house.coordinator._upkeep

    def tick(self, count: int = 1, *, lag_s: float = 0.0) -> None:
        for _ in range(count):
            self.clock.advance(0.1)
            self.upkeep.tick(lag_s, self.clock.now())

    def play(self, load: float) -> None:
        """A tick at this load."""
        self.clock.advance(0.1)
        measure = self.upkeep.meter.measure

        def played(*args: Any, **kwargs: Any) -> LoadParts:
            measure(*args, **kwargs)
            self.upkeep.meter.parts = LoadParts(queue=load)
            return self.upkeep.meter.parts

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.upkeep.meter, "measure", played)
            self.upkeep.tick(0.0, self.clock.now())

    def climb_to(self, rung: Rung) -> None:
        for _ in range(100):
            if self.upkeep.degradation.rung is rung:
                self.play(0.7)  # neither up nor down from here
                return
            self.tick(lag_s=LATE_S)
        raise AssertionError(f"never got to {rung}")


MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def make_bench(
    make_house: Callable[..., Awaitable[Any]], options: CoordinatorOptions, clock: ManualClock
) -> MakeBench:
    async def make(**rooms: Any) -> Bench:
        rooms.setdefault("backpressure", BackpressureOptions(step_up_s=0.5, step_down_s=2.0))
        house = await make_house(replace(options, **rooms), clock=clock)
        for task in house.coordinator._tasks:
            task.cancel()  # the test makes the ticks
        return Bench(house, clock)

    return make


@pytest.fixture
async def bench(make_bench: MakeBench) -> Bench:
    return await make_bench()


async def test_clients_are_told_of_each_step_up_and_down(bench: Bench, heard: Callable[..., Any]) -> None:
    news = heard(bench.house.open())
    bench.climb_to(Rung.PAUSE_PROCESSING)
    up = news.read().of(BackpressureTriggered)
    reduced = ["reduce_quality"] * 3
    assert [event.step for event in up] == [*reduced, "drop_frames", "pause_processing"]
    assert [event.rung for event in up] == [1, 2, 3, 4, 5]
    assert all(0.8 <= event.load <= 1.0 for event in up)
    bench.tick(200)
    down = news.read().of(BackpressureRecovered)
    assert [event.step for event in down] == ["drop_frames", *reduced, "none"]
    assert [event.rung for event in down] == [4, 3, 2, 1, 0]
    assert all(event.load < 0.6 for event in down)
    assert bench.upkeep.figures().backpressure_events == 10


async def test_a_session_is_told_how_much_of_its_own_audio_waits(bench: Bench, heard: Callable[..., Any]) -> None:
    stream = bench.house.open()
    for _ in range(GIVEN_AT_ONCE + 10):
        stream.put(FRAME)
    bench.climb_to(Rung.SLOWER_PARTIALS)
    (event,) = heard(stream).read().of(BackpressureTriggered)
    assert event.buffered_ms == 200.0


@pytest.mark.parametrize(
    ("rung", "interval"),
    [
        (Rung.NONE, 200),
        (Rung.SLOWER_PARTIALS, 400),
        (Rung.RARE_PARTIALS, 800),
        (Rung.RATIONED_PARTIALS, 800),
        (Rung.DROP_FRAMES, 800),
        (Rung.PAUSE_PROCESSING, 0),
    ],
)
async def test_partials_come_less_often_and_then_not_at_all(bench: Bench, rung: Rung, interval: int) -> None:
    before = bench.house.open("before")
    bench.climb_to(rung)
    streams = [before] if rung is Rung.PAUSE_PROCESSING else [before, bench.house.open("after")]
    assert [stream.session._listener.recognition.partial_interval_ms for stream in streams] == [interval] * len(streams)


async def test_a_busy_recogniser_makes_partials_rarer_for_all_and_for_newcomers(bench: Bench) -> None:
    before = bench.house.open("before")
    stt = bench.house.coordinator._dispatch.lane_metrics["stt"]
    for _ in range(20):
        stt.busy_s += 0.5
        bench.tick(6)
    after = bench.house.open("after")
    assert [one.session._listener.recognition.partial_interval_ms for one in (before, after)] == [1600, 1600]
    assert bench.house.coordinator.describe()["partials"]["interval_factor"] == 8.0
    bench.tick(600)
    assert before.session._listener.recognition.partial_interval_ms == 200


async def test_under_load_waiting_silence_is_dropped_and_what_is_left_is_worked_off(
    bench: Bench, eventually: Callable[..., Any]
) -> None:
    bench.climb_to(Rung.DROP_FRAMES)
    stream = bench.house.open()
    for _ in range(100):
        stream.put(FRAME)
    bench.tick(lag_s=LATE_S)
    assert stream.frames_queued == KEPT_FRAMES
    await eventually(lambda: stream.frames_queued == 0)
    await asyncio.wait_for(stream.settled(), 5)
    assert stream.status()["frames_dropped"] == 100 - GIVEN_AT_ONCE - KEPT_FRAMES
    assert bench.house.coordinator.metrics.dropped == {"load": 100 - GIVEN_AT_ONCE - KEPT_FRAMES, "lost": 0, "ended": 0}


async def test_what_a_session_cannot_hold_any_more_is_lost_and_told_from_when_to_when(
    make_bench: MakeBench, heard: Callable[..., Any], spoken: Callable[..., list[Any]], eventually: Callable[..., Any]
) -> None:
    bench = await make_bench(pipeline=PipelineOptions(queue_frames=100))
    bench.climb_to(Rung.DROP_FRAMES)
    stream = bench.house.open()
    news = heard(stream)
    for frame in spoken(0, 2000):
        stream.put(frame)
    bench.tick()
    assert not news.read().of(WarningRaised), "two seconds of speech have waited for less than two seconds"
    bench.clock.advance(2.0)
    bench.tick(lag_s=LATE_S)
    (lost,) = [event for event in news.read().of(WarningRaised) if event.code == "audio_dropped"]
    first_ms = GIVEN_AT_ONCE * 20
    assert (lost.from_ms, lost.to_ms) == (first_ms, first_ms + LOST_FRAMES * 20)
    await asyncio.wait_for(stream.settled(), 5)
    assert stream.status()["frames_dropped"] == LOST_FRAMES
    assert bench.house.coordinator.metrics.dropped["lost"] == LOST_FRAMES


async def test_who_sends_too_fast_is_held_back_before_anybody_does_without_something(bench: Bench) -> None:
    flooding, honest = bench.house.open("flooding"), bench.house.open("honest")
    band = [0.7] * 3
    for load in band:
        bench.play(load)
    assert bench.upkeep.degradation.rung is Rung.NONE
    newcomer = bench.house.open("newcomer")
    for _ in range(500):
        flooding.put(FRAME)
    assert not flooding.has_room()
    assert honest.has_room(400)
    assert newcomer.has_room(400)
    for _ in range(round(FREE_RATE_AFTER_S / 0.1) + 1):
        bench.play(0.1)
    assert flooding._allowance is None


async def test_an_alert_is_told_when_it_is_raised_and_when_it_is_cleared(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, bool]] = []
    bench.upkeep.on_alert = lambda change: told.append((change.alert.code, change.is_raised))
    for _ in range(20):
        bench.play(0.85)
    assert told == [("load", True)]
    (alert,) = bench.house.coordinator.status()["alerts"]
    assert (alert["code"], alert["value"], alert["limit"]) == ("load", 85.0, 80.0)
    sample = bench.house.coordinator.metrics.registry.get_sample_value
    assert sample("alfred_alert_active", {"code": "load"}) == 1
    for _ in range(60):
        bench.play(0.1)
    assert told == [("load", True), ("load", False)]
    assert bench.house.coordinator.status()["alerts"] == []
    assert sample("alfred_alert_active", {"code": "load"}) == 0
    assert sample("alfred_alerts_total", {"code": "load"}) == 1
    assert [record.getMessage() for record in caplog.records if "alert" in record.getMessage()] == [
        "alert_raised", "alert_cleared",
    ]  # fmt: skip


async def test_nobody_new_is_let_in_while_what_is_given_up_does_not_help(bench: Bench) -> None:
    bench.play(1.0)
    bench.house.open("early")
    while bench.upkeep.degradation.rung < Rung.RARE_PARTIALS:
        bench.play(1.0)
    bench.house.open("middle")
    while bench.upkeep.degradation.rung < Rung.RATIONED_PARTIALS:
        bench.play(1.0)
    with pytest.raises(Overloaded):
        bench.house.open("late")
    bench.play(0.7)
    bench.house.open("later")


async def test_who_is_refused_is_told_when_to_come_back(bench: Bench) -> None:
    bench.climb_to(Rung.PAUSE_PROCESSING)
    with pytest.raises(Overloaded) as caught:
        bench.house.open()
    assert caught.value.retry_after_s == 2, "nothing waits: the calm that the top rung asks for"


async def test_nobody_new_is_let_in_while_those_who_speak_need_all_of_an_engine(bench: Bench) -> None:
    early = [bench.house.open() for _ in range(4)]
    metrics, lane = bench.house.coordinator.metrics, bench.house.coordinator._dispatch.lane_metrics["stt"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(early[0].session), "is_speaking", property(lambda _: True))
        patch.setattr(type(early[0]), "is_sending", lambda *_: True)
        for _ in range(300):
            metrics.heard_s += 0.1
            lane.record_batch(1, 0.011, 0.0)
            bench.tick()
        assert bench.upkeep.degradation.rung is Rung.NONE, "a fifth session would need 0.55, a sixth 0.66"
        bench.house.open("fifth")
        bench.tick()
        with pytest.raises(Overloaded, match="6 would need 66% of an engine's time, and at most 60%") as caught:
            bench.house.open("sixth")
        assert caught.value.retry_after_s == TALK_WINDOW_S
    bench.tick(30)
    bench.house.open("seventh")


async def test_whose_connection_was_lost_in_the_middle_of_a_word_keeps_nobody_out(bench: Bench) -> None:
    early = [bench.house.open() for _ in range(5)]
    metrics, lane = bench.house.coordinator.metrics, bench.house.coordinator._dispatch.lane_metrics["stt"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(early[0].session), "is_speaking", property(lambda _: True))
        for _ in range(300):
            metrics.heard_s += 0.1
            lane.record_batch(1, 0.05, 0.0)
            bench.tick()
        assert not any(stream.is_sending(bench.clock.now()) for stream in early)
        bench.house.open("sixth")


async def test_the_log_says_when_nobody_is_let_in_and_when_somebody_is_again_but_not_with_every_change(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "alfred_voice.pipeline.upkeep")

    def told() -> list[str]:
        return [record.message for record in caplog.records if record.message.startswith("sessions_")]

    bench.climb_to(Rung.PAUSE_PROCESSING)
    assert told() == ["sessions_refused"]
    admission = bench.house.coordinator.describe()["admission"]
    assert admission == {
        "admits": False, "reason": "the daemon is overloaded and takes no new sessions now", "demand": 0.0, "most": 0.6,
    }  # fmt: skip
    (refused,) = [record for record in caplog.records if record.message == "sessions_refused"]
    assert refused.__dict__["reason"] == "the daemon is overloaded and takes no new sessions now"
    bench.tick(20 * 10)
    assert told() == ["sessions_refused", "sessions_admitted"]
    assert bench.house.coordinator.describe()["admission"]["admits"]
    marks = [mark for mark in bench.house.coordinator.history.marks_since(0) if mark.name == "admission"]
    assert [(mark.kind, mark.text) for mark in marks] == [
        ("sessions_refused", "the daemon is overloaded and takes no new sessions now"),
        ("sessions_admitted", "new sessions are let in again"),
    ]
    for _ in range(3):
        bench.climb_to(Rung.PAUSE_PROCESSING)
        while not bench.upkeep.admits():
            bench.tick()
    assert 3 <= len(told()) <= 6, "at most every ten seconds"


async def test_without_load_nothing_is_dropped(bench: Bench) -> None:
    stream = bench.house.open()
    for _ in range(100):
        stream.put(FRAME)
    bench.tick(5)
    assert stream.frames_queued == 100 - GIVEN_AT_ONCE


async def test_health_is_told_once_a_second_with_the_status(bench: Bench, heard: Callable[..., Any]) -> None:
    news = heard(bench.house.open())
    counts = []
    for _ in range(35):
        bench.tick()
        counts.append(len(news.read().of(PipelineHealth)))
    assert counts[-1] == 4
    assert set(news.of(PipelineHealth)[-1].status) == {
        "pipelineState", "performanceMetrics", "performanceMonitor", "resourceOptimization", "alerts",
    }  # fmt: skip


async def test_sessions_beyond_their_limits_are_ended_with_the_reason(
    make_bench: MakeBench, heard: Callable[..., Any]
) -> None:
    bench = await make_bench(sessions=SessionsOptions(max_duration_s=100, idle_timeout_s=10))
    old = bench.house.open("old")
    for _ in range(10):
        bench.clock.advance(9)
        old.ping(None)
    silent = bench.house.open("silent")
    assert bench.upkeep.end_expired(bench.clock.now()) == 0
    bench.clock.advance(10)
    old.ping(None)
    assert bench.upkeep.end_expired(bench.clock.now()) == 2
    assert bench.upkeep.end_expired(bench.clock.now()) == 0, "whoever stops already is not counted again"
    reasons = [(await heard(stream).to_the_end()).one(SessionFinished).reason for stream in (old, silent)]
    assert reasons == ["max_duration", "idle"]
    assert bench.upkeep.figures().sessions_cleaned == 2
    assert bench.house.coordinator.roster.all() == []


async def test_a_session_whose_engine_never_answers_is_ended_all_the_same(
    bench: Bench, heard: Callable[..., Any], eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.house.coordinator._dispatch.detect, "kick", lambda: None)
    stream = bench.house.open()
    for _ in range(10):
        stream.put(FRAME)
    stream.stop()
    bench.clock.advance(STOP_PATIENCE_S - 1)
    assert bench.upkeep.end_expired(bench.clock.now()) == 0
    bench.clock.advance(1)
    assert bench.upkeep.end_expired(bench.clock.now()) == 1
    assert (await heard(stream).to_the_end()).one(SessionFinished).reason == "error"
    await eventually(lambda: not bench.house.coordinator.roster.all())


class PlayedMemory(Memory):
    """Memory that a test fills; what is done about it is noted."""

    resident = 100.0

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def resident_mb(self) -> float:
        return self.resident

    def collect(self) -> int:
        self.done.append("collect")
        return 7

    def trim(self) -> bool:
        self.done.append("trim")
        return True


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> PlayedMemory:
    memory = PlayedMemory()
    monkeypatch.setattr(upkeep_module, "Memory", lambda: memory)
    return memory


async def test_memory_is_given_back_from_the_trigger_on_but_not_all_the_time(
    memory: PlayedMemory, make_bench: MakeBench
) -> None:
    bench = await make_bench(memory=MemoryOptions(gc_trigger_mb=200, limit_mb=1000))
    memory.resident = 199.0
    bench.tick(10)
    assert memory.done == []
    memory.resident = 200.0
    bench.tick(10)
    assert memory.done == ["collect", "trim"]
    bench.tick(round(COLLECT_EVERY_S / 0.1))
    assert memory.done == ["collect", "trim"] * 2
    figures = bench.upkeep.figures()
    assert (figures.gc_triggered, figures.memory_optimisations, figures.memory_mb) == (2, 2, 200.0)


async def test_memory_is_given_back_more_often_while_the_daemon_degrades(
    memory: PlayedMemory, make_bench: MakeBench
) -> None:
    bench = await make_bench(memory=MemoryOptions(gc_trigger_mb=200, limit_mb=1000))
    memory.resident = 200.0
    bench.climb_to(Rung.SLOWER_PARTIALS)
    memory.done.clear()
    for _ in range(round(COLLECT_PRESSING_S / 0.1) + 1):
        bench.play(0.7)
    assert memory.done == ["collect", "trim"]


@pytest.mark.parametrize(
    ("asked", "keys", "done"),
    [
        ((False, False, False), set(), []),
        ((True, False, False), {"objectsCollected", "heapTrimmed"}, ["collect", "trim"]),
        ((False, True, False), {"sessionsCleanedUp"}, []),
        ((False, False, True), {"bytesFreed", "heapTrimmed"}, ["trim"]),
        (
            (True, True, True),
            {"objectsCollected", "sessionsCleanedUp", "bytesFreed", "heapTrimmed"},
            ["collect", "trim"],
        ),
    ],
)
async def test_optimising_does_what_was_asked_and_tells_it(
    memory: PlayedMemory, make_bench: MakeBench, asked: tuple[bool, bool, bool], keys: set[str], done: list[str]
) -> None:
    bench = await make_bench()
    trigger_gc, cleanup_sessions, optimise_buffers = asked
    report = bench.upkeep.optimise(
        trigger_gc=trigger_gc, cleanup_sessions=cleanup_sessions, optimise_buffers=optimise_buffers
    )
    assert set(report) == keys | {"memoryBefore", "memoryAfter", "memoryFreed"}
    assert memory.done == done
    assert (report["memoryBefore"], report["memoryAfter"]) == (100.0, 100.0)


async def test_the_two_tasks_go_on_after_a_fault_and_log_it(
    make_house: Callable[..., Awaitable[Any]],
    options: CoordinatorOptions,
    eventually: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = SessionsOptions(cleanup_interval_s=0.1)
    house = await make_house(replace(options, sessions=sessions))
    calls = {"tick": 0, "end_expired": 0}

    def failing(name: str) -> Callable[..., None]:
        def fail(*_: object) -> None:
            calls[name] += 1
            raise ZeroDivisionError("oh")

        return fail

    for name in calls:
        monkeypatch.setattr(house.coordinator._upkeep, name, failing(name))
    await eventually(lambda: min(calls.values()) >= 2)
    assert {"tick_failed", "cleanup_failed"} <= {record.getMessage() for record in caplog.records}


async def test_the_real_ticks_measure_the_loop_and_end_who_is_idle(
    make_house: Callable[..., Awaitable[Any]], options: CoordinatorOptions, heard: Callable[..., Any]
) -> None:
    sessions = SessionsOptions(idle_timeout_s=1, cleanup_interval_s=0.1)
    house = await make_house(replace(options, sessions=sessions))
    stream = house.open()
    ended = await heard(stream).to_the_end()
    assert ended.one(SessionFinished).reason == "idle"
    assert ended.of(PipelineHealth)
    assert gc.isenabled()
