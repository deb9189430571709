"""A pipeline with scripted engines, and the small things that its parts are tested with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import Clock, ManualClock, SystemClock
from alfred_voice.events import EVENT_TYPES, Event
from alfred_voice.models.engine import Engines
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts, ScriptedTurn, ScriptedVad
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import AlertOptions, CoordinatorOptions, MemoryOptions, TtsOptions
from alfred_voice.pipeline.outbox import Numbered, SpeechAudio
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.synthesiser import Synthesiser
from alfred_voice.pipeline.work import Job
from alfred_voice.session.requests import DetectRequest, JudgeRequest, TranscribeRequest, Urgency
from alfred_voice.session.settings import SessionSettings
from tests.pipeline.lane_bench import Bench
from tests.pipeline.played_stream import MakePlayed, Played


Int16 = NDArray[np.int16]

SAMPLE_RATE = 16_000
FRAME = 320
ROOMY = MemoryOptions(limit_mb=1_000_000, gc_trigger_mb=1_000_000)
"""The process of a test run is large for reasons of its own."""


@pytest.fixture
def clock() -> ManualClock:
    """A clock that a test moves; it begins at 100 s."""
    return ManualClock(100.0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Waits until something holds; fails when it does not within five seconds."""

    async def wait(holds: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110  what is waited for knows of no event
                await asyncio.sleep(0.001)

    return wait


# --- sound --------------------------------------------------------------------------------------


def _tone(ms: int) -> Int16:
    samples = 8_000 * np.sin(2 * np.pi * 300 / SAMPLE_RATE * np.arange(SAMPLE_RATE * ms // 1000))
    return cast("Int16", samples.astype(np.int16))


@pytest.fixture
def tone() -> Callable[[int], Int16]:
    """Milliseconds -> as much of what the scripted detector takes for speech."""
    return _tone


@pytest.fixture
def silence() -> Callable[[int], Int16]:
    """Milliseconds -> as much silence."""
    return lambda ms: np.zeros(SAMPLE_RATE * ms // 1000, np.int16)


def _speak(*lengths_ms: int) -> list[Int16]:
    parts = [
        _tone(ms) if index % 2 else np.zeros(SAMPLE_RATE * ms // 1000, np.int16) for index, ms in enumerate(lengths_ms)
    ]
    audio = np.concatenate(parts)
    return list(audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME))


@pytest.fixture
def spoken() -> Callable[..., list[Int16]]:
    """Milliseconds of silence, speech, silence, speech ... -> frames of 20 ms."""
    return _speak


# --- jobs ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class Speaker:
    """What queues and lanes know of a session."""

    row: int = 0
    ended: bool = False
    session_id: str = "one"


@pytest.fixture
def speaker() -> Callable[..., Any]:
    """Makes what queues and lanes know of a session."""
    return Speaker


@pytest.fixture
def detect_job() -> Callable[..., Job[DetectRequest]]:
    """Makes a question to the detector; every window of it holds its own number."""

    def make(
        stream: object = None, at: float = 0.0, *, windows: int = 1, first: int = 0, fresh: bool = False
    ) -> Job[DetectRequest]:
        numbers = np.arange(first, first + windows, dtype=np.int16)
        samples = np.repeat(numbers[:, None], 512, axis=1)
        request = DetectRequest(samples, first, (at,) * windows, fresh)
        return Job(cast("Stream", stream or Speaker()), request, at)

    return make


@pytest.fixture
def clip_job() -> Callable[..., Job[TranscribeRequest]]:
    """Makes a question to the recogniser."""

    def make(
        stream: object = None,
        at: float = 0.0,
        *,
        urgency: Urgency = Urgency.FINAL,
        utterance: int = 0,
        samples: int = 320,
    ) -> Job[TranscribeRequest]:
        request = TranscribeRequest(
            urgency, utterance, 0, np.full(samples, 16_384, np.int16), 0, (), "en", samples / 16, at
        )
        return Job(cast("Stream", stream or Speaker()), request, at)

    return make


@pytest.fixture
def turn_job() -> Callable[..., Job[JudgeRequest]]:
    """Makes a question to the turn model."""

    def make(stream: object = None, at: float = 0.0, *, samples: int = 320) -> Job[JudgeRequest]:
        return Job(cast("Stream", stream or Speaker()), JudgeRequest(0, 0, np.ones(samples, np.int16), 200.0, at), at)

    return make


# --- the whole ----------------------------------------------------------------------------------


Items = Sequence[Numbered | SpeechAudio]


class Heard:
    """What a session has told, taken while it goes on."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.items: list[Numbered | SpeechAudio] = []

    def read(self) -> Heard:
        """Take what is there now."""
        self.items += self.stream.outbox.take_now()
        return self

    async def to_the_end(self) -> Heard:
        """Take all up to the session's end."""
        async with asyncio.timeout(10):
            while items := await self.stream.outbox.take():
                self.items += items
        return self

    @property
    def events(self) -> list[Event]:
        return [item.event for item in self.items if isinstance(item, Numbered)]

    @property
    def seqs(self) -> list[int]:
        return [item.seq for item in self.items if isinstance(item, Numbered)]

    @property
    def types(self) -> list[str]:
        """Types on the wire in order; audio is ``audio``."""
        return [EVENT_TYPES[type(item.event)] if isinstance(item, Numbered) else "audio" for item in self.items]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type) -> Any:
        found = self.of(kind)
        assert len(found) == 1, f"expected one {kind.__name__}: {self.types}"
        return found[0]

    def audio_of(self, speech_id: int) -> bytes:
        return b"".join(i.data for i in self.items if isinstance(i, SpeechAudio) and i.speech_id == speech_id)


@pytest.fixture
def heard() -> Callable[[Stream], Heard]:
    """Collects what a session tells."""
    return Heard


@dataclass(eq=False)
class House:
    """A running pipeline and its engines."""

    coordinator: Coordinator
    vad: ScriptedVad
    stt: ScriptedStt
    turn: ScriptedTurn
    tts: ScriptedTts
    clock: Clock
    opened: int = field(default=0)

    def open(self, session_id: str = "", *, transport: str = "websocket", first_seq: int = 0, **asked: Any) -> Stream:
        self.opened += 1
        settings = SessionSettings(session_id or f"s{self.opened}", **asked)
        return self.coordinator.open(settings, transport, max_message_bytes=1000, first_seq=first_seq)


@pytest.fixture
def options() -> CoordinatorOptions:
    """The defaults, but for the memory of a test run."""
    return CoordinatorOptions(memory=ROOMY, alerts=AlertOptions(memory_mb=ROOMY.limit_mb))


@pytest.fixture
async def make_house(options: CoordinatorOptions) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Makes a pipeline with scripted engines, started unless told otherwise; closed at the end."""
    houses: list[House] = []

    async def make(
        asked: CoordinatorOptions | None = None,
        *,
        vad: ScriptedVad | None = None,
        stt: ScriptedStt | None = None,
        turn: ScriptedTurn | None = None,
        tts: ScriptedTts | None = None,
        clock: Clock | None = None,
        started: bool = True,
        builders: Mapping[str, Callable[[], Any]] | None = None,
    ) -> House:
        engines = Engines(
            vad or ScriptedVad(),
            stt or ScriptedStt(("turn on the lamp",)),
            turn or ScriptedTurn(),
            tts or ScriptedTts(ms_per_character=10.0),
            builders=builders or {},
        )
        time = clock or SystemClock()
        coordinator = Coordinator(lambda: engines, asked or options, time, Metrics("1.2.3"))
        if started:
            await coordinator.start()
        house = House(
            coordinator,
            cast("ScriptedVad", engines.vad),
            cast("ScriptedStt", engines.stt),
            cast("ScriptedTurn", engines.turn),
            cast("ScriptedTts", engines.tts),
            time,
        )
        houses.append(house)
        return house

    yield make
    for house in houses:
        await house.coordinator.close()


@pytest.fixture
async def house(make_house: Callable[..., Awaitable[House]]) -> House:
    """A running pipeline with the default options."""
    return await make_house()


@pytest.fixture
async def bench(clock: ManualClock, metrics: Metrics) -> AsyncIterator[Bench]:
    """A lane whose engine does as it is told."""
    bench = Bench(clock, metrics)
    yield bench
    bench.gate.set()
    bench.let_go.set()
    await bench.lane.close()


@pytest.fixture
def ask(
    bench: Bench, detect_job: Callable[..., Job[DetectRequest]], speaker: Callable[..., Any]
) -> Callable[..., list[Any]]:
    """Puts a job for each row into the lane and kicks it; returns the speakers."""

    def put(*rows: int, kick: bool = True) -> list[Any]:
        speakers = [speaker(row) for row in rows]
        for each in speakers:
            bench.lane.put(detect_job(each, bench.clock.now()))
        if kick:
            bench.lane.kick()
        return speakers

    return put


@pytest.fixture
async def wide(clock: ManualClock, metrics: Metrics) -> AsyncIterator[Callable[..., Bench]]:
    """Makes benches with room for larger batches, or less patience."""
    benches: list[Bench] = []

    def make(max_batch: int = 64, timeout_s: float = 30.0) -> Bench:
        benches.append(Bench(clock, metrics, max_batch, timeout_s))
        return benches[-1]

    yield make
    for bench in benches:
        bench.gate.set()
        bench.let_go.set()
        await bench.lane.close()


@pytest.fixture
async def make_played(clock: ManualClock, metrics: Metrics) -> AsyncIterator[MakePlayed]:
    """Makes streams whose pipeline the test plays."""
    cache = PhraseCache(ScriptedTts(ms_per_character=10.0), 0)
    synthesiser = Synthesiser(cache, TtsOptions(), clock, LaneMetrics("tts", metrics))
    yield lambda outbox_events=1000: Played(clock, metrics, synthesiser, outbox_events)
    synthesiser.close()


@pytest.fixture
async def played(make_played: MakePlayed) -> Played:
    return make_played()
