"""The way back to a session whose connection was lost: "Coming back" in the protocol, from the client's side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from alfred_voice.client.errors import (
    ConversationLost,
    ConversationRefused,
    DaemonSilent,
    DaemonUnreachable,
    NotResumed,
    UnreadableMessage,
)
from alfred_voice.client.framing import ClientEvent, Framing
from alfred_voice.client.link import NORMAL_CLOSURE, Ended, Link
from alfred_voice.client.opening import Door
from alfred_voice.client.return_plan import Absence, ReturnPlan
from alfred_voice.client.sending import KeptSending, error_in


_FINAL = (NORMAL_CLOSURE, 1003, 1008, 1009)
"""Close codes that no other connection mends: over, and what we sent is unsupported, refused, too big. A session that
another connection has taken over is refused, too."""
_MAY_PASS = (408, 409, 425, 429)
"""Answers to a handshake that may be others a moment later, beside those of a server that is in trouble (5xx)."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What the daemon has told of how to come back."""

    session_id: str
    token: str
    grace_s: float


@dataclass(slots=True)
class _Away:
    """The absence that lasts."""

    lost: Ended
    since_s: float
    attempts: int = 0
    retry_after_s: float = 0.0
    trouble: str = ""
    """What came of the last attempt."""


class Returning:
    """Counts events, comes back to their session, and has sent again what was lost. Only the reader uses it."""

    def __init__(self, door: Door, framing: Framing, plan: ReturnPlan, sending: KeptSending) -> None:
        self._door = door
        self._framing = framing
        self._plan = plan
        self._sending = sending
        self._offer: _Offer | None = None
        self._away: _Away | None = None
        self._last_seq = -1

    def limit_s(self, receive_s: float | None) -> float | None:
        """How long to wait for the next event, where a conversation would wait for ``receive_s``."""
        if self._offer is None:
            return receive_s
        limit_s = self._plan.silence_s if self._away is None else self._door.timeouts.connect_s
        return limit_s if receive_s is None else min(limit_s, receive_s)

    def may_follow(self, ended: Ended) -> bool:
        """Whether a connection that ended so can be followed by another one."""
        return self._offer is not None and ended.code not in _FINAL

    async def come_back(self, link: Link, ended: Ended) -> Link:
        """Another connection, on which the session has been asked for; it is there with ``sessionResumed``.

        Cancelled, it may be called again.

        Args:
            link: the connection that was lost.
            ended: how.

        Raises:
            NotResumed: the session is not kept any longer, or its daemon does not let us in.
        """
        offer = self._offer
        if offer is None:
            raise AssertionError("a session that was never there cannot be come back to")
        if self._away is None:
            self._away = _Away(ended, self._plan.clock.now())
            self._plan.watch(Absence(_words(ended)))
        else:
            self._away.trouble = _words(ended)
        await self._sending.pause()
        await link.abandon()
        while (opened := await self._attempt(offer, self._away)) is None:
            pass
        return opened

    def receive(self, event: ClientEvent, link: Link) -> None:
        """Take notice of an event.

        Raises:
            NotResumed: the daemon does not know the session any more, or wants what is not kept.
            UnreadableMessage: an event is missing, or comes twice, or acknowledges what was never sent.
        """
        if self._away is not None and event["type"] == "error" and not event.get("session_id"):
            raise NotResumed(self._away.lost.code, error_in(event))
        self._count(event)
        match event["type"]:
            case "sessionStarted":
                self._begin(event)
            case "sessionResumed":
                self._end_absence(event, link)
            case _:
                try:
                    self._sending.note(event)
                except ValueError as exc:
                    raise UnreadableMessage(str(exc)) from exc

    def _count(self, event: ClientEvent) -> None:
        # Speech has no number: what nobody heard is not said again.
        seq = event.get("seq")
        if seq is None:
            return
        if seq != self._last_seq + 1 and self._offer is not None:
            raise UnreadableMessage(f"expected the event {self._last_seq + 1} of the session, got {seq}: {event}")
        self._last_seq = seq

    def _begin(self, event: ClientEvent) -> None:
        resume = event.get("resume")
        if resume is None:
            self._sending.keep_nothing()
            return
        self._offer = _Offer(str(event["session_id"]), str(resume["token"]), float(resume["grace_s"]))

    def _end_absence(self, event: ClientEvent, link: Link) -> None:
        away, self._away = self._away, None
        if away is None:
            raise UnreadableMessage(f"the daemon resumes a session whose connection was not lost: {event}")
        try:
            self._sending.go_on(link, int(event["audio_bytes"]))
        except ValueError as exc:
            raise NotResumed(away.lost.code, str(exc)) from exc
        self._plan.watch(Absence(_words(away.lost), self._plan.clock.now() - away.since_s, away.attempts))

    async def _attempt(self, offer: _Offer, away: _Away) -> Link | None:
        """One more attempt, as long as the session is kept; None when it came to nothing."""
        left_s = away.since_s + offer.grace_s - self._plan.clock.now()
        if left_s <= 0:
            raise NotResumed(away.lost.code, f"not back within {offer.grace_s:g} s: {away.trouble or 'no time'}")
        await self._plan.sleep(min(self._plan.wait_s(away.attempts, away.retry_after_s), left_s))
        away.attempts += 1
        away.retry_after_s = 0.0
        try:
            return await self._ask(offer)
        except (DaemonUnreachable, DaemonSilent, ConversationLost) as exc:
            away.trouble = str(exc)
        except ConversationRefused as exc:
            if exc.status < 500 and exc.status not in _MAY_PASS:
                raise NotResumed(away.lost.code, str(exc)) from exc
            away.trouble = str(exc)
            away.retry_after_s = exc.retry_after_s or 0.0
        return None

    async def _ask(self, offer: _Offer) -> Link:
        """A new connection on which the session has been asked for."""
        link = await self._door.open(offer.session_id)
        start = {
            "type": "start",
            "session_id": offer.session_id,
            "resume_token": offer.token,
            "last_seq": self._last_seq,
        }
        try:
            await link.send(self._framing.write_control(start), self._door.timeouts.connect_s)
        except (ConversationLost, DaemonSilent, asyncio.CancelledError):
            await link.abandon()
            raise
        return link


def _words(ended: Ended) -> str:
    """How a connection ended, for people."""
    return f"closed with code {ended.code}" + (f": {ended.reason}" if ended.reason else "")
