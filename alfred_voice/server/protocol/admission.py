"""Who may open a connection, and which connections are open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from alfred_voice.errors import AlfredVoiceError, SessionBusy, TooManySessions, UnknownSession
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.roster import check_share
from alfred_voice.server.protocol.closing import GOING_AWAY, Closing
from alfred_voice.server.protocol.resumption import Resumption


class Guest(Protocol):
    """A connection of any kind."""

    has_session: bool

    async def close(self, closing: Closing = ...) -> None:
        """End it from our side."""
        ...


class Admission:
    """Counts connections in and out. A connection may wait without a session, so they have a limit of their own."""

    def __init__(self, coordinator: Coordinator, resumption: Resumption) -> None:
        self._coordinator = coordinator
        self._resumption = resumption
        self._connections: dict[Guest, Owner] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._connections)

    def check(self, session_id: str | None, owner: Owner = NOBODY) -> None:
        """Nothing, when one more connection may come in; a refusal is counted.

        Args:
            session_id: the session that it wants to open, where it says so.
            owner: whose it is.

        Raises:
            Overloaded: no session could be opened now, or ``owner`` has as many as it may have.
            SessionBusy: that session is open elsewhere.
        """
        if session_id is not None and self._resumption.knows(session_id):
            return  # whether it may be resumed is for its token to say, and load is no reason against it
        try:
            self._check(session_id, owner)
        except AlfredVoiceError as error:
            self._coordinator.metrics.note_refusal(error)
            raise

    def _check(self, session_id: str | None, owner: Owner) -> None:
        self._coordinator.admit()
        limit = self._coordinator.options.sessions.max_concurrent
        if len(self._connections) >= limit:
            raise TooManySessions(f"expected at most {limit} connections, and all of them are taken")
        # A connection may wait without a session, and a session may have come by another way.
        check_share(owner, self._connections.values())
        self._coordinator.roster.check_share(owner)
        if session_id is not None and self._is_open(session_id):
            raise SessionBusy(f"session {session_id!r} is open on another connection")

    def _is_open(self, session_id: str) -> bool:
        try:
            return not self._coordinator.roster.get(session_id).ended
        except UnknownSession:
            return False

    @contextmanager
    def entered(self, connection: Guest, owner: Owner = NOBODY) -> Iterator[None]:
        """Counts ``connection`` while it is open."""
        self._connections[connection] = owner
        self._is_empty.clear()
        try:
            yield
        finally:
            self._connections.pop(connection, None)
            if not self._connections:
                self._is_empty.set()

    async def emptied(self) -> None:
        """Returns when no connection is open."""
        await self._is_empty.wait()

    async def dismiss(self, *, also_with_session: bool) -> None:
        """Close connections because the daemon goes; those with a session only when asked to."""
        async with asyncio.TaskGroup() as tasks:
            for connection in list(self._connections):
                if also_with_session or not connection.has_session:
                    tasks.create_task(connection.close(GOING_AWAY))
