"""All connections over WebRTC: made, found again by their names, and carried to their ends."""

from __future__ import annotations

import asyncio
import logging
import secrets

from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.owner import Owner
from alfred_voice.pipeline.turn_trace import RemoteParent
from alfred_voice.server.errors import UnknownConnection
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.rates import Pace
from alfred_voice.server.protocol.admission import Admission
from alfred_voice.server.webrtc.event_channel import EventChannel
from alfred_voice.server.webrtc.ice_addresses import addresses_of, offered_addresses, present_addresses
from alfred_voice.server.webrtc.negotiation import Negotiation
from alfred_voice.server.webrtc.offer import Offer
from alfred_voice.server.webrtc.options import WebRtcOptions
from alfred_voice.server.webrtc.peer import CLOSE_TIMEOUT_S, MOST_MESSAGE_BYTES, Peer, PeerLimits
from alfred_voice.session.settings import SessionSettings


_log = logging.getLogger(__name__)

ID_BYTES = 16
SILENCE_AFTER_TURN_S = 1.0
"""How much longer than the longest pause a peer that sends nothing is heard to be silent: its utterance then ends."""


class Peers:
    """The open connections by name.

    Args:
        host: the address that the daemon listens on, as it is configured.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        admission: Admission,
        options: WebRtcOptions,
        security: SecurityOptions,
        host: str,
    ) -> None:
        self._coordinator = coordinator
        self._admission = admission
        self._options = options
        self._security = security
        self._host = host
        self._peers: dict[str, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._peers)

    async def open(
        self, offer: Offer, settings: SessionSettings, owner: Owner, parent: RemoteParent | None
    ) -> tuple[Peer, str]:
        """A connection with its session, and our description.

        Raises:
            Overloaded: no room now.
            SessionBusy: a session of that name is open.
            MalformedMessage: the offer cannot be answered.
        """
        self._admission.check(settings.session_id, owner)
        channel = EventChannel()
        negotiation = Negotiation(await self._addresses(), channel)
        try:
            sdp = await negotiation.answer(offer)
            # Asks once more whether there is room: other offers may have been answered meanwhile.
            stream = self._coordinator.open(
                settings, "webrtc", max_message_bytes=MOST_MESSAGE_BYTES, owner=owner, parent=parent
            )
        except BaseException:
            await negotiation.close(CLOSE_TIMEOUT_S)
            raise
        connection_id, metrics = secrets.token_urlsafe(ID_BYTES), self._coordinator.metrics
        peer = Peer(connection_id, owner, negotiation, channel, stream, metrics, self._limits())
        self._peers[connection_id] = peer
        task = asyncio.create_task(self._carry(peer), name="peer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return peer, sdp

    async def _carry(self, peer: Peer) -> None:
        with self._admission.entered(peer, peer.owner):
            try:
                await peer.run()
            except Exception:  # noqa: BLE001  the connection's top
                _log.exception("connection_failed", extra=peer.fields)
            finally:
                self._peers.pop(peer.connection_id, None)

    def find(self, connection_id: str, owner: Owner, *, is_admin: bool) -> Peer:
        """The open connection of that name.

        Raises:
            UnknownConnection: there is none, or it is another key's.
        """
        peer = self._peers.get(connection_id)
        # Who may not have it is not told that it is there.
        if peer is None or not (is_admin or peer.owner.key == owner.key):
            raise UnknownConnection("no WebRTC connection of that name is open")
        return peer

    async def close(self) -> None:
        """Cut off what is still open."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _addresses(self) -> list[str]:
        """Where a peer may reach us, as the machine's addresses are now."""
        chosen = self._options.chosen
        bound = [] if chosen else await addresses_of(self._host)
        return offered_addresses(bound, present_addresses(), chosen)

    def _limits(self) -> PeerLimits:
        security, now = self._security, asyncio.get_running_loop().time()
        pause_ms = self._coordinator.options.session.turn.max_silence_ms
        return PeerLimits(
            options=self._options,
            pace=Pace(security.control_messages_per_s, security.control_burst, now),
            silence_s=pause_ms / 1000 + SILENCE_AFTER_TURN_S,
        )
