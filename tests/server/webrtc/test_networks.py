"""WebRTC behind firewalls and address translation, with real sockets: ports of a range, addresses of elsewhere."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiortc import RTCSessionDescription

from alfred_voice.server.webrtc.options import WebRtcOptions
from tests.rtc_client import calling, on_this_machine
from tests.server.webrtc.test_offer import AUDIO, CHANNEL, offer
from tests.server.webrtc.test_routes import post, silence, speech
from tests.udp_ports import free_ports


__all__ = ["on_this_machine"]  # a fixture

Eventually = Callable[[Callable[[], object]], Awaitable[None]]

PORTS = free_ports(3)
RANGE = f"{PORTS[0]}-{PORTS[-1]}"
OUTSIDE = "127.0.0.2"
"""What the daemon is known as outside; it listens on 127.0.0.1."""

pytestmark = pytest.mark.usefixtures("on_this_machine")


def candidates(sdp: str) -> list[tuple[str, int]]:
    """What a peer is told, once for all sections."""
    lines = [line.split() for line in sdp.splitlines() if line.startswith("a=candidate:")]
    return list(dict.fromkeys((line[4], int(line[5])) for line in lines))


async def test_media_comes_to_ports_of_the_range_until_all_are_taken(
    make_door: Any, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    door = await make_door(webrtc=WebRtcOptions(port_range=RANGE))
    base = f"http://127.0.0.1:{door.port}"
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(calling(base)) for _ in PORTS]
        used = [port for caller in callers for _, port in candidates(caller.answer["sdp"])]
        assert sorted(used) == list(PORTS)

        with caplog.at_level(logging.WARNING):
            async with door.client.post("/webrtc/offer", json={"sdp": offer(AUDIO, CHANNEL)}) as response:
                problem = await response.json()
                assert (response.status, problem["code"]) == (503, "no_port_free")
                assert int(response.headers["Retry-After"]) > 0
                assert f"({RANGE})" in problem["detail"]
            async with door.client.post(
                "/whip", data=offer(AUDIO), headers={"Content-Type": "application/sdp"}
            ) as response:
                assert (response.status, "Retry-After" in response.headers) == (503, True)
        assert [record.msg for record in caplog.records].count("no_port_free") == 2
        assert len(door.coordinator.roster.all()) == len(PORTS)
        refused = door.coordinator.metrics.registry.get_sample_value(
            "alfred_sessions_refused_total", {"code": "no_port_free"}
        )
        assert refused == 2

        # The others are as well as before.
        callers[0].microphone.say(np.concatenate([speech(600), silence(600)]))
        await callers[0].wait_for("finalTranscription")
        callers[1].send(type="stop")
        await callers[1].wait_for("sessionEnded")
        await eventually(lambda: len(door.coordinator.roster.all()) == len(PORTS) - 1)

        async def is_free() -> bool:
            return (await post(door, offer(AUDIO, CHANNEL)))[0] == 200

        async with asyncio.timeout(30):
            while not await is_free():  # noqa: ASYNC110  what is waited for knows of no event
                await asyncio.sleep(0.1)


async def test_every_port_is_free_again_when_the_daemon_has_gone(make_door: Any) -> None:
    door = await make_door(webrtc=WebRtcOptions(port_range=RANGE))
    for _ in PORTS:
        assert (await post(door, offer(AUDIO, CHANNEL)))[0] == 200
    await door.client.close()
    for port in PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port))


class _Forward(asyncio.DatagramProtocol):
    """Hands on what comes."""

    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self.datagram_received = take  # type: ignore[assignment]


class Translation:
    """A router with 1:1 translation: who sends to ``OUTSIDE`` reaches the daemon's port, and hears it from there."""

    def __init__(self) -> None:
        self.passed = 0
        self._inner: dict[tuple[str, int], asyncio.DatagramTransport] = {}
        self._outer: asyncio.DatagramTransport | None = None
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._port = port
        self._outer, _ = await loop.create_datagram_endpoint(lambda: _Forward(self._inwards), (OUTSIDE, port))

    def _inwards(self, data: bytes, sender: tuple[str, int]) -> None:
        task = asyncio.create_task(self._pass_in(data, sender))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _pass_in(self, data: bytes, sender: tuple[str, int]) -> None:
        if sender not in self._inner:
            loop = asyncio.get_running_loop()

            def outwards(answer: bytes, _: tuple[str, int]) -> None:
                assert self._outer is not None
                self._outer.sendto(answer, sender)

            self._inner[sender], _ = await loop.create_datagram_endpoint(
                lambda: _Forward(outwards), ("127.0.0.1", 0), ("127.0.0.1", self._port)
            )
        self.passed += 1
        self._inner[sender].sendto(data)

    async def close(self) -> None:
        await asyncio.gather(*self._opening)
        for transport in (*self._inner.values(), self._outer):
            if transport is not None:
                transport.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def translating(port: int) -> AsyncIterator[Translation]:
    translation = Translation()
    await translation.open(port)
    try:
        yield translation
    finally:
        await translation.close()


async def test_a_daemon_behind_translation_is_reached_by_the_address_that_it_announces(make_door: Any) -> None:
    door = await make_door(webrtc=WebRtcOptions(port_range=RANGE, public_address=OUTSIDE))
    base = f"http://127.0.0.1:{door.port}"
    async with calling(base, offers=False) as caller:
        connection = caller.connection
        await connection.setLocalDescription(await connection.createOffer())
        # The daemon is not to find the client by its own address: from outside it sees only the router.
        sdp = "\r\n".join(
            line for line in connection.localDescription.sdp.splitlines() if not line.startswith("a=candidate")
        )
        status, answer = await post(door, sdp + "\r\n")
        assert status == 200
        ((address, port),) = candidates(answer["sdp"])
        assert (address, port in PORTS) == (OUTSIDE, True)
        async with translating(port) as translation:
            await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            await caller.until(lambda: connection.connectionState == "connected", 10)
            caller.microphone.say(np.concatenate([speech(600), silence(600)]))
            assert (await caller.wait_for("finalTranscription"))["text"] == "turn on the lamp"
            caller.send(type="stop")
            await caller.wait_for("sessionEnded")
            assert translation.passed > 50


async def test_an_address_that_has_gone_from_the_machine_is_left_out(
    make_door: Any, caplog: pytest.LogCaptureFixture
) -> None:
    door = await make_door(webrtc=WebRtcOptions(addresses="192.0.2.1,127.0.0.1"))
    with caplog.at_level(logging.WARNING):
        _, answer = await post(door, offer(AUDIO, CHANNEL))
    assert [address for address, _ in candidates(answer["sdp"])] == ["127.0.0.1"]
    assert "address_not_bound" in [record.msg for record in caplog.records]
