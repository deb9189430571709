"""The seams with aiortc and aioice are where this daemon thinks that they are."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aioice import Connection
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtp import RtpPacket

from alfred_voice.server.webrtc.ice_sockets import Berth
from alfred_voice.server.webrtc.reordering import AudioPacket
from alfred_voice.server.webrtc.seams import PacketTap, bind, tap_packets, unacknowledged


@pytest.fixture
async def connection() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield connection
    await connection.close()


def packet(payload: bytes) -> Any:
    made: Any = RtpPacket(payload_type=111, sequence_number=7, timestamp=960, ssrc=5)
    made._data = payload
    return made


async def test_a_tap_hands_packets_on_and_lets_none_through() -> None:
    taken: list[AudioPacket] = []
    tap = PacketTap(lambda each, _now: taken.append(each))
    assert tap.add(packet(b"abc")) == (False, None)
    assert taken == [AudioPacket(7, 960, b"abc", 5)]


async def test_packets_without_audio_are_left_out() -> None:
    taken: list[AudioPacket] = []
    PacketTap(lambda each, _now: taken.append(each)).add(packet(b""))
    assert taken == []


async def test_the_receiver_has_what_the_tap_stands_in_for(connection: RTCPeerConnection) -> None:
    receiver: Any = connection.addTransceiver("audio").receiver
    buffer = receiver._RTCRtpReceiver__jitter_buffer
    assert buffer.add(packet(b"abc")) == (False, None)
    assert isinstance(receiver._RTCRtpReceiver__decoder_queue, queue.Queue)
    tap_packets(receiver, lambda *_: None)
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, PacketTap)
    assert receiver._RTCRtpReceiver__decoder_queue.get_nowait() is None


async def test_candidates_are_gathered_where_they_are_bound_to(connection: RTCPeerConnection) -> None:
    connection.addTransceiver("audio")
    connection.createDataChannel("any")
    bind(connection, Berth(("127.0.0.1",)), lambda: None)
    await connection.setLocalDescription(await connection.createOffer())
    lines = [line.split() for line in connection.localDescription.sdp.splitlines() if line.startswith("a=candidate:")]
    assert lines
    assert {line[4] for line in lines} == {"127.0.0.1"}


async def test_each_check_of_the_peer_is_a_sign_of_life(connection: RTCPeerConnection) -> None:
    checks: list[None] = []
    connection.addTransceiver("audio")
    bind(connection, Berth(("127.0.0.1",)), lambda: checks.append(None))
    bind(connection, Berth(("127.0.0.1",)), lambda: checks.append(None))
    await connection.setLocalDescription(await connection.createOffer())
    gatherer: Any = connection.getTransceivers()[0].receiver.transport.transport.iceGatherer
    agent = gatherer._connection
    peer = Connection(ice_controlling=True)
    peer.remote_username, peer.remote_password = agent.local_username, agent.local_password
    from aioice import ice

    monkey = pytest.MonkeyPatch()
    monkey.setattr(ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    await peer.gather_candidates()
    monkey.undo()
    await peer.add_remote_candidate(agent.local_candidates[0])
    connecting = asyncio.create_task(peer.connect())
    async with asyncio.timeout(5):
        while not checks:  # noqa: ASYNC110  what is waited for knows of no event
            await asyncio.sleep(0.01)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    await peer.close()


async def test_without_a_channel_nothing_is_unacknowledged(connection: RTCPeerConnection) -> None:
    assert unacknowledged(connection) == 0
    connection.createDataChannel("any")
    assert unacknowledged(connection) == 1
