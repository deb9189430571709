"""What a session tells, on its way to all who are to know: the figures, the trace, who watches, and the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from alfred_voice.events import Event, SessionFinished
from alfred_voice.pipeline.account import Account
from alfred_voice.pipeline.outbox import Outbox
from alfred_voice.pipeline.tap import Tap
from alfred_voice.session.session import Session


class Teller:
    """One session's way out.

    Args:
        session: who tells.
        account: its figures.
        outbox: its client's.
        changed: is set whenever something may have changed.
        trace: is told of every event, where turns are traced.
    """

    __slots__ = ("_account", "_changed", "_outbox", "_session", "_trace", "end_reason")

    def __init__(
        self,
        session: Session,
        account: Account,
        outbox: Outbox,
        changed: asyncio.Event,
        trace: Callable[[Event], None] | None,
    ) -> None:
        self._session = session
        self._account = account
        self._outbox = outbox
        self._changed = changed
        self._trace = trace
        self.end_reason: str | None = None
        """What ended the session; None while it is open."""

    def pass_on(self, tap: Tap | None) -> None:
        """Let everybody know what the session has told since the last time; ``tap`` is of who watches."""
        session = self._session
        for event in session.take_events():
            self._account.note(event)
            if self._trace is not None:
                self._trace(event)
            if tap is not None:
                tap.tell(event, session.stream_ms)
            self._outbox.put(event)
            if isinstance(event, SessionFinished):
                self.end_reason = self.end_reason or event.reason
        self._account.note_processed(session.frames_processed)
        if session.is_over:
            self._outbox.close()
            self._account.close(session.stats)
        self._changed.set()
