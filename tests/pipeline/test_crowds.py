"""Many sessions at once through the whole pipeline: nobody's account is another's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.errors import EngineFailure
from alfred_voice.events import ErrorRaised, FinalTranscription, SessionFinished
from alfred_voice.models.engine import Clip
from alfred_voice.models.scripted import ScriptedStt
from alfred_voice.pipeline.options import CoordinatorOptions, PipelineOptions
from alfred_voice.pipeline.outbox import SlowReader
from alfred_voice.results import Transcript
from tests.pipeline.crowd import MakeHouse, Spoken, check, feed


async def test_ten_sessions_at_unequal_speeds_get_all_their_finals_and_exact_accounts(
    house: Any, heard: Callable[..., Any], spoken: Spoken
) -> None:
    async def one(number: int) -> tuple[Any, int]:
        frames = spoken(100, *(300 + 50 * number, 700) * (1 + number % 3))
        # Without turns the audio alone says where an utterance ends, not the moment when a model answers.
        stream = house.open(f"s{number}", turns=False)
        news = heard(stream)
        reading = asyncio.create_task(news.to_the_end())
        await feed(stream, frames, lambda n: 0 if n % (number + 1) == 0 else None)
        stream.stop()
        await reading
        return news, len(frames)

    for number, (news, frames) in enumerate(await asyncio.gather(*map(one, range(10)))):
        check(news, utterances=1 + number % 3, frames=frames, turns=False)
        assert {final.text for final in news.of(FinalTranscription)} == {"turn on the lamp"}
        assert not news.of(ErrorRaised)
        assert news.one(SessionFinished).stats.frames_dropped == 0
    assert house.coordinator.roster.all() == []
    assert max(house.vad.batches) > 1, "windows of several sessions went together"


async def test_the_daemons_figures_are_the_sum_of_the_sessions(
    house: Any, heard: Callable[..., Any], spoken: Spoken
) -> None:
    total = 0
    for number in range(3):
        stream = house.open()
        frames = spoken(100, 400, 700)[: 50 + number]
        total += len(frames)
        await feed(stream, frames)
        stream.stop()
        await heard(stream).to_the_end()
    stream = house.open()
    await feed(stream, spoken(300))
    stream.abandon()
    total += 15
    counted = {
        fate: house.coordinator.metrics.registry.get_sample_value("alfred_audio_frames_total", {"fate": fate}) or 0
        for fate in ("processed", "dropped")
    }
    assert sum(counted.values()) == total
    assert counted["processed"] >= total - 15


async def test_one_that_sends_faster_than_real_time_gets_all_and_brings_no_load(
    house: Any, heard: Callable[..., Any], spoken: Spoken
) -> None:
    frames = spoken(100, *(600, 900) * 12)
    stream = house.open()
    reading = asyncio.create_task(heard(stream).to_the_end())
    await feed(stream, frames)
    stream.stop()
    news = await reading
    check(news, utterances=12, frames=len(frames))
    assert house.coordinator._upkeep.degradation.rung == 0
    assert "backpressureTriggered" not in news.types


async def test_the_result_does_not_depend_on_the_pace(house: Any, heard: Callable[..., Any], spoken: Spoken) -> None:
    frames = spoken(200, 500, 800, 400, 1000)
    results = []
    for pause in (lambda n: None, lambda n: 0.001):
        stream = house.open(partials=False)
        reading = asyncio.create_task(heard(stream).to_the_end())
        await feed(stream, frames, pause)
        stream.stop()
        news = await reading
        results.append([(final.text, final.start_ms, final.end_ms) for final in news.of(FinalTranscription)])
    assert len(results[0]) == 2
    assert results[0] == results[1]


# Engines that fail


class FailsOnce(ScriptedStt):
    """Raises at its first final, whatever it is."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(("turn on the lamp",))
        self.failed = 0
        self.error = error or ZeroDivisionError("once")

    def transcribe(self, clips: Any) -> list[Transcript]:
        if not self.failed and any(clip.is_final for clip in clips):
            self.failed += 1
            raise self.error
        return super().transcribe(clips)


async def test_an_engine_that_raises_for_one_batch_costs_nobody_a_final(
    make_house: MakeHouse, heard: Callable[..., Any], spoken: Spoken
) -> None:
    stt = FailsOnce()
    house = await make_house(stt=stt)
    streams = [house.open(f"s{number}") for number in range(5)]
    for stream in streams:
        for frame in spoken(100, 600, 700):
            stream.put(frame)
        stream.stop()
    for news in await asyncio.gather(*(heard(stream).to_the_end() for stream in streams)):
        assert news.one(FinalTranscription).text == "turn on the lamp"
        assert news.one(SessionFinished).reason == "stop"
        assert not news.of(ErrorRaised)
    assert stt.failed == 1


async def test_a_clip_that_the_recogniser_cannot_bear_costs_the_others_nothing(
    make_house: MakeHouse, heard: Callable[..., Any], spoken: Spoken
) -> None:
    def text(clip: Clip) -> str:
        if len(clip.samples) > 16_000:
            raise ZeroDivisionError("too long")
        return "short"

    house = await make_house(stt=ScriptedStt(text))
    lengths = (400, 500, 1500, 600)
    streams = [house.open(f"s{ms}", partials=False) for ms in lengths]
    for stream, ms in zip(streams, lengths, strict=True):
        for frame in spoken(100, ms, 700):
            stream.put(frame)
        stream.stop()
    news = await asyncio.gather(*(heard(stream).to_the_end() for stream in streams))
    assert [each.one(FinalTranscription).text for each in news] == ["short", "short", "", "short"]
    assert [len(each.of(ErrorRaised)) for each in news] == [0, 0, 1, 0]


async def test_the_error_rate_shows_it(
    make_house: MakeHouse, heard: Callable[..., Any], spoken: Spoken, clock: ManualClock
) -> None:
    house = await make_house(stt=FailsOnce(EngineFailure("not now")), clock=clock)
    stream = house.open()
    for frame in spoken(100, 600, 700):
        stream.put(frame)
    stream.stop()
    await heard(stream).to_the_end()
    clock.advance(0.1)
    house.coordinator._upkeep.tick(0.0, clock.now())
    assert 0 < house.coordinator.status()["performanceMetrics"]["errorRate"] < 50
    lanes = house.coordinator.describe()["lanes"]
    assert lanes["stt"]["failures"] == 1
    assert lanes["vad"]["failures"] == 0


# Readers


async def test_a_client_that_does_not_read_is_found_out_and_the_others_go_on(
    make_house: MakeHouse, options: CoordinatorOptions, heard: Callable[..., Any]
) -> None:
    house = await make_house(replace(options, pipeline=PipelineOptions(outbox_events=16)))
    lazy, keen = house.open("lazy"), house.open("keen")
    for number in range(20):
        lazy.ping(number)
        keen.ping(number)
        heard(keen).read()
    with pytest.raises(SlowReader):
        await lazy.outbox.take()
    keen.stop()
    assert (await heard(keen).to_the_end()).one(SessionFinished).reason == "stop"
