"""From sessions to engines and back, with real lanes and scripted engines; one session's fault stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import ManualClock
from alfred_voice.errors import EngineFailure
from alfred_voice.events import ErrorRaised, FinalTranscription, SessionFinished, TurnCompleted, WarningRaised
from alfred_voice.models.engine import Float32
from alfred_voice.models.scripted import ScriptedVad, ScriptedVadStates
from alfred_voice.pipeline.work import LATE_TURN_S
from alfred_voice.session.session import Session


Int16 = NDArray[np.int16]

FRAME = np.zeros(320, np.int16)
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
MakeHouse = Callable[..., Awaitable[Any]]


async def test_all_that_is_woken_in_a_turn_of_the_loop_is_advanced_once_and_together(house: Any) -> None:
    streams = [house.open() for _ in range(5)]
    for _ in range(4):
        for stream in streams:
            stream.put(FRAME)
    await asyncio.gather(*(stream.settled() for stream in streams))
    # Four frames are two windows for each: one question, two rounds, as one batch for those who came together.
    assert sum(house.vad.batches) == 10
    assert max(house.vad.batches) == 5


class RowVad(ScriptedVad):
    """Refuses rows that a test names; notes when a row was made fresh."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[int] = set()
        self.fresh: list[int] = []

    def new_states(self, capacity: int) -> ScriptedVadStates:
        fresh = self.fresh

        class NotingStates(ScriptedVadStates):
            def reset(self, rows: Any) -> None:
                fresh.extend(rows)
                super().reset(rows)

        return NotingStates(capacity)

    def step(self, states: ScriptedVadStates, rows: Any, windows: Float32) -> Float32:
        if self.refused & set(rows):
            raise EngineFailure("not that row")
        return super().step(states, rows, windows)


async def test_a_detector_that_cannot_bear_one_session_ends_that_one_alone(
    make_house: MakeHouse, heard: Callable[..., Any]
) -> None:
    vad = RowVad()
    house = await make_house(vad=vad)
    streams = [house.open(f"s{number}") for number in range(4)]
    vad.refused = {streams[2].row}
    for stream in streams:
        for _ in range(10):
            stream.put(FRAME)
    lost = await heard(streams[2]).to_the_end()
    assert lost.one(ErrorRaised) == ErrorRaised("engine_failure", "not that row", fatal=True)
    assert lost.one(SessionFinished).reason == "error"
    for stream in (streams[0], streams[1], streams[3]):
        stream.stop()
        ended = await heard(stream).to_the_end()
        assert ended.one(SessionFinished).reason == "stop"
        assert ended.one(SessionFinished).stats.frames_processed == 10
        assert not ended.of(ErrorRaised)


async def test_a_row_that_is_given_on_is_made_fresh_for_its_new_session(make_house: MakeHouse) -> None:
    vad = RowVad()
    house = await make_house(vad=vad)
    rows = []
    for _ in range(3):
        stream = house.open()
        rows.append(stream.row)
        for _ in range(10):
            stream.put(FRAME)
        await stream.settled()
        stream.stop()
        await stream.finished()
    assert rows == [0, 0, 0]
    assert vad.fresh == [0, 0, 0]


async def test_a_session_that_takes_the_row_of_one_whose_question_still_waits_is_unharmed(house: Any) -> None:
    """Both in one batch would be the same row twice, which no engine bears."""
    gone = house.open("gone")
    for _ in range(4):
        gone.put(FRAME)
    await asyncio.sleep(0)  # its question is in the lane, maybe with the engine
    for _ in range(30):
        gone.abandon()
        await asyncio.sleep(0)
        gone = house.open("again")
        assert gone.row == 0
        for _ in range(4):
            gone.put(FRAME)
        await asyncio.sleep(0)
    await asyncio.wait_for(gone.settled(), 5)
    assert not gone.ended


@pytest.mark.parametrize(
    "method", ["receive_detection", "receive_transcript", "receive_judgement", "take_requests", "receive_frame"]
)
async def test_a_session_whose_logic_raises_ends_alone_with_an_error(
    house: Any,
    heard: Callable[..., Any],
    spoken: Callable[..., list[Int16]],
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faulty, other = house.open("faulty"), house.open("other")

    sound = getattr(Session, method)

    def fault(session: Session, *arguments: object) -> object:
        if session is faulty.session:
            raise ZeroDivisionError("a fault of the house")
        return sound(session, *arguments)

    monkeypatch.setattr(Session, method, fault)
    for stream in (faulty, other):
        for frame in spoken(100, 600, 700):
            if not stream.ended:
                stream.put(frame)
    ended = await heard(faulty).to_the_end()
    error = ended.one(ErrorRaised)
    assert error == ErrorRaised("engine_failure", "the session met an internal fault and has ended", fatal=True)
    stats = ended.one(SessionFinished).stats
    assert ended.one(SessionFinished).reason == "error"
    assert stats.frames_received == stats.frames_processed + stats.frames_dropped
    assert "a fault of the house" in caplog.text
    other.stop()
    well = await heard(other).to_the_end()
    assert well.one(FinalTranscription).text == "turn on the lamp"
    assert well.one(SessionFinished).reason == "stop"
    assert house.coordinator.roster.all() == []


async def test_a_recogniser_that_is_gone_for_good_costs_texts_but_no_session(
    house: Any, heard: Callable[..., Any], spoken: Callable[..., list[Int16]]
) -> None:
    house.stt.failure = EngineFailure("gone")
    stream = house.open(partials=False)
    for frame in spoken(100, 600, 700):
        stream.put(frame)
    stream.stop()
    ended = await heard(stream).to_the_end()
    assert ended.one(FinalTranscription).text == ""
    assert ended.one(ErrorRaised).code == "engine_failure"
    assert ended.one(SessionFinished).reason == "stop"


async def test_a_turn_model_that_is_gone_leaves_the_end_to_silence(
    house: Any, heard: Callable[..., Any], spoken: Callable[..., list[Int16]]
) -> None:
    house.turn.failure = EngineFailure("gone")
    stream = house.open()
    for frame in spoken(100, 600, 2500):
        stream.put(frame)
    stream.stop()
    ended = await heard(stream).to_the_end()
    assert ended.one(FinalTranscription).text == "turn on the lamp"
    assert "turnComplete" in ended.types
    assert ended.one(SessionFinished).reason == "stop"


async def test_a_pause_that_nobody_had_time_to_judge_ends_by_its_length(
    make_house: MakeHouse,
    heard: Callable[..., Any],
    spoken: Callable[..., list[Int16]],
    clock: ManualClock,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = await make_house(clock=clock)
    monkeypatch.setattr(house.coordinator._dispatch.judge, "kick", lambda: None)
    stream = house.open()
    news = heard(stream)
    for frame in spoken(0, 500, 300):
        stream.put(frame)
        await asyncio.sleep(0)
    await eventually(lambda: len(house.coordinator._dispatch.judge_queue) == 1)
    clock.advance(LATE_TURN_S + 0.1)
    for _ in range(2):  # a window is full
        stream.put(FRAME)
    await eventually(lambda: len(house.coordinator._dispatch.judge_queue) == 0)
    assert house.coordinator.metrics.registry.get_sample_value("alfred_turns_unjudged_total") == 1
    for frame in spoken(2000):
        stream.put(frame)
        await asyncio.sleep(0)
    await eventually(lambda: news.read().of(TurnCompleted))
    assert news.of(TurnCompleted)[0].reason == "silence"
    assert not news.of(WarningRaised), "nothing that the client could do anything about"


async def test_frame_times_are_noted_for_answers_and_not_for_failures(house: Any) -> None:
    stream = house.open()
    for _ in range(16):  # ten windows
        stream.put(FRAME)
    await stream.settled()
    assert house.coordinator.metrics.windows_timed == 10
    house.vad.failure = EngineFailure("no")
    for _ in range(16):
        stream.put(FRAME)
    await stream.finished()
    assert house.coordinator.metrics.windows_timed == 10


async def test_an_ended_stream_may_be_woken_again_and_leaves_once(house: Any) -> None:
    stream = house.open()
    stream.stop()
    await stream.finished()
    for _ in range(3):
        house.coordinator._dispatch.wake(stream)
        await asyncio.sleep(0)
    registry = house.coordinator.metrics.registry
    assert registry.get_sample_value("alfred_sessions_active", {"transport": "websocket"}) == 0
    assert registry.get_sample_value("alfred_sessions_total", {"transport": "websocket", "reason": "stop"}) == 1
