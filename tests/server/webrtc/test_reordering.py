"""The order of packets: what follows is there at once, what is missing is waited for, and given up."""

from __future__ import annotations

import pytest

from alfred_voice.server.webrtc.reordering import MOST_HELD, MOST_MISSING, AudioPacket, Reordering, steps, ticks


PATIENCE_S = 0.06


@pytest.fixture
def order() -> Reordering:
    return Reordering(PATIENCE_S)


def packet(number: int, source: int = 1) -> AudioPacket:
    """The packet of that number, 20 ms after the one before."""
    return AudioPacket(number % 65_536, number * 960 % 2**32, bytes([number % 256]), source)


def put(order: Reordering, *numbers: int, at: float | None = None) -> list[int]:
    """The packets that come out, by their sequence numbers; each arrives when it is due, unless told otherwise."""
    taken: list[AudioPacket] = []
    for number in numbers:
        taken += order.put(packet(number), number * 0.02 if at is None else at)
    return [each.sequence for each in taken]


def test_what_follows_the_one_before_does_not_wait(order: Reordering) -> None:
    assert put(order, 10) == [10]
    assert put(order, 11) == [11]
    assert not order.is_waiting


def test_at_the_end_nothing_waits_any_more(order: Reordering) -> None:
    put(order, 10, 12, 15, 14, at=0.0)
    assert [each.sequence for each in order.drain()] == [12, 14, 15]
    assert order.drain() == []
    assert order.lost == 2


def test_two_that_changed_places_come_in_order(order: Reordering) -> None:
    assert put(order, 10, 12) == [10]
    assert order.is_waiting
    assert put(order, 11) == [11, 12]
    assert (order.received, order.lost, order.late) == (3, 0, 0)


def test_what_is_missing_is_given_up_after_the_patience(order: Reordering) -> None:
    put(order, 10)
    assert order.put(packet(12), 1.0) == []
    assert order.take(1.0 + PATIENCE_S - 0.001) == []
    assert [each.sequence for each in order.take(1.0 + PATIENCE_S)] == [12]
    assert order.lost == 1
    assert not order.is_waiting


def test_packets_that_keep_coming_end_the_wait_as_well(order: Reordering) -> None:
    put(order, 10)
    assert put(order, 12, 13, 14) == []
    assert put(order, 15) == [12, 13, 14, 15]
    assert order.lost == 1


def test_what_comes_after_it_was_given_up_is_thrown_away_and_counted(order: Reordering) -> None:
    put(order, 10, 12)
    order.take(10)
    assert order.put(packet(11), 10.1) == []
    assert (order.lost, order.late) == (1, 1)


def test_a_packet_that_comes_twice_is_taken_once(order: Reordering) -> None:
    assert put(order, 10, 10) == [10]
    assert put(order, 12, 12) == []
    assert put(order, 11) == [11, 12]
    assert order.late == 2


def test_two_holes_are_given_up_one_after_the_other(order: Reordering) -> None:
    put(order, 10)
    order.put(packet(12), 1.0)
    order.put(packet(15), 1.05)
    assert [each.sequence for each in order.take(1.07)] == [12]
    assert [each.sequence for each in order.take(1.2)] == [15]
    assert order.lost == 3


def test_the_numbers_go_round(order: Reordering) -> None:
    assert put(order, 65_534, 65_535, 65_536, 65_537) == [65_534, 65_535, 0, 1]
    assert order.lost == 0


def test_a_hole_over_the_turn_of_the_numbers_is_a_hole_of_its_size(order: Reordering) -> None:
    put(order, 65_535, 65_538)
    assert [each.sequence for each in order.take(1e6)] == [2]
    assert order.lost == 2


def test_no_more_wait_than_may(order: Reordering) -> None:
    put(order, 0)
    numbers = range(2, 2 + MOST_HELD)
    assert put(order, *numbers, at=5.0) == []
    assert put(order, 2 + MOST_HELD, at=5.0) == [*numbers, 2 + MOST_HELD]
    assert order.lost == 1


def test_another_source_begins_anew_and_loses_nothing(order: Reordering) -> None:
    put(order, 10, 12)
    taken = order.put(packet(500, source=2), 1.0)
    assert [(each.sequence, each.source) for each in taken] == [(12, 1), (500, 2)]
    assert [each.sequence for each in order.put(packet(501, source=2), 1.02)] == [501]
    assert order.lost == 0


@pytest.mark.parametrize("leap", [MOST_MISSING + 2, -MOST_MISSING])
def test_a_leap_of_the_numbers_is_a_new_beginning(order: Reordering, leap: int) -> None:
    put(order, 10_000)
    assert put(order, 10_000 + leap, at=1.0) == [10_000 + leap]
    assert order.lost == 0


def test_what_comes_evenly_has_no_jitter(order: Reordering) -> None:
    put(order, *range(50))
    assert order.jitter_s == pytest.approx(0, abs=1e-9)


def test_jitter_comes_near_to_how_unevenly_packets_come(order: Reordering) -> None:
    for number in range(400):
        order.put(packet(number), number * 0.02 + (0.01 if number % 2 else 0.0))
    assert order.jitter_s == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize(("later", "earlier", "between"), [(5, 3, 2), (3, 5, -2), (1, 65_535, 2), (65_535, 1, -2)])
def test_steps_are_counted_round_the_turn(later: int, earlier: int, between: int) -> None:
    assert steps(later, earlier) == between


def test_ticks_are_counted_round_the_turn() -> None:
    assert ticks(440, 2**32 - 520) == 960
    assert ticks(2**32 - 520, 440) == -960
