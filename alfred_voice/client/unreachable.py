"""Why nothing answers at an address, and what to do about it."""

from __future__ import annotations

import os
import ssl

import aiohttp
from yarl import URL

from alfred_voice.client.errors import DaemonUnreachable


_SECURE = {"ws": "wss", "http": "https"}
_PLAIN = {secure: plain for plain, secure in _SECURE.items()}


def unreachable(address: URL, error: Exception) -> DaemonUnreachable:
    """The error for a connection that did not come about.

    Args:
        address: what was asked for.
        error: what the library or the system said.
    """
    place = address.with_query(None)  # a key may be in it
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return DaemonUnreachable(f"{place}: {_about_certificate(error.certificate_error)}")
    if isinstance(error, aiohttp.ClientConnectorSSLError) and place.scheme in _PLAIN:
        other = place.with_scheme(_PLAIN[place.scheme])
        return DaemonUnreachable(f"{place}: no TLS there ({_said(error)}); does it speak without? try {other}")
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError) and place.scheme in _SECURE:
        other = place.with_scheme(_SECURE[place.scheme])
        return DaemonUnreachable(f"{place}: closed without an answer; does it speak TLS? try {other}")
    return DaemonUnreachable(f"no daemon answers at {place} ({_said(error)}); start one with: alfred-voice serve")


def _about_certificate(error: Exception) -> str:
    why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
    if "mismatch" in why or "not valid for" in why:
        return f"its certificate is for another name ({why}); call the daemon by a name that stands in it"
    return f"its certificate is not trusted ({why}); for one of your own making set SSL_CERT_FILE=FILE.crt"


def _said(error: Exception) -> str:
    """What the system says, in a word or two where it has a word of its own."""
    reason = getattr(error, "os_error", error)
    if isinstance(reason, OSError) and reason.errno is not None and reason.errno > 0:
        return os.strerror(reason.errno).lower()  # the event loop's own text repeats the address
    return (reason.strerror if isinstance(reason, OSError) else "") or str(error) or type(error).__name__
