"""What of a file cannot be decoded: where it lies, how long it is, and how that is told."""

from __future__ import annotations

from dataclasses import dataclass, field


LEAST_GAP_S = 0.25
"""A jump of the time stamps from here on is a gap where nothing has failed; a smaller one is how clocks tremble."""
EXACT_GAP_S = 0.02
"""The same where time stamps count samples."""
_KEPT = 0.95
"""Of a rate with each packet: the last second counts most, as the rate may vary."""
MOST_GAP_S = 600.0
"""A longer one is a clock that was set anew, such as where two transport streams were joined."""


@dataclass(slots=True)
class Damage:
    """What was stepped over in one file."""

    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Where each begins, and how long it is, in seconds."""
    is_estimated: bool = False
    """Whether lengths follow from bytes, as the format has no time stamps."""

    def add(self, at_s: float, seconds: float, *, is_estimated: bool = False) -> None:
        """Something is missing there; what touches the last gap belongs to it."""
        self.is_estimated |= is_estimated
        if self.gaps and at_s - sum(self.gaps[-1]) < LEAST_GAP_S:
            begun = self.gaps[-1][0]
            self.gaps[-1] = (begun, at_s + seconds - begun)
        else:
            self.gaps.append((at_s, seconds))

    @property
    def seconds(self) -> float:
        """Of all gaps."""
        return sum(seconds for _, seconds in self.gaps)

    def __str__(self) -> str:
        """In a sentence; empty where nothing is missing."""
        if not self.gaps:
            return ""
        first = _clock(self.gaps[0][0])
        where = f"at {first}" if len(self.gaps) == 1 else f"in {len(self.gaps)} places, first at {first},"
        text = (
            f"damaged: {self.seconds:.2f} s {where} could not be decoded and stand as silence; words beside may differ"
        )
        if self.is_estimated:
            text += "; the length is estimated from bytes, so that later times may be off by some hundredths"
        return text


class Timeline:
    """Follows the time stamps of what is decoded, and tells how much is missing.

    Args:
        least_gap_s: a smaller jump is none where nothing has failed.
    """

    def __init__(self, least_gap_s: float = LEAST_GAP_S) -> None:
        self._least_gap_s = least_gap_s
        self._end_s: float | None = None
        self.has_failed = False
        """Whether something could not be decoded since the last that could."""

    def fail(self) -> None:
        """Something could not be decoded."""
        self.has_failed = True

    def missing_s(self, at_s: float | None, seconds: float) -> float:
        """How much is missing before what has just been decoded.

        Args:
            at_s: its time stamp, if it has one.
            seconds: how long it is.
        """
        end_s = self._end_s
        least_s = 0.0 if self.has_failed else self._least_gap_s
        self.has_failed = False
        begin_s = end_s if at_s is None else at_s
        self._end_s = None if begin_s is None else begin_s + seconds
        if at_s is None or end_s is None:
            return 0.0
        gap_s = at_s - end_s
        return gap_s if least_s < gap_s <= MOST_GAP_S else 0.0


class Bytewise:
    """How much is missing in a format without time stamps, such as MP3, by the bytes that were skipped.

    Their readers count frames: they know nothing of what was lost. So bytes count, at the rate of those that were
    decoded just before.

    Attributes:
        end: one past the last byte that was decoded.
    """

    def __init__(self) -> None:
        self.end = 0
        self._bytes = 0.0
        self._seconds = 0.0

    def pass_over(self, first_byte: int | None, size: int) -> None:
        """A packet without sound, such as the table in front of an MP3 file."""
        if not self._bytes and first_byte is not None:
            self.end = first_byte + size

    def missing_s(self, first_byte: int | None, size: int, seconds: float) -> float:
        """How much is missing before a packet that has been decoded.

        Args:
            first_byte: where it lies; None for right behind the last one.
            size: in bytes.
            seconds: how long its frames are.
        """
        begin = self.end if first_byte is None else first_byte
        skipped = begin - self.end
        missing_s = skipped * self._seconds / self._bytes if self._bytes else 0.0
        self.end = begin + size
        self._bytes = self._bytes * _KEPT + size
        self._seconds = self._seconds * _KEPT + seconds
        return missing_s if 0 < missing_s <= MOST_GAP_S else 0.0


def _clock(seconds: float) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(int(minutes), 60)
    return f"{hours}:{minute:02d}:{second:05.2f}"
