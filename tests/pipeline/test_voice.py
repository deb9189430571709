"""The daemon's speech towards one client: paced, queued, stopped at once, in the client's format."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, cast

import numpy as np
import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.errors import EngineFailure, Overloaded, UnknownVoice, UnusableText
from alfred_voice.events import ErrorRaised, Event, SpeechOutputEnded, SpeechOutputStarted
from alfred_voice.models.engine import Int16
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.scripted import ScriptedTts
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import TtsOptions
from alfred_voice.pipeline.outbox import Numbered, Outbox, SpeechAudio
from alfred_voice.pipeline.synthesiser import Synthesiser
from alfred_voice.pipeline.voice import Voice
from alfred_voice.session.playout import Playout
from alfred_voice.session.settings import SessionSettings


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Sleeper:
    """Stands in for asyncio's sleep in the voice: time passes when the test lets it."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.runs_freely = True
        self.slept: list[float] = []
        self._held: list[asyncio.Event] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.runs_freely:
            held = asyncio.Event()
            self._held.append(held)
            await held.wait()
        else:
            await _REAL_SLEEP(0)
        self._clock.advance(seconds)

    @property
    def is_held(self) -> bool:
        return bool(self._held)

    def let_go(self) -> None:
        self.runs_freely = True
        for held in self._held:
            held.set()
        self._held.clear()


_REAL_SLEEP = asyncio.sleep


class Played:
    """A synthesiser that a test plays: plain pieces, or an exception where one stands."""

    sample_rate = 16_000

    def __init__(self) -> None:
        self.script: list[Int16 | Exception] = [np.full(320, 1000, np.int16)] * 50
        self.closed = 0

    def check(self, text: str, voice: str | None, speed: float | None) -> tuple[str, float]:
        return voice or "en-us", 1.0 if speed is None else speed

    async def speak(self, text: str, voice: str, speed: float) -> AsyncGenerator[Int16, None]:
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1


class Stage:
    """A voice and what left it."""

    def __init__(self, clock: ManualClock, sleeper: Sleeper, synthesiser: Any, **asked: Any) -> None:
        self.clock = clock
        self.sleeper = sleeper
        self.outbox = Outbox(10_000)
        self.playout = Playout(200)
        self.voice = Voice(
            SessionSettings("s", **asked),
            cast("Synthesiser", synthesiser),
            self.playout,
            self.outbox,
            self.outbox.put,
            clock,
            3,
        )
        self._taken: list[Numbered | SpeechAudio] = []

    @property
    def items(self) -> list[Event | SpeechAudio]:
        self._taken += self.outbox.take_now()
        return [item.event if isinstance(item, Numbered) else item for item in self._taken]

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]

    def audio(self, speech_id: int = 0) -> bytes:
        return b"".join(piece.data for piece in self.of(SpeechAudio) if piece.speech_id == speech_id)


@pytest.fixture
def sleeper(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    sleeper = Sleeper(clock)
    monkeypatch.setattr(asyncio, "sleep", sleeper)
    return sleeper


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
async def stage(clock: ManualClock, sleeper: Sleeper, played: Played) -> AsyncIterator[Stage]:
    stage = Stage(clock, sleeper, played)
    yield stage
    stage.voice.cancel()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """As ``eventually``, with the loop's own sleep."""

    async def wait(holds: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await _REAL_SLEEP(0)

    return wait


async def test_a_speech_is_told_then_heard_then_told_to_be_over(stage: Stage, until: Eventually) -> None:
    stage.voice.speak("hello", None, None, None)
    assert stage.voice.is_speaking
    await until(lambda: stage.of(SpeechOutputEnded))
    assert stage.items[0] == SpeechOutputStarted(0, "hello", 16_000, "pcm_s16le", "en-us")
    assert stage.items[-1] == SpeechOutputEnded(0, 1000.0, cancelled=False)
    assert stage.items[1:-1] == [SpeechAudio(0, np.full(320, 1000, "<i2").tobytes())] * 50
    assert not stage.voice.is_speaking


async def test_audio_is_sent_no_more_than_the_lead_ahead_of_its_playing(
    stage: Stage, sleeper: Sleeper, until: Eventually
) -> None:
    sleeper.runs_freely = False
    stage.voice.speak("hello", None, None, None)
    await until(lambda: sleeper.is_held)
    at_once = len(stage.of(SpeechAudio))
    assert at_once == 11  # 200 ms, and the piece that begins there
    sleeper.let_go()
    await until(lambda: stage.of(SpeechOutputEnded))
    assert len(stage.of(SpeechAudio)) == 50
    # Each of the others when one has been played, and then what is left to be heard.
    assert sleeper.slept == [pytest.approx(0.02)] * (50 - at_once) + [pytest.approx(0.22)]
    assert stage.clock.now() == pytest.approx(101.0)


async def test_a_speech_is_over_when_it_has_been_heard_not_when_it_was_sent(
    stage: Stage, played: Played, sleeper: Sleeper, until: Eventually
) -> None:
    played.script = played.script[:5]
    sleeper.runs_freely = False
    stage.voice.speak("hello", None, None, None)
    await until(lambda: sleeper.is_held)
    assert len(stage.of(SpeechAudio)) == 5
    assert stage.of(SpeechOutputEnded) == []
    assert stage.playout.is_playing(stage.clock.now())
    sleeper.let_go()
    await until(lambda: stage.of(SpeechOutputEnded))
    assert sleeper.slept == [pytest.approx(0.1)]
    assert stage.playout.speech_id is None


async def test_after_a_cancellation_no_audio_leaves_any_more(
    stage: Stage, played: Played, sleeper: Sleeper, until: Eventually
) -> None:
    sleeper.runs_freely = False
    stage.voice.speak("hello", None, None, None)
    await until(lambda: sleeper.is_held)
    stage.voice.cancel()
    sleeper.let_go()
    await until(lambda: played.closed)
    for _ in range(10):
        await _REAL_SLEEP(0)
    assert stage.of(SpeechAudio) == [], "what nobody had taken is dropped"
    assert stage.items == [
        SpeechOutputStarted(0, "hello", 16_000, "pcm_s16le", "en-us"),
        SpeechOutputEnded(0, 0.0, cancelled=True),
    ]
    assert not stage.voice.is_speaking
    assert stage.playout.speech_id is None


async def test_a_cancelled_speech_lasted_as_long_as_what_was_taken(
    stage: Stage, sleeper: Sleeper, until: Eventually
) -> None:
    sleeper.runs_freely = False
    stage.voice.speak("hello", None, None, None)
    await until(lambda: sleeper.is_held)
    taken_ms = 20.0 * len(stage.of(SpeechAudio))
    assert taken_ms > 0
    stage.voice.cancel()
    assert stage.items[-1] == SpeechOutputEnded(0, taken_ms, cancelled=True)


async def test_a_cancellation_ends_every_speech_that_waits(stage: Stage, sleeper: Sleeper, until: Eventually) -> None:
    sleeper.runs_freely = False
    for text in ("one", "two", "three"):
        stage.voice.speak(text, None, None, None)
    await until(lambda: sleeper.is_held)
    stage.voice.cancel()
    assert [(end.speech_id, end.duration_ms, end.cancelled) for end in stage.of(SpeechOutputEnded)] == [
        (0, 0.0, True),
        (1, 0.0, True),
        (2, 0.0, True),
    ]
    assert len(stage.of(SpeechOutputStarted)) == 1


async def test_a_speech_that_has_not_begun_can_be_cancelled(stage: Stage, until: Eventually) -> None:
    stage.voice.speak("hello", None, None, None)
    stage.voice.cancel()
    await _REAL_SLEEP(0)
    assert stage.items == [SpeechOutputEnded(0, 0.0, cancelled=True)]


async def test_there_is_speech_after_a_cancellation_and_nothing_stale_in_it(
    stage: Stage, played: Played, sleeper: Sleeper, until: Eventually
) -> None:
    sleeper.runs_freely = False
    stage.voice.speak("stale", None, None, None)
    await until(lambda: sleeper.is_held)
    stage.voice.cancel()
    played.script = [np.full(320, -5, np.int16)] * 3
    stage.voice.speak("fresh", None, None, None)
    sleeper.let_go()
    await until(lambda: len(stage.of(SpeechOutputEnded)) == 2)
    assert stage.audio(0) == b""
    assert stage.audio(1) == np.full(960, -5, "<i2").tobytes()
    assert [type(item).__name__ for item in stage.items] == [
        "SpeechOutputStarted", "SpeechOutputEnded", "SpeechOutputStarted", *["SpeechAudio"] * 3, "SpeechOutputEnded",
    ]  # fmt: skip


async def test_speeches_are_said_one_after_the_other(stage: Stage, played: Played, until: Eventually) -> None:
    played.script = played.script[:2]
    for text in ("one", "two"):
        stage.voice.speak(text, None, None, None)
    await until(lambda: len(stage.of(SpeechOutputEnded)) == 2)
    assert [getattr(item, "speech_id", None) for item in stage.items] == [0] * 4 + [1] * 4


async def test_ids_count_up_and_go_on_from_those_that_were_given(stage: Stage, until: Eventually) -> None:
    for given in (None, 7):
        stage.voice.speak("x", None, None, given)
    stage.voice.speak("x", None, None, None)
    await until(lambda: len(stage.of(SpeechOutputEnded)) == 3)
    stage.voice.speak("x", None, None, 3)
    stage.voice.speak("x", None, None, None)
    await until(lambda: len(stage.of(SpeechOutputEnded)) == 5)
    assert [start.speech_id for start in stage.of(SpeechOutputStarted)] == [0, 7, 8, 3, 9]


async def test_an_id_can_be_used_again_but_not_while_it_waits(stage: Stage, until: Eventually) -> None:
    stage.voice.speak("x", None, None, 5)
    with pytest.raises(UnusableText, match="5 is still to be said"):
        stage.voice.speak("y", None, None, 5)
    await until(lambda: stage.of(SpeechOutputEnded))
    stage.voice.speak("y", None, None, 5)
    await until(lambda: len(stage.of(SpeechOutputEnded)) == 2)


async def test_only_so_many_may_wait(stage: Stage, sleeper: Sleeper, until: Eventually) -> None:
    sleeper.runs_freely = False
    stage.voice.speak("now", None, None, None)
    await until(lambda: sleeper.is_held)
    for _ in range(3):
        stage.voice.speak("later", None, None, None)
    with pytest.raises(Overloaded, match="3 speeches wait already; the limit is 3"):
        stage.voice.speak("too late", None, None, None)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (EngineFailure("out of breath"), "engine_failure", "out of breath"),
        (ZeroDivisionError("oh"), "engine_failure", "tts: ZeroDivisionError: oh"),
    ],
    ids=["ours", "strange"],
)
async def test_a_speech_that_fails_is_told_and_the_next_one_is_said(
    stage: Stage, played: Played, until: Eventually, error: Exception, code: str, message: str
) -> None:
    good = played.script[:2]
    played.script = [*good, error]
    stage.voice.speak("bad", None, None, None)
    await until(lambda: stage.of(SpeechOutputEnded))
    assert stage.items[-2:] == [ErrorRaised(code, message, fatal=False), SpeechOutputEnded(0, 40.0, cancelled=True)]
    assert stage.playout.speech_id is None
    played.script = good
    stage.voice.speak("good", None, None, None)
    await until(lambda: len(stage.of(SpeechOutputEnded)) == 2)
    assert stage.items[-1] == SpeechOutputEnded(1, 40.0, cancelled=False)


async def test_a_failure_does_not_take_those_with_it_that_wait(stage: Stage, played: Played, until: Eventually) -> None:
    played.script = [EngineFailure("no")]
    stage.voice.speak("one", None, None, None)
    stage.voice.speak("two", None, None, None)
    await until(lambda: len(stage.of(SpeechOutputEnded)) == 2)
    assert len(stage.of(ErrorRaised)) == 2
    assert not stage.voice.is_speaking


async def test_a_text_without_sound_begins_and_ends(stage: Stage, played: Played, until: Eventually) -> None:
    played.script = []
    stage.voice.speak("...", None, None, None)
    await until(lambda: stage.of(SpeechOutputEnded))
    assert stage.items[-1] == SpeechOutputEnded(0, 0.0, cancelled=False)


@pytest.mark.parametrize(
    ("rate", "channels", "encoding", "piece_bytes", "total_bytes"),
    [
        (8_000, 1, "pcm_s16le", 320, 16_000),
        (16_000, 2, "pcm_s16le", 1280, 64_000),
        (48_000, 1, "pcm_f32le", 3840, 192_000),
        (8_000, 1, "mulaw", 160, 8_000),
        (44_100, 1, "alaw", 882, 44_100),
    ],
)
async def test_audio_has_the_clients_rate_channels_and_encoding(
    clock: ManualClock,
    sleeper: Sleeper,
    played: Played,
    until: Eventually,
    rate: int,
    channels: int,
    encoding: str,
    piece_bytes: int,
    total_bytes: int,
) -> None:
    stage = Stage(clock, sleeper, played, sample_rate=rate, channels=channels, encoding=encoding)
    stage.voice.speak("hello", None, None, None)
    await until(lambda: stage.of(SpeechOutputEnded))
    (start,) = stage.of(SpeechOutputStarted)
    assert (start.sample_rate, start.encoding) == (rate, encoding)
    assert {len(piece.data) for piece in stage.of(SpeechAudio)[:-1]} == {piece_bytes}
    assert len(stage.audio()) == pytest.approx(total_bytes, abs=piece_bytes)
    (end,) = stage.of(SpeechOutputEnded)
    assert end.duration_ms == pytest.approx(len(stage.audio()) / total_bytes * 1000)


async def test_the_real_synthesiser_is_resampled_from_its_own_rate(
    clock: ManualClock, sleeper: Sleeper, until: Eventually
) -> None:
    figures = LaneMetrics("tts", Metrics("1.2.3"))
    synthesiser = Synthesiser(PhraseCache(ScriptedTts(ms_per_character=10.0), 0), TtsOptions(), clock, figures)
    stage = Stage(clock, sleeper, synthesiser)
    stage.voice.speak("x" * 100, "en-gb", 2.0, None)
    await until(lambda: stage.of(SpeechOutputEnded))
    (end,) = stage.of(SpeechOutputEnded)
    assert end.duration_ms == pytest.approx(500.0, abs=1)
    assert stage.of(SpeechOutputStarted)[0].voice == "en-gb"
    with pytest.raises(UnknownVoice):
        stage.voice.speak("x", "nobody", None, None)
    synthesiser.close()
