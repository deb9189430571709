"""What a transcript comes to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What a transcript comes to."""

    abstract: str
    """A few sentences."""
    bullets: tuple[str, ...] = ()
    """The important points, without marks before them."""

    @property
    def text(self) -> str:
        """The abstract, then a line for each point."""
        return "\n".join([*([self.abstract] if self.abstract else []), *(f"- {bullet}" for bullet in self.bullets)])
