"""Text to speech for many askers: pieces as they are made, one sentence ahead, and an end that always comes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import Clock, ManualClock, SystemClock
from alfred_voice.errors import (
    Draining,
    EngineDown,
    EngineFailure,
    RowFailure,
    SpeechError,
    UnknownVoice,
    UnusableText,
)
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.scripted import ScriptedTts
from alfred_voice.pipeline.lane_options import DOWN_PATIENCE_S
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import TtsOptions
from alfred_voice.pipeline.synthesiser import Synthesiser


Int16 = NDArray[np.int16]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]

THREE = "One is here. Two is here. Three is here."


class GatedTts(ScriptedTts):
    """Waits for leave before each sentence; may raise anything after the first piece."""

    def __init__(self) -> None:
        super().__init__(ms_per_character=10.0)
        self.leave = threading.Semaphore(0)
        self.after_first = threading.Event()
        self.after_first.set()
        self.surprise: Exception | None = None
        self.pieces = 0

    def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
        assert self.leave.acquire(timeout=5)

        def counted(piece: Int16) -> bool:
            self.pieces += 1
            goes_on = sink(piece)
            assert self.after_first.wait(5)
            if self.surprise is not None:
                raise self.surprise
            return goes_on

        super().synthesise(text, voice, speed, counted)


@pytest.fixture
def tts() -> ScriptedTts:
    return ScriptedTts(ms_per_character=10.0)


@pytest.fixture
def gated() -> GatedTts:
    return GatedTts()


def over(
    engine: ScriptedTts,
    cache_bytes: int = 0,
    timeout_s: float = 30.0,
    build: Callable[[], Any] | None = None,
    clock: Clock | None = None,
) -> Synthesiser:
    figures = LaneMetrics("tts", Metrics("1.2.3"))
    cache, options = PhraseCache(engine, cache_bytes), TtsOptions(max_chars=200)
    return Synthesiser(cache, options, clock or SystemClock(), figures, timeout_s, build)


@pytest.fixture
async def synthesiser(tts: ScriptedTts) -> AsyncIterator[Synthesiser]:
    synthesiser = over(tts)
    yield synthesiser
    synthesiser.close()


@pytest.fixture
async def slow(gated: GatedTts) -> AsyncIterator[Synthesiser]:
    slow = over(gated)
    yield slow
    gated.leave.release(100)
    slow.close()


async def whole(synthesiser: Synthesiser, text: str) -> Int16:
    return np.concatenate([piece async for piece in synthesiser.speak(text, "en-us", 1.0)])


async def test_all_sentences_are_said_in_order_and_nothing_is_missing(
    tts: ScriptedTts, synthesiser: Synthesiser
) -> None:
    audio = await whole(synthesiser, THREE)
    assert tts.texts == ["One is here.", "Two is here.", "Three is here."]
    reference = ScriptedTts(ms_per_character=10.0)
    expected: list[Int16] = []

    def take(piece: Int16) -> bool:
        expected.append(piece)
        return True

    for sentence in tts.texts:
        reference.synthesise(sentence, "en-us", 1.0, take)
    np.testing.assert_array_equal(audio, np.concatenate(expected))


async def test_the_rate_is_the_engines(synthesiser: Synthesiser, tts: ScriptedTts) -> None:
    assert synthesiser.sample_rate == tts.sample_rate
    assert len(await whole(synthesiser, "abcdefghij")) == round(0.1 * tts.sample_rate)


async def test_the_time_to_the_first_audio_is_noted_once_for_each_text(tts: ScriptedTts) -> None:
    metrics = Metrics("0")
    speaker = Synthesiser(PhraseCache(tts, 0), TtsOptions(), SystemClock(), LaneMetrics("tts", metrics))
    for text in (THREE, "One more."):
        async with aclosing(speaker.speak(text, "en-us", 1.0)) as pieces:
            assert [piece async for piece in pieces]
    count = metrics.registry.get_sample_value("alfred_tts_time_to_first_audio_seconds_count", {"engine": tts.name})
    assert count == 2
    speaker.close()


async def test_a_piece_comes_before_the_sentence_is_finished(gated: GatedTts, slow: Synthesiser) -> None:
    async with aclosing(slow.speak(THREE, "en-us", 1.0)) as pieces:
        gated.leave.release()
        async with asyncio.timeout(5):
            first = await anext(pieces)
    assert len(first) == gated.sample_rate // 50


async def test_the_next_sentence_is_made_while_one_is_taken_and_no_more(
    tts: ScriptedTts, synthesiser: Synthesiser, eventually: Eventually
) -> None:
    async with aclosing(synthesiser.speak(THREE, "en-us", 1.0)) as pieces:
        await anext(pieces)
        await eventually(lambda: len(tts.texts) == 2)
        await asyncio.sleep(0.02)
        assert tts.texts == ["One is here.", "Two is here."]


async def test_closing_the_iterator_stops_the_engine_at_its_next_piece(gated: GatedTts, slow: Synthesiser) -> None:
    gated.after_first.clear()
    gated.leave.release(2)
    pieces = slow.speak("x" * 190, "en-us", 1.0)
    await anext(pieces)
    await pieces.aclose()
    gated.after_first.set()
    assert len(await asyncio.wait_for(whole(slow, "next"), 5)) > 0
    of_next = 2  # 40 ms
    assert gated.pieces <= 1 + 1 + of_next


async def test_a_stopped_speech_does_not_hold_up_the_next(tts: ScriptedTts, synthesiser: Synthesiser) -> None:
    async with aclosing(synthesiser.speak(THREE, "en-us", 1.0)) as pieces:
        await anext(pieces)
    assert len(await asyncio.wait_for(whole(synthesiser, "next"), 5)) > 0


async def test_an_engine_that_fails_ends_the_speech_with_its_error_after_what_was_made(
    gated: GatedTts, slow: Synthesiser
) -> None:
    gated.surprise = EngineFailure("out of breath")
    gated.leave.release(3)
    pieces = slow.speak(THREE, "en-us", 1.0)
    assert len(await anext(pieces)) > 0
    with pytest.raises(EngineFailure, match="out of breath"):
        await anext(pieces)


async def test_a_strange_exception_becomes_an_engine_failure_and_the_next_speech_goes_well(
    gated: GatedTts, slow: Synthesiser
) -> None:
    gated.surprise = ZeroDivisionError("oh")
    gated.leave.release(100)
    with pytest.raises(EngineFailure, match="tts: ZeroDivisionError: oh"):
        await whole(slow, "one")
    gated.surprise = None
    assert len(await whole(slow, "two")) > 0


async def test_closing_ends_the_speeches_that_wait_for_the_engine(gated: GatedTts, slow: Synthesiser) -> None:
    first, second = (asyncio.create_task(whole(slow, text)) for text in ("first", "second"))
    await asyncio.sleep(0.01)  # the first is with the engine, the second waits in line
    slow.close()
    with pytest.raises(Draining):
        await asyncio.wait_for(second, 5)
    gated.leave.release()
    assert len(await asyncio.wait_for(first, 5)) > 0


async def test_many_can_speak_at_once_and_each_gets_its_own(synthesiser: Synthesiser) -> None:
    lengths = [len(audio) for audio in await asyncio.gather(*(whole(synthesiser, "x" * n) for n in (5, 50, 20)))]
    assert lengths == [round(n * 0.01 * synthesiser.sample_rate) for n in (5, 50, 20)]


@pytest.mark.parametrize(
    ("text", "voice", "speed", "error", "words"),
    [
        ("", None, None, UnusableText, "white space"),
        (" \n\t", None, None, UnusableText, "white space"),
        ("x" * 201, None, None, UnusableText, "at most 200 characters, got 201"),
        ("x", "nobody", None, UnknownVoice, "nobody"),
        ("x", None, 9.0, SpeechError, "9.0"),
        ("x", None, 0.0, SpeechError, "0.0"),
    ],
)
async def test_what_cannot_be_said_is_refused_before_anything_is_made(
    synthesiser: Synthesiser, text: str, voice: str | None, speed: float | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        synthesiser.check(text, voice, speed)


async def test_voice_and_speed_are_the_configured_ones_unless_asked_for(synthesiser: Synthesiser) -> None:
    assert synthesiser.check("x" * 200, None, None) == ("en-us", 1.0)
    assert synthesiser.check("x", "en-gb", 2.0) == ("en-gb", 2.0)


async def test_the_cache_of_phrases_can_be_cleared(tts: ScriptedTts) -> None:
    synthesiser = over(tts, cache_bytes=1_000_000)
    await whole(synthesiser, "again")
    await whole(synthesiser, "again")
    assert tts.texts == ["again"]
    assert synthesiser.clear_cache() > 0
    assert synthesiser.clear_cache() == 0
    await whole(synthesiser, "again")
    assert tts.texts == ["again"] * 2
    synthesiser.close()


# What goes wrong


class FaultyTts(ScriptedTts):
    """Hangs or raises at texts with these words in them."""

    def __init__(self) -> None:
        super().__init__(ms_per_character=10.0)
        self.let_go = threading.Event()
        self.hangs_in = "nothing"
        self.raises_in = "nothing"
        self.raises = 0
        self.tried: list[str] = []

    def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
        self.tried.append(text)
        if self.hangs_in in text:
            self.let_go.wait(20)
        if self.raises_in in text or self.raises:
            self.raises = max(0, self.raises - 1)
            raise ZeroDivisionError("oh")
        super().synthesise(text, voice, speed, sink)


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyTts]:
    engine = FaultyTts()
    yield engine
    engine.let_go.set()


async def test_a_sentence_that_hangs_is_tried_once_more_and_does_not_silence_the_others(faulty: FaultyTts) -> None:
    faulty.hangs_in = "stuck"
    built: list[ScriptedTts] = []

    def build() -> ScriptedTts:
        built.append(faulty)
        return faulty

    synthesiser = over(faulty, timeout_s=0.05, build=build)
    stuck = asyncio.create_task(whole(synthesiser, "stuck"))
    await asyncio.sleep(0)
    assert len(await asyncio.wait_for(whole(synthesiser, "well"), 5)) > 0
    with pytest.raises(RowFailure, match=r"no end of the sentence within 0\.05 s"):
        await stuck
    assert faulty.tried == ["stuck", "stuck", "well"]
    assert len(built) == 2
    described = synthesiser.figures.describe()
    assert (described["timeouts"], described["rows_failed"], described["restarts"]) == (2, 1, 2)
    synthesiser.close()


async def test_what_a_thread_says_that_was_left_behind_is_heard_by_nobody(faulty: FaultyTts) -> None:
    faulty.hangs_in = "stuck"
    fresh = ScriptedTts(ms_per_character=10.0)
    synthesiser = over(faulty, timeout_s=0.05, build=lambda: fresh)
    audio = await asyncio.wait_for(whole(synthesiser, "stuck"), 5)
    faulty.let_go.set()
    await asyncio.sleep(0.05)
    assert len(audio) == round(0.05 * fresh.sample_rate)
    assert fresh.texts == ["stuck"]
    synthesiser.close()


async def test_a_fault_in_passing_is_not_heard(faulty: FaultyTts) -> None:
    faulty.raises = 1
    synthesiser = over(faulty)
    assert len(await whole(synthesiser, "one")) > 0
    assert synthesiser.figures.restarts == 0
    synthesiser.close()


async def test_an_engine_that_keeps_failing_is_made_anew_and_the_sentence_that_found_out_is_said(
    faulty: FaultyTts,
) -> None:
    faulty.raises = 1_000_000
    fresh = ScriptedTts(ms_per_character=10.0)
    synthesiser = over(faulty, build=lambda: fresh)
    with pytest.raises(EngineFailure, match="tts: ZeroDivisionError: oh"):
        await whole(synthesiser, "one")
    assert len(await asyncio.wait_for(whole(synthesiser, "two"), 5)) > 0
    assert fresh.texts == ["two"]
    assert synthesiser.figures.restarts == 1
    synthesiser.close()


async def test_one_text_that_always_fails_costs_no_restart_while_others_are_said(faulty: FaultyTts) -> None:
    faulty.raises_in = "bad"
    synthesiser = over(faulty)
    for number in range(4):
        with pytest.raises(EngineFailure):
            await whole(synthesiser, f"bad {number}")
        assert len(await whole(synthesiser, f"good {number}")) > 0
    assert (synthesiser.figures.restarts, synthesiser.figures.rows_failed) == (0, 4)
    synthesiser.close()


async def test_sentences_wait_for_an_engine_that_is_down_up_to_a_limit(
    faulty: FaultyTts, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alfred_voice.pipeline.synthesiser.EXPIRY_TICK_S", 0.01)
    clock = ManualClock(100.0)
    faulty.hangs_in = "stuck"

    def build() -> ScriptedTts:
        raise EngineFailure("the library is stuck")

    synthesiser = over(faulty, timeout_s=0.05, build=build, clock=clock)
    waiting = [asyncio.create_task(whole(synthesiser, text)) for text in ("stuck", "waits")]
    await eventually(lambda: synthesiser.figures.state == "down")
    clock.advance(DOWN_PATIENCE_S)
    for told in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5):
        assert isinstance(told, EngineDown)
    synthesiser.close()
