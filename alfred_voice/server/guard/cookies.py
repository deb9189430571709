"""Sessions of browsers that have shown a key once: a cookie holds a random value, never the key."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass


LIFETIME_S = 12 * 3600
MOST_OF_KEY = 32
"""The oldest one of the same key goes when there are more: no key's browsers push out another's."""


@dataclass(frozen=True, slots=True)
class _Session:
    digest: bytes
    """Of the key that it stands for; when that is on the ring no more, the session opens nothing."""
    ends_at: float


class Cookies:
    """The browsers' sessions; time is an argument, in seconds."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, _Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, digest: bytes, now: float) -> str:
        """A new session for the key with this digest; the cookie's value."""
        for hashed in [hashed for hashed, session in self._sessions.items() if session.ends_at <= now]:
            del self._sessions[hashed]
        of_key = [hashed for hashed, session in self._sessions.items() if session.digest == digest]
        if len(of_key) >= MOST_OF_KEY:
            del self._sessions[of_key[0]]
        value = secrets.token_urlsafe(32)
        self._sessions[_hashed(value)] = _Session(digest, now + LIFETIME_S)
        return value

    def close(self, value: str) -> bool:
        """End a session at once; whether there was one."""
        return self._sessions.pop(_hashed(value), None) is not None

    def digest_of(self, value: str, now: float) -> bytes | None:
        """The digest of the key that a cookie stands for; None when it is unknown or has expired."""
        # Looked up by hash, so that the time it takes tells nothing about values that exist.
        session = self._sessions.get(_hashed(value))
        if session is None or session.ends_at <= now:
            return None
        return session.digest


def _hashed(value: str) -> bytes:
    return hashlib.sha256(value.encode(errors="replace")).digest()
