"""How much of a client's own words an error's sentence repeats."""

from __future__ import annotations


ECHO_CHARS = 100
"""The most of a client's data that an error repeats."""


def shorten(text: str, limit: int = ECHO_CHARS) -> str:
    """``text`` with at most ``limit`` characters, an ellipsis for the rest."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
