"""The ladder: up fast, down slowly, one rung at a time. Times are whole seconds."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.pipeline.backpressure import MOST_PATIENCE, RELAPSE_S, Ladder, LoadParts, Rung
from alfred_voice.pipeline.options import BackpressureOptions


OPTIONS = BackpressureOptions(threshold=0.8, recovery=0.6, step_up_s=2, step_down_s=5)

IDLE, CALM, BAND, HIGH = 0.1, 0.4, 0.7, 0.9


def steps(*loads: tuple[float, float], options: BackpressureOptions = OPTIONS) -> list[int]:
    """The step after each (time, load)."""
    ladder = Ladder(options)
    return [int(ladder.update(load, now)) for now, load in loads]


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        pytest.param([(0, CALM), (1, BAND), (2, 0.79)], [0, 0, 0], id="below the threshold nothing happens"),
        pytest.param([(0, 0.8)], [1], id="the threshold itself counts"),
        pytest.param([(0, HIGH), (1, HIGH), (2, HIGH)], [1, 1, 2], id="a step is kept for its least stay"),
        pytest.param([(0, HIGH), (9, HIGH), (10, HIGH), (11, HIGH)], [1, 2, 2, 3], id="one rung at a time"),
        pytest.param([(0, HIGH), (2, HIGH), (4, HIGH), (6, HIGH), (8, HIGH), (10, HIGH), (12, HIGH)],
                     [1, 2, 3, 4, 5, 5, 5], id="there is a top"),
        pytest.param([(0, HIGH), (2, BAND), (3, HIGH), (4, BAND), (5, HIGH), (6, HIGH), (7, HIGH)],
                     [1, 1, 1, 1, 1, 1, 2],
                     id="further up only when high load goes on without a break"),
        pytest.param([(0, HIGH), (1, CALM), (5, CALM), (6, CALM)], [1, 1, 1, 0], id="down after calm, not after high"),
        pytest.param([(0, HIGH), (1, CALM), (5, BAND), (6, CALM), (10, CALM), (11, CALM)], [1, 1, 1, 1, 1, 0],
                     id="calm that is broken counts anew"),
        pytest.param([(0, HIGH), (1, CALM), (5, 0.6), (6, CALM)], [1, 1, 1, 1], id="the recovery level is not calm"),
        pytest.param([(0, HIGH), (2, HIGH), (3, CALM), (8, CALM), (12, CALM), (13, CALM)], [1, 2, 2, 1, 1, 0],
                     id="each rung down takes its own calm"),
        pytest.param([(0, HIGH), *((t, BAND) for t in range(1, 40, 6))], [1] * 8, id="the band changes nothing"),
        pytest.param([(0, HIGH), (1, IDLE), (3, IDLE), (4, IDLE)], [1, 1, 1, 0], id="down in half the time when idle"),
        pytest.param([(0, HIGH), (1, CALM), (5, CALM), (6, IDLE)], [1, 1, 1, 0], id="calm and idle count together"),
        pytest.param([(0, HIGH), (1, CALM), (6, CALM), (7, HIGH), (8, HIGH)], [1, 1, 0, 0, 1],
                     id="up again only after the least stay"),
    ],
)  # fmt: skip
def test_the_step_follows_the_load(loads: list[tuple[float, float]], expected: list[int]) -> None:
    assert steps(*loads) == expected


def test_without_anybody_there_it_goes_down_in_a_quarter_of_the_time() -> None:
    ladder = Ladder(OPTIONS)
    for now in (0, 2, 4):
        ladder.update(HIGH, now)
    rungs = [int(ladder.update(IDLE, 5 + tenths / 10, is_idle=True)) for tenths in range(50)]
    assert [5 + rungs.index(rung) / 10 for rung in (2, 1, 0)] == [6.3, 7.6, 8.9], "1.25 s each"


def test_without_anybody_there_high_load_takes_it_up_all_the_same() -> None:
    ladder = Ladder(OPTIONS)
    assert [int(ladder.update(HIGH, now, is_idle=True)) for now in (0, 2, 4)] == [1, 2, 3]


LOADS = st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), max_size=200)
"""(seconds since the one before, load)"""


def absolute(loads: list[tuple[int, float]]) -> list[tuple[float, float]]:
    now, placed = 0, []
    for wait, load in loads:
        now += wait
        placed.append((float(now), load))
    return placed


@given(LOADS)
def test_it_never_jumps(loads: list[tuple[int, float]]) -> None:
    taken = [0, *steps(*absolute(loads))]
    assert all(abs(after - before) <= 1 for before, after in itertools.pairwise(taken))


@given(LOADS, st.lists(st.tuples(st.integers(0, 4), st.floats(0.6, 0.799)), max_size=100))
def test_it_never_moves_inside_the_band(before: list[tuple[int, float]], band: list[tuple[int, float]]) -> None:
    taken = [0, *steps(*absolute(before + band))]
    assert set(taken[len(before) + 1 :]) <= {taken[len(before)]}


@given(LOADS)
def test_two_changes_are_never_closer_than_the_least_stay(loads: list[tuple[int, float]]) -> None:
    placed = absolute(loads)
    taken = [0, *steps(*placed)]
    changes = [now for (now, _), before, after in zip(placed, taken, taken[1:], strict=False) if before != after]
    assert all(later - earlier >= OPTIONS.step_up_s for earlier, later in itertools.pairwise(changes))


@given(LOADS)
def test_high_load_never_brings_it_down_and_low_load_never_up(loads: list[tuple[int, float]]) -> None:
    placed = absolute(loads)
    taken = [0, *steps(*placed)]
    for (_, load), before, after in zip(placed, taken, taken[1:], strict=False):
        assert after <= before or load >= OPTIONS.threshold
        assert after >= before or load < OPTIONS.recovery


def after_relapses(relapses: int) -> float:
    """How long the first rung is kept, in calm, after it has been taken again so many times."""
    ladder, now = Ladder(OPTIONS), 0.0
    stay = 0.0
    for _ in range(relapses + 1):
        while ladder.update(HIGH, now) is Rung.NONE:
            now += 0.5
        began = now
        while ladder.update(CALM, now) is not Rung.NONE:
            now += 0.5
        stay = now - began
    return stay


def test_a_rung_that_was_left_too_early_is_kept_longer_up_to_a_limit() -> None:
    assert [after_relapses(count) for count in range(5)] == [5.0, 10.0, 20.0, 20.0, 20.0]
    assert MOST_PATIENCE == 4.0


def test_after_a_long_calm_the_patience_is_forgotten() -> None:
    ladder = Ladder(OPTIONS)
    for now, load in [(0, HIGH), (1, CALM), (6, CALM), (8, HIGH)]:
        ladder.update(load, now)
    again = 19 + RELAPSE_S
    script = [(9, CALM), (18, CALM), (19, CALM), (again, HIGH), (again + 1, CALM), (again + 6, CALM)]
    assert [int(ladder.update(load, now)) for now, load in script] == [1, 1, 0, 1, 1, 0]


def test_only_the_rung_that_was_taken_again_is_kept_longer() -> None:
    ladder = Ladder(OPTIONS)
    for now, load in [(0, HIGH), (2, HIGH), (3, CALM), (8, CALM), (9, HIGH), (11, HIGH)]:
        ladder.update(load, now)
    assert ladder.rung == 2
    downs = []
    for now in range(12, 40):
        was = ladder.rung
        if ladder.update(CALM, now) < was:
            downs.append(now)
    assert downs == [22, 27], "10 s on the second rung, and the usual 5 s on the first"


def test_other_thresholds_hold_from_the_next_moment_on() -> None:
    ladder = Ladder(OPTIONS)
    assert ladder.update(BAND, 0) is Rung.NONE
    ladder.reconfigure(BackpressureOptions(threshold=0.65, recovery=0.5))
    assert ladder.update(BAND, 1) is Rung.SLOWER_PARTIALS


def test_rungs_have_the_names_and_numbers_of_the_wires_steps() -> None:
    reduced = ["reduce_quality"] * 3
    assert [rung.step for rung in Rung] == ["none", *reduced, "drop_frames", "pause_processing"]
    assert [rung.step_number for rung in Rung] == [0, 1, 1, 1, 2, 3]


def test_load_is_0_when_idle_and_1_at_most() -> None:
    assert LoadParts().load == 0.0
    assert LoadParts(queue=7.5).load == 1.0


@pytest.mark.parametrize("part", [part.name for part in fields(LoadParts)])
def test_the_worst_part_is_the_load(part: str) -> None:
    others = LoadParts(**{each.name: 0.2 for each in fields(LoadParts)})
    parts = replace(others, **{part: 0.5})
    assert (parts.load, parts.worst) == (0.5, part)


def test_a_recovery_that_is_not_below_the_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="recovery"):
        BackpressureOptions(threshold=0.6, recovery=0.6)
