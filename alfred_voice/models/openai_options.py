"""How to reach a server that speaks OpenAI's protocol: the options of the engine ``openai``.

Apart from the engine, so that the configuration reads them without the engine's libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from alfred_voice.errors import ConfigError


@dataclass(frozen=True, slots=True)
class OpenAiOptions:
    """A server of transcriptions, and how patient to be with it.

    The key's variable is one of our own by default: a key that lies in the environment for another program is not
    sent to whatever server the address names.
    """

    base_url: Annotated[
        str, Meta(min_length=8, max_length=2000, description="server's address, up to and with /v1; https or http")
    ] = "https://api.openai.com/v1"
    model: Annotated[str, Meta(min_length=1, max_length=200, description="model that the server is asked for")] = (
        "whisper-1"
    )
    api_key_env: Annotated[
        str, Meta(max_length=100, description="environment variable with the server's key; empty for no key")
    ] = "ALFRED_OPENAI_API_KEY"
    timeout_s: Annotated[
        float, Meta(ge=0.1, le=600, description="longest that one clip may take, with all attempts and waits")
    ] = 20.0
    connect_timeout_s: Annotated[float, Meta(ge=0.1, le=60, description="longest that a connection may take")] = 3.0
    max_retries: Annotated[int, Meta(ge=0, le=10, description="further attempts after one that failed in passing")] = 2
    max_parallel: Annotated[int, Meta(ge=1, le=64, description="most clips that are with the server at once")] = 8
    breaker_failures: Annotated[
        int, Meta(ge=1, le=1000, description="clips that fail in a row before the server is left alone")
    ] = 5
    breaker_reset_s: Annotated[
        float, Meta(ge=0.1, le=3600, description="how long it is left alone before one clip tries it")
    ] = 15.0
    partials: Annotated[bool, Meta(description="ask for partials too; the whole utterance goes out again for each")] = (
        False
    )

    def __post_init__(self) -> None:
        check_base_url(self.base_url)


def check_base_url(url: str) -> None:
    """Whether requests can go there and nothing secret is in it.

    Raises:
        ValueError: no http address, or one with a name, a password, a query or a fragment.
    """
    # The text itself is only shown where it is sure to hold no password.
    if not url.isprintable() or not url.isascii() or " " in url:
        raise ValueError("base_url: expected an address without spaces and special characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ValueError("base_url: expected an address such as https://host:port/v1") from exc
    if parts.username is not None or parts.password is not None:
        raise ValueError("base_url: expected an address without a name and password; name the key's variable instead")
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        raise ValueError(f"base_url: expected an address such as https://host:port/v1, got {url!r}")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("base_url: expected an address without a query and a fragment")


def find_api_key(variable: str, environ: Mapping[str, str]) -> str:
    """The key that the environment holds under ``variable``; empty when there is none.

    Raises:
        ConfigError: it cannot stand in a header; the message does not show it.
    """
    key = environ.get(variable, "").strip() if variable else ""
    check_api_key(key, variable)
    return key


def check_api_key(key: str, origin: str) -> None:
    """Whether a key can be sent.

    Args:
        key: empty for none.
        origin: where it comes from, for the message.

    Raises:
        ConfigError: it cannot stand in a header; the message does not show it.
    """
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{origin}: expected a key of visible ASCII characters without spaces")
