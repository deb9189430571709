"""What an error repeats of a client's words."""

from __future__ import annotations

from alfred_voice.server.echo import shorten


def test_text_is_shortened_only_when_it_is_too_long() -> None:
    assert shorten("a" * 100) == "a" * 100
    assert shorten("a" * 101) == "a" * 99 + "…"
    assert shorten("") == ""
