"""Sessions that ask for a recogniser of their own: its lane, its name, and that nobody waits for another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import SystemClock
from alfred_voice.errors import InvalidSettings
from alfred_voice.events import FinalTranscription, PartialTranscription, SessionStarted, WarningRaised
from alfred_voice.models.engine import Clip, Engines, SttEngine
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts, ScriptedTurn, ScriptedVad
from alfred_voice.models.tiers import Tier, TieredStt
from alfred_voice.pipeline.backpressure import LoadParts
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions
from alfred_voice.results import Transcript
from alfred_voice.session.settings import SessionSettings


Spoken = Callable[..., list[NDArray[np.int16]]]


class SlowStt(ScriptedStt):
    """A recogniser far away: does not answer before it is let go or closed."""

    name = "far away"

    def __init__(self) -> None:
        super().__init__(("from afar",))
        self.may_go = threading.Event()
        self.closed = False

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        self.may_go.wait(20)
        return super().transcribe(clips)

    def close(self) -> None:
        self.closed = True
        self.may_go.set()


class GermanStt(ScriptedStt):
    """A recogniser of one language, whatever it is asked for."""

    name = "german"
    languages = frozenset({"de"})

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        return [replace(found, language="de") for found in super().transcribe(clips)]


class PolyglotStt(ScriptedStt):
    """A recogniser of two languages, which hears the second one."""

    name = "polyglot"
    languages = frozenset({"en", "fr"})

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        return [replace(found, language="fr") for found in super().transcribe(clips)]


class House:
    """A pipeline with two recognisers."""

    def __init__(self, options: CoordinatorOptions) -> None:
        self.stt = ScriptedStt(("close by",))
        self.far = SlowStt()
        self.quick = ScriptedStt(("quickly said",))
        self.tiered = TieredStt([Tier("careful", ScriptedStt(("carefully said",))), Tier("quick", self.quick)])
        more: dict[str, SttEngine] = {
            "openai": self.far,
            "whisper": self.tiered,
            "german": GermanStt(),
            "polyglot": PolyglotStt(),
        }
        engines = Engines(ScriptedVad(), self.stt, ScriptedTurn(), ScriptedTts(), more)
        self.coordinator = Coordinator(lambda: engines, options, SystemClock(), Metrics("1.2.3"))

    def open(self, session_id: str, **asked: Any) -> Any:
        return self.coordinator.open(SessionSettings(session_id, **asked), "websocket", max_message_bytes=1000)


@pytest.fixture
async def house(options: CoordinatorOptions) -> AsyncIterator[House]:
    made = House(options)
    await made.coordinator.start()
    yield made
    made.far.may_go.set()
    await made.coordinator.close()


async def spoken_to(stream: Any, frames: list[NDArray[np.int16]], heard: Callable[..., Any]) -> Any:
    news = heard(stream)
    for frame in frames:
        stream.put(frame)
        await asyncio.sleep(0)
    stream.stop()
    return await news.to_the_end()


async def test_a_session_gets_the_recogniser_that_it_asks_for(
    house: House, heard: Callable[..., Any], spoken: Spoken
) -> None:
    house.far.may_go.set()
    frames = spoken(100, 600, 900)
    near = await spoken_to(house.open("near"), frames, heard)
    far = await spoken_to(house.open("far", engine="openai"), frames, heard)
    assert (near.one(FinalTranscription).text, near.one(FinalTranscription).engine) == ("close by", "moonshine")
    assert (far.one(FinalTranscription).text, far.one(FinalTranscription).engine) == ("from afar", "openai")
    assert near.one(SessionStarted).engines["stt"] == "scripted"
    assert far.one(SessionStarted).engines["stt"] == "far away"


async def test_the_configured_one_may_be_asked_for_by_its_name(
    house: House, heard: Callable[..., Any], spoken: Spoken
) -> None:
    news = await spoken_to(house.open("near", engine="moonshine"), spoken(100, 600, 900), heard)
    assert news.one(FinalTranscription).text == "close by"


@pytest.mark.parametrize(
    ("engine", "asked", "told", "warning"),
    [
        ("german", "de-CH", "de", ""),
        ("german", "auto", "de", ""),
        ("german", "fr", "de", "german knows no language but de: what is said is heard as that, not as fr"),
        ("german", None, "de", "german knows no language but de: what is said is heard as that, not as en"),
        ("polyglot", "fr", "fr", ""),
        ("polyglot", "en", "fr", ""),
        ("polyglot", "auto", "fr", ""),
        ("polyglot", "tlh", "fr", "polyglot does not know the language tlh: it finds out by itself what is spoken"),
        ("moonshine", "tlh", "tlh", ""),
    ],
)
async def test_a_final_tells_the_language_that_was_heard(
    house: House,
    heard: Callable[..., Any],
    spoken: Spoken,
    engine: str,
    asked: str | None,
    told: str,
    warning: str,
) -> None:
    news = await spoken_to(house.open("far", engine=engine, language=asked), spoken(100, 600, 900), heard)
    assert news.one(FinalTranscription).language == told
    assert [(one.code, one.message) for one in news.of(WarningRaised)] == (
        [("language_unknown", warning)] if warning else []
    )


async def test_a_final_without_words_is_in_the_one_language_that_there_is(
    options: CoordinatorOptions, heard: Callable[..., Any], spoken: Spoken
) -> None:
    stt = replace(options.session.stt, min_voiced_ms=5000)
    house = House(replace(options, session=replace(options.session, stt=stt)))
    await house.coordinator.start()
    news = await spoken_to(house.open("far", engine="german", language="fr"), spoken(100, 600, 900), heard)
    await house.coordinator.close()
    final = news.one(FinalTranscription)
    assert (final.text, final.language) == ("", "de")


async def test_what_is_not_there_is_refused_with_what_is(house: House) -> None:
    with pytest.raises(
        InvalidSettings, match=r"engine: expected one of moonshine, openai, whisper, german, polyglot, got 'kaldi'"
    ):
        house.open("lost", engine="kaldi")
    assert house.coordinator.roster.all() == []


async def test_a_recogniser_that_does_not_answer_holds_up_nobody_else(
    house: House, heard: Callable[..., Any], spoken: Spoken
) -> None:
    frames = spoken(100, 600, 900)
    waiting = asyncio.create_task(spoken_to(house.open("far", engine="openai"), frames, heard))
    near = await asyncio.wait_for(spoken_to(house.open("near"), frames, heard), 5)
    assert near.one(FinalTranscription).text == "close by"
    assert not waiting.done()
    house.far.may_go.set()
    assert (await waiting).one(FinalTranscription).text == "from afar"


async def test_each_recogniser_has_figures_of_its_own(house: House) -> None:
    assert set(house.coordinator.describe()["lanes"]) == {
        "vad",
        "stt",
        "stt-openai",
        "stt-whisper",
        "stt-german",
        "stt-polyglot",
        "turn",
        "tts",
    }


async def test_what_an_engine_holds_is_given_back_before_its_lane_is_waited_for(
    house: House, heard: Callable[..., Any], spoken: Spoken
) -> None:
    task = asyncio.create_task(spoken_to(house.open("far", engine="openai"), spoken(100, 600, 900), heard))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(house.coordinator.close(), 3)
    assert house.far.closed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_partials_come_from_the_quick_tier_and_finals_from_the_careful_one(
    house: House, heard: Callable[..., Any], spoken: Spoken
) -> None:
    stream = house.open("tiers", engine="whisper")
    news = heard(stream)
    for frame in spoken(100, 1500, 900):
        stream.put(frame)
        await asyncio.sleep(0.01)
        news.read()  # a partial that nobody has read gives way to a newer one
    stream.stop()
    await news.to_the_end()
    final = news.one(FinalTranscription)
    assert (final.text, final.engine) == ("carefully said", "careful")
    assert news.of(PartialTranscription)[0].text == "quickly said"


async def test_under_load_finals_go_to_the_smaller_model_and_come_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = house.coordinator._upkeep
    now = 1000.0

    def tick(load: float, seconds: float) -> None:
        nonlocal now
        monkeypatch.setattr(upkeep.meter, "measure", lambda *_, **__: LoadParts(queue=load))
        for _ in range(round(10 * seconds)):
            now += 0.1
            upkeep.tick(0.0, now)

    told = []
    for load, seconds in ((1.0, 1.2), (0.0, 60.0)):
        tick(load, seconds)
        told.append((upkeep.degradation.rung.step, house.tiered.is_reduced))
    assert told == [("reduce_quality", True), ("none", False)]
