"""How WebRTC is offered: the room ``webrtc`` of the configuration."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


LOWEST_PORT, HIGHEST_PORT = 1024, 65_535
_RANGE = re.compile(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*")


@dataclass(frozen=True, slots=True)
class WebRtcOptions:
    """Sessions over WebRTC: Opus both ways, events on a data channel."""

    enabled: Annotated[bool, Meta(description="answer offers of WebRTC and WHIP; needs the extra 'webrtc'")] = True
    addresses: Annotated[
        str,
        Meta(description="addresses of this machine that media may come to, by commas; empty to follow server.host"),
    ] = ""
    port_range: Annotated[
        str,
        Meta(description="UDP ports that media may come to, such as 50000-50100, at each address; empty for any"),
    ] = ""
    public_address: Annotated[
        str,
        Meta(
            description="addresses that peers are told instead of those of this machine, by commas, where a NAT or a "
            "container stands between and keeps the ports"
        ),
    ] = ""
    connect_timeout_s: Annotated[
        float, Meta(ge=1, le=300, description="longest from the answer to an offer until the connection stands")
    ] = 20.0
    disconnect_grace_s: Annotated[
        float, Meta(ge=8, le=30, description="a peer of which nothing is heard for so long has gone")
    ] = 12.0
    reorder_ms: Annotated[
        float, Meta(ge=0, le=500, description="longest that audio waits for a packet before it that is missing")
    ] = 60.0

    def __post_init__(self) -> None:
        _check_addresses("addresses", self.chosen)
        _check_addresses("public_address", self.announced)
        ports = self.ports
        if ports is not None and not (LOWEST_PORT <= ports.start < ports.stop <= HIGHEST_PORT + 1):
            raise ValueError(
                f"port_range: expected two ports from {LOWEST_PORT} to {HIGHEST_PORT}, the lower one first, "
                f"got {self.port_range[:64]!r}"
            )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The addresses that are named."""
        return _words(self.addresses)

    @property
    def announced(self) -> tuple[str, ...]:
        """The addresses that peers are told, where they are not the machine's own."""
        return _words(self.public_address)

    @property
    def ports(self) -> range | None:
        """The ports that may be used; None for any.

        Raises:
            ValueError: they are not written as they should be.
        """
        if not self.port_range.strip():
            return None
        written = _RANGE.fullmatch(self.port_range)
        if written is None:
            raise ValueError(f"port_range: expected two ports such as 50000-50100, got {self.port_range[:64]!r}")
        return range(int(written[1]), int(written[2]) + 1)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _check_addresses(name: str, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ValueError(f"{name}: expected IP addresses, got {address[:64]!r}") from error
