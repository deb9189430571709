"""What is given up on each rung."""

from __future__ import annotations

import itertools

import pytest

from alfred_voice.pipeline.backpressure import Rung
from alfred_voice.pipeline.measures import MEASURES, Measures


def partials(measures: Measures) -> float:
    """How many partials there are, against all."""
    return measures.partial_share / measures.partial_factor if measures.partial_factor else 0.0


def test_there_are_measures_for_every_rung_and_none_when_all_is_well() -> None:
    assert list(MEASURES) == list(Rung)
    assert MEASURES[Rung.NONE] == Measures()


def test_no_rung_gives_back_what_the_one_below_gave_up() -> None:
    for lower, higher in itertools.pairwise(MEASURES[rung] for rung in Rung):
        assert partials(higher) < partials(lower)
        assert higher.recheck_factor >= lower.recheck_factor
        assert higher.smaller_model >= lower.smaller_model
        assert higher.drops_frames >= lower.drops_frames
        assert higher.prefetches <= lower.prefetches
        assert higher.admits <= lower.admits


def test_frames_are_dropped_and_sessions_refused_only_on_the_rungs_that_say_so() -> None:
    assert [rung for rung in Rung if MEASURES[rung].drops_frames] == [Rung.DROP_FRAMES, Rung.PAUSE_PROCESSING]
    assert [rung for rung in Rung if not MEASURES[rung].admits] == [Rung.PAUSE_PROCESSING]


@pytest.mark.parametrize(
    ("factor", "pace", "expected"),
    [(1.0, 1.0, 1.0), (4.0, 1.5, 4.0), (2.0, 8.0, 8.0), (0.0, 8.0, 0.0)],
    ids=["well", "the rung is slower", "the recogniser is slower", "none at all"],
)
def test_partials_keep_the_slower_of_two_paces(factor: float, pace: float, expected: float) -> None:
    assert Measures(partial_factor=factor).economy(pace).partial_factor == expected


def test_a_session_speculates_as_long_as_the_daemon_prefetches() -> None:
    assert Measures().economy(1.0).speculates
    assert not MEASURES[Rung.PAUSE_PROCESSING].economy(1.0).speculates
