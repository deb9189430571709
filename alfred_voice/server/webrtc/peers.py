"""All connections over WebRTC: made, found again by their names, and carried to their ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import NamedTuple

from alfred_voice.audio.ingest import Ingest
from alfred_voice.errors import Overloaded
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.owner import Owner
from alfred_voice.pipeline.turn_trace import RemoteParent
from alfred_voice.server.errors import NoPortFree, UnknownConnection
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.rates import Pace
from alfred_voice.server.protocol.admission import Admission
from alfred_voice.server.protocol.resumption import Link, Resumption
from alfred_voice.server.webrtc.event_channel import EventChannel
from alfred_voice.server.webrtc.ice_addresses import addresses_of, offered_addresses, present_addresses
from alfred_voice.server.webrtc.ice_sockets import Berth
from alfred_voice.server.webrtc.incoming_track import FORMAT
from alfred_voice.server.webrtc.negotiation import Negotiation
from alfred_voice.server.webrtc.offer import Offer
from alfred_voice.server.webrtc.options import WebRtcOptions
from alfred_voice.server.webrtc.peer import CLOSE_TIMEOUT_S, MOST_MESSAGE_BYTES, Peer, PeerLimits
from alfred_voice.session.settings import SessionSettings


_log = logging.getLogger(__name__)

TRANSPORT = "webrtc"
ID_BYTES = 16
SILENCE_AFTER_TURN_S = 1.0
"""How much longer than the longest pause a peer that sends nothing is heard to be silent: its utterance then ends."""


class Return(NamedTuple):
    """What a client shows that comes back to its session."""

    session_id: str
    token: str
    last_seq: int
    """Number of the last event that it got; -1 for none."""


class _Answered(NamedTuple):
    """A connection whose offer has been answered."""

    negotiation: Negotiation
    channel: EventChannel
    sdp: str


class Peers:
    """The open connections by name.

    Args:
        host: the address that the daemon listens on, as it is configured.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        admission: Admission,
        resumption: Resumption,
        options: WebRtcOptions,
        security: SecurityOptions,
        host: str,
    ) -> None:
        self._coordinator = coordinator
        self._admission = admission
        self._resumption = resumption
        self._options = options
        self._security = security
        self._host = host
        self._peers: dict[str, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._peers)

    async def open(
        self,
        offer: Offer,
        settings: SessionSettings,
        owner: Owner,
        parent: RemoteParent | None,
        *,
        speaks: bool = True,
    ) -> tuple[Peer, str]:
        """A connection with its session, and our description.

        Args:
            offer: the peer's.
            settings: of the session.
            owner: whose it is.
            parent: the peer's own span.
            speaks: whether the peer may hear the daemon's voice.

        Raises:
            Overloaded: no room now.
            SessionBusy: a session of that name is open.
            MalformedMessage: the offer cannot be answered.
        """
        self._admission.check(settings.session_id, owner)
        answered = await self._answer(offer, speaks=speaks)
        try:
            # Asks once more whether there is room: other offers may have been answered meanwhile.
            link = self._open_session(settings, owner, parent)
        except BaseException:
            await answered.negotiation.close(CLOSE_TIMEOUT_S)
            raise
        return await self._begin(answered, link, None), answered.sdp

    async def resume(self, offer: Offer, wanted: Return, owner: Owner) -> tuple[Peer, str]:
        """Another connection for the session of a client that has lost its last one, and our description.

        Raises:
            ResumeRefused: it cannot be resumed.
            Overloaded: no room now.
            MalformedMessage: the offer cannot be answered; the session is as it was.
        """
        self._resumption.claim(*wanted, owner, TRANSPORT)
        answered = await self._answer(offer)
        try:
            # Once more: its time may have run out meanwhile.
            link = self._resumption.claim(*wanted, owner, TRANSPORT)
        except BaseException:
            await answered.negotiation.close(CLOSE_TIMEOUT_S)
            raise
        return await self._begin(answered, link, wanted.last_seq), answered.sdp

    async def _answer(self, offer: Offer, *, speaks: bool = True) -> _Answered:
        channel = EventChannel()
        negotiation = Negotiation(await self._berth(), channel, speaks=speaks)
        try:
            return _Answered(negotiation, channel, await negotiation.answer(offer))
        except BaseException as error:
            if isinstance(error, NoPortFree):
                _log.warning("no_port_free", extra={"reason": str(error), "connections": len(self)})
                self._coordinator.metrics.note_refusal(error)
            await negotiation.close(CLOSE_TIMEOUT_S)
            raise

    def _open_session(self, settings: SessionSettings, owner: Owner, parent: RemoteParent | None) -> Link:
        resume = self._resumption.offer() if settings.resumable else None
        stream = self._coordinator.open(
            settings, TRANSPORT, max_message_bytes=MOST_MESSAGE_BYTES, resume=resume, owner=owner, parent=parent
        )
        link = Link(stream, Ingest(FORMAT), owner)
        if resume is not None:
            self._resumption.keep(link, resume)
        return link

    async def _begin(self, answered: _Answered, link: Link, last_seq: int | None) -> Peer:
        """Give a session to a connection, which carries it from now on."""
        negotiation, channel, _ = answered
        connection_id, metrics = secrets.token_urlsafe(ID_BYTES), self._coordinator.metrics
        peer = Peer(connection_id, negotiation, channel, link, self._resumption, metrics, self._limits())
        try:
            await self._attach(peer, link, last_seq)
        except BaseException:
            await negotiation.close(CLOSE_TIMEOUT_S)
            raise
        self._peers[connection_id] = peer
        task = asyncio.create_task(self._carry(peer), name="peer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return peer

    async def _attach(self, peer: Peer, link: Link, last_seq: int | None) -> None:
        try:
            await self._resumption.attach(link, peer.give_up)
        except TimeoutError as error:
            raise Overloaded("the session's last connection does not let go of it") from error
        if last_seq is None:
            return
        try:
            peer.missed = self._resumption.catch_up(link, last_seq)
        except BaseException:
            self._resumption.leave(link, may_return=True)
            raise

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

    async def _berth(self) -> Berth:
        """Where a peer may reach us, as the machine's addresses are now."""
        options = self._options
        bound = [] if options.chosen else await addresses_of(self._host)
        addresses = offered_addresses(bound, present_addresses(), options.chosen)
        return Berth(tuple(addresses), options.ports, options.announced)

    def _limits(self) -> PeerLimits:
        security, now = self._security, asyncio.get_running_loop().time()
        pause_ms = self._coordinator.options.session.turn.max_silence_ms
        return PeerLimits(
            options=self._options,
            pace=Pace(security.control_messages_per_s, security.control_burst, now),
            silence_s=pause_ms / 1000 + SILENCE_AFTER_TURN_S,
        )
