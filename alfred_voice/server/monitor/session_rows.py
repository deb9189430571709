"""The table of sessions as JSON: what of a row has not changed is not encoded again.

With a hundred sessions it is most of what a viewer costs. Their ages and clocks change all the time; their names, words
and latencies do so when somebody has said something.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.stream_status import state_of


_Heard = tuple[str, dict[str, float], dict[str, float]]


class SessionRows:
    """Encodes the same sessions again and again."""

    def __init__(self) -> None:
        self._known: dict[Stream, tuple[_Heard, bytes]] = {}

    def encode(self, streams: Sequence[Stream], now: float) -> bytes:
        """A row for each as a JSON list.

        Args:
            streams: in the order of the table.
            now: seconds, for their ages.
        """
        known, self._known = self._known, {}
        rows = []
        for stream in streams:
            heard = stream.heard
            kept = known.get(stream)
            if kept is None or kept[0] != heard:  # what is the same object is not compared further
                kept = (heard, _lasting(stream, heard))
            self._known[stream] = kept
            rows.append(kept[1] + _passing(stream, now))
        return b"[%b]" % b",".join(rows)

    def forget(self) -> None:
        """Keep nothing while nobody looks."""
        self._known = {}


def _lasting(stream: Stream, heard: _Heard) -> bytes:
    """What changes with an utterance at most: the beginning of an object."""
    text, final, turn = heard
    told = {
        "session_id": stream.session_id,
        "transport": stream.transport,
        "language": stream.settings.language,
        "last_text": text,
        "latency_ms": {"final": final, "turn": turn},
    }
    return msgspec.json.encode(told)[:-1]


def _passing(stream: Stream, now: float) -> bytes:
    """What changes all the time: the end of it. Numbers and one of five words, none of them from outside."""
    session = stream.session
    return b',"state":"%b","age_s":%.1f,"stream_ms":%.1f,"buffered_ms":%.0f,"frames_dropped":%d}' % (
        state_of(stream).encode(),
        now - stream.opened_at,
        session.stream_ms,
        stream.buffered_ms,
        session.frames_dropped,
    )
