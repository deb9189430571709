"""Whose a session is, and how many that one may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """Who opened a session; sessions are counted by it."""

    key: str = ""
    """The name of the key, never the key; empty where none is configured."""
    address: str = ""
    """Where the client is; empty where that is not known. For IPv6 the network, as one client has all of it."""
    max_of_key: int | None = None
    """Sessions that the key may have open at a time; None for any number."""
    max_of_address: int | None = None
    """Sessions that may be open at a time from the address; None for any number."""


NOBODY = Owner()
"""Where nobody keeps count."""
