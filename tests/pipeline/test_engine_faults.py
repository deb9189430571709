"""Engines that fail, hang and are exchanged in a running pipeline: what sessions, figures and health tell of it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import ManualClock, SystemClock
from alfred_voice.errors import ModelMissing
from alfred_voice.events import ErrorRaised, FinalTranscription, SessionFinished, SessionStarted, SpeechStarted
from alfred_voice.models.engine import Clip, Engines, Float32
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts, ScriptedTurn, ScriptedVad, ScriptedVadStates
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.lane_options import DOWN_PATIENCE_S
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions, PipelineOptions
from alfred_voice.results import Transcript
from alfred_voice.session.settings import SessionSettings
from tests.faults import Fault, FaultyStt, FaultyTurn, FaultyVad, Switch, marked


Int16 = NDArray[np.int16]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
MakeHouse = Callable[..., Awaitable[Any]]
Spoken = Callable[..., list[Int16]]
HeardOf = Callable[..., Any]

PHRASE = (100, 600, 700)
"""Milliseconds of silence, speech and silence."""


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path / "switch")


@pytest.fixture
def impatient(options: CoordinatorOptions) -> CoordinatorOptions:
    """Gives a call up after a tenth of a second."""
    return replace(options, pipeline=PipelineOptions(engine_timeout_s=0.1))


def lane(house: Any, name: str) -> dict[str, Any]:
    described: dict[str, Any] = house.coordinator.describe()["lanes"][name]
    return described


def say(stream: Any, frames: list[Int16], stop: bool = True) -> None:
    for frame in frames:
        stream.put(frame)
    if stop:
        stream.stop()


def marked_frames(frames: list[Int16]) -> list[Int16]:
    sound = marked(np.concatenate(frames), at=len(frames) * 320 // 3)
    return list(sound.reshape(-1, 320))


async def test_a_row_that_the_detector_cannot_bear_ends_its_session_and_no_other(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, switch: Switch
) -> None:
    house = await make_house(vad=FaultyVad(ScriptedVad(), switch))
    switch.throw(Fault("vad", "nan", only_marked=True))
    frames = spoken(*PHRASE)
    lost, *others = [house.open(partials=False) for _ in range(4)]
    say(lost, marked_frames(frames), stop=False)
    for stream in others:
        say(stream, frames)
    ended = await heard(lost).to_the_end()
    assert (ended.one(ErrorRaised).code, ended.one(ErrorRaised).fatal) == ("row_failure", True)
    assert ended.types[-2:] == ["error", "sessionEnded"]
    for stream in others:
        well = await heard(stream).to_the_end()
        assert well.one(FinalTranscription).text == "turn on the lamp"
        assert well.one(SessionFinished).reason == "stop"
    assert (lane(house, "vad")["rows_failed"], lane(house, "vad")["restarts"]) == (1, 0)


async def test_a_final_that_the_recogniser_cannot_bear_ends_its_session_in_order(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, switch: Switch
) -> None:
    house = await make_house(stt=FaultyStt(ScriptedStt(("turn on the lamp",)), switch))
    switch.throw(Fault("stt", "memory", only_marked=True))
    frames = spoken(*PHRASE)
    lost, other = house.open(), house.open()
    say(lost, marked_frames(frames), stop=False)
    say(other, frames)
    ended = await heard(lost).to_the_end()
    assert ended.types[-4:] == ["finalTranscription", "turnComplete", "error", "sessionEnded"]
    assert ended.one(ErrorRaised) == ErrorRaised("row_failure", "stt: MemoryError: ", fatal=True)
    stats = ended.one(SessionFinished).stats
    assert stats.frames_received == stats.frames_processed + stats.frames_dropped
    assert (await heard(other).to_the_end()).one(FinalTranscription).text == "turn on the lamp"
    assert house.coordinator.roster.all() == []


async def test_a_detector_that_fails_for_all_is_made_anew_and_nobody_is_lost(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, switch: Switch
) -> None:
    built: list[int] = []

    def build() -> Any:
        built.append(1)
        return FaultyVad(ScriptedVad(), switch)

    house = await make_house(vad=build(), builders={"vad": build})
    switch.throw(Fault("vad", "raise", times=2))
    streams = [house.open() for _ in range(1)]
    for stream in streams:
        say(stream, spoken(*PHRASE))
        well = await heard(stream).to_the_end()
        assert well.one(FinalTranscription).text == "turn on the lamp"
        assert not well.of(ErrorRaised)
    assert len(built) == 2
    assert lane(house, "vad")["restarts"] == 1


async def test_a_recogniser_that_is_down_stops_neither_the_detector_nor_new_words_once_it_is_back(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, switch: Switch, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.FIRST_PAUSE_S", 0.01)
    missing = [True]

    def build() -> Any:
        if missing:
            raise ModelMissing("the file is gone")
        return FaultyStt(ScriptedStt(("turn on the lamp",)), switch)

    house = await make_house(stt=FaultyStt(ScriptedStt(("turn on the lamp",)), switch), builders={"stt": build})
    coordinator = house.coordinator
    switch.throw(Fault("stt", "raise", times=2))
    first = house.open(partials=False)
    say(first, spoken(*PHRASE))
    await eventually(lambda: lane(house, "stt")["state"] == "down")
    assert coordinator.readiness() == (False, {"vad": "pass", "stt": "down", "turn": "pass", "tts": "pass"})
    assert coordinator.status()["pipelineState"]["health"] == "failed"

    second = house.open(partials=False)
    news = heard(second)
    say(second, spoken(*PHRASE))
    await eventually(lambda: news.read().of(SpeechStarted))
    assert not news.of(FinalTranscription)

    missing.clear()
    for ended in (await heard(first).to_the_end(), await news.to_the_end()):
        assert ended.one(FinalTranscription).text == "turn on the lamp"
        assert ended.one(SessionFinished).reason == "stop"
        assert not ended.of(ErrorRaised)
    assert coordinator.readiness()[0]
    assert coordinator.status()["pipelineState"]["health"] == "healthy"
    assert lane(house, "stt")["restarts"] == 1


async def test_a_final_waits_for_an_engine_that_is_down_up_to_a_limit(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, switch: Switch, eventually: Eventually, clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("alfred_voice.pipeline.lane.EXPIRY_TICK_S", 0.01)

    def build() -> Any:
        raise ModelMissing("the file is gone")

    house = await make_house(
        stt=FaultyStt(ScriptedStt(), switch), builders={"stt": build}, clock=clock, turn=ScriptedTurn()
    )
    switch.throw(Fault("stt", "raise", times=2))
    stream = house.open(partials=False)
    say(stream, spoken(*PHRASE))
    await eventually(lambda: lane(house, "stt")["state"] == "down")
    clock.advance(DOWN_PATIENCE_S + 1)
    ended = await heard(stream).to_the_end()
    assert ended.one(FinalTranscription).text == ""
    assert (ended.one(ErrorRaised).code, ended.one(ErrorRaised).fatal) == ("engine_down", False)
    assert ended.one(SessionFinished).reason == "stop"


async def test_the_engine_that_has_failed_is_gone_before_the_next_one_is_built(
    options: CoordinatorOptions, heard: HeardOf, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may not be memory for two."""
    # A test run keeps what is logged, and so what was raised, and so where.
    monkeypatch.setattr("alfred_voice.pipeline.lane.log.disabled", True)
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    class Fails(ScriptedStt):
        def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
            raise ZeroDivisionError("always")

    def load() -> Engines:
        stt = Fails()
        made.append(weakref.ref(stt))
        return Engines(ScriptedVad(), stt, ScriptedTurn(), ScriptedTts(), builders={"stt": build})

    def build() -> Any:
        gc.collect()
        alive.append(sum(ref() is not None for ref in made))
        return ScriptedStt(("turn on the lamp",))

    coordinator = Coordinator(load, options, SystemClock(), Metrics("1.2.3"))
    await coordinator.start()
    stream = coordinator.open(SessionSettings("s", partials=False), "websocket", max_message_bytes=1000)
    say(stream, spoken(*PHRASE))
    assert (await heard(stream).to_the_end()).one(FinalTranscription).text == "turn on the lamp"
    assert alive == [0]
    await coordinator.close()


@pytest.mark.parametrize("kind", ["stt", "turn"])
async def test_an_engine_that_hangs_is_left_behind_and_the_answer_comes_from_a_fresh_one(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, switch: Switch, impatient: CoordinatorOptions, kind: str
) -> None:
    def stt() -> Any:
        return FaultyStt(ScriptedStt(("turn on the lamp",)), switch)

    def turn() -> Any:
        return FaultyTurn(ScriptedTurn(), switch)

    house = await make_house(impatient, stt=stt(), turn=turn(), builders={"stt": stt, "turn": turn})
    switch.throw(Fault(kind, "hang", times=1))  # type: ignore[arg-type]
    stream = house.open(partials=False)
    say(stream, spoken(100, 600, 3000))
    ended = await heard(stream).to_the_end()
    assert ended.one(FinalTranscription).text == "turn on the lamp"
    assert not ended.of(ErrorRaised)
    assert (lane(house, kind)["timeouts"], lane(house, kind)["restarts"]) == (1, 1)
    await asyncio.wait_for(house.coordinator.close(), 3)


# Another engine


class GatedStt(ScriptedStt):
    """Answers when it may; is closed once."""

    def __init__(self, *script: str, name: str = "gated") -> None:
        super().__init__(script)
        self.name = name
        self.may_go = threading.Event()
        self.may_go.set()
        self.closed = 0

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        assert self.may_go.wait(5)
        return super().transcribe(clips)

    def close(self) -> None:
        self.closed += 1


async def test_another_recogniser_takes_over_between_two_batches_and_no_final_is_lost(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, eventually: Eventually
) -> None:
    old, new = GatedStt("from the old one"), GatedStt("from the new one", name="newer")
    house = await make_house(stt=old)
    dispatch = house.coordinator._dispatch
    old.may_go.clear()
    first, second = house.open(partials=False), house.open(partials=False)
    say(first, spoken(*PHRASE))
    await eventually(lambda: dispatch.transcribe[""].is_busy)
    dispatch.replace_engine("stt", new)
    say(second, spoken(*PHRASE))
    await asyncio.sleep(0.05)
    assert (old.closed, len(new.clips)) == (0, 0)
    old.may_go.set()
    assert (await heard(first).to_the_end()).one(FinalTranscription).text == "from the old one"
    assert (await heard(second).to_the_end()).one(FinalTranscription).text == "from the new one"
    await eventually(lambda: old.closed == 1)
    third = house.open(partials=False)
    assert heard(third).read().one(SessionStarted).engines["stt"] == "newer"
    assert new.closed == 0


async def test_an_utterance_goes_on_over_a_change_of_the_recogniser_with_what_was_told_standing(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, eventually: Eventually
) -> None:
    house = await make_house(stt=ScriptedStt(("turn on the lamp in the hall",)))
    stream = house.open()
    news = heard(stream)
    frames = spoken(100, 4000, 900)
    half = len(frames) // 2
    for frame in frames[:half]:
        stream.put(frame)
        await asyncio.sleep(0.002)
    await eventually(lambda: len(house.stt.clips) >= 3)
    # It would be an error to this one to be given tokens that it does not have.
    new = ScriptedStt(("turn on the lamp in the hall now",))
    house.coordinator._dispatch.replace_engine("stt", new)
    for frame in frames[half:]:
        stream.put(frame)
        await asyncio.sleep(0.002)
    stream.stop()
    ended = await news.to_the_end()
    assert ended.one(FinalTranscription).text == "turn on the lamp in the hall now"
    assert not ended.of(ErrorRaised)
    assert "warning" not in ended.types
    assert new.clips
    assert not new.clips[0].prefix
    assert not new.clips[0].draft


class NotingVad(ScriptedVad):
    """Notes how many windows a row had had when it was judged."""

    def __init__(self) -> None:
        super().__init__()
        self.ages: list[int] = []

    def step(self, states: ScriptedVadStates, rows: Sequence[int], windows: Float32) -> Float32:
        self.ages += states.windows[list(rows)].tolist()
        return super().step(states, rows, windows)


async def test_another_detector_begins_with_fresh_states(make_house: MakeHouse) -> None:
    house = await make_house()
    stream = house.open()
    frame = np.zeros(320, np.int16)
    say(stream, [frame] * 16, stop=False)
    await stream.settled()
    new = NotingVad()
    house.coordinator._dispatch.replace_engine("vad", new)
    say(stream, [frame] * 16, stop=False)
    await stream.settled()
    assert new.ages == list(range(10))
    assert not stream.ended


async def test_another_turn_model_judges_from_the_next_pause_on(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken
) -> None:
    house = await make_house()
    new = ScriptedTurn((0.77,))
    house.coordinator._dispatch.replace_engine("turn", new)
    stream = house.open()
    say(stream, spoken(*PHRASE))
    assert "turnComplete" in (await heard(stream).to_the_end()).types
    assert (len(new.turns), len(house.turn.turns)) == (1, 0)


async def test_an_engine_that_was_put_in_is_made_anew_by_its_own_builder(
    make_house: MakeHouse, heard: HeardOf, spoken: Spoken, switch: Switch
) -> None:
    house = await make_house(builders={"stt": lambda: ScriptedStt(("the first model",))})

    def build() -> Any:
        return FaultyStt(ScriptedStt(("the second model",)), switch)

    house.coordinator._dispatch.replace_engine("stt", build(), build)
    switch.throw(Fault("stt", "raise", times=2))
    stream = house.open(partials=False)
    say(stream, spoken(*PHRASE))
    assert (await heard(stream).to_the_end()).one(FinalTranscription).text == "the second model"
    assert lane(house, "stt")["restarts"] == 1


async def test_a_lane_that_is_not_there_gets_no_engine(house: Any) -> None:
    with pytest.raises(ValueError, match="Expected one of vad, stt, turn, but got 'stt-whisper'"):
        house.coordinator._dispatch.replace_engine("stt-whisper", ScriptedStt())
