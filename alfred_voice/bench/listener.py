"""Clients that only send silence in real time, by WebSocket or WebRTC, for what their connections cost the daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.pacing import FRAME_S


CONNECT_S = 20.0
_FRAME = bytes(640)


@contextlib.asynccontextmanager
async def listening_by_websocket(base_url: str, delay_s: float) -> AsyncIterator[None]:
    """A session that is sent 20 ms of silence every 20 ms, beginning after ``delay_s``."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{base_url}/ws", compress=0) as socket:
        tasks = [asyncio.create_task(_send(socket, delay_s)), asyncio.create_task(_read(socket))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _send(socket: aiohttp.ClientWebSocketResponse, delay_s: float) -> None:
    now = asyncio.get_running_loop().time
    due = now() + delay_s
    while True:
        await asyncio.sleep(max(0.0, due - now()))
        await socket.send_bytes(_FRAME)
        due += FRAME_S


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


@contextlib.asynccontextmanager
async def listening_by_webrtc(base_url: str, *, hears: bool) -> AsyncIterator[None]:
    """The same over WebRTC, by aiortc, whose silent track sends Opus every 20 ms.

    Args:
        base_url: the daemon's address.
        hears: whether the daemon's own track is wanted, which it sends all the time.

    Raises:
        BenchmarkFailed: the offer is refused, or the connection does not stand in time.
    """
    from aiortc import RTCConfiguration, RTCPeerConnection
    from aiortc.mediastreams import AudioStreamTrack

    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    stands = asyncio.Event()
    connection.createDataChannel("alfred").on("open", stands.set)
    connection.addTransceiver(AudioStreamTrack(), "sendrecv" if hears else "sendonly")
    try:
        await _offer(connection, base_url)
        async with asyncio.timeout(CONNECT_S):
            await stands.wait()
        yield
    except TimeoutError as error:
        raise BenchmarkFailed(f"a WebRTC connection did not stand within {CONNECT_S:g} s") from error
    finally:
        await connection.close()


async def _offer(connection: Any, base_url: str) -> None:
    from aiortc import RTCSessionDescription

    await connection.setLocalDescription(await connection.createOffer())
    body = {"sdp": connection.localDescription.sdp}
    async with aiohttp.ClientSession() as http, http.post(f"{base_url}/webrtc/offer", json=body) as response:
        answer = await response.json()
        if response.status != 200:
            raise BenchmarkFailed(f"the daemon refused an offer: {answer.get('detail', response.status)}")
    await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
