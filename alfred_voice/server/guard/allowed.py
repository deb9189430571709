"""The lists of ``security.allowed_origins`` and ``security.allowed_hosts``. Texts in, names out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
"""Browsers leave them out."""


def read_origins(text: str) -> frozenset[str]:
    """The origins of a list by commas, as browsers write them.

    Raises:
        ValueError: naming those that are none; no request would ever match them.
    """
    return _read("allowed_origins", text, _origin, "https://host[:port] without a path; * is not supported")


def read_hosts(text: str) -> frozenset[str]:
    """The names and addresses of a list by commas, as a ``Host`` without its port has them.

    Raises:
        ValueError: naming those that are none.
    """
    return _read(
        "allowed_hosts", text, _host, "a name such as voice.example without scheme, port and path; * is not supported"
    )


def _read(key: str, text: str, read: Callable[[str], str | None], expected: str) -> frozenset[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    names = {word: read(word) for word in words}
    if wrong := [repr(word[:100]) for word, name in names.items() if name is None]:
        raise ValueError(f"{key}: expected {expected}; got {', '.join(wrong)}")
    return frozenset(name for name in names.values() if name is not None)


def _origin(word: str) -> str | None:
    """An origin as a browser tells it (RFC 6454, section 6.2); None where the word is none."""
    try:
        url = urlsplit(word.lower())
        host, port = url.hostname or "", url.port
    except ValueError:
        return None
    name = _host(f"[{host}]" if ":" in host else host)
    rest = url.path.rstrip("/") or url.query or url.fragment or url.username or url.password
    if name is None or rest or not _SCHEME.fullmatch(url.scheme) or "?" in word or "#" in word or "@" in word:
        return None
    shown_port = "" if port in (None, _DEFAULT_PORTS.get(url.scheme)) else f":{port}"
    return f"{url.scheme}://{f'[{name}]' if ':' in name else name}{shown_port}"


def _host(word: str) -> str | None:
    """A host's name in small letters and ASCII, or its address without brackets; None where the word is neither."""
    bare = word.lower().removesuffix(".")
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        name = bare.encode("idna").decode()
    except UnicodeError:
        return None
    return name if _NAME.fullmatch(name) else None
