"""What guards the door, put together from the configuration and checked before anything is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from alfred_voice.clock import Clock, SystemClock
from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.keyring import ENVIRONMENT_VARIABLE
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.origin import is_loopback
from alfred_voice.server.guard.tls import Certificate, certificate_of
from alfred_voice.server.options import ServerOptions


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Security:
    """The guard of one daemon."""

    options: SecurityOptions = field(default_factory=SecurityOptions)
    keys: KeySource = field(default_factory=KeySource)
    """Call its ``reload`` to read the keys file again."""
    certificate: Certificate | None = None
    """None without TLS."""
    clock: Clock = field(default_factory=SystemClock)

    @property
    def scheme(self) -> str:
        """What the daemon's address begins with."""
        return "http" if self.certificate is None else "https"


def open_security(server: ServerOptions, options: SecurityOptions, environ: Mapping[str, str]) -> Security:
    """Read keys and certificate.

    Raises:
        ConfigError: one of them cannot be used, or the daemon would be open to everybody.
    """
    keys = KeySource(options.keys_file, environ)
    check_exposure(server, has_keys=bool(keys.ring))
    security = Security(options, keys, certificate_of(options))
    if keys.ring and security.certificate is None and not is_loopback(server.host):
        _log.warning(
            "keys_in_the_clear",
            extra={"advice": "set security.tls_cert and security.tls_key, unless a proxy in front speaks TLS"},
        )
    return security


def check_exposure(server: ServerOptions, *, has_keys: bool) -> None:
    """Nothing, when the daemon may listen where it is to listen.

    Raises:
        ConfigError: other machines could use it without a key.
    """
    if has_keys or is_loopback(server.host):
        return
    if not server.insecure:
        raise ConfigError(
            f"server.host: {server.host} can be reached by other machines, and no key is configured. "
            f"Set a key (alfred-voice keys new NAME, then security.keys_file or {ENVIRONMENT_VARIABLE}), listen on "
            "127.0.0.1, or let everybody in with --insecure (server.insecure: true)"
        )
    _log.warning("open_to_everybody", extra={"host": server.host, "advice": "set a key; see docs/security.md"})
