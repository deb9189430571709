"""When the next attempt to come back is made."""

from __future__ import annotations

import pytest

from alfred_voice.client import ReturnPlan


def test_waits_double_up_to_the_longest() -> None:
    plan = ReturnPlan(first_wait_s=0.1, longest_wait_s=1.0, jitter=lambda: 1.0)
    assert [plan.wait_s(attempts) for attempts in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert plan.wait_s(100_000) == 1.0


def test_a_part_of_each_is_waited_as_the_dice_fall() -> None:
    parts = iter([0.0, 0.5, 0.25])
    plan = ReturnPlan(first_wait_s=0.1, jitter=lambda: next(parts))
    assert [plan.wait_s(attempts) for attempts in range(3)] == pytest.approx([0.0, 0.1, 0.1])


def test_what_the_daemon_asks_for_is_waited_whatever_the_dice_say() -> None:
    plan = ReturnPlan(first_wait_s=0.1, jitter=lambda: 0.5)
    assert plan.wait_s(0, at_least_s=5.0) == pytest.approx(5.05)


def test_clients_that_were_lost_together_do_not_come_back_together() -> None:
    plan = ReturnPlan()
    assert len({plan.wait_s(3) for _ in range(20)}) > 10
