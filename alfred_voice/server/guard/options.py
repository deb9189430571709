"""Who may ask for what, and how often: the room ``security`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from alfred_voice.server.guard.allowed import read_hosts, read_origins


_Path = Annotated[str, Meta(min_length=1)]
_AT_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """Keys, origins, TLS and limits against abuse."""

    keys_file: Annotated[
        _Path | None, Meta(description="TOML file of the keys that clients need; null for none, see docs/security.md")
    ] = None
    allowed_origins: Annotated[
        str, Meta(description="origins whose pages may use the daemon, such as https://app.example, by commas")
    ] = ""
    allowed_hosts: Annotated[
        str, Meta(description="names that the daemon is addressed by where no key is configured, by commas")
    ] = ""
    tls_cert: Annotated[
        _Path | None, Meta(description="PEM file of the certificate and its chain; null for no TLS")
    ] = None
    tls_key: Annotated[_Path | None, Meta(description="PEM file of the certificate's private key")] = None
    max_sessions_per_address: Annotated[
        int, Meta(ge=0, le=_AT_MOST, description="sessions that one address may have open; 0 for no limit")
    ] = 0
    max_connections: Annotated[int, Meta(ge=1, le=_AT_MOST, description="TCP connections that may be open")] = 4096
    head_timeout_s: Annotated[
        float, Meta(ge=0.1, le=600, description="longest that a new connection may take to send its request's head")
    ] = 15.0
    control_messages_per_s: Annotated[
        float, Meta(gt=0, le=_AT_MOST, description="messages other than audio that a WebSocket may go on sending")
    ] = 50.0
    control_burst: Annotated[
        int, Meta(ge=1, le=_AT_MOST, description="messages other than audio that a WebSocket may send at once")
    ] = 200
    failed_attempts_per_minute: Annotated[
        int, Meta(ge=0, le=_AT_MOST, description="wrong keys that one address may send; 0 for no limit")
    ] = 10

    def __post_init__(self) -> None:
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ValueError("expected tls_cert and tls_key together, got one of the two")
        read_origins(self.allowed_origins)
        read_hosts(self.allowed_hosts)

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins, as browsers write them."""
        return read_origins(self.allowed_origins)

    @property
    def hosts(self) -> frozenset[str]:
        """The allowed names of hosts, without ports."""
        return read_hosts(self.allowed_hosts)
