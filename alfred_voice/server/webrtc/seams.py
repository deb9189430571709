"""The places where this daemon reaches into aiortc and aioice; their versions are bounded for it (setup.cfg).

As they come, each connection has a thread that decodes, and hands every packet over to the loop; one lost packet
delays all that follow by a quarter of a second, for good; and candidates are made of every address but those of the
machine itself, on any port. So packets are taken where they would enter the jitter buffer, and sockets are opened
where the daemon listens, on ports that it may use. A test of the seams says when one of them has moved.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.rtp import RtpPacket

from alfred_voice.server.webrtc.ice_addresses import announced_addresses
from alfred_voice.server.webrtc.ice_sockets import Berth, open_socket
from alfred_voice.server.webrtc.reordering import AudioPacket


_log = logging.getLogger(__name__)

RECEIVE_BUFFER_BYTES = 262_144
"""Of each socket: a second of a busy loop is not to cost packets."""

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


def bind(connection: RTCPeerConnection, berth: Berth, on_check: Callable[[], None]) -> list[Any]:
    """Let a connection gather candidates here only, and tell of each check of the peer's.

    To be called when the peer's description is set and before ours is, which raises what :func:`open_socket` does
    when no port is free.

    Returns:
        the connection's ICE agents, which have its sockets.
    """
    agents = _agents(connection)
    for agent in agents:
        if getattr(agent, "is_bound_by_us", False):
            continue
        agent.is_bound_by_us = True
        _bind_agent(agent, berth, on_check)
    return agents


def _agents(connection: RTCPeerConnection) -> list[Any]:
    """The ICE agents of a connection: one where everything is bundled, as usual."""
    transports = [transceiver.receiver.transport for transceiver in connection.getTransceivers()]
    if connection.sctp is not None:
        transports.append(connection.sctp.transport)
    return list({id(each): each.transport.iceGatherer._connection for each in transports}.values())  # noqa: SLF001


def _bind_agent(agent: Any, berth: Berth, on_check: Callable[[], None]) -> None:
    receive = agent.request_received

    async def gather_bound(component: int, **_: Any) -> list[Candidate]:
        waiting, opened = _open_sockets(berth), []
        try:
            while waiting:
                opened.append(await _open_protocol(agent, component, waiting.pop(0)))
        finally:
            for each in waiting:
                each.close()
        return [_candidate(component, *each) for each in announced_addresses(opened, berth.announced)]

    def receive_noted(*arguments: Any) -> None:
        on_check()
        receive(*arguments)

    agent.get_component_candidates = gather_bound
    agent.request_received = receive_noted


def _open_sockets(berth: Berth) -> list[socket.socket]:
    """One socket at each address; all or none, but for addresses that have gone from the machine."""
    opened: list[socket.socket] = []
    try:
        for address in berth.addresses:
            try:
                opened.append(open_socket(address, berth.ports))
            except OSError as error:
                _log.warning("address_not_bound", extra={"address": address, "reason": str(error)})
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


async def _open_protocol(agent: Any, component: int, found: socket.socket) -> tuple[str, int]:
    """Give a socket to an agent, which closes it in the end; its address and port."""
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(lambda: StunProtocol(agent), sock=found)
    agent._protocols.append(protocol)  # noqa: SLF001
    host, port = found.getsockname()[:2]
    protocol.local_candidate = _candidate(component, host, port)
    return host, port


def _candidate(component: int, host: str, port: int) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=host,
        port=port,
        type="host",
    )


def unacknowledged(connection: RTCPeerConnection) -> int:
    """Pieces of messages on data channels that the peer has not confirmed yet."""
    sctp: Any = connection.sctp
    if sctp is None:
        return 0
    waiting = (sctp._data_channel_queue, sctp._outbound_queue, sctp._sent_queue)  # noqa: SLF001
    return sum(len(queue) for queue in waiting)
