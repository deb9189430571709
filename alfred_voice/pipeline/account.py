"""What one session has told and done, noted as it happens: for its own status and for the daemon's figures."""

from __future__ import annotations

from typing import Any

from alfred_voice.events import (
    ErrorRaised,
    Event,
    FinalTranscription,
    Interrupted,
    SessionResumed,
    SessionStats,
    SpeechOutputEnded,
    TurnCompleted,
)
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.recent import Recent


NEWEST = 64
"""How many of the newest latencies the session's own figures are drawn from."""


class Account:
    """One session's figures; every frame is counted in the daemon's exactly once."""

    __slots__ = ("_dropped", "_final_ms", "_metrics", "_processed", "_turn_ms", "last_text")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._processed = 0
        self._dropped = 0
        self._final_ms = Recent(NEWEST)
        self._turn_ms = Recent(NEWEST)
        self.last_text = ""
        """The newest final that had words."""

    def note(self, event: Event) -> None:
        """Note what the client is told."""
        metrics = self._metrics
        match event:
            case FinalTranscription():
                self.last_text = event.text or self.last_text
                self._final_ms.add(event.latency_ms)
                metrics.record_final(event.latency_ms, has_words=bool(event.text))
                self._note_effort(event)
            case TurnCompleted():
                self._turn_ms.add(event.latency_ms)
                metrics.record_turn(event.latency_ms, event.reason)
            case Interrupted():
                metrics.record_interruption(event.latency_ms)
            case SpeechOutputEnded():
                metrics.spoken_s += event.duration_ms / 1000
            case SessionResumed():
                metrics.sessions_resumed.inc()
            case ErrorRaised():
                metrics.errors.labels(event.code).inc()
            case _:
                pass

    def note_processed(self, in_all: int) -> None:
        """Note how many frames have been judged up to now."""
        if in_all != self._processed:
            self._metrics.frames_processed += in_all - self._processed
            self._processed = in_all

    def note_dropped(self, in_all: int, reason: str) -> None:
        """Note how many frames have been dropped up to now; those that are new are ``load``, ``lost`` or ``ended``."""
        if in_all != self._dropped:
            self._metrics.dropped[reason] += in_all - self._dropped
            self._dropped = in_all

    def note_detached(self) -> None:
        """Note that the session has lost its connection, and is kept."""
        self._metrics.sessions_detached.inc()

    def _note_effort(self, final: FinalTranscription) -> None:
        """Note how much was said, and what recognition has taken for that."""
        length_ms = final.end_ms - final.start_ms
        if length_ms > 0:
            self._metrics.heard_s += length_ms / 1000
            self._metrics.speech.real_time_factor.labels(final.engine).observe(final.processing_ms / length_ms)

    def close(self, stats: SessionStats) -> None:
        """Bring the daemon's figures up to the session's last ones."""
        self.note_processed(stats.frames_processed)
        self.note_dropped(stats.frames_dropped, "ended")

    @property
    def heard(self) -> tuple[str, dict[str, float], dict[str, float]]:
        """The newest final that had words, and the newest latencies of finals and of turns; not to be changed.

        What has not changed is the same object as before.
        """
        return self.last_text, self._final_ms.summary(), self._turn_ms.summary()

    def latencies(self) -> dict[str, Any]:
        """The newest latencies as JSON."""
        return {"final": self._final_ms.summary(), "turn": self._turn_ms.summary()}
