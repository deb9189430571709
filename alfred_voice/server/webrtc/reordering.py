"""Packets of one audio stream, brought into their order; what is missing or late is counted.

A packet that follows the one before is there at once: nobody listens to this stream, so it needs no delay that
smooths it. Only what comes before its turn waits, and no longer than a moment for what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass


CLOCK_HZ = 48_000
"""Of the time stamps of Opus (RFC 7587, section 4.1)."""
MOST_HELD = 64
"""Packets that wait for a missing one before them; 1.3 s of usual ones."""
MOST_MISSING = 3_000
"""A step farther than this is a new beginning and no loss (RFC 3550, appendix A.1)."""
_SEQUENCES = 1 << 16
_TIMESTAMPS = 1 << 32


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One packet of RTP."""

    sequence: int
    """16 bits."""
    timestamp: int
    """Of its first sample, 32 bits at 48 kHz."""
    payload: bytes
    source: int = 0
    """The synchronisation source (SSRC)."""


def steps(later: int, earlier: int) -> int:
    """How many numbers of a sequence lie between two; negative when ``later`` is the earlier one."""
    return _signed(later - earlier, _SEQUENCES)


def ticks(later: int, earlier: int) -> int:
    """How many samples lie between two time stamps; negative when ``later`` is the earlier one."""
    return _signed(later - earlier, _TIMESTAMPS)


def _signed(difference: int, span: int) -> int:
    difference %= span
    return difference - span if difference >= span // 2 else difference


class Reordering:
    """The order of one stream. Times are seconds of any clock that only goes forward.

    Args:
        patience_s: how long a packet waits for one before it that is missing.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._next: int | None = None
        self._source = 0
        self._held: dict[int, tuple[AudioPacket, float]] = {}
        self._previous: tuple[int, float] | None = None
        self.received = 0
        self.lost = 0
        """Missing for good."""
        self.late = 0
        """Came when their turn was over: they had been given up, or were there before."""
        self.jitter_s = 0.0
        """How unevenly they come (RFC 3550, section 6.4.1)."""

    def put(self, packet: AudioPacket, now: float) -> list[AudioPacket]:
        """Take a packet; returns those whose turn it is now."""
        self.received += 1
        if self._next is None or packet.source != self._source:
            return self._begin(packet, now)
        ahead = steps(packet.sequence, self._next)
        if abs(ahead) > MOST_MISSING:
            return self._begin(packet, now)
        if ahead < 0 or packet.sequence in self._held:
            self.late += 1
            return []
        self._note_jitter(packet, now)
        if ahead == 0:
            self._next = _after(packet.sequence)
            return [packet, *self._following()]
        self._held[packet.sequence] = (packet, now)
        if len(self._held) > MOST_HELD:
            return self._give_up()
        return self.take(now)

    def take(self, now: float) -> list[AudioPacket]:
        """Those that have waited long enough; what was missing before them is lost."""
        taken: list[AudioPacket] = []
        while self._held and now - min(at for _, at in self._held.values()) >= self._patience_s:
            taken += self._give_up()
        return taken

    def drain(self) -> list[AudioPacket]:
        """All that wait, as nothing comes any more; what is missing among them is lost."""
        drained: list[AudioPacket] = []
        while self._held:
            drained += self._give_up()
        return drained

    @property
    def is_waiting(self) -> bool:
        """Whether packets wait for one that is missing."""
        return bool(self._held)

    def _begin(self, packet: AudioPacket, now: float) -> list[AudioPacket]:
        """Start anew with this packet; those that were held are of another stream, and come first."""
        held = [self._held[sequence][0] for sequence in self._in_order()]
        self._held.clear()
        self._source, self._next = packet.source, _after(packet.sequence)
        self._previous = None
        self._note_jitter(packet, now)
        return [*held, packet]

    def _in_order(self) -> list[int]:
        origin = self._next or 0
        return sorted(self._held, key=lambda sequence: steps(sequence, origin))

    def _give_up(self) -> list[AudioPacket]:
        """Wait no longer for what is missing before the first one that is held."""
        first = self._in_order()[0]
        self.lost += steps(first, self._next or 0)
        self._next = first
        return self._following()

    def _following(self) -> list[AudioPacket]:
        following: list[AudioPacket] = []
        while self._next in self._held:
            packet, _ = self._held.pop(self._next)
            following.append(packet)
            self._next = _after(packet.sequence)
        return following

    def _note_jitter(self, packet: AudioPacket, now: float) -> None:
        if self._previous is not None:
            timestamp, at = self._previous
            difference = abs((now - at) - ticks(packet.timestamp, timestamp) / CLOCK_HZ)
            self.jitter_s += (difference - self.jitter_s) / 16
        self._previous = (packet.timestamp, now)


def _after(sequence: int) -> int:
    return (sequence + 1) % _SEQUENCES
