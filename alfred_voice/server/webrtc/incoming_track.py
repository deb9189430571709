"""A peer's audio on its way into the session: packets of Opus become frames, on the spot and in order."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from alfred_voice.audio.ingest import Ingest
from alfred_voice.audio.opus import SAMPLE_RATE, OpusDecoder
from alfred_voice.audio.pcm import AudioFormat, Int16
from alfred_voice.errors import EngineFailure, MalformedAudio, SessionEnded
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.stream import Stream
from alfred_voice.server.guard.rates import Bucket
from alfred_voice.server.webrtc.reordering import AudioPacket, Reordering
from alfred_voice.server.webrtc.rtp_timeline import RtpTimeline


_log = logging.getLogger(__name__)

PACKETS_PER_S, PACKETS_AT_ONCE = 120.0, 600
"""More is not looked at. Usual packets hold 20 ms, the shortest that browsers send 10 ms."""
FORMAT = AudioFormat(SAMPLE_RATE, 1, "pcm_s16le")
"""What Opus is decoded to, and so what the session is told of the client's audio."""


@dataclass(slots=True)
class Counted:
    """What the daemon's figures have been told of one stream up to now."""

    received: int = 0
    lost: int = 0
    late: int = 0
    excess: int = 0
    undecodable: int = 0
    filled: int = 0


class IncomingTrack:
    """One peer's audio. Used on the event loop only; times are the loop's.

    Args:
        stream: the session that hears it.
        ingest: makes frames of it; a session that is resumed goes on with the one that it had.
        metrics: where packets are counted.
        patience_s: how long audio waits for a packet before it that is missing.
        silence_s: how much silence a peer that sends nothing is heard to make.
        now: when the stream begins.
    """

    def __init__(
        self, stream: Stream, ingest: Ingest, metrics: Metrics, patience_s: float, silence_s: float, now: float
    ) -> None:
        self._stream = stream
        self._families = metrics.webrtc
        self._order = Reordering(patience_s)
        self._timeline = RtpTimeline(silence_s)
        self._decoder = OpusDecoder()
        self._ingest = ingest
        self._counted = Counted()
        self._pace = Bucket(PACKETS_PER_S, PACKETS_AT_ONCE, now)
        self._excess = 0
        self._undecodable = 0
        self.last_heard: float | None = None
        """When the last packet came."""

    def receive(self, packet: AudioPacket, now: float) -> None:
        """Take a packet from the network; must not raise, as the connection lives on."""
        self.last_heard = now
        if not self._pace.take(now):
            self._excess += 1
            return
        self._hear(self._order.put(packet, now), now)

    def tick(self, now: float) -> None:
        """What has waited long enough goes on, and silence is put in for a peer that sends nothing."""
        if self._order.is_waiting:
            self._hear(self._order.take(now), now)
        due = self._timeline.silence_due(now)
        if due:
            self._feed_safely(np.zeros(due, np.int16))

    def flush(self) -> None:
        """Put into the session what is still inside."""
        try:
            for frame in self._ingest.flush():
                self._stream.put_live(frame)
        except SessionEnded:
            return

    def finish(self, now: float) -> None:
        """Nothing comes any more: what waits for a packet before it is heard without that."""
        self._hear(self._order.drain(), now)

    def _hear(self, packets: list[AudioPacket], now: float) -> None:
        for packet in packets:
            missing = self._timeline.gap_before(packet, now)
            if missing:
                self._feed_safely(np.zeros(missing, np.int16))
            try:
                samples = self._decoder.decode(packet.payload)
            except MalformedAudio:
                # Its time stamps tell how long it should have been: the next one's gap is filled.
                self._undecodable += 1
                continue
            self._timeline.advance(len(samples))
            self._feed_safely(samples)

    def _feed_safely(self, samples: Int16) -> None:
        stream = self._stream
        if stream.stopped_at is not None:
            return
        stream.audio_bytes += samples.nbytes
        try:
            for frame in self._ingest.feed(samples.tobytes()):
                stream.put_live(frame)
        except SessionEnded:
            return
        except Exception as error:  # noqa: BLE001  the library would take it for a fault of the connection
            _log.exception("audio_failed", extra={"session": stream.session_id})
            stream.report(EngineFailure(f"audio could not be taken: {type(error).__name__}"), fatal=True)

    def report(self) -> None:
        """Bring the daemon's figures up to date; they are not touched for each packet."""
        now = Counted(
            received=self._order.received,
            lost=self._order.lost,
            late=self._order.late,
            excess=self._excess,
            undecodable=self._undecodable,
            filled=self._timeline.filled,
        )
        before, self._counted = self._counted, now
        for fate in ("received", "lost", "late", "excess", "undecodable"):
            self._families.packets.labels(fate).inc(getattr(now, fate) - getattr(before, fate))
        self._families.filled.inc((now.filled - before.filled) / SAMPLE_RATE)
        if now.received > before.received:
            self._families.jitter.observe(self._order.jitter_s)

    def describe(self) -> dict[str, float]:
        """What has come, for people and tools."""
        return {
            "packets_received": self._order.received,
            "packets_lost": self._order.lost,
            "packets_late": self._order.late,
            "packets_excess": self._excess,
            "packets_undecodable": self._undecodable,
            "jitter_ms": round(self._order.jitter_s * 1000, 1),
            "filled_ms": round(self._timeline.filled * 1000 / SAMPLE_RATE, 1),
        }
