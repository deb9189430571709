"""Sessions of browsers that have shown a key once: a cookie holds a random value, never the key."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass


LIFETIME_S = 12 * 3600
MOST = 256
"""The oldest one goes when there are more."""


@dataclass(frozen=True, slots=True)
class _Session:
    digest: bytes
    """Of the key that it stands for; when that is on the ring no more, the session opens nothing."""
    ends_at: float


class Cookies:
    """The browsers' sessions; time is an argument, in seconds."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, digest: bytes, now: float) -> str:
        """A new session for the key with this digest; the cookie's value."""
        value = secrets.token_urlsafe(32)
        self._sessions[_hashed(value)] = _Session(digest, now + LIFETIME_S)
        while len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return value

    def digest_of(self, value: str, now: float) -> bytes | None:
        """The digest of the key that a cookie stands for; None when it is unknown or has expired."""
        # Looked up by hash, so that the time it takes tells nothing about values that exist.
        session = self._sessions.get(_hashed(value))
        if session is None or session.ends_at <= now:
            return None
        return session.digest


def _hashed(value: str) -> bytes:
    return hashlib.sha256(value.encode(errors="replace")).digest()
