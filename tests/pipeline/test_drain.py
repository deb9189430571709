"""What those are told who are refused."""

from __future__ import annotations

import pytest

from alfred_voice.pipeline.backpressure import Rung
from alfred_voice.pipeline.drain import LONGEST_S, drain_s
from alfred_voice.pipeline.options import BackpressureOptions


OPTIONS = BackpressureOptions(step_down_s=2.0)


@pytest.mark.parametrize(
    ("waiting", "rung", "expected"),
    [
        pytest.param([], Rung.NONE, 1, id="a second at least"),
        pytest.param([], Rung.PAUSE_PROCESSING, 2, id="the calm that the top rung asks for"),
        pytest.param([(10, 0.35)], Rung.PAUSE_PROCESSING, 6, id="the backlog comes before the calm"),
        pytest.param([(10, 0.35), (100, 0.1)], Rung.DROP_FRAMES, 10, id="lanes work side by side"),
        pytest.param([(10_000, 1.0)], Rung.PAUSE_PROCESSING, LONGEST_S, id="a minute at most"),
    ],
)
def test_the_time_follows_from_what_waits(waiting: list[tuple[int, float]], rung: Rung, expected: int) -> None:
    assert drain_s(waiting, rung, OPTIONS) == expected
