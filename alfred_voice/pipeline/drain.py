"""How long it takes until the daemon has worked off what is before it: what those are told who are refused."""

from __future__ import annotations

import math
from collections.abc import Iterable

from alfred_voice.pipeline.backpressure import Rung
from alfred_voice.pipeline.options import BackpressureOptions


LONGEST_S = 60


def drain_s(waiting: Iterable[tuple[int, float]], rung: Rung, options: BackpressureOptions) -> int:
    """Whole seconds, 1 to 60, until new sessions are likely to be let in.

    Args:
        waiting: for each lane how many jobs wait, and the seconds that one has taken of late.
        rung: the rung in force.
        options: how long each rung is kept.
    """
    backlog_s = max((jobs * seconds for jobs, seconds in waiting), default=0.0)
    # Sessions are let in again as soon as the top rung has been left.
    calm_s = options.step_down_s if rung is Rung.PAUSE_PROCESSING else 0.0
    return min(LONGEST_S, max(1, math.ceil(backlog_s + calm_s)))
