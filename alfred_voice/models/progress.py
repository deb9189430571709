"""How those who wait hear of a pull."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told how far a pull has come."""

    def update(self, item: str, done: int, total: int) -> None:
        """``done`` of ``total`` bytes of ``item`` are here; it is complete when they are equal."""
        ...

    def note(self, message: str) -> None:
        """A sentence that a person who waits should know."""
        ...


class Silent:
    """Progress that nobody watches."""

    def update(self, item: str, done: int, total: int) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""
