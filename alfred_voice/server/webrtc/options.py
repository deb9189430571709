"""How WebRTC is offered: the room ``webrtc`` of the configuration."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class WebRtcOptions:
    """Sessions over WebRTC: Opus both ways, events on a data channel."""

    enabled: Annotated[bool, Meta(description="answer offers of WebRTC and WHIP; needs the extra 'webrtc'")] = True
    addresses: Annotated[
        str,
        Meta(description="addresses of this machine that media may come to, by commas; empty to follow server.host"),
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
        for address in self.chosen:
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise ValueError(f"addresses: expected IP addresses, got {address[:64]!r}") from error

    @property
    def chosen(self) -> tuple[str, ...]:
        """The addresses that are named."""
        return tuple(word.strip() for word in self.addresses.split(",") if word.strip())
