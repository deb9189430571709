"""Alerts with hysteresis; times are whole seconds."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from alfred_voice.pipeline.alerts import CLEAR_AFTER_S, RAISE_AFTER_S, AlertBook, Readings
from alfred_voice.pipeline.options import AlertOptions


OPTIONS = AlertOptions(frame_time_ms=20, memory_mb=300, load_percent=80, error_rate_percent=5, queued_frames=100)


def changes(*loads: tuple[float, float]) -> list[tuple[float, bool]]:
    """When the alert about load is raised (True) and cleared, given (time, load in percent)."""
    book = AlertBook(OPTIONS)
    return [(now, change.is_raised) for now, load in loads for change in book.update(Readings(load_percent=load), now)]


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        pytest.param([(0, 80), (9, 80)], [], id="at the limit there is none"),
        pytest.param([(0, 81), (0.5, 81)], [], id="nor for a moment beyond it"),
        pytest.param([(0, 81), (1, 81), (2, 99)], [(1, True)], id="one is raised once"),
        pytest.param([(0, 81), (0.5, 80), (1, 81), (1.5, 81)], [], id="a break counts anew"),
        pytest.param([(0, 81), (1, 81), (2, 73), (60, 73)], [(1, True)], id="just below the limit it stays up"),
        pytest.param([(0, 81), (1, 81), (2, 72), (7, 72)], [(1, True), (7, False)], id="well below it is cleared"),
        pytest.param([(0, 81), (1, 81), (2, 72), (5, 79), (6, 72), (10, 72)], [(1, True)], id="unless it comes back"),
        pytest.param([(0, 81), (1, 81), (2, 0), (7, 0), (8, 90), (9, 90)], [(1, True), (7, False), (9, True)],
                     id="and it can be raised again"),
    ],
)  # fmt: skip
def test_an_alert_is_raised_and_cleared_with_hysteresis(
    loads: list[tuple[float, float]], expected: list[tuple[float, bool]]
) -> None:
    assert (RAISE_AFTER_S, CLEAR_AFTER_S) == (1.0, 5.0)
    assert changes(*loads) == expected


@pytest.mark.parametrize(
    ("reading", "value", "code", "limit"),
    [
        ("frame_time_ms", 20.5, "frame_time", 20.0),
        ("memory_mb", 301.0, "memory", 300.0),
        ("load_percent", 81.0, "load", 80.0),
        ("error_rate_percent", 5.1, "error_rate", 5.0),
        ("queued_frames", 101, "queue", 100),
        ("dropped_frames", 51, "dropped", 50),
        ("lost_records", 1, "logging", 0),
    ],
)
def test_each_figure_has_an_alert_of_its_own(reading: str, value: float, code: str, limit: float) -> None:
    book = AlertBook(OPTIONS)
    figures: Any = {reading: value}
    readings = Readings(**figures)
    book.update(readings, 0.0)
    (change,) = book.update(readings, 2.0)
    described = change.alert.describe(12.0)
    assert (described["code"], described["value"], described["limit"]) == (code, value, limit)
    assert described["for_s"] == 10.0
    assert f"limit {limit:g}" in described["message"]


def test_all_figures_are_watched() -> None:
    book = AlertBook(OPTIONS)
    figures: Any = {each.name: 1e6 for each in fields(Readings)} | {"engines_down": ("stt",)}
    high = Readings(**figures)
    book.update(high, 0.0)
    assert len(book.update(high, 1.0)) == len(fields(Readings)) == len(book.up)


def test_an_engine_that_is_down_is_named_and_the_alert_goes_when_it_is_back() -> None:
    book = AlertBook(OPTIONS)
    down = Readings(engines_down=("stt", "tts"))
    book.update(down, 0.0)
    (raised,) = book.update(down, 1.0)
    assert (raised.alert.code, raised.alert.value, raised.alert.limit) == ("engine_down", 2.0, 0.0)
    assert "stt, tts" in raised.alert.describe(1.0)["message"]
    assert book.update(Readings(), 2.0) == []
    (cleared,) = book.update(Readings(), 7.0)
    assert not cleared.is_raised
    assert not book.up


def test_an_alert_that_is_up_tells_the_newest_value() -> None:
    book = AlertBook(OPTIONS)
    for now, load in ((0, 81), (1, 82), (2, 99)):
        book.update(Readings(load_percent=load), now)
    (alert,) = book.up
    assert (alert.value, alert.since) == (99, 1)


def test_other_limits_hold_from_the_next_moment_on() -> None:
    book = AlertBook(OPTIONS)
    for now in (0.0, 1.0):
        assert book.update(Readings(load_percent=50), now) == []
    book.reconfigure(AlertOptions(load_percent=40))
    book.update(Readings(load_percent=50), 2.0)
    assert [change.is_raised for change in book.update(Readings(load_percent=50), 3.0)] == [True]


@pytest.mark.parametrize(
    ("readings", "calm", "said"),
    [
        ({"load_percent": 91.24}, {"load_percent": 12.3}, "load is back below its limit: 12.3 %, limit 80"),
        ({"engines_down": ("stt",)}, {}, "all engines work again"),
        ({"lost_records": 3.0}, {}, "log records are written again"),
    ],
)
def test_what_an_alert_that_is_over_says_is_that_it_is(readings: Any, calm: Any, said: str) -> None:
    book = AlertBook(AlertOptions(load_percent=80))
    book.update(Readings(**readings), 0.0)
    (raised,) = book.update(Readings(**readings), 1.0)
    assert raised.message == raised.alert.describe(1.0)["message"]
    book.update(Readings(**calm), 2.0)
    (cleared,) = book.update(Readings(**calm), 7.0)
    assert cleared.message == said


def test_an_alert_that_waits_to_be_cleared_does_not_say_that_the_figure_is_high() -> None:
    book = AlertBook(AlertOptions(load_percent=80))
    for now in (0.0, 1.0):
        book.update(Readings(load_percent=95), now)
    assert book.up[0].describe(1.0) == {
        "code": "load", "message": "load is high: 95.0 %, limit 80", "value": 95, "limit": 80, "beyond": True,
        "for_s": 0.0,
    }  # fmt: skip
    book.update(Readings(load_percent=38.8), 2.0)
    told = book.up[0].describe(2.0)
    assert told["beyond"] is False
    assert told["message"] == "load was above its limit 80 and is 38.8 % now; cleared after 72 % or less for 5 s"


def test_an_engine_that_is_back_is_said_to_be_before_its_alert_is_cleared() -> None:
    book = AlertBook(AlertOptions())
    for now in (0.0, 1.0):
        book.update(Readings(engines_down=("stt",)), now)
    book.update(Readings(), 2.0)
    assert book.up[0].message == "all engines work again; cleared after 5 s without a fault"


def test_every_alert_has_words_for_its_end() -> None:
    figures: Any = {each.name: 1e6 for each in fields(Readings)} | {"engines_down": ("stt",)}
    book = AlertBook(AlertOptions())
    book.update(Readings(**figures), 0.0)
    assert len(book.update(Readings(**figures), 1.0)) == len(fields(Readings))
    book.update(Readings(), 2.0)
    messages = [change.message for change in book.update(Readings(), 7.0)]
    assert len(set(messages)) == len(fields(Readings))
    assert all("again" in message or "back below its limit" in message for message in messages)
