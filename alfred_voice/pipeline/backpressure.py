"""The ladder of degradation: up fast, down slowly, one rung at a time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum

from alfred_voice.events import StepName
from alfred_voice.pipeline.options import BackpressureOptions


QUICK_DESCENT = 0.5
"""Where load is below half of the recovery level there is nothing to wait for: a rung is left in half the time."""
IDLE_DESCENT = 0.25
"""Where no session is open nobody would notice a relapse."""
RELAPSE_S = 10.0
"""A rung that has to be taken again so soon after it was left, was left too early."""
MOST_PATIENCE = 4.0
"""By so much the stay on such a rung grows at most."""


class Rung(IntEnum):
    """How far the daemon has gone. What each gives up stands in :mod:`alfred_voice.pipeline.measures`."""

    NONE = 0
    SLOWER_PARTIALS = 1
    RARE_PARTIALS = 2
    RATIONED_PARTIALS = 3
    DROP_FRAMES = 4
    PAUSE_PROCESSING = 5

    @property
    def step(self) -> StepName:
        """The step as clients read it: the first three rungs are all ``reduce_quality``."""
        if self is Rung.NONE:
            return "none"
        if self is Rung.DROP_FRAMES:
            return "drop_frames"
        return "pause_processing" if self is Rung.PAUSE_PROCESSING else "reduce_quality"

    @property
    def step_number(self) -> int:
        """The step as a number, 0 to 3."""
        return max(min(self, 1), self - Rung.RATIONED_PARTIALS + 1)


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
    """How long a speaker has waited for a partial, against two seconds; nothing while partials are rationed."""
    real_time: float = 0.0
    """Share of the last seconds that the busiest engine has computed what cannot be given up: its real-time factor."""
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
    """Which rung is in force. Times are clock seconds; :meth:`update` is called about ten times a second.

    A rung that is left and soon taken again is kept longer the next time, so that the ladder does not swing between
    two rungs while the load stays as it is.
    """

    def __init__(self, options: BackpressureOptions) -> None:
        self._options = options
        self.rung = Rung.NONE
        self._changed_at = float("-inf")
        self._left_at = float("-inf")
        self._patience = 1.0
        self._calm_since: float | None = None
        self._high_since: float | None = None

    def update(self, load: float, now: float, *, is_idle: bool = False) -> Rung:
        """Take the load (0 to 1) at ``now``; returns the rung that is in force from now on.

        Args:
            load: 0 to 1.
            now: clock seconds.
            is_idle: no session is open.
        """
        self._calm_since = _since(self._calm_since, now) if load < self._options.recovery else None
        self._high_since = _since(self._high_since, now) if load >= self._options.threshold else None
        if self.rung < Rung.PAUSE_PROCESSING and self._must_go_up(now):
            has_relapsed = now - self._left_at < RELAPSE_S
            self._patience = min(MOST_PATIENCE, self._patience * 2) if has_relapsed else 1.0
            self.rung, self._changed_at = Rung(self.rung + 1), now
        elif self.rung > Rung.NONE and self._may_go_down(load, now, is_idle=is_idle):
            self.rung, self._changed_at, self._left_at = Rung(self.rung - 1), now, now
        return self.rung

    def is_climbing(self, now: float) -> bool:
        """Whether load has been high for as long as a rung is kept, and what is given up has not helped yet."""
        return (
            self.rung > Rung.NONE and self._high_since is not None and now - self._high_since >= self._options.step_up_s
        )

    def reconfigure(self, options: BackpressureOptions) -> None:
        """Go by other thresholds from now on."""
        self._options = options

    def _must_go_up(self, now: float) -> bool:
        """The first rung is taken at once, and each further one when the one before has not helped."""
        if self._high_since is None:
            return False
        since = self._changed_at if self.rung is Rung.NONE else max(self._changed_at, self._high_since)
        return now - since >= self._options.step_up_s

    def _may_go_down(self, load: float, now: float, *, is_idle: bool) -> bool:
        if self._calm_since is None:
            return False
        calm_s = now - max(self._changed_at, self._calm_since)
        if is_idle:
            return calm_s >= self._options.step_down_s * IDLE_DESCENT
        # Only the rung that was taken again is kept longer: once it has been left for good the way down is free.
        patience = self._patience if self._changed_at > self._left_at else 1.0
        pace = QUICK_DESCENT if load < self._options.recovery / 2 else 1.0
        return calm_s >= self._options.step_down_s * patience * pace


def _since(since: float | None, now: float) -> float:
    return now if since is None else since
