"""Other options while the pipeline runs: what holds at once, and what for sessions that are opened from now on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import ManualClock
from alfred_voice.errors import TooManySessions, UnusableText
from alfred_voice.events import FinalTranscription, SpeechStarted, TurnCompleted
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts
from alfred_voice.pipeline.options import BackpressureOptions, CoordinatorOptions, SessionsOptions, TtsOptions
from alfred_voice.pipeline.work import DetectQueue, TranscribeQueue


Frames = list[NDArray[np.int16]]


async def test_a_lower_limit_of_sessions_holds_at_once_and_ends_nobody(house: Any, options: CoordinatorOptions) -> None:
    streams = [house.open(), house.open()]

    house.coordinator.reconfigure(replace(options, sessions=SessionsOptions(max_concurrent=1)))

    with pytest.raises(TooManySessions, match="the limit is 1"):
        house.open()
    assert not any(stream.ended for stream in streams)


async def test_how_a_session_decides_holds_for_those_that_are_opened_from_now_on(
    house: Any, heard: Any, spoken: Callable[..., Frames], options: CoordinatorOptions
) -> None:
    old = house.open()
    deaf = replace(options.session, vad=replace(options.session.vad, threshold=0.99))
    house.coordinator.reconfigure(replace(options, session=deaf))
    new = house.open()

    for stream in (old, new):
        for frame in spoken(200, 1000, 3000):
            await stream.room()
            stream.put(frame)
        stream.stop()

    assert len((await heard(old).to_the_end()).of(SpeechStarted)) == 1
    assert not (await heard(new).to_the_end()).of(SpeechStarted)


async def test_a_shorter_text_limit_and_another_voice_hold_at_once(house: Any, options: CoordinatorOptions) -> None:
    stream = house.open()

    house.coordinator.reconfigure(replace(options, tts=TtsOptions(max_chars=3)))

    with pytest.raises(UnusableText, match="at most 3"):
        stream.speak("four")


async def test_the_limits_are_looked_at_as_often_as_is_said_now(
    make_house: Callable[..., Awaitable[Any]],
    options: CoordinatorOptions,
    eventually: Callable[[Callable[[], object]], Awaitable[None]],
) -> None:
    rarely = SessionsOptions(cleanup_interval_s=3600)
    house = await make_house(replace(options, sessions=rarely))
    stream = house.open()
    await asyncio.sleep(0)

    often = SessionsOptions(cleanup_interval_s=0.1, max_duration_s=1, idle_timeout_s=1)
    house.coordinator.reconfigure(replace(options, sessions=often))

    await eventually(lambda: stream.ended)


async def test_thresholds_of_load_hold_at_once(house: Any, options: CoordinatorOptions) -> None:
    upkeep = house.coordinator._upkeep
    await asyncio.sleep(0)

    house.coordinator.reconfigure(replace(options, backpressure=BackpressureOptions(threshold=0.001, recovery=0.0)))

    upkeep.degradation.update(replace(upkeep.meter.parts, loop=0.1), [], 1e9)
    assert upkeep.degradation.rung > 0


async def test_a_pipeline_that_loads_takes_other_options_as_well(
    make_house: Callable[..., Awaitable[Any]], options: CoordinatorOptions
) -> None:
    house = await make_house(started=False)
    house.coordinator.reconfigure(replace(options, sessions=SessionsOptions(max_concurrent=1)))
    await house.coordinator.start()
    house.open()
    with pytest.raises(TooManySessions):
        house.open()


def test_queues_take_batches_of_another_size(detect_job: Any, clip_job: Any, speaker: Any) -> None:
    windows = DetectQueue(8, 10.0)
    windows.speakers = 3
    for row in range(3):
        windows.add(detect_job(speaker(row)))
    assert windows.delay_s(0.0) == 0.0
    windows.reconfigure(2, 50.0)
    assert [len(windows.take()), len(windows.take())] == [2, 1]
    windows.add(detect_job(speaker(0)))
    assert windows.delay_s(0.0) == 0.05

    clips = TranscribeQueue(4)
    for row in range(3):
        clips.add(clip_job(speaker(row)))
    clips.reconfigure(2)
    assert clips.delay_s(0.0) == 0.0
    assert len(clips.take()) == 2


def test_a_smaller_cache_forgets_at_once() -> None:
    cache = PhraseCache(ScriptedTts(ms_per_character=10.0), 1_000_000)
    cache.synthesise("a phrase", "en-us", 1.0, lambda _: True)
    assert len(cache) == 1

    cache.resize(0)

    assert (len(cache), cache.bytes_used) == (0, 0)


async def test_a_session_that_speaks_across_a_change_of_models_loses_nothing(
    house: Any, heard: Any, spoken: Callable[..., Frames]
) -> None:
    stream = house.open()
    first, second = spoken(200, 600, 3000), spoken(0, 600, 3000)

    for frame in first:
        await stream.room()
        stream.put(frame)
    await stream.settled()
    house.coordinator.replace_engine("stt", ScriptedStt(("and the radio",)), ScriptedStt)
    for frame in second:
        await stream.room()
        stream.put(frame)
    stream.stop()

    told = await heard(stream).to_the_end()
    assert [final.text for final in told.of(FinalTranscription)] == ["turn on the lamp", "and the radio"]
    assert len(told.of(TurnCompleted)) == 2


def test_alerts_and_load_go_by_other_limits(metrics: Any, options: CoordinatorOptions) -> None:
    from alfred_voice.pipeline.roster import Roster
    from alfred_voice.pipeline.upkeep import Upkeep

    upkeep = Upkeep(options, ManualClock(), metrics, Roster(options.sessions))
    tight = replace(options, alerts=replace(options.alerts, memory_mb=1.0))

    for now in (0.0, 2.0):
        upkeep._watch_limits(now)
    assert not upkeep._alerts.up
    upkeep.reconfigure(tight)
    for now in (3.0, 5.0):
        upkeep._watch_limits(now)

    assert [alert.code for alert in upkeep._alerts.up] == ["memory"]
