"""What a session tells. One frozen dataclass per event of the native protocol.

Field names are those on the wire; ``session_id`` and ``seq`` are added when the event is
numbered, at the outbox. Every ``*_ms`` that speaks of audio is on the session's sample clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from alfred_voice.results import Word


EndReason = Literal["stop", "idle", "max_duration", "shutdown", "error"]
TurnReason = Literal["model", "silence", "flush"]
StepName = Literal["none", "reduce_quality", "drop_frames", "pause_processing"]


@dataclass(frozen=True, slots=True)
class ResumeOffer:
    """How a client that has lost its connection takes its session up again."""

    token: str
    grace_s: float
    """How long the session waits for it."""


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The session is open; the first event of every session."""

    sample_rate: int
    encoding: str
    engines: dict[str, str]
    """``vad``, ``stt``, ``turn``, ``tts`` -> the engine's name."""
    limits: dict[str, int]
    """``max_session_s``, ``max_message_bytes``, ``queue_ms``."""
    resume: ResumeOffer | None = None
    """For a session that outlives its connection."""
    recorded: bool | None = None
    """True where the session's audio is stored; None where it is not."""


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """A client has come back, and has been told what it missed."""

    audio_bytes: int
    """How much of its audio has been taken since the session began; it goes on sending from there."""


@dataclass(frozen=True, slots=True)
class AudioAcknowledged:
    """How much of the client's audio has been taken; once a second, where a session can be resumed."""

    audio_bytes: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech has begun."""

    at_ms: float
    """The first speech sample, pre-roll included."""
    probability: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Silence has lasted long enough for the speech to be over."""

    at_ms: float
    """The last speech sample."""
    duration_ms: float
    """From the speech's ``at_ms`` at its start."""


@dataclass(frozen=True, slots=True)
class PartialTranscription:
    """What the open utterance sounds like so far."""

    utterance: int
    text: str
    stable_text: str
    """A prefix of ``text`` that never changes again."""
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class FinalTranscription:
    """The utterance's text; exactly one for each utterance."""

    utterance: int
    text: str
    """Empty when there were no words."""
    start_ms: float
    end_ms: float
    words: tuple[Word, ...]
    language: str
    engine: str
    confidence: float
    processing_ms: float
    latency_ms: float
    """From the arrival of the last speech sample to this event."""


@dataclass(frozen=True, slots=True)
class TurnPending:
    """The speaker paused, and the turn model says that they are not done."""

    probability: float
    silence_ms: float


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """The speaker is done."""

    utterance: int
    probability: float
    at_ms: float
    silence_ms: float
    reason: TurnReason
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The speaker talked over the daemon's own speech, which has been stopped."""

    at_ms: float
    speech_id: int
    spoken_ms: float
    """How much of the speech had been played."""
    latency_ms: float
    """From the first speech sample to this event."""


@dataclass(frozen=True, slots=True)
class SpeechOutputStarted:
    """Audio of a synthesised speech follows."""

    speech_id: int
    text: str
    sample_rate: int
    encoding: str
    voice: str


@dataclass(frozen=True, slots=True)
class SpeechOutputEnded:
    """No audio of that speech follows."""

    speech_id: int
    duration_ms: float
    cancelled: bool


@dataclass(frozen=True, slots=True)
class FrameProcessed:
    """The detector's word on one 20 ms frame; only for those who ask for it."""

    frame: int
    at_ms: float
    speech_probability: float
    is_speech: bool
    processing_ms: float


@dataclass(frozen=True, slots=True)
class PipelineHealth:
    """The state of the whole daemon, once a second."""

    status: dict[str, Any]
    """The objects of ``/pipeline/status``; they stand at the top level on the wire."""


@dataclass(frozen=True, slots=True)
class BackpressureTriggered:
    """The daemon degrades to hold its deadlines."""

    step: StepName
    load: float
    """0 to 1."""
    buffered_ms: float
    """Audio of this session that waits."""
    rung: int = 0
    """How far the daemon has gone, 0 to 5; rungs 1 to 3 are all ``reduce_quality``."""


@dataclass(frozen=True, slots=True)
class BackpressureRecovered:
    """The daemon has gone back a step."""

    step: StepName
    """The one now in force; ``none`` when all is well."""
    load: float
    rung: int = 0
    """As above."""


@dataclass(frozen=True, slots=True)
class WarningRaised:
    """Something the client should know that breaks nothing."""

    code: str
    message: str
    from_ms: float | None = None
    """Where audio was lost: its first sample."""
    to_ms: float | None = None
    """One past its last sample."""


@dataclass(frozen=True, slots=True)
class ErrorRaised:
    """Something went wrong; the session lives on unless ``fatal``."""

    code: str
    message: str
    fatal: bool
    retry_after_s: int | None = None
    """When it is worth trying again, where the daemon has no room now."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ``ping``, with its ``id``."""

    id: str | int | None


@dataclass(frozen=True, slots=True)
class SessionStats:
    """What a session did. ``frames_received == frames_processed + frames_dropped``."""

    frames_received: int
    frames_processed: int
    frames_dropped: int
    utterances: int
    speech_ms: float


@dataclass(frozen=True, slots=True)
class SessionFinished:
    """The session is over; its last event."""

    reason: EndReason
    stats: SessionStats


Event = (
    SessionStarted
    | SessionResumed
    | AudioAcknowledged
    | SpeechStarted
    | SpeechEnded
    | PartialTranscription
    | FinalTranscription
    | TurnPending
    | TurnCompleted
    | Interrupted
    | SpeechOutputStarted
    | SpeechOutputEnded
    | FrameProcessed
    | PipelineHealth
    | BackpressureTriggered
    | BackpressureRecovered
    | WarningRaised
    | ErrorRaised
    | Pong
    | SessionFinished
)
"""Everything that a session may tell."""

EVENT_TYPES: dict[type, str] = {
    SessionStarted: "sessionStarted",
    SessionResumed: "sessionResumed",
    AudioAcknowledged: "audioAcknowledged",
    SpeechStarted: "speechStart",
    SpeechEnded: "speechEnd",
    PartialTranscription: "partialTranscription",
    FinalTranscription: "finalTranscription",
    TurnPending: "turnPending",
    TurnCompleted: "turnComplete",
    Interrupted: "interruption",
    SpeechOutputStarted: "ttsStart",
    SpeechOutputEnded: "ttsEnd",
    FrameProcessed: "frameProcessed",
    PipelineHealth: "pipelineHealth",
    BackpressureTriggered: "backpressureTriggered",
    BackpressureRecovered: "backpressureRecovered",
    WarningRaised: "warning",
    ErrorRaised: "error",
    Pong: "pong",
    SessionFinished: "sessionEnded",
}
"""Each event's ``type`` on the wire."""

DEFAULT_EVENTS: frozenset[str] = frozenset(EVENT_TYPES.values()) - {"frameProcessed"}
"""What a client gets that asks for nothing special."""
