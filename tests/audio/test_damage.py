"""What is missing from a file: found by time stamps or by bytes, and told in a sentence."""

from __future__ import annotations

import pytest

from alfred_voice.audio.damage import EXACT_GAP_S, MOST_GAP_S, Bytewise, Damage, Timeline


def test_a_jump_of_the_stamps_is_a_gap() -> None:
    timeline = Timeline()
    assert timeline.missing_s(1.5, 0.5) == 0.0
    assert timeline.missing_s(2.0, 0.5) == 0.0
    assert timeline.missing_s(4.5, 0.5) == 2.0
    assert timeline.missing_s(5.0, 0.5) == 0.0


@pytest.mark.parametrize("jump_s", [0.2, -3.0, MOST_GAP_S + 1])
def test_stamps_that_tremble_or_begin_anew_are_none(jump_s: float) -> None:
    timeline = Timeline()
    timeline.missing_s(10.0, 1.0)
    assert timeline.missing_s(11.0 + jump_s, 1.0) == 0.0
    assert timeline.missing_s(12.0 + jump_s, 1.0) == 0.0


def test_where_stamps_are_exact_or_something_has_failed_a_small_jump_counts() -> None:
    exact = Timeline(EXACT_GAP_S)
    exact.missing_s(0.0, 1.0)
    assert exact.missing_s(1.0625, 1.0) == 0.0625
    failed = Timeline()
    failed.missing_s(0.0, 1.0)
    failed.fail()
    assert failed.missing_s(1.0625, 1.0) == 0.0625
    assert failed.missing_s(2.1875, 1.0) == 0.0


def test_what_has_no_stamp_follows_what_was_before() -> None:
    timeline = Timeline()
    assert timeline.missing_s(None, 1.0) == 0.0
    timeline.missing_s(3.0, 1.0)
    assert timeline.missing_s(None, 1.0) == 0.0
    assert timeline.missing_s(6.0, 1.0) == 1.0


def test_bytes_that_were_skipped_count_at_the_rate_of_the_others() -> None:
    bytewise = Bytewise()
    bytewise.pass_over(1_000, 500)
    assert bytewise.missing_s(None, 100, 0.5) == 0.0
    assert bytewise.missing_s(1_600, 100, 0.5) == 0.0
    assert bytewise.missing_s(2_100, 100, 0.5) == 2.0
    assert bytewise.end == 2_200


def test_nothing_is_told_of_a_whole_file() -> None:
    assert str(Damage()) == ""


def test_damage_is_told_with_its_place() -> None:
    damage = Damage()
    damage.add(3661.5, 0.25)
    assert str(damage).startswith("damaged: 0.25 s at 1:01:01.50 could not be decoded and stand as silence")
    assert "estimated" not in str(damage)


def test_what_lies_close_together_is_one_place() -> None:
    damage = Damage()
    damage.add(10.0, 0.5)
    damage.add(10.6, 0.5)
    damage.add(20.0, 1.0, is_estimated=True)
    assert damage.gaps == [(10.0, pytest.approx(1.1)), (20.0, 1.0)]
    assert str(damage).startswith("damaged: 2.10 s in 2 places, first at 0:00:10.00, could not")
    assert "estimated from bytes" in str(damage)
