"""The newest values of a figure."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.pipeline.recent import Recent


def test_nothing_recent_is_all_zeros() -> None:
    assert Recent().summary() == {"count": 0, "p50": 0.0, "p95": 0.0, "max": 0.0}
    assert Recent().mean == 0.0


def test_one_value_is_its_own_median_and_maximum() -> None:
    recent = Recent()
    recent.add(7.0)
    assert recent.summary() == {"count": 1, "p50": 7.0, "p95": 7.0, "max": 7.0}


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=40), st.integers(1, 20))
def test_only_the_newest_values_count(values: list[float], size: int) -> None:
    recent = Recent(size)
    for each in values:
        recent.add(each)
    newest = values[-size:]
    summary = recent.summary()
    assert summary["count"] == len(newest)
    assert summary["p50"] == pytest.approx(statistics.median(newest), abs=1e-3)
    assert summary["max"] == pytest.approx(max(newest), abs=1e-3)
    assert summary["p50"] - 1e-3 <= summary["p95"] <= summary["max"] + 1e-3
    assert recent.mean == pytest.approx(statistics.fmean(newest))
