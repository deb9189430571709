"""The peer connection behind one session: offers answered, tracks and channel found, everything let go of again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpCodecCapability

from alfred_voice.errors import AlfredVoiceError, SessionBusy
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage
from alfred_voice.server.webrtc import seams
from alfred_voice.server.webrtc.event_channel import EventChannel
from alfred_voice.server.webrtc.ice_sockets import Berth
from alfred_voice.server.webrtc.offer import Offer
from alfred_voice.server.webrtc.reordering import AudioPacket
from alfred_voice.server.webrtc.seams import Take
from alfred_voice.server.webrtc.speech_track import SpeechTrack


_log = logging.getLogger(__name__)


class Negotiation:
    """Answers a peer's offers, the first and all that follow.

    Args:
        berth: where the peer may reach us.
        channel: takes its data channel.
        speaks: whether the daemon's voice may be offered to it.
    """

    def __init__(self, berth: Berth, channel: EventChannel, *, speaks: bool = True) -> None:
        # No server of anybody else's is asked for anything.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("datachannel", channel.attach)
        self.connection.on("connectionstatechange", self._note_state)
        self.speech = SpeechTrack()
        self.connected_at: float | None = None
        """When the connection first stood, by the loop's clock."""
        self.has_channel = False
        """Whether the peer has offered one."""
        self.on_packet: Take | None = None
        """Takes the packets of the peer's audio; must not raise."""
        self.on_sign: Callable[[], None] | None = None
        """Is told of each sign of life of the peer's ICE agent."""
        self._berth = berth
        self._speaks = speaks
        self._agents: list[Any] = []
        self._audio: str | None = None
        self._tapped: set[RTCRtpReceiver] = set()
        self._credentials: frozenset[tuple[str, str]] = frozenset()
        self._is_busy = False

    @property
    def state(self) -> str:
        """``new``, ``connecting``, ``connected``, ``failed`` or ``closed``."""
        return self.connection.connectionState

    async def answer(self, offer: Offer) -> str:
        """Our own description.

        Raises:
            MalformedMessage: the offer cannot be answered; the connection is as it was before, or none yet.
            SessionBusy: another offer is being answered.
            NoPortFree: there is nowhere for its media to come to.
        """
        if self._is_busy:
            raise SessionBusy("another offer of this connection is being answered")
        if self._credentials and offer.credentials != self._credentials:
            raise MalformedMessage("sdp: ICE cannot be restarted; open another connection instead")
        self._is_busy = True
        try:
            return await self._answer(offer)
        except (AlfredVoiceError, asyncio.CancelledError):
            raise
        except Exception as error:  # the library raises whatever it stumbles over
            raise MalformedMessage(f"sdp: {shorten(f'{type(error).__name__}: {error}')}") from error
        finally:
            self._is_busy = False

    async def _answer(self, offer: Offer) -> str:
        connection = self.connection
        if self._audio is None and offer.audio:
            self._audio = offer.audio[0]
            ours = self.speech if self._speaks else "audio"
            transceiver = connection.addTransceiver(ours, "sendrecv" if self._speaks else "recvonly")
            # Whatever else is offered, we speak and hear Opus.
            transceiver.setCodecPreferences(_opus())
        await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        for transceiver in connection.getTransceivers():
            self._prepare(transceiver)
        self._agents = seams.bind(connection, self._berth, self._note_sign)
        await connection.setLocalDescription(await connection.createAnswer())
        self._credentials = offer.credentials
        self.has_channel = self.has_channel or offer.has_channel
        return connection.localDescription.sdp

    def _prepare(self, transceiver: RTCRtpTransceiver) -> None:
        """One section of audio is ours; nothing goes over any other."""
        if transceiver.mid != self._audio:
            transceiver.direction = "inactive"
            return
        if transceiver.receiver not in self._tapped:
            self._tapped.add(transceiver.receiver)
            seams.tap_packets(transceiver.receiver, self._take)

    def _take(self, packet: AudioPacket, now: float) -> None:
        if self.on_packet is not None:
            self.on_packet(packet, now)

    def _note_state(self) -> None:
        if self.connected_at is None and self.state == "connected":
            self.connected_at = asyncio.get_running_loop().time()

    def _note_sign(self) -> None:
        if self.on_sign is not None:
            self.on_sign()

    async def close(self, within_s: float) -> None:
        """Free everything; the peer is told.

        Raises:
            TimeoutError: the library did not come to an end.
        """
        self.speech.stop()
        async with asyncio.timeout(within_s):
            try:
                await self.connection.close()
            except Exception:  # noqa: BLE001  whatever it stumbled over
                # The library has stumbled in the middle of it; its sockets must not stay.
                _log.exception("peer_not_closed")
                for agent in self._agents:
                    await agent.close()

    async def say_last_words(self, within_s: float) -> None:
        """Returns when the peer has all events, or the time for it is over."""
        try:
            async with asyncio.timeout(within_s):
                # What is waited for knows of no event.
                while seams.unacknowledged(self.connection) and self.state == "connected":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return


def _opus() -> list[RTCRtpCodecCapability]:
    capabilities = RTCRtpReceiver.getCapabilities("audio")
    known = [] if capabilities is None else capabilities.codecs
    return [codec for codec in known if codec.mimeType.lower() == "audio/opus"]
