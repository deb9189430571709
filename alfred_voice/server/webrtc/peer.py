"""One client over WebRTC from the answer to its offer to its end: its audio in, the daemon's out, events beside them.

The session is opened with the answer, and counts from then on. It ends with its connection; when that does not stand
in time, or nothing is heard of the peer for a while, the session is let go of. One that may be resumed then waits for
its client, who comes with another offer and takes it over.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

from alfred_voice.errors import AlfredVoiceError, SessionEnded
from alfred_voice.events import SpeechOutputEnded
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.outbox import Numbered, SlowReader, SpeechAudio
from alfred_voice.server.errors import UnexpectedMessage
from alfred_voice.server.guard.rates import Pace
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.closing import GOING_AWAY, Closing
from alfred_voice.server.protocol.control import Control
from alfred_voice.server.protocol.opening import too_large
from alfred_voice.server.protocol.resumption import Link, Resumption
from alfred_voice.server.protocol.wire import Mode
from alfred_voice.server.webrtc.event_channel import ChannelStalled, EventChannel
from alfred_voice.server.webrtc.incoming_track import IncomingTrack
from alfred_voice.server.webrtc.negotiation import Negotiation
from alfred_voice.server.webrtc.offer import Offer
from alfred_voice.server.webrtc.options import WebRtcOptions
from alfred_voice.server.webrtc.reordering import AudioPacket


_log = logging.getLogger(__name__)

TICK_S = 0.05
"""How often it is looked whether packets have waited long enough, and how the connection stands."""
TICKS_A_SECOND = round(1 / TICK_S)
CLOSE_TIMEOUT_S = 5.0
LAST_WORDS_S = 2.0
"""How long a peer may take to get the last events of its session."""
MOST_MESSAGE_BYTES = 65_536
"""What the answer says that a message on the channel may have."""

Outcome = Literal["ended", "left", "lost", "timeout", "slow", "taken_over", "cut", "failed"]
"""How a connection came to its end: the session was over, the peer closed, it vanished or its network did, it never
stood, its events were not read, its client came back by another one, the daemon went before all that, or something
failed here."""


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What a peer is held to."""

    options: WebRtcOptions
    pace: Pace
    silence_s: float
    """How much silence a peer that sends nothing is heard to make."""


class Peer:
    """A client on WebRTC and its session; :meth:`run` is the rest of their life.

    Args:
        connection_id: by which the client names it.
        negotiation: has answered its first offer.
        channel: takes its data channel.
        link: its session.
        resumption: takes the session back in the end.
        metrics: where packets and ends are counted.
        limits: what it is held to.
    """

    def __init__(
        self,
        connection_id: str,
        negotiation: Negotiation,
        channel: EventChannel,
        link: Link,
        resumption: Resumption,
        metrics: Metrics,
        limits: PeerLimits,
    ) -> None:
        self.connection_id = connection_id
        self.owner = link.owner
        self.stream = stream = link.stream
        self.has_session = True
        self.fields = {"session": stream.session_id}
        """What a log record about this connection says of it."""
        self.missed: list[Numbered] | None = None
        """Of a client that has come back, what it was told on other connections and did not get; told first."""
        self._link = link
        self._resumption = resumption
        self._taken_over = False
        self._is_readable = True
        self._negotiation = negotiation
        self._channel = channel
        self._figures = metrics.webrtc
        self._options = limits.options
        self._now = now = asyncio.get_running_loop().time
        patience_s = limits.options.reorder_ms / 1000
        self._incoming = IncomingTrack(stream, link.ingest, metrics, patience_s, limits.silence_s, now())
        self._control = Control(stream, limits.pace)
        self._answered_at = self._last_sign = now()
        self._is_connected = False
        self._underruns = 0
        self._closed = asyncio.Event()

    def give_up(self) -> None:
        """Leave the session to another connection of its client's."""
        self._taken_over = True

    async def answer(self, offer: Offer) -> str:
        """Our description in answer to another offer of the peer's.

        Raises:
            MalformedMessage: the offer cannot be answered.
            SessionBusy: another one is being answered.
        """
        return await self._negotiation.answer(offer)

    async def run(self) -> None:
        """Carry the session until it, or the connection, is over; then everything is freed."""
        outcome: Outcome = "failed"
        self._negotiation.on_packet = self._take
        self._negotiation.on_sign = self._note_sign
        self._channel.on_message = self._on_message
        self.stream.more_status = self.status
        try:
            outcome = await self._carry()
        except asyncio.CancelledError:
            outcome = "cut"
            raise
        finally:
            try:
                await self._let_go(outcome)
            finally:
                self._figures.connections.labels(outcome).inc()
                _log.info("peer_closed", extra={**self.fields, "outcome": outcome})
                self._closed.set()

    async def close(self, closing: Closing = GOING_AWAY) -> None:
        """End it from our side, whatever is still to be told; returns when it has ended or the time for it is over."""
        if not self.stream.ended:
            self.stream.end_now("shutdown" if closing is GOING_AWAY else "error")
        try:
            async with asyncio.timeout(LAST_WORDS_S + CLOSE_TIMEOUT_S):
                await self._closed.wait()
        except TimeoutError:
            _log.info("close_unanswered", extra={"close_code": closing.code, **self.fields})

    async def ended(self) -> None:
        """Returns when everything has been freed."""
        await self._closed.wait()

    def status(self) -> dict[str, Any]:
        """How the connection stands, for people and tools."""
        about = {
            "state": self._negotiation.state,
            "channel": self._channel.state if self._negotiation.has_channel else "none",
            **self._incoming.describe(),
            "speech_underruns": self._negotiation.speech.queue.underruns,
        }
        return {"webrtc": about}

    # Life

    async def _carry(self) -> Outcome:
        telling = asyncio.create_task(self._tell_all())
        watching = asyncio.create_task(self._watch())
        try:
            done, _ = await asyncio.wait((telling, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
            watching.cancel()
            await asyncio.gather(telling, watching, return_exceptions=True)
        return (telling if telling in done else watching).result()

    async def _let_go(self, outcome: Outcome) -> None:
        if outcome == "ended":
            await self._negotiation.say_last_words(LAST_WORDS_S)
        # From here on the session may be another connection's.
        self._negotiation.on_packet = self._channel.on_message = None
        self._incoming.finish(self._now())
        self._resumption.leave(self._link, may_return=self._may_return(outcome))
        await self._free()
        self._report()

    def _may_return(self, outcome: Outcome) -> bool:
        """Whether the client may still want its session: it has neither said that it goes, nor been told of the end."""
        match outcome:
            case "ended" | "left":
                return False
            case "timeout":
                return self.missed is not None  # who never had a connection has no token
            case "slow":
                return self._is_readable
        return True

    async def _free(self) -> None:
        try:
            await self._negotiation.close(CLOSE_TIMEOUT_S)
        except TimeoutError:
            _log.warning("peer_not_freed", extra=self.fields)

    async def _watch(self) -> Outcome:
        """How the connection came to its end, while the session was open."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            now = self._now()
            self._incoming.tick(now)
            outcome = self._judge(now)
            if outcome is not None:
                return outcome
            ticks += 1
            if ticks % TICKS_A_SECOND == 0:
                self._report()

    def _judge(self, now: float) -> Outcome | None:
        """What has become of the connection; None while all is well."""
        if self._taken_over:
            return "taken_over"
        state, connected_at = self._negotiation.state, self._negotiation.connected_at
        if connected_at is not None and not self._is_connected:
            self._is_connected, self._last_sign = True, now
            after_s = connected_at - self._answered_at
            self._figures.connect_seconds.observe(after_s)
            _log.info("peer_connected", extra={**self.fields, "after_s": round(after_s, 3)})
        if not self._is_connected:
            is_over = state in ("failed", "closed") or now - self._answered_at > self._options.connect_timeout_s
            return "timeout" if is_over else None
        if self._channel.has_closed.is_set() or state == "closed":
            return "left"
        if state == "failed" or now - self._last_sign > self._options.disconnect_grace_s:
            return "lost"
        return None

    def _report(self) -> None:
        self._incoming.report()
        underruns = self._negotiation.speech.queue.underruns
        self._figures.underruns.inc(underruns - self._underruns)
        self._underruns = underruns

    # What comes

    def _note_sign(self) -> None:
        self._last_sign = self._now()

    def _take(self, packet: AudioPacket, now: float) -> None:
        self._last_sign = now
        self._incoming.receive(packet, now)

    def _on_message(self, data: str | bytes) -> None:
        """Carry out a message of the peer's; must not raise, as the library would end the connection for it."""
        self._last_sign = self._now()
        try:
            self._obey(data)
        except SessionEnded:
            return
        except AlfredVoiceError as error:
            self.stream.report(error)
        except Exception:  # noqa: BLE001  the message's top
            _log.exception("connection_failed", extra=self.fields)

    def _obey(self, data: str | bytes) -> None:
        if self.stream.stopped_at is not None:
            return
        if len(data) > MOST_MESSAGE_BYTES:
            self.stream.report(too_large(MOST_MESSAGE_BYTES), fatal=True)
            return
        try:
            if isinstance(data, bytes):
                raise UnexpectedMessage("expected a text message of JSON, but a binary one came; audio has its track")
            meant = wire.decode_text(data)
        except AlfredVoiceError:
            if self._control.is_in_time():
                raise
            return
        if not isinstance(meant, wire.Stop) and not self._control.is_in_time():
            return
        self._carry_out(meant)

    def _carry_out(self, meant: wire.Control) -> None:
        match meant:
            case wire.Flush():
                self._incoming.flush()
                self.stream.flush()
            case wire.Stop():
                self._incoming.flush()
                self.stream.stop()
            case _:
                self._control.carry_out(meant)

    # What goes

    async def _tell_all(self) -> Outcome:
        """Play and tell what the session has to say, to its last event."""
        if self._negotiation.has_channel:
            # Until then it waits in the session's outbox, which is bounded.
            await self._channel.opened()
        try:
            for numbered in self.missed or ():
                await self._tell(numbered)
            while items := await self.stream.outbox.take():
                for item in [self._silenced(item) for item in items]:
                    if item is not None:
                        await self._tell(item)
        except (SlowReader, ChannelStalled) as error:
            _log.warning("peer_not_reading", extra={**self.fields, "reason": str(error)})
            # What was lost with an outbox that overflowed cannot be told again.
            self._is_readable = isinstance(error, ChannelStalled)
            return "slow"
        return "ended"

    async def _tell(self, numbered: Numbered) -> None:
        await self._channel.send(wire.encode(numbered, self.stream.session_id, Mode.JSON).decode())

    def _silenced(self, item: Numbered | SpeechAudio) -> Numbered | None:
        """Play a piece, or stop what has been cancelled, before any waiting; the event to be told, if it is one."""
        speech = self._negotiation.speech
        if isinstance(item, SpeechAudio):
            speech.put(item)
            return None
        event = item.event
        if isinstance(event, SpeechOutputEnded) and event.cancelled:
            unplayed_ms = speech.queue.drop(event.speech_id)
            return Numbered(item.seq, replace(event, duration_ms=max(0.0, event.duration_ms - unplayed_ms)))
        return item
