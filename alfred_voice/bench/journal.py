"""What one client of a load is told, noted as it comes, and the figures that this amounts to.

All delays are counted from the moment at which the client's audio was due to be sent, whether it was sent then or
later. A sample is due with the frame that it is in.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from alfred_voice.audio.pcm import FRAME_SAMPLES
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.script import Spoken
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES


_SAMPLES_PER_MS = SAMPLE_RATE // 1000
_ONSET_SLACK_MS = 700.0
"""By so much the daemon may put a turn's beginning before where loudness does: its pre-roll, and quiet breath."""
_SHORTEST_MS = 500.0
"""A turn that the end of the session cuts shorter need neither be heard nor interrupt."""
_INTERRUPTION_WITHIN_S = 5.0
"""Later than that after a turn's beginning, an interruption belongs to something else."""


class _Event(msgspec.Struct):
    """Those fields of any event that are of use here."""

    type: str
    at_ms: float = 0.0
    end_ms: float = 0.0
    utterance: int = -1
    frame: int = -1
    reason: str = ""
    code: str = ""
    step: str = ""
    stats: dict[str, float] = {}
    retry_after_s: float | None = None


# It holds no state between calls: a compiled table of the type above.
_DECODER = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class Journal:
    """One session as its client saw it; times are clock seconds of arrival."""

    is_started: bool = False
    frame_numbers: array[int] = field(default_factory=lambda: array("q"))
    frame_arrivals: array[float] = field(default_factory=lambda: array("d"))
    onsets_ms: list[float] = field(default_factory=list)
    """``speechStart``, by sample clock."""
    partials: list[tuple[float, float]] = field(default_factory=list)
    """``end_ms`` and arrival."""
    finals: list[tuple[int, float, float]] = field(default_factory=list)
    """Utterance, ``end_ms`` and arrival."""
    turns: list[tuple[int, float, float, str]] = field(default_factory=list)
    """Utterance, ``at_ms``, arrival and reason."""
    pendings: list[float] = field(default_factory=list)
    """``turnPending``; arrivals."""
    interruptions: list[float] = field(default_factory=list)
    """Arrivals."""
    warnings: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    """Steps of backpressure that the client was told of."""
    end_reason: str | None = None
    stats: dict[str, float] = field(default_factory=dict)
    lost: str = ""
    """Why the connection broke, if it did."""
    retry_after_s: float | None = None
    """When to come again, where an error said so."""

    def receive(self, payload: bytes, now: float) -> None:
        """Note one event: a JSON object."""
        event = _DECODER.decode(payload)
        match event.type:
            case "frameProcessed":
                self.frame_numbers.append(event.frame)
                self.frame_arrivals.append(now)
            case "partialTranscription":
                self.partials.append((event.end_ms, now))
            case "speechStart":
                self.onsets_ms.append(event.at_ms)
            case "finalTranscription":
                self.finals.append((event.utterance, event.end_ms, now))
            case "turnComplete":
                self.turns.append((event.utterance, event.at_ms, now, event.reason))
            case "turnPending":
                self.pendings.append(now)
            case "interruption":
                self.interruptions.append(now)
            case _:
                self._receive_rare(event)

    def _receive_rare(self, event: _Event) -> None:
        match event.type:
            case "sessionStarted":
                self.is_started = True
            case "warning":
                self.warnings[event.code] += 1
            case "error":
                self.errors[event.code] += 1
                self.retry_after_s = event.retry_after_s
            case "backpressureTriggered":
                self.steps[event.step] += 1
            case "sessionEnded":
                self.end_reason, self.stats = event.reason, event.stats


@dataclass(frozen=True, slots=True)
class Timeline:
    """When the audio of one session was due."""

    starts_s: float
    """When the first frame was due, clock seconds."""
    frames: int
    counted_from_s: float
    """What was due before is not counted among the delays: everything is still warming up."""

    def due_s(self, end_sample: int) -> float:
        """When the sample before ``end_sample`` was due."""
        last = min(self.frames, max(1, -(-end_sample // FRAME_SAMPLES))) - 1
        return self.starts_s + last * FRAME_S

    def due_at_ms_s(self, end_ms: float) -> float:
        """When the last sample before ``end_ms`` on the session's clock was due."""
        return self.due_s(round(end_ms * _SAMPLES_PER_MS))


@dataclass(slots=True)
class Figures:
    """What some sessions came to; delays in milliseconds."""

    sessions: int = 0
    frame_age_ms: list[float] = field(default_factory=list)
    """From the frame that completes a window to the verdict on the frames in it."""
    frame_wait_ms: list[float] = field(default_factory=list)
    """From each frame to its verdict; up to 40 ms of that it waits for its window to be full."""
    partial_lag_ms: list[float] = field(default_factory=list)
    """From the last sample that a partial is about."""
    final_ms: list[float] = field(default_factory=list)
    """From the last sample of speech; of turns that ended by themselves, like the next two."""
    final_prompt_ms: list[float] = field(default_factory=list)
    """Those for which the daemon did not wait because the turn model took the speaker for not done yet."""
    turn_ms: list[float] = field(default_factory=list)
    interruption_ms: list[float] = field(default_factory=list)
    """From the first sample of speech over the daemon's own."""
    interruptions_due: int = 0
    turns_spoken: int = 0
    turns_unheard: int = 0
    """Turns in which the daemon found no beginning of speech."""
    finals_due: int = 0
    """Utterances that the daemon counted itself, or that the client saw begin."""
    finals: int = 0
    finals_lost: int = 0
    finals_twice: int = 0
    frames_sent: int = 0
    frames_processed: int = 0
    frames_dropped: int = 0
    frames_unaccounted: int = 0
    """Neither processed nor dropped, by the daemon's own account: those of sessions that did not end."""
    speech_frames: int = 0
    unended: int = 0
    """Sessions that were not told that they had ended."""
    warnings: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    """Connections that broke, by why."""


def merged(parts: Iterable[Figures]) -> Figures:
    """The figures of all together."""
    whole = Figures()
    for part in parts:
        for name in (column.name for column in fields(Figures)):
            mine: Any = getattr(whole, name)
            mine += getattr(part, name)
            setattr(whole, name, mine)
    return whole


def figures_of(journal: Journal, timeline: Timeline, spoken: Sequence[Spoken], speech_frames: int = 0) -> Figures:
    """What one session came to.

    Args:
        journal: what its client was told.
        timeline: when its audio was due.
        spoken: its turns.
        speech_frames: how much of its audio these are.
    """
    figures = Figures(sessions=1, frames_sent=timeline.frames, speech_frames=speech_frames)
    _add_frames(figures, journal, timeline)
    _add_speech(figures, journal, timeline)
    _add_turns(figures, journal, timeline, spoken)
    _add_account(figures, journal)
    return figures


def completing_frame(frame: int) -> int:
    """The frame with which the window is full that holds the last sample of ``frame``."""
    window_end = -(-(frame + 1) * FRAME_SAMPLES // WINDOW_SAMPLES) * WINDOW_SAMPLES
    return -(-window_end // FRAME_SAMPLES) - 1


def _add_frames(figures: Figures, journal: Journal, timeline: Timeline) -> None:
    for frame, arrival in zip(journal.frame_numbers, journal.frame_arrivals, strict=True):
        complete = completing_frame(frame)
        sent_s = timeline.starts_s + frame * FRAME_S
        # The last window is filled up when the session is told to stop.
        if complete < timeline.frames and sent_s >= timeline.counted_from_s:
            figures.frame_age_ms.append((arrival - timeline.starts_s - complete * FRAME_S) * 1000)
            figures.frame_wait_ms.append((arrival - sent_s) * 1000)


def _add_speech(figures: Figures, journal: Journal, timeline: Timeline) -> None:
    def delay(end_ms: float, arrival: float) -> list[float]:
        due_s = timeline.due_at_ms_s(end_ms)
        return [(arrival - due_s) * 1000] if due_s >= timeline.counted_from_s else []

    for end_ms, arrival in journal.partials:
        figures.partial_lag_ms += delay(end_ms, arrival)
    reasons = {utterance: reason for utterance, _, _, reason in journal.turns}
    for utterance, end_ms, arrival in journal.finals:
        reason = reasons.get(utterance)
        # Those that the end of the session cut off had no silence to wait for.
        if reason != "flush":
            figures.final_ms += delay(end_ms, arrival)
        ended_s = timeline.due_at_ms_s(end_ms)
        if reason != "flush" and not any(ended_s < pending < arrival for pending in journal.pendings):
            figures.final_prompt_ms += delay(end_ms, arrival)
    for _, at_ms, arrival, reason in journal.turns:
        if reason != "flush":
            figures.turn_ms += delay(at_ms, arrival)


def _add_turns(figures: Figures, journal: Journal, timeline: Timeline, spoken: Sequence[Spoken]) -> None:
    whole = [turn for turn in spoken if turn.end_of_speech - turn.first_speech >= _SHORTEST_MS * _SAMPLES_PER_MS]
    figures.turns_spoken = len(whole)
    for turn in whole:
        first_ms, end_ms = turn.first_speech / _SAMPLES_PER_MS, turn.end_of_speech / _SAMPLES_PER_MS
        is_heard = any(first_ms - _ONSET_SLACK_MS <= onset < end_ms for onset in journal.onsets_ms)
        figures.turns_unheard += not is_heard
        due_s = timeline.due_s(turn.first_speech + 1)
        if turn.interrupts and due_s >= timeline.counted_from_s:
            figures.interruptions_due += 1
            waits = (arrival - due_s for arrival in journal.interruptions)
            found = min((wait for wait in waits if 0 <= wait < _INTERRUPTION_WITHIN_S), default=None)
            figures.interruption_ms += [] if found is None else [found * 1000]


def _add_account(figures: Figures, journal: Journal) -> None:
    told = Counter(utterance for utterance, _, _ in journal.finals)
    # Without the daemon's own count, speech that began after the last final is what is known to be missing.
    seen = max(told, default=-1) + 1
    newest_ms = max((end_ms for _, end_ms, _ in journal.finals), default=-1.0)
    open_now = any(onset >= newest_ms for onset in journal.onsets_ms)
    figures.finals_due = max(seen, int(journal.stats.get("utterances", seen + open_now)))
    figures.finals = len(told)
    figures.finals_lost = figures.finals_due - len(told)
    figures.finals_twice = told.total() - len(told)
    figures.frames_processed = int(journal.stats.get("frames_processed", 0))
    figures.frames_dropped = int(journal.stats.get("frames_dropped", 0))
    figures.frames_unaccounted = figures.frames_sent - figures.frames_processed - figures.frames_dropped
    figures.unended = int(journal.end_reason is None)
    figures.warnings, figures.errors, figures.steps = journal.warnings, journal.errors, journal.steps
    figures.losses = Counter([journal.lost] if journal.lost else [])
