"""What a stream is made of: whoever opens a session hands it over in one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alfred_voice.clock import Clock
from alfred_voice.events import Event
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.outbox import Outbox
from alfred_voice.pipeline.voice import Voice
from alfred_voice.session.session import Session


if TYPE_CHECKING:
    from alfred_voice.pipeline.stream import Stream


@dataclass(frozen=True, slots=True, eq=False)
class StreamParts:
    """All that one session has of its own, and what it is wired to."""

    session: Session
    outbox: Outbox
    voice: Callable[[Callable[[Event], None]], Voice]
    """Makes the session's voice, given where its events go."""
    clock: Clock
    metrics: Metrics
    wake: Callable[[Stream], None]
    """Asks for :meth:`Stream.advance` to be called soon."""
    transport: str
    queue_frames: int
    trace: Callable[[Event], None] | None = None
    """Is told of every event, where turns are traced."""
