"""Who is here: the open sessions and their limits."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable

from alfred_voice.errors import (
    SessionBusy,
    TooManySessions,
    TooManySessionsOfAddress,
    TooManySessionsOfKey,
    UnknownSession,
)
from alfred_voice.events import EndReason
from alfred_voice.pipeline.options import SessionsOptions
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.stream import Stream


STOP_PATIENCE_S = 60.0
"""How long a session that was told to stop may take over its last finals: an engine that hangs must not keep it."""


NEWEST_ENDS = 32
"""Ends of sessions from which it is told when a place may be free."""
UNKNOWN_END_S = 5
LONGEST_END_S = 60


class Roster:
    """All open sessions by name, and a row in the detector's state for each."""

    def __init__(self, options: SessionsOptions) -> None:
        self._options = options
        self._streams: dict[str, Stream] = {}
        self._owners: dict[str, Owner] = {}
        self._free_rows: list[int] = []
        self._rows = 0
        self._ends: deque[float] = deque(maxlen=NEWEST_ENDS)

    def reconfigure(self, options: SessionsOptions) -> None:
        """Go by other limits from now on; sessions beyond a lower one stay open."""
        self._options = options

    def __len__(self) -> int:
        """Open sessions."""
        return len(self._streams)

    def check_room(self, now: float) -> None:
        """Raise :exc:`TooManySessions` when the limit is reached; it says when a place is likely to be free."""
        if len(self._streams) >= self._options.max_concurrent:
            message = f"{len(self._streams)} sessions are open; the limit is {self._options.max_concurrent}"
            raise TooManySessions(message, self._next_end_s(now))

    def _next_end_s(self, now: float) -> int:
        """The mean time between two sessions' ends of late, whole seconds."""
        if len(self._ends) < 2:
            return UNKNOWN_END_S
        mean_s = (now - self._ends[0]) / len(self._ends)
        return min(LONGEST_END_S, max(1, math.ceil(mean_s)))

    def check_share(self, owner: Owner) -> None:
        """Nothing, when ``owner`` may have one more session.

        Raises:
            TooManySessionsOfKey: its key has as many as it may have.
            TooManySessionsOfAddress: its address has.
        """
        check_share(owner, self._owners.values())

    def check_free(self, session_id: str) -> None:
        """Raise :exc:`SessionBusy` when a session of that name is open."""
        if session_id in self._streams:
            raise SessionBusy(f"session {session_id!r} is open already; end it first or choose another session_id")

    def _take_row(self) -> int:
        """The lowest row that no session has, so that the detector's state stays small."""
        if self._free_rows:
            return heapq.heappop(self._free_rows)
        self._rows += 1
        return self._rows - 1

    def add(self, stream: Stream, owner: Owner = NOBODY) -> None:
        """Enter a session and give it a row."""
        stream.row = self._take_row()
        self._streams[stream.session_id] = stream
        self._owners[stream.session_id] = owner

    def remove(self, stream: Stream, now: float) -> bool:
        """Strike a session that is over; False when it has been struck before."""
        if self._streams.get(stream.session_id) is not stream:
            return False
        del self._streams[stream.session_id]
        del self._owners[stream.session_id]
        heapq.heappush(self._free_rows, stream.row)
        self._ends.append(now)
        return True

    def get(self, session_id: str) -> Stream:
        """The open session of that name.

        Raises:
            UnknownSession: there is none.
        """
        stream = self._streams.get(session_id)
        if stream is None:
            raise unknown_session(session_id)
        return stream

    def owner_of(self, session_id: str) -> Owner | None:
        """Who opened the session of that name; None when there is none."""
        return self._owners.get(session_id)

    def all(self) -> list[Stream]:
        """All open sessions, oldest first."""
        return list(self._streams.values())

    def expired(self, now: float) -> list[tuple[Stream, EndReason]]:
        """The open sessions that have lived too long or been silent too long, with the reason."""
        found: list[tuple[Stream, EndReason]] = []
        for stream in self._streams.values():
            if stream.stopped_at is not None:
                continue
            if now - stream.opened_at >= self._options.max_duration_s:
                found.append((stream, "max_duration"))
            elif stream.idle_s(now) >= self._options.idle_timeout_s:
                found.append((stream, "idle"))
        return found

    def stuck(self, now: float) -> list[Stream]:
        """The sessions that were told to stop long ago and still wait for an engine."""
        return [
            stream
            for stream in self._streams.values()
            if stream.stopped_at is not None and now - stream.stopped_at >= STOP_PATIENCE_S
        ]


def unknown_session(session_id: str) -> UnknownSession:
    """The error for a name that no session has."""
    return UnknownSession(f"no session {session_id[:128]!r} is open; GET /sessions lists those that are")


def check_share(owner: Owner, others: Iterable[Owner]) -> None:
    """Nothing, when ``owner`` may be one more among ``others``.

    Raises:
        TooManySessionsOfKey: its key is among them as often as it may be.
        TooManySessionsOfAddress: its address is.
    """
    if owner.max_of_key is None and owner.max_of_address is None:
        return
    of_key = of_address = 0
    for other in others:
        of_key += other.key == owner.key
        of_address += other.address == owner.address
    if owner.max_of_key is not None and of_key >= owner.max_of_key:
        raise TooManySessionsOfKey(f"this key may have {owner.max_of_key} sessions open at a time, and has {of_key}")
    if owner.max_of_address is not None and of_address >= owner.max_of_address:
        raise TooManySessionsOfAddress(
            f"one address may have {owner.max_of_address} sessions open at a time, and this one has {of_address}"
        )
