"""Which pages may use the daemon, and by which names it may be called. Values in, values out.

A browser lets any page open WebSockets and send simple requests to any address, this machine's included, and tells
with ``Origin`` whose page it is. A page whose own name was made to lead here (DNS rebinding) has an ``Origin`` that
equals the ``Host``; what gives it away is that the daemon does not go by that name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from yarl import URL

from alfred_voice.server.errors import HostRefused, OriginRefused


CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  compared with, not listened on


@dataclass(frozen=True, slots=True)
class Doorplate:
    """What the daemon goes by."""

    bound: str
    """The address that it listens on, as it is configured."""
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def check_origin(self, scheme: str, headers: Mapping[str, str]) -> None:
        """Nothing, when a request that changes something, or opens a WebSocket, may come from where it comes from.

        Args:
            scheme: ``http`` or ``https``, as the request came in.
            headers: the request's.

        Raises:
            OriginRefused: it is another origin's page that asks.
        """
        origin = headers.get("Origin")
        if origin is not None and self.allows(origin):
            return
        is_foreign = headers.get("Sec-Fetch-Site", "").strip().lower() in _FOREIGN_SITES
        if is_foreign or (origin is not None and not is_same_origin(origin, scheme, headers.get("Host", ""))):
            raise OriginRefused(
                "pages of other origins may not do this; those in security.allowed_origins may"
                if origin is None
                else f"pages of {_shown(origin)} may not do this; those in security.allowed_origins may"
            )

    def check_own_page(self, headers: Mapping[str, str]) -> None:
        """Nothing, when a page of the daemon's own asks, or a program that is no browser.

        Stricter than :meth:`check_origin`: not even a page that is allowed signs somebody else's browser in or out.

        Raises:
            OriginRefused: a browser says that it is another's.
        """
        if headers.get("Sec-Fetch-Site", "same-origin").strip().lower() != "same-origin":
            raise OriginRefused("only the daemon's own pages may do this")

    def allows(self, origin: str) -> bool:
        """Whether an origin is among those that are configured."""
        return origin.lower() in self.origins

    def check_host(self, host: str | None, local_address: str) -> None:
        """Nothing, when the daemon goes by the name that a request calls it.

        Args:
            host: its ``Host``; None where it has none, as no browser leaves it out.
            local_address: this end of its connection.

        Raises:
            HostRefused: it goes by other names.
        """
        if host is None:
            return
        name, _ = split_host(host)
        if is_loopback(name) or name in self.hosts or name in (self.bound.lower(), plain_address(local_address)):
            return
        if self.bound in _EVERYWHERE and is_address(name):
            return  # a name can be made to lead here, a number cannot
        raise HostRefused(f"the daemon does not go by {_shown(name)}; security.allowed_hosts says what it goes by")


def is_same_origin(origin: str, scheme: str, host: str) -> bool:
    """Whether an ``Origin`` is that of the address in ``scheme`` and ``Host``."""
    try:
        url = URL(origin)
        known = (url.scheme.lower(), (url.host or "").lower(), url.port)
    except ValueError:
        return False
    if not known[1]:
        return False  # "null": a page without an origin of its own
    name, port = split_host(host)
    return known == (scheme, name, port or _DEFAULT_PORTS.get(scheme))


def split_host(host: str) -> tuple[str, int | None]:
    """Name and port of a ``Host``; an IPv6 address comes without its brackets, a port that is none as -1."""
    host = host.strip().lower()
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        rest = rest.removeprefix(":")
    else:
        name, _, rest = host.partition(":")
    if not rest:
        return name.rstrip("."), None
    return name.rstrip("."), int(rest) if rest.isascii() and rest.isdigit() and len(rest) <= 5 else -1


def is_loopback(name: str) -> bool:
    """Whether a name or address leads to this machine whatever anybody says."""
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    try:
        return ipaddress.ip_address(plain_address(name)).is_loopback
    except ValueError:
        return False


def is_address(name: str) -> bool:
    """Whether a name is a number."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def plain_address(address: str) -> str:
    """An address without its zone; an IPv4 address in an IPv6 one as itself."""
    bare = address.partition("%")[0]
    try:
        number = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    return str(mapped or number)


def household_of(address: str) -> str:
    """What limits for an address count by: one IPv4 address, or an IPv6 network of 64 bits, as one client has it."""
    plain = plain_address(address)
    try:
        number = ipaddress.ip_address(plain)
    except ValueError:
        return plain
    if isinstance(number, ipaddress.IPv4Address):
        return plain
    return str(ipaddress.ip_network((number, 64), strict=False))


def preflight_headers(origin: str) -> dict[str, str]:
    """The answer to a browser that asks whether a page of an allowed origin may ask (Fetch standard, CORS)."""
    return {
        **shared_headers(origin),
        "Access-Control-Allow-Methods": ", ".join(("GET", "HEAD", *sorted(CHANGING))),
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, If-Match",
        "Access-Control-Max-Age": "600",
    }


def shared_headers(
    origin: str, exposed: Iterable[str] = ("Location", "Retry-After", "X-Encoding", "X-Sample-Rate", "X-Session-Id")
) -> dict[str, str]:
    """What lets a page of an allowed origin read an answer. No cookies: such a page brings a key."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": ", ".join(exposed),
        "Vary": "Origin",
    }


def _shown(text: str) -> str:
    return repr(text[:100])
