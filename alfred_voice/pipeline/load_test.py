"""A load test of the daemon by itself: clients that are made up speak into the pipeline at real time, for a while.

Their frames go straight to the streams and never through a socket: a socket's other end would live in this process,
too, and cost the event loop as much as the daemon itself, so that the test would find the limit of the tester. What
this leaves out, reading frames from sockets, ``alfred-voice bench sessions`` measures from outside.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from alfred_voice.audio.framer import Framer
from alfred_voice.audio.pcm import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE, Int16
from alfred_voice.audio.resample import Resampler
from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, LoadTestRunning, Overloaded
from alfred_voice.events import FinalTranscription
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.outbox import Numbered, SlowReader
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.stream import Stream
from alfred_voice.session.settings import SessionSettings


log = logging.getLogger(__name__)

TRANSPORT = "load_test"
"""What these sessions have where others have ``websocket`` or ``http``."""
MOST_SESSIONS = 200
MOST_SECONDS = 300
MESSAGE_BYTES = 640
TEXT = "Please turn on the lamp in the kitchen, and tell me when the next train leaves for the city."
"""What everybody says, by the daemon's own voice."""
SILENCE_S = 5.0
"""How long the noise of those is who say nothing, over and over."""
NOISE_LEVEL = 60.0
"""Standard deviation of the room's noise, of 32768: -55 dBFS, a quiet room."""
MOST_SPEECH_S = 15.0
GROUPS = 4
"""Clients send in groups, 5 ms apart, as clients that know nothing of each other would."""
TURN_S = FRAME_MS / 1000 / GROUPS
MOST_OWED = 50
"""Frames that a client sends at once after the loop was late; what is older is never said."""
OPENING_AT_ONCE = 4
"""Sessions that are opened in one turn: two hundred within a quarter of a second."""
RETRY_S = 5.0
"""Who was refused without being told when to come again comes again after so long."""
READ_EVERY = 50
"""Turns between two looks at what a client was told."""
SPEECH_WITHIN_S = 10.0
END_WITHIN_S = 10.0
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly: so are the moments at which clients speak."""


class LoadTestPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """How much load, and for how long; as JSON it is the body that asks for it."""

    sessions: Annotated[int, Meta(ge=1, le=MOST_SESSIONS)] = 20
    seconds: Annotated[int, Meta(ge=1, le=MOST_SECONDS)] = 30
    speech: Annotated[float, Meta(ge=0, le=1)] = 0.4
    """Share of the time in which each client speaks; 0 for clients that are silent."""


@dataclass(eq=False, slots=True)
class _Progress:
    """How a load test stands."""

    plan: LoadTestPlan
    state: str = "preparing"
    """Then ``running``, ``ending``, and ``done``, ``stopped`` or ``failed``."""
    begun: float = 0.0
    opened: int = 0
    refused: int = 0
    """Clients that have been refused and are not in yet."""
    reason: str = ""
    """Why clients were refused last, or why it has failed."""
    frames: int = 0
    """Sent by all clients."""
    skipped: int = 0
    """Not sent, as there was no room for them, or no time."""
    finals: int = 0


class LoadTest:
    """At most one at a time. Lives on the event loop."""

    def __init__(self, coordinator: Coordinator, clock: Clock) -> None:
        self._coordinator = coordinator
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._progress: _Progress | None = None
        self._is_stopping = False
        self._serial = 0

    @property
    def is_running(self) -> bool:
        """Whether one goes on."""
        return self._task is not None and not self._task.done()

    def start(self, plan: LoadTestPlan, owner: Owner = NOBODY) -> None:
        """Begin; returns at once.

        Args:
            plan: how much and how long.
            owner: whose the sessions are.

        Raises:
            LoadTestRunning: one is going on.
            Overloaded: the daemon takes no sessions: it loads, is full, degrades far, or goes.
        """
        if self.is_running:
            raise LoadTestRunning("a load test is running; stop it first, or wait for its end")
        self._coordinator.admit()
        self._is_stopping = False
        self._serial += 1
        progress = self._progress = _Progress(plan)
        log.info("load_test_started", extra={"sessions": plan.sessions, "seconds": plan.seconds})
        self._task = asyncio.get_running_loop().create_task(self._run(progress, owner), name="load-test")

    def stop(self) -> None:
        """Let it end now; its sessions still get what is owed to them."""
        self._is_stopping = True

    async def close(self) -> None:
        """End it without waiting for anything owed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def describe(self) -> dict[str, Any] | None:
        """How the newest one stands, as JSON; None when there was none."""
        progress = self._progress
        if progress is None:
            return None
        passed_s = self._clock.now() - progress.begun if progress.state == "running" else 0.0
        return {
            "state": progress.state,
            "sessions": progress.plan.sessions,
            "seconds": progress.plan.seconds,
            "speech": progress.plan.speech,
            "left_s": round(max(0.0, progress.plan.seconds - passed_s), 1) if progress.state == "running" else 0.0,
            "opened": progress.opened,
            "refused": progress.refused,
            "reason": progress.reason,
            "frames": progress.frames,
            "skipped": progress.skipped,
            "finals": progress.finals,
        }

    async def _run(self, progress: _Progress, owner: Owner) -> None:
        clients: list[_Client] = []
        try:
            script = await self._write_script(progress.plan)
            progress.state, progress.begun = "running", self._clock.now()
            await self._play(progress, script, clients, owner)
            progress.state = "ending"
            await self._end(clients)
            progress.state = "stopped" if self._is_stopping else "done"
        except AlfredVoiceError as error:
            progress.state, progress.reason = "failed", str(error)
            log.warning("load_test_failed", extra={"reason": str(error)})
        except asyncio.CancelledError:
            progress.state = "stopped"
            raise
        except Exception as error:  # the top of a task that nobody waits for
            progress.state, progress.reason = "failed", type(error).__name__
            log.exception("load_test_broken", extra={"reason": type(error).__name__})
        finally:
            for client in clients:
                client.leave()
            progress.finals = sum(client.finals for client in clients)
            told = {"state": progress.state, "opened": progress.opened, "refused": progress.refused}
            log.info("load_test_ended", extra={**told, "frames": progress.frames, "skipped": progress.skipped})

    async def _write_script(self, plan: LoadTestPlan) -> list[Int16]:
        """What every client says, over and over, in frames."""
        spoken = np.empty(0, np.int16)
        if plan.speech > 0:
            try:
                async with asyncio.timeout(SPEECH_WITHIN_S):
                    spoken = await self._speak()
            except TimeoutError as error:
                raise Overloaded(f"what the clients are to say was not made within {SPEECH_WITHIN_S:g} s") from error
        return script_of(spoken, plan.speech)

    async def _speak(self) -> Int16:
        resampler = Resampler(self._coordinator.tts_sample_rate, SAMPLE_RATE)
        pieces: list[Int16] = []
        async with aclosing(self._coordinator.synthesise(TEXT, None, None)) as made:
            pieces.extend([resampler.feed(piece) async for piece in made])
        pieces.append(resampler.feed(np.empty(0, np.int16), last=True))
        return np.concatenate(pieces)[: round(MOST_SPEECH_S * SAMPLE_RATE)]

    async def _play(self, progress: _Progress, script: Sequence[Int16], clients: list[_Client], owner: Owner) -> None:
        """Open the clients and let them speak, until the time is over."""
        begun, turn = progress.begun, 0
        door = _Door(self._coordinator, progress, script, owner, f"load-test-{self._serial}")
        while not self._is_over(progress):
            now = self._clock.now()
            clients += door.let_in(now)
            for client in clients[turn % GROUPS :: GROUPS]:
                sent, skipped = client.send(now)
                progress.frames += sent
                progress.skipped += skipped
            if turn % READ_EVERY == 0:
                progress.finals = sum(client.read() for client in clients)
            turn += 1
            # Late turns are made up for: what counts is how much is sent, not how often.
            await asyncio.sleep(max(0.0, begun + turn * TURN_S - self._clock.now()))

    def _is_over(self, progress: _Progress) -> bool:
        """The time is over, somebody has stopped it, or the daemon goes."""
        passed_s = self._clock.now() - progress.begun
        return self._is_stopping or passed_s >= progress.plan.seconds or not self._coordinator.is_ready

    async def _end(self, clients: Sequence[_Client]) -> None:
        for client in clients:
            client.stop()
        try:
            async with asyncio.timeout(END_WITHIN_S):
                for client in clients:
                    await client.finished()
        except TimeoutError:
            log.warning("load_test_cut", extra={"sessions": sum(not client.is_over for client in clients)})


class _Door:
    """Opens the clients, a few at once; who is refused comes again when told to, as real clients do."""

    def __init__(
        self, coordinator: Coordinator, progress: _Progress, script: Sequence[Int16], owner: Owner, name: str
    ) -> None:
        self._coordinator = coordinator
        self._progress = progress
        self._script = script
        self._owner = owner
        self._name = name
        self._waiting = deque((0.0, number) for number in range(progress.plan.sessions))
        """When each may try that is not in; in the order in which they have tried."""
        self._refused: set[int] = set()

    def let_in(self, now: float) -> list[_Client]:
        """Those who have come in at this moment, clock seconds."""
        clients: list[_Client] = []
        for _ in range(OPENING_AT_ONCE):
            if not self._waiting or self._waiting[0][0] > now:
                break
            client = self._try(self._waiting.popleft()[1], now)
            if client is not None:
                clients.append(client)
        self._progress.opened += len(clients)
        self._progress.refused = len(self._refused)
        return clients

    def _try(self, number: int, now: float) -> _Client | None:
        settings = SessionSettings(session_id=f"{self._name}-{number + 1}")
        try:
            stream = self._coordinator.open(settings, TRANSPORT, max_message_bytes=MESSAGE_BYTES, owner=self._owner)
        except AlfredVoiceError as error:
            wait_s = error.retry_after_s if isinstance(error, Overloaded) else RETRY_S
            self._waiting.append((now + wait_s, number))
            self._refused.add(number)
            self._progress.reason = str(error)
            return None
        self._refused.discard(number)
        first = round(number * GOLDEN % 1 * len(self._script))
        return _Client(stream, self._script, first, now)


class _Client:
    """Somebody who is made up: sends a frame every 20 ms and reads what is told."""

    __slots__ = ("_begun", "_due", "_first", "_script", "_stream", "finals")

    def __init__(self, stream: Stream, script: Sequence[Int16], first: int, now: float) -> None:
        self._stream = stream
        self._script = script
        self._first = first
        self._begun = now
        self._due = 0
        self.finals = 0
        """With words, up to now."""

    @property
    def is_over(self) -> bool:
        """Whether all that is owed has been told."""
        return self._stream.ended

    def send(self, now: float) -> tuple[int, int]:
        """Send what is due; says how many frames were sent and how many left out."""
        stream, script = self._stream, self._script
        due = int((now - self._begun) * 1000 / FRAME_MS)
        late = max(0, due - self._due - MOST_OWED)
        self._due += late
        sent = 0
        while self._due < due and stream.stopped_at is None:
            if not stream.has_room():
                late += due - self._due
                self._due = due
                break
            stream.put(script[(self._first + self._due) % len(script)])
            self._due += 1
            sent += 1
        return sent, late

    def read(self) -> int:
        """Take what has been told; the number of finals with words so far."""
        try:
            for item in self._stream.outbox.take_now():
                event = item.event if isinstance(item, Numbered) else None
                self.finals += isinstance(event, FinalTranscription) and bool(event.text)
        except SlowReader:
            self._stream.abandon()
        return self.finals

    def stop(self) -> None:
        """Say that nothing more comes."""
        self._stream.stop()

    async def finished(self) -> None:
        """Wait until all that is owed has been told."""
        await self._stream.finished()

    def leave(self) -> None:
        """Go, whatever is still to be told."""
        self.read()
        if not self._stream.ended:
            self._stream.abandon()


def script_of(spoken: Int16, share: float) -> list[Int16]:
    """Frames in which that much of the time is speech, the rest the noise of a quiet room.

    Args:
        spoken: int16, shape (n,), 16 kHz.
        share: 0 to 1.
    """
    seconds = len(spoken) / SAMPLE_RATE / share if len(spoken) and share else SILENCE_S
    noise = np.random.default_rng(0).normal(0.0, NOISE_LEVEL, max(len(spoken), round(seconds * SAMPLE_RATE)))
    noise[: len(spoken)] += spoken
    return Framer(FRAME_SAMPLES).feed(np.clip(noise, -32_768, 32_767).astype(np.int16))
