"""The ladder of degradation: up fast, down slowly, one rung at a time."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Frames waiting, of the fullest session, against its bound."""
    frame_time: float = 0.0
    """Age of the oldest waiting window against four times the target of a frame."""
    finals: float = 0.0
    """Age of the oldest waiting final against one second."""
    turns: float = 0.0
    """Age of the oldest waiting turn against one second."""
    partials: float = 0.0
    """Age of the oldest waiting partial against one second."""
    loop: float = 0.0
    """Lag of the event loop against 100 ms."""
    memory: float = 0.0
    """Resident memory: 0 at the collection trigger, 1 at the limit."""

    @property
    def load(self) -> float:
        """The worst part, 0 to 1: what breaks first is what counts."""
        return min(
            1.0, max(self.queue, self.frame_time, self.finals, self.turns, self.partials, self.loop, self.memory)
        )


class Ladder:
    """Which step is in force. Times are clock seconds; :meth:`update` is called about ten times a second."""

    def __init__(self, options: BackpressureOptions) -> None:
        self._options = options
        self.step = Step.NONE
        self._changed_at: float | None = None
        self._calm_since: float | None = None

    def update(self, load: float, now: float) -> Step:
        """Take the load (0 to 1) at ``now``; returns the step that is in force from now on."""
        if load >= self._options.recovery:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if load >= self._options.threshold:
            if self.step < Step.PAUSE_PROCESSING and self._has_stayed(self._options.step_up_s, now):
                self._go(Step(self.step + 1), now)
        elif self.step > Step.NONE and self._has_been_calm(now):
            self._go(Step(self.step - 1), now)
            self._calm_since = now
        return self.step

    def _has_stayed(self, least_s: float, now: float) -> bool:
        return self._changed_at is None or now - self._changed_at >= least_s

    def _has_been_calm(self, now: float) -> bool:
        return self._calm_since is not None and now - self._calm_since >= self._options.step_down_s

    def _go(self, step: Step, now: float) -> None:
        self.step, self._changed_at = step, now
