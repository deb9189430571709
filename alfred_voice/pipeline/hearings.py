"""What the recogniser keeps of utterances that are still growing, so that their beginnings are not heard again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from alfred_voice.models.engine import GrowingStt
from alfred_voice.session.requests import TranscribeRequest, Urgency


if TYPE_CHECKING:
    from alfred_voice.pipeline.stream import Stream

MOST_BYTES = 48 * 1024 * 1024
"""For all sessions together: some twenty utterances of two seconds that grow at the same time."""


class Hearings:
    """One for each utterance that partials are asked of; those longest not asked of give way. In the lane's thread.

    Args:
        engine: makes them.
        most_bytes: what they may take together, but for the one in use.
    """

    def __init__(self, engine: GrowingStt, most_bytes: int = MOST_BYTES) -> None:
        self._engine = engine
        self._most_bytes = most_bytes
        # The oldest use comes first.
        self._kept: OrderedDict[Stream, tuple[tuple[int, int], Any]] = OrderedDict()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def of(self, stream: Stream, request: TranscribeRequest) -> Any:
        """What is kept of the audio that ``request`` is about; None unless it is a partial."""
        if request.urgency is not Urgency.PARTIAL:
            # The speaker has paused, or the window is cut: what comes next may begin elsewhere.
            if request.urgency is Urgency.FINAL:
                self._kept.pop(stream, None)
            return None
        beginning = (request.utterance, request.start_sample)
        kept = self._kept.pop(stream, None)
        hearing = kept[1] if kept is not None and kept[0] == beginning else self._engine.new_hearing()
        self._kept[stream] = (beginning, hearing)
        return hearing

    def forget(self, streams: Iterable[Stream]) -> None:
        """Let go of what is kept of these sessions."""
        for stream in streams:
            self._kept.pop(stream, None)

    def clear(self) -> int:
        """Let go of everything, which can be made again; returns the bytes."""
        taken = sum(int(hearing.nbytes) for _, hearing in self._kept.values())
        self._kept.clear()
        return taken

    def tidy(self) -> None:
        """Let go of what belongs to sessions that have ended, and of the oldest beyond the limit."""
        for stream in [stream for stream in self._kept if stream.ended]:
            del self._kept[stream]
        taken = sum(hearing.nbytes for _, hearing in self._kept.values())
        while taken > self._most_bytes and len(self._kept) > 1:
            _, (_, hearing) = self._kept.popitem(last=False)
            taken -= hearing.nbytes
