"""What one client asks for when it opens a session: the fields of ``start``, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from alfred_voice.errors import InvalidSettings
from alfred_voice.events import DEFAULT_EVENTS, EVENT_TYPES
from alfred_voice.models.spoken import SHAPE, is_language


MIN_SAMPLE_RATE = 8_000
MAX_SAMPLE_RATE = 48_000
ENCODINGS = ("pcm_s16le", "pcm_f32le", "mulaw", "alaw")

_SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """One session's format and wishes.

    Raises:
        InvalidSettings: naming the field, what was expected and what came.
    """

    session_id: str
    sample_rate: int = 16_000
    channels: int = 1
    encoding: str = "pcm_s16le"
    language: str | None = None
    """None for the configured one."""
    events: frozenset[str] = DEFAULT_EVENTS
    """Types on the wire that the client gets."""
    partials: bool = True
    turns: bool = True
    engine: str | None = None
    """Which recogniser; None for the configured one."""
    resumable: bool = False
    """Whether the session outlives its connection for a while."""

    def __post_init__(self) -> None:
        if not _SESSION_ID.fullmatch(self.session_id):
            raise InvalidSettings(
                f"session_id: expected 1 to 128 of A-Z a-z 0-9 . _ : -, got {self.session_id[:140]!r}"
            )
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise InvalidSettings(
                f"sample_rate: expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, got {self.sample_rate}"
            )
        if self.channels not in (1, 2):
            raise InvalidSettings(f"channels: expected 1 or 2, got {self.channels}")
        if self.language is not None and not is_language(self.language):
            raise InvalidSettings(f"language: expected a code {SHAPE}, got {self.language[:64]!r}")
        if self.encoding not in ENCODINGS:
            raise InvalidSettings(f"encoding: expected one of {', '.join(ENCODINGS)}, got {self.encoding!r}")


def wanted_events(asked: list[str] | None) -> frozenset[str]:
    """The event types a client gets that sent ``events: asked``.

    ``None`` or an empty list is the default set, ``["*"]`` is all, and any other list adds to the default.

    Raises:
        InvalidSettings: a name that is no event type.
    """
    if not asked:
        return DEFAULT_EVENTS
    if asked == ["*"]:
        return frozenset(EVENT_TYPES.values())
    unknown = sorted(set(asked) - set(EVENT_TYPES.values()))
    if unknown:
        known = ", ".join(sorted(EVENT_TYPES.values()))
        raise InvalidSettings(f"events: unknown {', '.join(map(repr, unknown))}; expected '*' alone or any of {known}")
    return DEFAULT_EVENTS | frozenset(asked)
