"""Buckets that drip."""

from __future__ import annotations

import pytest

from alfred_voice.server.guard.rates import Bucket, Buckets, Pace, Verdict


def test_a_bucket_gives_its_burst_at_once_and_then_as_much_as_drips_into_it() -> None:
    bucket = Bucket(per_s=2, burst=3, now=10)

    assert [bucket.take(10) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.5), bucket.take(10.5)] == [True, False]
    assert [bucket.take(1000) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(("per_s", "wait_s"), [(2, 1), (0.1, 10), (1 / 60, 60)])
def test_a_bucket_tells_when_there_will_be_one(per_s: float, wait_s: int) -> None:
    bucket = Bucket(per_s, 1, now=0)
    bucket.take(0)

    assert bucket.wait_s(0) == wait_s
    assert bucket.take(wait_s)


def test_time_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(per_s=1, burst=1, now=5)
    bucket.take(5)

    assert not bucket.take(3)


def test_names_have_buckets_of_their_own_and_the_least_recent_ones_are_forgotten() -> None:
    buckets = Buckets(per_s=1, burst=1, most_names=2)
    for name in ("a", "b"):
        assert buckets.of(name, 0).take(0)
    assert buckets.is_empty("a", 0)
    assert not buckets.is_empty("c", 0)
    buckets.of("a", 0)
    buckets.of("c", 0)

    assert len(buckets) == 2
    assert buckets.is_empty("a", 0)
    assert not buckets.is_empty("b", 0)


def test_who_sends_too_often_is_told_once_then_not_heard_then_cut() -> None:
    pace = Pace(per_s=1, burst=2, now=0)

    verdicts = [pace.take(0) for _ in range(6)]

    assert verdicts == [Verdict.FINE, Verdict.FINE, Verdict.TELL, Verdict.DROP, Verdict.CLOSE, Verdict.CLOSE]


def test_who_slows_down_is_heard_again_and_told_again() -> None:
    pace = Pace(per_s=1, burst=2, now=0)
    for _ in range(3):
        pace.take(0)

    assert pace.take(2) is Verdict.FINE
    assert [pace.take(2) for _ in range(2)] == [Verdict.TELL, Verdict.DROP]
