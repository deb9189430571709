"""The key that a request brings, in whatever form: header, sub-protocol, query or cookie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import hdrs, web


QUERY_FIELD = "token"
PROTOCOL_PREFIX = "bearer."
"""A browser cannot give a WebSocket headers; what it can give is the names of sub-protocols."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A key as it came. Never to be logged or told."""

    secret: str
    is_in_query: bool = False

    def __repr__(self) -> str:
        return "Credential(...)"


def credential_of(request: web.Request) -> Credential | None:
    """The first key that a request brings: in its header, among its sub-protocols, in its query."""
    scheme, _, secret = request.headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return Credential(secret.strip())
    for name in _offered(request):
        if is_key_protocol(name) and len(name) > len(PROTOCOL_PREFIX):
            return Credential(name[len(PROTOCOL_PREFIX) :])
    secret = request.query.get(QUERY_FIELD, "")
    return Credential(secret, is_in_query=True) if secret else None


def is_key_protocol(name: str) -> bool:
    """Whether the name of a sub-protocol is a key."""
    return name.lower().startswith(PROTOCOL_PREFIX)


def offered_protocols(request: web.Request) -> list[str]:
    """The sub-protocols that a client offers, without those that are keys."""
    return [name for name in _offered(request) if not is_key_protocol(name)]


def _offered(request: web.Request) -> Iterable[str]:
    values = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    return [name for value in values for part in value.split(",") if (name := part.strip())]
