"""The certificate of the door, and its successors: the files are read again when they change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import NoReturn

from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.options import SecurityOptions


_log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
"""How often the files are looked at."""


class Certificate:
    """A certificate and its key in files.

    Args:
        cert: the certificate and its chain, PEM.
        key: its private key, PEM, not encrypted.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(self, cert: str, key: str) -> None:
        self._cert = Path(cert).expanduser()
        self._key = Path(key).expanduser()
        self._seen = self._signature()
        self.context = self._fresh()

    def look(self) -> None:
        """Take the files over if they have changed; connections that are open keep what they have.

        Files that cannot be used leave everything as it is.
        """
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            # On trial first: a context into which a pair was loaded that does not match has no key any more.
            self._fresh()
            self._load_into(self.context)
        except ConfigError as error:
            _log.error("certificate_not_reloaded", extra={"reason": str(error)})
            return
        _log.info("certificate_reloaded")

    async def watch(self) -> None:
        """Look now and then until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()  # not in a thread: handshakes of this very moment use the context

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        for option, path in (("tls_cert", self._cert), ("tls_key", self._key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise ConfigError(f"security.{option}: {path} cannot be read: {error.strerror or error}") from error
        try:
            context.load_cert_chain(self._cert, self._key, password=self._refuse_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                reason = f"the key in {self._key} is not that of the certificate in {self._cert}"
            else:
                reason = f"expected a certificate in {self._cert} and its key in {self._key}, both PEM"
            raise ConfigError(f"security.tls_cert, security.tls_key: {reason}") from error

    def _refuse_password(self) -> NoReturn:
        raise ConfigError(f"security.tls_key: {self._key} is encrypted; the daemon has nobody to ask for the password")

    def _signature(self) -> tuple[tuple[int, int], ...]:
        """When the files were changed, and their sizes; zeros for one that is not there."""
        found = []
        for path in (self._cert, self._key):
            try:
                state = path.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((state.st_mtime_ns, state.st_size))
        return tuple(found)


def certificate_of(options: SecurityOptions) -> Certificate | None:
    """The configured certificate; None where there is none.

    Raises:
        ConfigError: it cannot be used.
    """
    if options.tls_cert is None or options.tls_key is None:
        return None
    return Certificate(options.tls_cert, options.tls_key)
