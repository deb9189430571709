"""Levels of load: their figures, their limits, and how both are shown."""

from __future__ import annotations

import math

import pytest

from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.journal import Figures
from alfred_voice.bench.level import Level, Watched
from alfred_voice.bench.limits import DEFAULTS, MEASURES, broken, checks_of, limits_of
from alfred_voice.bench.pacing import Lateness
from alfred_voice.bench.report import Check
from alfred_voice.bench.script import Mix
from alfred_voice.bench.session_tables import level_section, ramp_section


def level(sessions: int = 100, *, figures: Figures | None = None, cpu_s: float = 5.0, late_s: float = 0.001) -> Level:
    figures = figures or Figures(
        sessions=sessions,
        frame_age_ms=[float(age) for age in range(1, 101)],
        frames_sent=1000,
        frames_processed=1000,
        speech_frames=400,
    )
    watched = Watched(
        seconds=10.0,
        cpu_s=cpu_s,
        rss_before_mb=150.0,
        rss_opened_mb=155.0,
        rss_mb=[160.0, 170.0, 165.0],
        loop_lag_ms=[1.0, 3.0],
        judged_per_s=[0.0, 4900.0, 5100.0],
        vad_wait_ms=[9.0, 11.0],
    )
    return Level(sessions, figures, Lateness([(late_s, 990), (late_s, 10)]), 0.25, watched)


def test_processor_time_is_spread_over_the_frames_that_were_judged() -> None:
    found = level()

    assert found.cores == pytest.approx(0.5)
    assert found.judged_per_s == pytest.approx(5000)
    assert found.us_per_frame == pytest.approx(100.0)
    assert found.cores_per_speaker == pytest.approx(0.5 / (100 * 0.4))


def test_a_daemon_that_fell_behind_does_not_look_cheap() -> None:
    """Half the frames judged with the same time is twice the time for each."""
    behind = level()
    behind.watched.judged_per_s[:] = [2500.0]

    assert behind.us_per_frame == pytest.approx(200.0)


def test_memory_grows_from_before_the_first_session() -> None:
    assert level().peak_mb == 170.0
    assert level().kb_per_session == pytest.approx(20 * 1024 / 100)


def test_delays_that_never_occurred_have_no_percentile() -> None:
    assert math.isnan(level().percentile_ms("final_ms", 95))
    assert level().percentile_ms("frame_age_ms", 50) == pytest.approx(50.5)


def test_limits_are_those_of_the_mix_unless_some_are_given() -> None:
    assert limits_of(Mix.LISTEN, []) == {"drops": 0, "frame_age_p99": 40, "cpu": 1}
    assert limits_of(Mix.LISTEN, ["final_p95=300", "cpu=0.5"]) == {"final_p95": 300.0, "cpu": 0.5}
    assert set().union(*DEFAULTS.values()) <= set(MEASURES)


@pytest.mark.parametrize("word", ["speed=1", "cpu", "cpu=much"])
def test_what_is_no_limit_is_refused(word: str) -> None:
    with pytest.raises(BenchmarkFailed, match="--limit"):
        limits_of(Mix.LISTEN, [word])


def test_broken_limits_are_named() -> None:
    found = level(cpu_s=12.0)

    assert broken(found, {"cpu": 1.2, "frame_age_p99": 100.0}) == []
    assert broken(found, {"cpu": 1.0, "frame_age_p99": 40.0}) == ["cpu", "frame_age_p99"]


def test_what_could_not_be_measured_breaks_its_limit() -> None:
    assert broken(level(), {"final_p95": 1000.0}) == ["final_p95"]


def test_frames_without_an_account_count_as_dropped() -> None:
    lost = Figures(frames_sent=100, frames_processed=90, frames_dropped=4, frames_unaccounted=6)

    (check,) = checks_of(level(figures=lost), {"drops": 0.0}, "mixed")
    assert (check.name, check.value, check.holds) == ("mixed, frames dropped or lost", 10.0, False)


# What is shown


def test_a_level_is_shown_with_its_delays_its_account_and_its_cost() -> None:
    section = level_section(Mix.LISTEN, level(), ())
    delays, account, cost = section.tables

    assert [row["delay"] for row in delays.rows] == ["frame age"]
    assert delays.rows[0]["p99"] == pytest.approx(99.01)
    assert {row["what"]: row["count"] for row in account.rows}["frames processed"] == 1000
    shown = {row["what"]: row["value"] for row in cost.rows}
    assert shown["daemon, processor time"] == pytest.approx(0.5)
    assert shown["generator, processor time"] == 0.25
    assert list(section.curves[0].series) == ["frame age"]


def test_finals_are_only_told_where_somebody_spoke() -> None:
    spoken = Figures(turns_spoken=3, finals_due=4, finals=3, finals_lost=1, interruptions_due=2)
    spoken.warnings["audio_dropped"] = 7

    quiet = {row["what"] for row in level_section(Mix.LISTEN, level(), ()).tables[1].rows}
    loud = {row["what"]: row["count"] for row in level_section(Mix.MIXED, level(figures=spoken), ()).tables[1].rows}
    assert "finals lost" not in quiet
    assert (loud["finals due"], loud["finals lost"], loud["warning audio_dropped"]) == (4, 1, 7)
    assert (loud["interruptions due"], loud["interruptions received"]) == (2, 0)


def test_a_late_generator_says_so_loudly() -> None:
    calm = level_section(Mix.LISTEN, level(), ()).tables[0].note
    late = level_section(Mix.LISTEN, level(late_s=0.05), ()).tables[0].note

    assert "GENERATOR" not in calm
    assert "THE GENERATOR ITSELF WAS LATE" in late
    assert "50 ms at most" in late


def test_a_ramp_has_a_row_for_each_level_and_curves_of_cost_against_sessions() -> None:
    levels = [level(100, cpu_s=5.0), level(200, cpu_s=12.0, late_s=0.03)]
    reached = Check("sessions", 100.0, 100.0, "", at_most=False)
    section = ramp_section(Mix.LISTEN, levels, {"cpu": 1.0}, reached, "300 sessions: refused")
    (table,) = section.tables

    assert [(row["sessions"], row["broken"]) for row in table.rows] == [(100, "-"), (200, "cpu")]
    assert "100 sessions were within the limits: daemon's processor time 1 cores." in table.note
    assert "300 sessions: refused" in table.note
    assert table.note.count("THE GENERATOR") == 1
    cores = section.curves[1]
    assert cores.series == {"daemon": ((100.0, 0.5), (200.0, 1.2))}
    assert cores.limit == 1.0
    assert section.checks == (reached,)


def test_final_latency_is_drawn_where_somebody_speaks() -> None:
    reached = Check("sessions", 100.0, 100.0, "", at_most=False)
    titles = [curve.title for curve in ramp_section(Mix.MIXED, [level()], {"drops": 0.0}, reached, "").curves]

    assert "mixed: final latency" in titles
