"""A second peer for tests of WebRTC: speaks, listens, loses packets on purpose; written against aiortc alone."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import aioice.ice
import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray


Int16 = NDArray[np.int16]
Event = dict[str, Any]

SAMPLE_RATE = 16_000
FRAME = 320
FRAME_S = 0.02
LOUD = 300.0
"""Root mean square from which something is being said."""
WITHIN_S = 30.0


class Microphone(MediaStreamTrack):
    """Plays what it is given, at the pace of life, then silence."""

    kind = "audio"

    def __init__(self, audio: Int16 | None = None) -> None:
        super().__init__()
        self._pieces: list[Int16] = []
        self._position = 0
        self._due: float | None = None
        self.spoken = asyncio.Event()
        self.spoken.set()
        if audio is not None:
            self.say(audio)

    def say(self, audio: Int16) -> None:
        """Say this after what waits: int16, 16 kHz."""
        padded = np.concatenate([audio, np.zeros(-len(audio) % FRAME, np.int16)])
        self._pieces += list(padded.reshape(-1, FRAME))
        self.spoken.clear()

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        now = asyncio.get_running_loop().time()
        due = now if self._due is None else self._due
        await asyncio.sleep(max(0.0, due - now))
        self._due = due + FRAME_S
        piece = self._pieces.pop(0) if self._pieces else np.zeros(FRAME, np.int16)
        if not self._pieces:
            self.spoken.set()
        frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = self._position
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self._position += FRAME
        return frame


@dataclass(eq=False)
class Caller:
    """A client in the middle of its call."""

    connection: RTCPeerConnection
    http: aiohttp.ClientSession
    base: str
    microphone: Microphone
    channel: RTCDataChannel | None
    events: list[Event] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    """When each event came, by the loop's clock."""
    heard: list[tuple[float, float]] = field(default_factory=list)
    """When 20 ms of sound came, and how loud they are (root mean square)."""
    answer: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    dropped: int = 0

    @property
    def session_id(self) -> str:
        return str(self.answer["session_id"])

    @property
    def connection_id(self) -> str:
        return str(self.answer["connection_id"])

    def of(self, *types: str) -> list[Event]:
        return [event for event in self.events if event["type"] in types]

    def at(self, event: Event) -> float:
        """When an event came."""
        return self.arrivals[self.events.index(event)]

    @property
    def text(self) -> str:
        return " ".join(event["text"] for event in self.of("finalTranscription") if event["text"])

    def loud_after(self, moment: float) -> list[float]:
        """When sound came that is speech, after a moment."""
        return [at for at, level in self.heard if at > moment and level > LOUD]

    def send(self, **message: Any) -> None:
        assert self.channel is not None
        self.channel.send(json.dumps(message))

    async def wait_for(self, event_type: str, count: int = 1, within_s: float = WITHIN_S) -> Event:
        """The event of this type, or the ``count``-th one."""
        await self.until(lambda: len(self.of(event_type)) >= count, within_s)
        return self.of(event_type)[count - 1]

    async def until(self, holds: Callable[[], object], within_s: float = WITHIN_S) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not holds():  # noqa: ASYNC110  what is waited for knows of no event
                    await asyncio.sleep(0.01)
        except TimeoutError:
            types = [event["type"] for event in self.events]
            raise AssertionError(f"not within {within_s} s; {self.connection.connectionState}; {types}") from None

    async def offer(self, start: dict[str, Any] | None = None, connection_id: str | None = None) -> int:
        """Offer what the connection has; the answer's status."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        body: dict[str, Any] = {"sdp": self.connection.localDescription.sdp, "type": "offer"}
        if start is not None:
            body["start"] = start
        if connection_id is not None:
            body["connection_id"] = connection_id
        async with self.http.post(f"{self.base}/webrtc/offer", json=body) as response:
            self.status, answer = response.status, await response.json()
        if self.status == 200:
            self.answer = answer
            await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        else:
            self.answer = answer
        return self.status

    def lose(self, share: float, seed: int = 7) -> None:
        """Throw away this share of the packets of sound, on their way out."""
        dice = random.Random(seed)
        transport: Any = self.connection.getSenders()[0].transport.transport
        send = transport._send

        async def send_most(data: bytes) -> None:
            is_sound = 127 < data[0] < 192 and not 192 <= data[1] <= 223
            if is_sound and dice.random() < share:
                self.dropped += 1
                return
            await send(data)

        transport._send = send_most

    def vanish(self) -> None:
        """Be gone from one moment to the next: nothing leaves any more, nothing is said about it."""
        for transport in {sender.transport.transport for sender in self.connection.getSenders()}:
            inside: Any = transport
            for protocol in inside._connection._protocols:
                protocol.transport.sendto = lambda *_: None

    async def delete(self, path: str = "/webrtc") -> int:
        async with self.http.delete(f"{self.base}{path}/{self.connection_id}") as response:
            return response.status


@contextlib.asynccontextmanager
async def calling(
    base: str,
    audio: Int16 | None = None,
    *,
    start: dict[str, Any] | None = None,
    channel: str | None = "alfred",
    listens: bool = True,
    headers: dict[str, str] | None = None,
    offers: bool = True,
) -> AsyncIterator[Caller]:
    """A call, answered and ready to be used; hung up at the end.

    Args:
        base: the daemon's address.
        audio: said as soon as the call stands.
        start: what is wanted of the session.
        channel: label of the data channel; None for none.
        listens: whether the daemon's speech is wanted.
        headers: of every request.
        offers: False for a call that has not begun.
    """
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    microphone = Microphone(audio)
    async with aiohttp.ClientSession(headers=headers) as http:
        opened = connection.createDataChannel(channel) if channel else None
        caller = Caller(connection, http, base, microphone, opened)
        connection.addTransceiver(microphone, "sendrecv" if listens else "sendonly")
        listening: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()

        def note(data: str) -> None:
            caller.events.append(json.loads(data))
            caller.arrivals.append(loop.time())

        def listen(track: MediaStreamTrack) -> None:
            listening.append(asyncio.create_task(_listen(track, caller)))

        if opened is not None:
            opened.on("message", note)
        connection.on("track", listen)
        try:
            if offers:
                assert await caller.offer(start) == 200, caller.answer
                await caller.until(lambda: connection.connectionState == "connected", 10)
            yield caller
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            await connection.close()


async def _listen(track: MediaStreamTrack, caller: Caller) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            frame: Any = await track.recv()
        except MediaStreamError:
            return
        samples = frame.to_ndarray().astype(np.float64)
        caller.heard.append((loop.time(), float(np.sqrt(np.mean(samples**2)))))


@pytest.fixture
def on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has clients of the test reach the daemon from the machine's own address, as if there were no network."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
