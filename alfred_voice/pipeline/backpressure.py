"""The ladder of degradation: up fast, down slowly, one rung at a time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum

from alfred_voice.events import StepName
from alfred_voice.pipeline.options import BackpressureOptions


class Step(IntEnum):
    """What is given up, in this order."""

    NONE = 0
    """All is well."""
    REDUCE_QUALITY = 1
    """Partials come less often."""
    DROP_FRAMES = 2
    """Partials stop, and frames of sessions that say nothing are dropped when they pile up."""
    PAUSE_PROCESSING = 3
    """New sessions are refused."""

    @property
    def wire_name(self) -> StepName:
        """The step as clients read it."""
        names: tuple[StepName, ...] = ("none", "reduce_quality", "drop_frames", "pause_processing")
        return names[self]


@dataclass(frozen=True, slots=True)
class LoadParts:
    """What load is made of; each part is 0 when idle and 1 at the limit, and may exceed it."""

    queue: float = 0.0
    """Age of the oldest waiting frame against the audio that a session may have waiting.

    Not their number: a client that sends faster than real time fills its queue, but in it nothing grows old.
    """
    frame_time: float = 0.0
    """Age of the oldest window that waits beyond the batch's deadline, against four times the target of a frame."""
    finals: float = 0.0
    """Age of the oldest waiting final against one second."""
    turns: float = 0.0
    """Age of the oldest waiting turn against two seconds."""
    partials: float = 0.0
    """How long a speaker has waited for a partial, against two seconds."""
    loop: float = 0.0
    """Lag of the event loop against 100 ms."""
    memory: float = 0.0
    """Resident memory: 0 at the collection trigger, 1 at the limit."""

    @property
    def load(self) -> float:
        """The worst part, 0 to 1: what breaks first is what counts."""
        return min(1.0, float(max(asdict(self).values())))

    @property
    def worst(self) -> str:
        """The part that is the load."""
        parts = asdict(self)
        return max(parts, key=parts.__getitem__)


class Ladder:
    """Which step is in force. Times are clock seconds; :meth:`update` is called about ten times a second."""

    def __init__(self, options: BackpressureOptions) -> None:
        self._options = options
        self.step = Step.NONE
        self._changed_at = float("-inf")
        self._calm_since: float | None = None
        self._high_since: float | None = None

    def update(self, load: float, now: float) -> Step:
        """Take the load (0 to 1) at ``now``; returns the step that is in force from now on."""
        self._calm_since = _since(self._calm_since, now) if load < self._options.recovery else None
        self._high_since = _since(self._high_since, now) if load >= self._options.threshold else None
        if self.step < Step.PAUSE_PROCESSING and self._must_go_up(now):
            self.step, self._changed_at = Step(self.step + 1), now
        elif self.step > Step.NONE and self._may_go_down(now):
            self.step, self._changed_at = Step(self.step - 1), now
        return self.step

    def _must_go_up(self, now: float) -> bool:
        """The first step is taken at once, and each further one when the one before has not helped."""
        if self._high_since is None:
            return False
        since = self._changed_at if self.step is Step.NONE else max(self._changed_at, self._high_since)
        return now - since >= self._options.step_up_s

    def _may_go_down(self, now: float) -> bool:
        if self._calm_since is None:
            return False
        return now - max(self._changed_at, self._calm_since) >= self._options.step_down_s


def _since(since: float | None, now: float) -> float:
    return now if since is None else since
