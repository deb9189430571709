"""The places where this daemon reaches into aiortc and aioice; their versions are bounded for it (setup.cfg).

As they come, each connection has a thread that decodes, and hands every packet over to the loop; one lost packet
delays all that follow by a quarter of a second, for good; and candidates are made of every address but those of the
machine itself. So packets are taken where they would enter the jitter buffer, and sockets are opened where the
daemon listens. A test of the seams says when one of them has moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.rtp import RtpPacket

from alfred_voice.server.webrtc.reordering import AudioPacket


Take = Callable[[AudioPacket, float], None]
"""Takes a packet and the loop's time; must not raise."""


class PacketTap:
    """Stands where the library has its jitter buffer, and lets nothing through to its decoder."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._now = asyncio.get_running_loop().time

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """Take a packet; the library hears of no key frame to ask for, and of no frame to decode."""
        payload: bytes = packet._data  # type: ignore[attr-defined]  # noqa: SLF001  set by the receiver
        if payload:
            taken = AudioPacket(packet.sequence_number, packet.timestamp, payload, packet.ssrc)
            self._take(taken, self._now())
        return False, None


def tap_packets(receiver: RTCRtpReceiver, take: Take) -> None:
    """Give a receiver's packets of audio to ``take`` instead of the library's decoder, whose thread ends at once."""
    inside: Any = receiver
    inside._RTCRtpReceiver__jitter_buffer = PacketTap(take)  # noqa: SLF001  what this file is for
    inside._RTCRtpReceiver__decoder_queue.put(None)  # noqa: SLF001


def bind(connection: RTCPeerConnection, addresses: Sequence[str], on_check: Callable[[], None]) -> list[Any]:
    """Let a connection gather candidates at these addresses only, and tell of each check of the peer's.

    To be called when the peer's description is set and before ours is.

    Returns:
        the connection's ICE agents, which have its sockets.
    """
    agents = _agents(connection)
    for agent in agents:
        if getattr(agent, "is_bound_by_us", False):
            continue
        agent.is_bound_by_us = True
        _bind_agent(agent, list(addresses), on_check)
    return agents


def _agents(connection: RTCPeerConnection) -> list[Any]:
    """The ICE agents of a connection: one where everything is bundled, as usual."""
    transports = [transceiver.receiver.transport for transceiver in connection.getTransceivers()]
    if connection.sctp is not None:
        transports.append(connection.sctp.transport)
    return list({id(each): each.transport.iceGatherer._connection for each in transports}.values())  # noqa: SLF001


def _bind_agent(agent: Any, addresses: list[str], on_check: Callable[[], None]) -> None:
    gather, receive = agent.get_component_candidates, agent.request_received

    async def gather_bound(component: int, addresses: list[str] = addresses, **options: Any) -> Any:
        return await gather(component=component, addresses=bound, **options)

    def receive_noted(*arguments: Any) -> None:
        on_check()
        receive(*arguments)

    bound = addresses
    agent.get_component_candidates = gather_bound
    agent.request_received = receive_noted


def unacknowledged(connection: RTCPeerConnection) -> int:
    """Pieces of messages on data channels that the peer has not confirmed yet."""
    sctp: Any = connection.sctp
    if sctp is None:
        return 0
    waiting = (sctp._data_channel_queue, sctp._outbound_queue, sctp._sent_queue)  # noqa: SLF001
    return sum(len(queue) for queue in waiting)
