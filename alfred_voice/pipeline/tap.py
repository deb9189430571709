"""What one session hears and tells, noted while somebody watches it: see ``Stream.tap``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from alfred_voice.audio.level import rms_dbfs
from alfred_voice.events import Event, FrameProcessed, PipelineHealth
from alfred_voice.models.engine import WINDOW_SAMPLES
from alfred_voice.session.detector import SAMPLES_PER_MS
from alfred_voice.session.requests import DetectRequest


MOST_WINDOWS = 256
"""Eight seconds at real time; of audio that comes faster the newest is kept."""
MOST_EVENTS = 256


@dataclass(frozen=True, slots=True)
class Heard:
    """One window and the detector's word on it."""

    at_ms: float
    """Its first sample, on the session's clock."""
    level_dbfs: float
    probability: float


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and where the session's clock stood."""

    clock_ms: float
    event: Event


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What has come since the last one."""

    heard: tuple[Heard, ...]
    told: tuple[Told, ...]


class Tap:
    """A bounded note of one session; costs it nothing while it has none."""

    __slots__ = ("_heard", "_told")

    def __init__(self) -> None:
        self._heard: deque[Heard] = deque(maxlen=MOST_WINDOWS)
        self._told: deque[Told] = deque(maxlen=MOST_EVENTS)

    def hear(self, request: DetectRequest, probabilities: Sequence[float]) -> None:
        """Note windows that the detector has judged; to be called while their audio is still there."""
        for index, (window, probability) in enumerate(zip(request.windows, probabilities, strict=True)):
            at_ms = (request.first_window + index) * WINDOW_SAMPLES / SAMPLES_PER_MS
            self._heard.append(Heard(at_ms, rms_dbfs(window), float(probability)))

    def tell(self, event: Event, clock_ms: float) -> None:
        """Note what the client is told; what is told of every frame, or of the daemon, is left out."""
        if not isinstance(event, FrameProcessed | PipelineHealth):
            self._told.append(Told(clock_ms, event))

    def take(self) -> Glimpse:
        """All there is, each once."""
        glimpse = Glimpse(tuple(self._heard), tuple(self._told))
        self._heard.clear()
        self._told.clear()
        return glimpse
