"""When to ask again, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.models.retry import Backoff, asked_delay_s, is_passing


ENDLESS = float("inf")
WALL_S = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("failures", "limit_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (99, 8.0)]
)
def test_waits_grow_twofold_up_to_a_limit(failures: int, limit_s: float) -> None:
    backoff = Backoff(max_retries=100, first_s=0.5, most_s=8.0)
    assert backoff.delay_s(failures, 1.0, None, ENDLESS) == limit_s
    assert backoff.delay_s(failures, 0.5, None, ENDLESS) == limit_s / 2
    assert backoff.delay_s(failures, 0.0, None, ENDLESS) == 0.0


def test_what_the_server_asks_for_comes_below_the_drawn_time() -> None:
    assert Backoff(first_s=0.5).delay_s(1, 0.5, 3.0, ENDLESS) == 3.25


def test_it_gives_up_after_the_last_attempt() -> None:
    backoff = Backoff(max_retries=2)
    assert [backoff.delay_s(failures, 0.0, None, ENDLESS) for failures in (1, 2, 3)] == [0.0, 0.0, None]
    assert Backoff(max_retries=0).delay_s(1, 0.0, None, ENDLESS) is None


@pytest.mark.parametrize(("left_s", "is_worth_it"), [(3.1, True), (3.0, False), (0.0, False), (-1.0, False)])
def test_it_gives_up_when_there_is_no_time_for_another_attempt(left_s: float, is_worth_it: bool) -> None:
    assert (Backoff().delay_s(1, 0.0, 3.0, left_s) is not None) is is_worth_it


@given(st.integers(1, 2000), st.floats(0, 1), st.none() | st.floats(0, 1e6), st.floats(-10, 1e6))
def test_a_wait_ends_before_the_time_does(failures: int, chance: float, asked_s: float | None, left_s: float) -> None:
    delay_s = Backoff(max_retries=1500).delay_s(failures, chance, asked_s, left_s)
    assert delay_s is None or (asked_s or 0) <= delay_s < left_s


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_these_pass(status: int) -> None:
    assert is_passing(status)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 413, 422, 600])
def test_these_do_not_pass(status: int) -> None:
    assert not is_passing(status)


@pytest.mark.parametrize(
    ("headers", "delay_s"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 -0000"}, 30.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_what_a_server_asks_for_is_understood(headers: dict[str, str], delay_s: float | None) -> None:
    assert asked_delay_s(headers, WALL_S) == delay_s


@given(st.text())
def test_whatever_a_header_says_is_a_time_or_nothing(text: str) -> None:
    delay_s = asked_delay_s({"retry-after": text}, WALL_S)
    assert delay_s is None or 0 <= delay_s < ENDLESS
