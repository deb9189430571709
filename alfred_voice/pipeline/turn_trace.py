"""Which spans a turn comes to: pure, from a session's events and the moments at which they were told.

A turn is what somebody says and what the daemon answers: a span with the children ``vad``, ``stt``, ``turn`` and, for
each speech, ``tts``. No span holds a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Protocol

from alfred_voice.events import (
    Event,
    FinalTranscription,
    SessionFinished,
    SpeechEnded,
    SpeechOutputEnded,
    SpeechOutputStarted,
    SpeechStarted,
    TurnCompleted,
)


_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_OLDEST_VERSION_CHARS = 55
ROOT = "conversation turn"

Value = str | float | bool
"""What an attribute may be."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time with a name; times are clock seconds."""

    name: str
    start: float
    end: float
    attributes: dict[str, Value] = field(default_factory=dict)
    children: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteParent:
    """The client's span, as W3C Trace Context has it."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parse_traceparent(header: str | None) -> RemoteParent | None:
    """What a ``traceparent`` header names; None where it is absent or none, as the standard wants it."""
    found = _TRACEPARENT.fullmatch(header.strip()) if header else None
    if header is None or found is None or (header.startswith("00") and len(header.strip()) != _OLDEST_VERSION_CHARS):
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return RemoteParent(trace_id, span_id, bool(flags & 1)) if trace_id and span_id else None


class Tracing(Protocol):
    """Where spans of turns go."""

    def export(self, span: Span, session_id: str, parent: RemoteParent | None) -> None:
        """Take a turn; must not wait."""


class TurnTrace:
    """One session's turns as they go on.

    Args:
        has_turns: whether ends of turns are told; where not, a turn ends with its final.
    """

    def __init__(self, *, has_turns: bool) -> None:
        self._has_turns = has_turns
        self._heard_until: float | None = None
        """When the end of the newest speech was told."""
        self._open: Span | None = None
        """An utterance whose final was told, and not yet the end of its turn."""
        self._done: Span | None = None
        """A turn that waits for the daemon's answer."""
        self._speech: tuple[SpeechOutputStarted, float] | None = None

    def note(self, event: Event, now: float) -> list[Span]:
        """Take an event that was told at ``now``; returns the turns that are complete by it."""
        match event:
            case SpeechStarted():
                # While the daemon still speaks, the speech belongs to the turn before.
                return [] if self._speech is not None else self._take_done()
            case SpeechEnded():
                self._heard_until = now
            case FinalTranscription():
                self._open = self._utterance(event, now)
                return [] if self._has_turns else self._complete(self._open)
            case TurnCompleted():
                return self._end_turn(event, now)
            case SpeechOutputStarted():
                self._speech = (event, now)
            case SpeechOutputEnded():
                return self._end_speech(event, now)
            case SessionFinished():
                return self._take_done()
            case _:
                pass
        return []

    def _utterance(self, final: FinalTranscription, now: float) -> Span:
        ended = now - max(0.0, final.latency_ms / 1000)
        begun = ended - max(0.0, (final.end_ms - final.start_ms) / 1000)
        heard_until = ended if self._heard_until is None else min(max(self._heard_until, ended), now)
        self._heard_until = None
        vad = Span("vad", begun, heard_until, {"speech_ms": round(final.end_ms - final.start_ms, 1)})
        stt = Span(
            "stt",
            ended,
            now,
            {"engine": final.engine, "processing_ms": round(final.processing_ms, 1), "has_words": bool(final.text)},
        )
        return Span(ROOT, begun, now, {"utterance": final.utterance}, (vad, stt))

    def _end_turn(self, event: TurnCompleted, now: float) -> list[Span]:
        ended = now - max(0.0, event.latency_ms / 1000)
        turn, self._open = self._open or Span(ROOT, ended, now, {"utterance": event.utterance}), None
        judged = Span("turn", ended, now, {"reason": event.reason, "probability": round(event.probability, 4)})
        return self._complete(_with_child(turn, judged))

    def _end_speech(self, event: SpeechOutputEnded, now: float) -> list[Span]:
        if self._speech is None or self._speech[0].speech_id != event.speech_id:
            return []  # it was cancelled before it began
        started, begun = self._speech
        self._speech = None
        said = Span("tts", begun, now, {"voice": started.voice, "cancelled": event.cancelled,
                                        "duration_ms": round(event.duration_ms, 1)})  # fmt: skip
        if self._done is None:
            return [said]
        self._done = _with_child(self._done, said)
        return self._take_done() if event.cancelled else []

    def _complete(self, turn: Span) -> list[Span]:
        before = self._take_done()
        self._open, self._done = None, turn
        return before

    def _take_done(self) -> list[Span]:
        done, self._done = self._done, None
        return [] if done is None else [done]


def _with_child(span: Span, child: Span) -> Span:
    return replace(span, end=max(span.end, child.end), children=(*span.children, child))
