"""How long something takes, and how much of the processor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from alfred_voice.clock import Clock, SystemClock


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effort:
    """What one call took."""

    wall_s: float
    """On the clock."""
    cpu_s: float
    """On all threads of this process, in user and system mode."""

    @property
    def busy_s(self) -> float:
        """How long the call would keep a thread busy that nobody else takes the processor from."""
        return min(self.wall_s, self.cpu_s)


class Stopwatch:
    """Measures calls of this process.

    Args:
        clock: the machine's by default.
        cpu: seconds of processor time that this process has used.
    """

    def __init__(self, clock: Clock | None = None, cpu: Callable[[], float] | None = None) -> None:
        self._clock = clock or SystemClock()
        self._cpu = cpu or own_cpu_s

    def time(self, call: Callable[[], T]) -> tuple[T, Effort]:
        """What ``call`` answers, and what it took."""
        wall, cpu = self._clock.now(), self._cpu()
        answer = call()
        return answer, Effort(self._clock.now() - wall, self._cpu() - cpu)

    def median(self, call: Callable[[], object], runs: int, warm_up: int = 1) -> Effort:
        """The medians of several runs, after some that do not count."""
        efforts = [self.time(call)[1] for _ in range(warm_up + runs)][warm_up:]
        return Effort(percentile([e.wall_s for e in efforts], 50), percentile([e.cpu_s for e in efforts], 50))


def own_cpu_s() -> float:
    """Processor time of this process, all its threads, in microseconds' steps where the system tells them."""
    if sys.platform == "win32":
        times = os.times()
        return times.user + times.system
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, between two of them where need be; NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
