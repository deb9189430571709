"""Sessions that outlive their connection: a client that has lost it comes back with a token and goes on.

A session that was opened with ``resumable`` is kept for a while when its connection is lost. Its client opens another
one, says which session, shows the token and the number of the last event that it got. It is then told what it has
missed, and how much of its audio has been taken: it goes on sending from there.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from alfred_voice.audio.ingest import Ingest
from alfred_voice.audio.pcm import Int16
from alfred_voice.errors import ResumeRefused
from alfred_voice.events import ResumeOffer, SessionResumed
from alfred_voice.pipeline.outbox import Numbered
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.stream import Stream


_log = logging.getLogger(__name__)

TOKEN_BYTES = 24
TAKE_OVER_S = 5.0
"""How long the connection that a session is taken away from may take to let go of it."""


@dataclass(eq=False, slots=True)
class Link:
    """What a session and its client have in common, whatever connection is between them."""

    stream: Stream
    ingest: Ingest
    owner: Owner = NOBODY
    """Whose the session is."""
    unput: deque[Int16] = field(default_factory=deque)
    """Frames that have been taken from the client and wait for room in the session."""
    let_go: Callable[[], None] | None = None
    """Makes the connection that has the session give it up; None while none has it."""
    digest: bytes | None = None
    """Of the token; None where the session ends with its connection."""
    expiry: asyncio.TimerHandle | None = None
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no connection has the session."""


class Resumption:
    """The sessions that may be resumed, by name.

    Args:
        grace_s: how long a session is kept whose connection has been lost.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._links: dict[str, Link] = {}
        self._is_closed = False

    def reconfigure(self, grace_s: float) -> None:
        """Keep sessions for so long whose connections are lost from now on."""
        self._grace_s = grace_s

    def __len__(self) -> int:
        """Sessions that may be resumed, with a connection or without."""
        return len(self._links)

    def knows(self, session_id: str) -> bool:
        """Whether a client may come back to that session."""
        return session_id in self._links

    def offer(self) -> ResumeOffer:
        """What the client of a new session has to know to come back to it."""
        return ResumeOffer(secrets.token_urlsafe(TOKEN_BYTES), self._grace_s)

    def keep(self, link: Link, offer: ResumeOffer) -> None:
        """Let a session be resumed by whoever has the token."""
        link.digest = _digest(offer.token)
        self._links[link.stream.session_id] = link

    def claim(
        self, session_id: str, token: str, last_seq: int, owner: Owner = NOBODY, transport: str = "websocket"
    ) -> Link:
        """The link of a session whose client has come back.

        Args:
            session_id: which session.
            token: what the client was told when it opened the session.
            last_seq: number of the last event that it got; -1 for none.
            owner: who has come; the key must be the one with which the session was opened.
            transport: by which way; it must be that of the session, whose audio has its format.

        Raises:
            ResumeRefused: no such session waits, the token is another one's, or events are gone for good.
        """
        link = self._links.get(session_id)
        # Who does not have the token is not told whether there is such a session.
        is_right = link is not None and link.digest is not None and hmac.compare_digest(link.digest, _digest(token))
        if link is None or not is_right or link.owner.key != owner.key:
            raise ResumeRefused("expected the name and the token of a session that can be resumed; open a new one")
        if link.stream.transport != transport:
            raise ResumeRefused(
                f"the session goes over {link.stream.transport}; come back by that way, or open a new one"
            )
        link.stream.outbox.told_after(last_seq)
        return link

    async def attach(self, link: Link, let_go: Callable[[], None]) -> None:
        """Give a session to a connection, as soon as the one that has it has let go of it.

        Args:
            link: the session's.
            let_go: makes the connection give it up again.

        Raises:
            TimeoutError: the other connection does not let go of it.
        """
        async with asyncio.timeout(TAKE_OVER_S):
            while link.let_go is not None:
                _log.info("session_taken_over", extra={"session": link.stream.session_id})
                link.let_go()
                await link.freed.wait()
        if link.expiry is not None:
            link.expiry.cancel()
            link.expiry = None
        link.let_go = let_go
        link.freed.clear()
        link.stream.attach()

    def catch_up(self, link: Link, last_seq: int) -> list[Numbered]:
        """What the client has missed of what it was told on other connections.

        Behind all that has come since, it is told from where on it should send.

        Raises:
            ResumeRefused: not all of it is kept any more.
        """
        missed = link.stream.outbox.told_after(last_seq)
        link.stream.tell(SessionResumed(link.stream.audio_bytes))
        _log.info("session_resumed", extra={"session": link.stream.session_id, "missed": len(missed)})
        return missed

    def leave(self, link: Link, *, may_return: bool) -> None:
        """The connection is over: keep the session for a while if its client may come back, or let it go."""
        link.let_go = None
        link.freed.set()
        stream = link.stream
        if link.digest is None or not may_return or self._is_closed:
            self._forget(link)
            return
        stream.detach()
        _log.info("session_detached", extra={"session": stream.session_id, "grace_s": self._grace_s})
        link.expiry = asyncio.get_running_loop().call_later(self._grace_s, self._expire, link)

    def _expire(self, link: Link) -> None:
        _log.info("session_not_resumed", extra={"session": link.stream.session_id})
        self._forget(link)

    def _forget(self, link: Link) -> None:
        # A session that has ended may have a namesake by now.
        if self._links.get(link.stream.session_id) is link:
            del self._links[link.stream.session_id]
        link.stream.abandon()

    def close(self) -> None:
        """Nobody comes back any more."""
        self._is_closed = True
        for link in self._links.values():
            if link.expiry is not None:
                link.expiry.cancel()
        self._links.clear()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
