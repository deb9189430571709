"""A door over the real pipeline with scripted engines, and one over a pipeline that a test plays itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse, web
from aiohttp.test_utils import TestClient, TestServer
from numpy.typing import NDArray

from alfred_voice.clock import SystemClock
from alfred_voice.errors import AlfredVoiceError, SessionBusy, SessionEnded, UnknownSession
from alfred_voice.events import (
    EndReason,
    ErrorRaised,
    Event,
    Pong,
    ResumeOffer,
    SessionFinished,
    SessionStarted,
    SessionStats,
)
from alfred_voice.models.engine import Engines
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts, ScriptedTurn, ScriptedVad
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.history import History
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions, MemoryOptions
from alfred_voice.pipeline.outbox import Outbox, SpeechAudio
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.turn_trace import RemoteParent
from alfred_voice.server.application import make_application
from alfred_voice.server.guard.security import Security
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.webrtc.options import WebRtcOptions
from alfred_voice.session.settings import SessionSettings


SAMPLE_RATE = 16_000
ROOMY = CoordinatorOptions(memory=MemoryOptions(limit_mb=1_000_000, gc_trigger_mb=1_000_000))
"""The defaults, but for the memory of a test run, which would be load."""


class DoorServer(TestServer):
    """A server for tests that treats a client's leaving as the daemon does: handlers are not cancelled for it."""

    async def _make_runner(self, **kwargs: Any) -> web.AppRunner:
        return web.AppRunner(self.app, **(kwargs | {"handler_cancellation": False}))


@dataclass(eq=False)
class Door:
    """A running application and a client that talks to it."""

    client: TestClient[web.Request, web.Application]
    coordinator: Coordinator
    tts: ScriptedTts

    @property
    def port(self) -> int:
        assert self.client.port is not None
        return self.client.port

    async def connect(self, query: str = "", *protocols: str, path: str = "/ws") -> ClientWebSocketResponse:
        return await self.client.ws_connect(f"{path}{query}", protocols=protocols)


MakeDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def make_door() -> AsyncIterator[MakeDoor]:
    """Makes a door over a real coordinator whose engines are scripted; several can stand in one test."""
    opened: list[Door] = []

    async def make(
        server: ServerOptions | None = None,
        pipeline: CoordinatorOptions | None = None,
        *,
        started: bool = True,
        security: Security | None = None,
        webrtc: WebRtcOptions | None = None,
    ) -> Door:
        tts = ScriptedTts(ms_per_character=10.0)
        engines = Engines(vad=ScriptedVad(), stt=ScriptedStt(("turn on the lamp",)), turn=ScriptedTurn(), tts=tts)
        coordinator = Coordinator(lambda: engines, pipeline or ROOMY, SystemClock(), Metrics("0"))
        if started:
            await coordinator.start()
        application = make_application(coordinator, server or ServerOptions(), None, security, webrtc)
        client = TestClient(DoorServer(application))
        await client.start_server()
        door = Door(client, coordinator, tts)
        opened.append(door)
        return door

    yield make
    for door in opened:
        await door.client.close()
        await door.coordinator.close()


@pytest.fixture
async def door(make_door: MakeDoor) -> Door:
    """A door with the default options."""
    return await make_door()


@pytest.fixture
def tone() -> Callable[[int], bytes]:
    """Milliseconds -> as much of what the scripted detector takes for speech; int16 at 16 kHz."""
    return lambda ms: _tone(ms).tobytes()


@pytest.fixture
def silence() -> Callable[[int], bytes]:
    """Milliseconds -> as much silence; int16 at 16 kHz."""
    return lambda ms: bytes(2 * SAMPLE_RATE * ms // 1000)


def _tone(ms: int) -> NDArray[np.int16]:
    samples = 8_000 * np.sin(2 * np.pi * 300 / SAMPLE_RATE * np.arange(SAMPLE_RATE * ms // 1000))
    return cast("NDArray[np.int16]", samples.astype("<i2"))


async def _read_all(socket: ClientWebSocketResponse) -> list[dict[str, Any]]:
    return [message.json() async for message in socket]


@pytest.fixture
def read_all() -> Callable[[ClientWebSocketResponse], Awaitable[list[dict[str, Any]]]]:
    """Every event to the connection's end."""
    return _read_all


class PlayedStream:
    """A session that a test plays: it notes what it is asked and tells what the test makes it tell."""

    def __init__(self, settings: SessionSettings, transport: str, first_seq: int, outbox_events: int) -> None:
        self.settings = settings
        self.session_id = settings.session_id
        self.transport = transport
        self.outbox = Outbox(outbox_events, first_seq)
        self.frames: list[NDArray[np.int16]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.ended = False
        self.is_abandoned = False
        self.is_attached = False
        self.free = asyncio.Event()
        self.free.set()
        self.refusal: AlfredVoiceError | None = None
        self.audio_bytes = 0
        self._finished = asyncio.Event()
        self._stopping = False

    def tell(self, event: Event) -> None:
        self.outbox.put(event)

    def tell_audio(self, speech_id: int, data: bytes) -> None:
        self.outbox.put(SpeechAudio(speech_id, data))

    def finish(self, reason: EndReason) -> None:
        self.ended = self._stopping = True
        stats = SessionStats(len(self.frames), len(self.frames), 0, 0, 0.0)
        self.tell(SessionFinished(reason, stats))
        self.outbox.close()
        self._finished.set()

    def put(self, frame: NDArray[np.int16]) -> None:
        if self._stopping:
            raise SessionEnded("the session has ended")
        assert self.free.is_set(), "a frame was put in where there was no room"
        self.frames.append(frame)

    def has_room(self) -> bool:
        return self.free.is_set()

    async def room(self) -> None:
        self.asked.append(("room",))
        await self.free.wait()

    def speak(self, *args: Any) -> None:
        self.asked.append(("speak", *args))
        if self.refusal is not None:
            raise self.refusal

    def stop_speaking(self) -> None:
        self.asked.append(("stop_speaking",))

    def flush(self) -> None:
        self.asked.append(("flush", len(self.frames)))

    def stop(self, reason: EndReason = "stop") -> None:
        self.asked.append(("stop", reason))
        self._stopping = True
        self.finish(reason)

    def ping(self, id: str | int | None) -> None:  # noqa: A002  as in the real one
        self.tell(Pong(id))

    def report(self, error: AlfredVoiceError, fatal: bool = False) -> None:
        self.asked.append(("report", error.code, fatal))
        self.tell(ErrorRaised(error.code, str(error), fatal))
        if fatal:
            self.finish("error")

    async def settled(self) -> None:
        return

    async def finished(self) -> None:
        await self._finished.wait()

    def attach(self) -> None:
        self.is_attached = True

    def abandon(self) -> None:
        self.is_abandoned = True
        self.ended = self._stopping = True
        self.outbox.discard()
        self._finished.set()

    def status(self) -> dict[str, Any]:
        return {"session_id": self.session_id, "state": "listening"}


@dataclass
class PlayedRoster:
    """The played streams by name."""

    streams: dict[str, PlayedStream] = field(default_factory=dict)

    def get(self, session_id: str) -> PlayedStream:
        if session_id not in self.streams:
            raise UnknownSession(f"no session {session_id!r} is open")
        return self.streams[session_id]

    def all(self) -> list[PlayedStream]:
        return list(self.streams.values())

    def check_share(self, owner: Owner) -> None:
        pass

    def owner_of(self, session_id: str) -> Owner | None:
        return None


class PlayedCoordinator:
    """A pipeline that does what a test says."""

    tts_sample_rate = 22_050

    def __init__(self) -> None:
        self.options = CoordinatorOptions()
        self.metrics = Metrics("0")
        self.roster = PlayedRoster()
        self.refusal: AlfredVoiceError | None = None
        self.open_refusal: AlfredVoiceError | None = None
        self.outbox_events = 1000
        self.history = History(("load",))
        self.snapshots = 0
        self.failure: Exception | None = None

    @property
    def stream(self) -> PlayedStream:
        """The one session that there is."""
        (stream,) = self.roster.all()
        return stream

    def admit(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def open(
        self,
        settings: SessionSettings,
        transport: str,
        *,
        max_message_bytes: int,
        first_seq: int = 0,
        resume: ResumeOffer | None = None,
        owner: Owner = NOBODY,
        parent: RemoteParent | None = None,
    ) -> PlayedStream:
        self.admit()
        if self.open_refusal is not None:
            raise self.open_refusal
        if settings.session_id in self.roster.streams:
            raise SessionBusy(f"session {settings.session_id!r} is open")
        stream = PlayedStream(settings, transport, first_seq, self.outbox_events)
        self.roster.streams[settings.session_id] = stream
        limits = {"max_message_bytes": max_message_bytes}
        stream.tell(SessionStarted(settings.sample_rate, settings.encoding, {}, limits))
        return stream

    def status(self) -> dict[str, Any]:
        self.snapshots += 1
        if self.failure is not None:
            raise self.failure
        return {"pipelineState": {"health": "healthy"}, "alerts": []}

    def describe(self) -> dict[str, Any]:
        return self.status()

    def readiness(self) -> tuple[bool, dict[str, str]]:
        return True, {"stt": "pass"}


@dataclass(eq=False)
class PlayedDoor:
    """A running application over a pipeline that the test plays."""

    client: TestClient[web.Request, web.Application]
    coordinator: PlayedCoordinator

    @property
    def port(self) -> int:
        assert self.client.port is not None
        return self.client.port

    async def connect(self, query: str = "", *protocols: str) -> ClientWebSocketResponse:
        return await self.client.ws_connect(f"/ws{query}", protocols=protocols)


@pytest.fixture
def played() -> PlayedCoordinator:
    """A pipeline that does what the test says."""
    return PlayedCoordinator()


MakePlayedDoor = Callable[..., Awaitable[PlayedDoor]]


@pytest.fixture
async def make_played_door(played: PlayedCoordinator) -> AsyncIterator[MakePlayedDoor]:
    """Makes a door over the played pipeline."""
    opened: list[PlayedDoor] = []

    async def make(server: ServerOptions | None = None) -> PlayedDoor:
        application = make_application(cast("Coordinator", played), server or ServerOptions())
        client = TestClient(DoorServer(application))
        await client.start_server()
        opened.append(PlayedDoor(client, played))
        return opened[-1]

    yield make
    for door in opened:
        await door.client.close()


@pytest.fixture
async def played_door(make_played_door: MakePlayedDoor) -> PlayedDoor:
    """A door over the played pipeline with the default options."""
    return await make_played_door()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Waits until something holds; fails when it does not within five seconds."""

    async def wait(holds: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110  what is waited for knows of no event
                await asyncio.sleep(0.005)

    return wait
