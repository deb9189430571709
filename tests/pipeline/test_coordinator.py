"""The whole pipeline in one process, over scripted engines: many sessions, limits, drain, and every way to fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from alfred_voice.clock import ManualClock, SystemClock
from alfred_voice.errors import Draining, ModelMissing, Overloaded, SessionBusy, TooManySessions, UnknownVoice
from alfred_voice.events import FinalTranscription, PipelineHealth, SessionFinished, SessionStarted, SpeechOutputEnded
from alfred_voice.models.scripted import ScriptedStt
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions, SessionsOptions
from alfred_voice.results import Transcript
from tests.pipeline.crowd import MakeHouse, Spoken, check, feed


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


# Opening


async def test_the_first_event_tells_engines_and_limits(house: Any, heard: Callable[..., Any]) -> None:
    stream = house.open(sample_rate=8000, encoding="mulaw")
    (started,) = heard(stream).read().events
    assert started == SessionStarted(
        8000,
        "mulaw",
        dict.fromkeys(("vad", "stt", "turn", "tts"), "scripted"),
        {"max_session_s": 3600, "max_message_bytes": 1000, "queue_ms": 10_000},
    )


async def test_numbers_go_on_from_the_errors_that_were_told_before(house: Any, heard: Callable[..., Any]) -> None:
    stream = house.open(first_seq=3)
    stream.ping(1)
    assert heard(stream).read().seqs == [3, 4]


async def test_a_name_is_busy_while_its_session_is_open_and_free_as_soon_as_its_end_is_told(
    house: Any, heard: Callable[..., Any]
) -> None:
    stream = house.open("same")
    with pytest.raises(SessionBusy, match="'same'"):
        house.open("same")
    stream.stop()
    await heard(stream).to_the_end()
    assert house.open("same") is not stream


async def test_beyond_the_limit_nobody_gets_in_until_somebody_leaves(
    make_house: MakeHouse, options: CoordinatorOptions, eventually: Eventually
) -> None:
    house = await make_house(replace(options, sessions=SessionsOptions(max_concurrent=2)))
    first, _ = house.open(), house.open()
    with pytest.raises(TooManySessions) as caught:
        house.open()
    assert caught.value.retry_after_s > 0
    first.abandon()
    await eventually(lambda: len(house.coordinator.roster) == 1)
    house.open()
    refused = house.coordinator.metrics.registry.get_sample_value(
        "alfred_sessions_refused_total", {"code": "too_many_sessions"}
    )
    assert refused == 1


async def test_nobody_gets_in_while_the_models_are_loaded(make_house: MakeHouse) -> None:
    house = await make_house(started=False)
    with pytest.raises(Overloaded, match="being loaded"):
        house.open()
    with pytest.raises(Overloaded, match="being loaded"):
        house.coordinator.synthesise("hello", None, None)
    with pytest.raises(Overloaded, match="being loaded"):
        _ = house.coordinator.tts_sample_rate
    assert house.coordinator.readiness() == (False, {"loading": "the daemon is loading"})
    assert house.coordinator.status()["pipelineState"]["sessionsActive"] == 0
    assert house.coordinator.describe()["lanes"] == {}


async def test_nobody_gets_in_while_processing_is_paused_and_who_is_in_goes_on(
    make_house: MakeHouse, heard: Callable[..., Any], clock: ManualClock, spoken: Spoken
) -> None:
    house = await make_house(clock=clock)
    for task in house.coordinator._tasks:
        task.cancel()
    stream = house.open()
    upkeep = house.coordinator._upkeep
    while upkeep.degradation.measures.admits:
        clock.advance(0.1)
        upkeep.tick(10.0, clock.now())
    with pytest.raises(Overloaded, match="overloaded") as caught:
        house.open()
    assert not isinstance(caught.value, Draining)
    assert house.coordinator.status()["pipelineState"]["health"] == "overloaded"
    frames = spoken(0, 500, 600)
    await feed(stream, frames)
    stream.stop()
    news = await heard(stream).to_the_end()
    assert news.one(FinalTranscription).text == "turn on the lamp"
    assert all(clip.is_final for clip in house.stt.clips), "nothing is computed for partials"


async def test_a_session_that_cannot_be_made_leaves_nothing_behind(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("alfred_voice.pipeline.assembly.Session", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            house.open("one")
    assert len(house.coordinator.roster) == 0
    assert house.open("one").row == 0


# Starting


@pytest.mark.parametrize("error", [ModelMissing("run models pull"), ZeroDivisionError("oh")])
async def test_a_daemon_without_its_engines_says_so(options: CoordinatorOptions, error: Exception) -> None:
    def load() -> Any:
        raise error

    coordinator = Coordinator(load, options, SystemClock(), Metrics("0"))
    with pytest.raises(type(error)):
        await coordinator.start()
    assert coordinator.readiness() == (False, {"failed": str(error)})
    assert coordinator.status()["pipelineState"]["health"] == "failed"
    with pytest.raises(Overloaded, match=str(error)):
        coordinator.admit()
    await coordinator.drain(1.0)
    assert coordinator.readiness()[1] == {"failed": str(error)}
    await coordinator.close()


async def test_a_started_daemon_is_ready(house: Any) -> None:
    passes = dict.fromkeys(("vad", "stt", "turn", "tts"), "pass")
    assert house.coordinator.readiness() == (True, passes)


async def test_loading_does_not_hold_up_the_loop(options: CoordinatorOptions) -> None:
    gate = threading.Event()

    def load() -> Any:
        assert gate.wait(5)
        raise ModelMissing("late")

    coordinator = Coordinator(load, options, SystemClock(), Metrics("0"))
    starting = asyncio.create_task(coordinator.start())
    await asyncio.sleep(0.01)
    assert not starting.done()
    assert coordinator.readiness()[1].keys() == {"loading"}
    gate.set()
    with pytest.raises(ModelMissing):
        await starting
    await coordinator.close()


async def test_a_daemon_that_is_told_to_go_while_it_loads_does_not_become_ready(make_house: MakeHouse) -> None:
    house = await make_house(started=False)
    starting = asyncio.create_task(house.coordinator.start())
    await house.coordinator.drain(1.0)
    await starting
    assert house.coordinator.readiness()[0] is False
    with pytest.raises(Draining):
        house.open()


# Draining and closing


async def test_draining_gives_everybody_their_final_and_a_shutdown(
    house: Any, heard: Callable[..., Any], spoken: Spoken
) -> None:
    streams = [house.open(f"s{number}") for number in range(4)]
    quiet = house.open("quiet")
    speaking = house.open("speaking")
    for stream in streams:
        for frame in spoken(100, 800):  # in the middle of an utterance
            stream.put(frame)
    speaking.speak("x" * 500)
    readers = [asyncio.create_task(heard(stream).to_the_end()) for stream in (*streams, quiet, speaking)]
    await asyncio.wait_for(house.coordinator.drain(5.0), 5)
    news = await asyncio.gather(*readers)
    for each in news[:4]:
        check(each, utterances=1, frames=45, reason="shutdown")
        assert each.one(FinalTranscription).text == "turn on the lamp"
    check(news[4], utterances=0, frames=0, reason="shutdown")
    assert news[5].one(SpeechOutputEnded).cancelled
    check(news[5], utterances=0, frames=0, reason="shutdown")
    assert house.coordinator.readiness() == (False, {"draining": "the daemon is draining"})
    with pytest.raises(Draining):
        house.open()
    with pytest.raises(Draining):
        house.coordinator.synthesise("hello", None, None)


class GatedStt(ScriptedStt):
    """Answers when a test lets it."""

    def __init__(self) -> None:
        super().__init__(("at last",))
        self.gate = threading.Event()

    def transcribe(self, clips: Any) -> list[Transcript]:
        assert self.gate.wait(5)
        return super().transcribe(clips)


async def test_who_is_not_done_when_the_grace_is_over_is_cut_off(
    make_house: MakeHouse, heard: Callable[..., Any], spoken: Spoken
) -> None:
    stt = GatedStt()
    house = await make_house(stt=stt)
    stream = house.open()
    for frame in spoken(100, 800):
        stream.put(frame)
    await house.coordinator.drain(0.05)
    news = await heard(stream).to_the_end()
    assert news.one(SessionFinished).reason == "shutdown"
    assert news.one(FinalTranscription).text == "", "the recogniser has not said a word yet"
    stt.gate.set()


async def test_draining_an_empty_daemon_takes_no_time(house: Any) -> None:
    await asyncio.wait_for(house.coordinator.drain(60.0), 1)
    await asyncio.wait_for(house.coordinator.drain(60.0), 1)


async def test_closing_ends_whoever_is_left_and_leaves_no_task(
    make_house: MakeHouse, heard: Callable[..., Any], spoken: Spoken
) -> None:
    before = asyncio.all_tasks()
    house = await make_house()
    stream = house.open()
    stream.speak("x" * 500)
    for frame in spoken(100, 800):
        stream.put(frame)
    finished = asyncio.create_task(stream.finished())
    reading = asyncio.create_task(stream.outbox.take())
    await asyncio.sleep(0.01)
    await house.coordinator.close()
    await asyncio.wait_for(asyncio.gather(finished, reading), 5)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert stream.ended
    assert house.coordinator.roster.all() == []
    assert asyncio.all_tasks() == before
    assert heard(stream).read().items == []


async def test_an_answer_that_comes_after_closing_harms_nobody(make_house: MakeHouse, spoken: Spoken) -> None:
    stt = GatedStt()
    house = await make_house(stt=stt)
    stream = house.open()
    for frame in spoken(100, 800):
        stream.put(frame)
    stream.flush()
    await asyncio.wait_for(stream.settled(), 5)
    closing = asyncio.create_task(house.coordinator.close())
    await asyncio.sleep(0.01)
    stt.gate.set()
    await asyncio.wait_for(closing, 5)


async def test_a_daemon_that_was_never_started_can_be_closed_and_twice(make_house: MakeHouse) -> None:
    house = await make_house(started=False)
    await house.coordinator.close()
    await house.coordinator.close()


# State and synthesis


async def test_the_status_has_the_protocols_keys_and_idle_figures(
    house: Any, heard: Callable[..., Any], eventually: Eventually
) -> None:
    news = heard(house.open())
    await eventually(lambda: news.read().of(PipelineHealth))
    status = house.coordinator.status()
    assert status.keys() == {
        "pipelineState", "performanceMetrics", "performanceMonitor", "resourceOptimization", "alerts",
    }  # fmt: skip
    assert status["pipelineState"]["sessionsActive"] == 1
    assert status["pipelineState"]["framesInQueue"] == 0
    assert status["performanceMetrics"]["averageFrameTime"] == 0.0
    assert status["performanceMetrics"]["throughput"] == 0.0


async def test_the_description_has_the_figures_behind_the_status(
    house: Any, heard: Callable[..., Any], spoken: Spoken
) -> None:
    stream = house.open()
    for frame in spoken(100, 600, 700):
        stream.put(frame)
    stream.stop()
    await heard(stream).to_the_end()
    described = house.coordinator.describe()
    assert described.keys() == house.coordinator.status().keys() | {
        "at",
        "cpu_percent",
        "queue",
        "load",
        "latency_ms",
        "limits",
        "admission",
        "partials",
        "lanes",
        "uptime_s",
    }
    assert described["latency_ms"]["final"]["count"] == 1
    assert described["latency_ms"]["turn"]["count"] == 1
    assert described["latency_ms"]["frame"]["count"] > 0
    assert described["lanes"]["vad"]["jobs"] > 0
    assert described["uptime_s"] >= 0


async def test_optimising_clears_the_phrases(house: Any) -> None:
    coordinator = house.coordinator
    assert sum([len(piece) async for piece in coordinator.synthesise("again", None, None)]) > 0
    report = coordinator.optimise(trigger_gc=False, cleanup_sessions=True, optimise_buffers=True)
    assert report["bytesFreed"] > 0
    assert report["sessionsCleanedUp"] == 0
    assert coordinator.status()["resourceOptimization"]["memoryOptimizations"] == 1


async def test_a_text_is_synthesised_at_the_engines_rate(house: Any) -> None:
    pieces = [piece async for piece in house.coordinator.synthesise("x" * 100, "en-gb", 2.0)]
    seconds = sum(map(len, pieces)) / house.coordinator.tts_sample_rate
    assert seconds == pytest.approx(0.5, abs=0.001)


async def test_what_cannot_be_said_is_refused_before_the_first_piece(house: Any) -> None:
    with pytest.raises(UnknownVoice):
        house.coordinator.synthesise("hello", "nobody", None)


async def test_models_that_leave_no_room_below_the_limit_are_told_of_at_the_start(
    make_house: MakeHouse, options: CoordinatorOptions, caplog: pytest.LogCaptureFixture
) -> None:
    tight = replace(options, memory=replace(options.memory, gc_trigger_mb=1, limit_mb=2))
    with caplog.at_level("INFO"):
        await make_house(tight)
    (warning,) = [record for record in caplog.records if record.message == "memory_tight"]
    assert warning.__dict__["limit_mb"] == 2
    assert "memory.limit_mb" in warning.__dict__["advice"]


async def test_a_language_that_the_recogniser_does_not_know_is_told_at_the_start_and_when_it_is_set(
    make_house: Callable[..., Awaitable[Any]], options: CoordinatorOptions, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def told() -> list[str]:
        return [vars(record)["reason"] for record in caplog.records if record.message == "language_unknown"]

    def in_language(language: str) -> CoordinatorOptions:
        stt = replace(options.session.stt, language=language)
        return replace(options, session=replace(options.session, stt=stt))

    monkeypatch.setattr(ScriptedStt, "languages", frozenset({"en"}), raising=False)
    house = await make_house(in_language("de"))
    assert len(told()) == 1
    assert "heard as that, not as de" in told()[0]
    house.coordinator.reconfigure(in_language("de"))
    house.coordinator.reconfigure(in_language("en"))
    assert len(told()) == 1
    house.coordinator.reconfigure(in_language("xx"))
    assert "not as xx" in told()[-1]
