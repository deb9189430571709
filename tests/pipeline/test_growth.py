"""A count's growth over the last while."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.pipeline.growth import Growth


@pytest.mark.parametrize(
    ("counts", "grown"),
    [
        pytest.param([(0, 500)], 0, id="what was there before is no growth"),
        pytest.param([(0, 0), (1, 5), (2, 8)], 8, id="it adds up"),
        pytest.param([(0, 0), (1, 5), (60, 5)], 5, id="over the whole span"),
        pytest.param([(0, 0), (1, 5), (61, 5)], 0, id="and not beyond it"),
        pytest.param([(0, 0), (1, 5), (30, 7), (61, 7)], 2, id="what is newer stays"),
        pytest.param([(0, 0), (1000, 3)], 3, id="a rest before it does not matter"),
    ],
)
def test_growth_is_that_of_the_last_minute(counts: list[tuple[float, float]], grown: float) -> None:
    growth = Growth(60)
    assert [growth.update(count, now) for now, count in counts][-1] == grown


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), min_size=1, max_size=50))
def test_growth_is_the_difference_to_the_count_a_span_ago(steps: list[tuple[int, int]]) -> None:
    growth, now, count = Growth(30), 0, 0
    seen: list[tuple[int, int]] = []
    for seconds, more in steps:
        now, count = now + seconds, count + more
        seen.append((now, count))
        before = [known for (at, known), (later, _) in pairwise([*seen, (now + 100, 0)]) if at <= now - 30 < later]
        expected = count - (before[-1] if before else seen[0][1])
        assert growth.update(count, now) == expected
