"""A server that fails is left alone, and tried again."""

from __future__ import annotations

import threading

import pytest

from alfred_voice.models.circuit_breaker import Circuit, CircuitBreaker


def opened(failures: int = 3, reset_s: float = 10.0) -> CircuitBreaker:
    """A breaker that opened at 0 s."""
    breaker = CircuitBreaker(failures, reset_s)
    for _ in range(failures):
        breaker.fail(admitted(breaker, 0.0), 0.0, "no answer")
    return breaker


def admitted(breaker: CircuitBreaker, now: float) -> int:
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def state_of(breaker: CircuitBreaker) -> Circuit:
    """Asked anew each time: it changes between two assertions."""
    return breaker.state


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = CircuitBreaker(3, 10.0)
    for _ in range(2):
        breaker.fail(admitted(breaker, 0.0), 0.0, "no answer")
        assert state_of(breaker) is Circuit.CLOSED
    breaker.fail(admitted(breaker, 0.0), 0.0, "the last")
    assert state_of(breaker) is Circuit.OPEN
    assert breaker.admit(0.0) is None
    assert breaker.reason == "the last"


def test_a_success_begins_the_count_anew() -> None:
    breaker = CircuitBreaker(2, 10.0)
    for _ in range(5):
        breaker.fail(admitted(breaker, 0.0), 0.0, "no answer")
        breaker.succeed(admitted(breaker, 0.0))
    assert state_of(breaker) is Circuit.CLOSED


@pytest.mark.parametrize(("now", "wait_s"), [(0.0, 10.0), (4.0, 6.0), (10.0, 0.0), (99.0, 0.0)])
def test_it_says_how_long_it_stays_open(now: float, wait_s: float) -> None:
    assert opened().wait_s(now) == wait_s


def test_a_closed_one_asks_nobody_to_wait() -> None:
    assert CircuitBreaker(1, 10.0).wait_s(0.0) == 0.0


def test_one_trial_goes_out_when_the_time_is_over_and_no_second() -> None:
    breaker = opened()
    assert breaker.admit(9.9) is None
    assert breaker.admit(10.0) is not None
    assert state_of(breaker) is Circuit.HALF_OPEN
    assert breaker.admit(10.0) is None


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.succeed(admitted(breaker, 10.0))
    assert state_of(breaker) is Circuit.CLOSED
    breaker.fail(admitted(breaker, 11.0), 11.0, "no answer")
    assert state_of(breaker) is Circuit.CLOSED


def test_a_trial_that_fails_opens_it_for_another_while() -> None:
    breaker = opened()
    breaker.fail(admitted(breaker, 10.0), 12.0, "still no answer")
    assert state_of(breaker) is Circuit.OPEN
    assert breaker.admit(21.9) is None
    assert breaker.admit(22.0) is not None


def test_a_trial_of_which_nothing_is_known_makes_room_for_another() -> None:
    breaker = opened()
    breaker.abandon(admitted(breaker, 10.0))
    assert breaker.admit(10.0) is not None


def test_what_was_asked_before_it_opened_neither_closes_nor_reopens_it() -> None:
    breaker = CircuitBreaker(1, 10.0)
    early, also_early, failing = (admitted(breaker, 0.0) for _ in range(3))
    breaker.fail(failing, 0.0, "no answer")
    breaker.succeed(early)
    assert state_of(breaker) is Circuit.OPEN
    trial = admitted(breaker, 10.0)
    breaker.fail(also_early, 10.0, "late")
    breaker.abandon(also_early)
    assert state_of(breaker) is Circuit.HALF_OPEN
    assert breaker.admit(10.0) is None
    breaker.succeed(trial)
    assert state_of(breaker) is Circuit.CLOSED
    assert breaker.reason == "no answer"


def test_many_threads_get_one_trial() -> None:
    breaker = opened()
    tickets: list[int | None] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        tickets.append(breaker.admit(10.0))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ticket is not None for ticket in tickets) == 1


@pytest.mark.parametrize(("failures", "reset_s"), [(0, 1.0), (1, -1.0)])
def test_limits_that_make_no_sense_are_refused(failures: int, reset_s: float) -> None:
    with pytest.raises(ValueError, match="Expected at least 1 failure"):
        CircuitBreaker(failures, reset_s)
