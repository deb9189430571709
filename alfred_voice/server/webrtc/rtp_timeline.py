"""Where the audio of a stream belongs on the session's clock: silence stands for what is missing.

Time stamps say how far two packets lie apart, so that what was lost, and what a client that is silent does not send,
does not shift what follows. A client that sends nothing at all for a while is silent, too: the session hears so while
it waits, or an utterance that is open would never end.
"""

from __future__ import annotations

from alfred_voice.server.webrtc.reordering import CLOCK_HZ, AudioPacket, ticks


STARVED_S = 0.3
"""Without a packet for so long a client is taken to be silent."""
MOST_FILLED_S = 3.0
"""A longer leap of the time stamps is a new beginning."""


class RtpTimeline:
    """The position of one stream. Positions are samples at 48 kHz; times are seconds.

    Args:
        silence_s: how much silence a client that sends nothing is heard to make, at most; then the clock stands.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence = int(silence_s * CLOCK_HZ)
        self._next: int | None = None
        self._source = 0
        self._last_at = 0.0
        self._heard_silence = 0
        self.filled = 0
        """Samples of silence that were put in for what was missing."""

    def gap_before(self, packet: AudioPacket, now: float) -> int:
        """How many samples of silence belong before a packet whose turn it is.

        What comes after silence that was put in meanwhile, and was only late, is not cut: no word is lost, and the
        clock has gone on by that silence.
        """
        gap = 0
        if self._next is not None and packet.source == self._source:
            gap = ticks(packet.timestamp, self._next)
        self._last_at, self._heard_silence = now, 0
        self._source = packet.source
        self._next = packet.timestamp
        if not 0 < gap <= MOST_FILLED_S * CLOCK_HZ:
            return 0
        self.filled += gap
        return gap

    def advance(self, samples: int) -> None:
        """So many samples of the packet have been put in."""
        if self._next is not None:
            self._next += samples

    def silence_due(self, now: float) -> int:
        """How many samples of silence a client that sends nothing has made since the last call."""
        if self._next is None or now - self._last_at < STARVED_S:
            return 0
        wanted = min(int((now - self._last_at) * CLOCK_HZ), self._silence)
        due = max(0, wanted - self._heard_silence)
        self._heard_silence += due
        self._next += due
        return due
