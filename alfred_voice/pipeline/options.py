"""How the pipeline runs: one frozen dataclass per room of the configuration that it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from alfred_voice.session.options import SessionOptions


@dataclass(frozen=True, slots=True)
class SessionsOptions:
    """Limits of sessions."""

    max_concurrent: Annotated[
        int, Meta(ge=1, le=100000, description="open sessions; beyond it 503 with Retry-After")
    ] = 512
    max_duration_s: Annotated[int, Meta(ge=1, le=604800, description="a session's longest life")] = 3600
    idle_timeout_s: Annotated[
        int, Meta(ge=1, le=86400, description="a session without audio or messages ends after this")
    ] = 120
    resume_grace_s: Annotated[
        float, Meta(ge=0, le=3600, description="a resumable session is kept so long when its connection is lost")
    ] = 30.0
    resume_events: Annotated[
        int, Meta(ge=16, le=10000, description="events that a resumable session keeps, to be told again")
    ] = 256
    cleanup_interval_s: Annotated[float, Meta(ge=0.1, le=3600, description="how often the limits are looked at")] = 30.0


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """Queues, batches and threads."""

    queue_frames: Annotated[
        int, Meta(ge=10, le=100000, description="20 ms frames that one session may have waiting")
    ] = 500
    max_batch: Annotated[
        int, Meta(ge=1, le=1024, description="most windows in one call of the voice activity detector")
    ] = 64
    batch_deadline_ms: Annotated[
        float, Meta(ge=0, le=1000, description="longest that a ready window waits for company")
    ] = 10.0
    frame_target_ms: Annotated[
        float, Meta(gt=0, le=1000, description="processing time of a frame that load is measured against")
    ] = 10.0
    stt_max_batch: Annotated[int, Meta(ge=1, le=256, description="most clips in one call of the recogniser")] = 16
    outbox_events: Annotated[int, Meta(ge=16, le=100000, description="events that one client may leave unread")] = 1000
    engine_threads: Annotated[
        int, Meta(ge=0, le=256, description="threads inside one engine; 0 to choose from the cores")
    ] = 0
    engine_timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=3600, description="longest that a call of an engine may take before the engine is made anew"),
    ] = 30.0


@dataclass(frozen=True, slots=True)
class BackpressureOptions:
    """When the daemon degrades and when it goes back."""

    threshold: Annotated[float, Meta(gt=0, le=1, description="load from which it degrades a step")] = 0.8
    recovery: Annotated[float, Meta(ge=0, lt=1, description="load below which it goes back a step")] = 0.6
    step_up_s: Annotated[float, Meta(ge=0, le=60, description="least stay on a step before the next one up")] = 0.5
    step_down_s: Annotated[float, Meta(ge=0, le=600, description="calm before it goes back a step")] = 2.0

    def __post_init__(self) -> None:
        if self.recovery >= self.threshold:
            raise ValueError(f"recovery ({self.recovery}) must be below threshold ({self.threshold})")


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """Resident memory."""

    limit_mb: Annotated[
        int, Meta(ge=50, le=1048576, description="resident memory that raises an alert and counts as full load")
    ] = 300
    gc_trigger_mb: Annotated[
        int, Meta(ge=50, le=1048576, description="resident memory from which a collection is triggered")
    ] = 250

    def __post_init__(self) -> None:
        if self.gc_trigger_mb > self.limit_mb:
            raise ValueError(f"gc_trigger_mb ({self.gc_trigger_mb}) must not be above limit_mb ({self.limit_mb})")


@dataclass(frozen=True, slots=True)
class AlertOptions:
    """From where a figure raises an alert."""

    frame_time_ms: Annotated[float, Meta(gt=0, description="average processing time of a frame")] = 20.0
    memory_mb: Annotated[float, Meta(gt=0, description="resident memory")] = 300.0
    load_percent: Annotated[float, Meta(gt=0, le=100, description="load")] = 80.0
    error_rate_percent: Annotated[
        float, Meta(gt=0, le=100, description="errors per hundred requests to the engines")
    ] = 5.0
    queued_frames: Annotated[int, Meta(ge=1, description="frames waiting, over all sessions")] = 100
    dropped_frames: Annotated[
        int, Meta(ge=0, description="frames given up under load within a minute, over all sessions")
    ] = 50
    webhook_url: Annotated[
        Annotated[str, Meta(min_length=8, max_length=2000)] | None,
        Meta(description="address that is told of each alert, http or https; null for none", extra={"secret": True}),
    ] = field(default=None, repr=False)
    webhook_timeout_s: Annotated[
        float, Meta(ge=0.1, le=60, description="longest that one attempt to tell it may take")
    ] = 5.0

    def __post_init__(self) -> None:
        if self.webhook_url is not None and not _is_web_address(self.webhook_url):
            raise ValueError("webhook_url: expected an address such as https://host/path, got another one (not shown)")


def _is_web_address(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class TtsOptions:
    """How text becomes speech."""

    engine: Annotated[str, Meta(description="synthesiser: espeak, or scripted in tests")] = "espeak"
    voice: Annotated[str, Meta(min_length=1, max_length=100, description="voice when a client names none")] = "en-us"
    speed: Annotated[float, Meta(ge=0.25, le=4.0, description="1.0 is the voice's own speed")] = 1.0
    max_chars: Annotated[int, Meta(ge=1, le=1000000, description="longest text of one speech")] = 5000
    max_queued: Annotated[int, Meta(ge=1, le=1000, description="speeches that one session may have waiting")] = 16
    lead_ms: Annotated[int, Meta(ge=20, le=5000, description="how far audio is sent ahead of its playing")] = 200
    cache_mb: Annotated[float, Meta(ge=0, le=1024, description="memory for recent phrases; 0 for none")] = 4.0


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """Sessions that are recorded, for reports of bugs; their audio is stored."""

    enabled: Annotated[bool, Meta(description="record every session that is opened; clients are told")] = False
    folder: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="folder of the recordings; null for alfred-voice/recordings in the user's folder of state"),
    ] = None
    max_mb: Annotated[int, Meta(ge=1, le=1048576, description="most that all recordings take; the oldest give way")] = (
        1000
    )
    max_session_s: Annotated[
        int, Meta(ge=1, le=604800, description="audio of one session after which its recording ends")
    ] = 3600


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """All that the pipeline reads."""

    sessions: SessionsOptions = field(default_factory=SessionsOptions)
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    backpressure: BackpressureOptions = field(default_factory=BackpressureOptions)
    memory: MemoryOptions = field(default_factory=MemoryOptions)
    alerts: AlertOptions = field(default_factory=AlertOptions)
    tts: TtsOptions = field(default_factory=TtsOptions)
    recording: RecordingOptions = field(default_factory=RecordingOptions)
    session: SessionOptions = field(default_factory=SessionOptions)
