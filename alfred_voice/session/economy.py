"""What a session does without while the daemon is under load."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Economy:
    """The defaults are those of a session that does without nothing."""

    partial_factor: float = 1.0
    """By how much the interval between partials is longer than configured; 0 for no partials."""
    recheck_factor: float = 1.0
    """By how much longer a pause has to go on before the turn model is asked about it again."""
    speculates: bool = True
    """Whether the final is decoded ahead of the endpoint, which may be in vain."""
