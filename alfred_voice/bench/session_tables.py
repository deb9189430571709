"""Levels of load as tables and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alfred_voice.bench.level import Level
from alfred_voice.bench.limits import MEASURES, broken, dropped
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.report import Axis, Cell, Check, Column, Curve, Table
from alfred_voice.bench.script import Mix
from alfred_voice.bench.stopwatch import percentile


DELAYS: Mapping[str, str] = {
    "frame_age_ms": "frame age",
    "frame_wait_ms": "frame age and wait for its window",
    "partial_lag_ms": "partial lag",
    "final_ms": "final latency",
    "final_prompt_ms": "  where the turn model did not wait",
    "turn_ms": "turn latency",
    "interruption_ms": "interruption latency",
}
"""Fields of the figures, and what they are called."""
PERCENTS = (0, 10, 25, 50, 75, 90, 95, 99, 100)
"""At which a level's delays are drawn."""


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a report that is about one mix."""

    tables: tuple[Table, ...]
    curves: tuple[Curve, ...]
    checks: tuple[Check, ...]


def level_section(mix: Mix, level: Level, checks: tuple[Check, ...]) -> Section:
    """One level in full."""
    title = f"{mix}: {level.sessions} sessions"
    if mix is not Mix.LISTEN:
        title += f", {level.duty:.0%} speech"
    tables = (_delays(title, level), _account(title, level), _cost(title, level))
    return Section(tables, (_distribution(title, level),), checks)


def ramp_section(
    mix: Mix, levels: Sequence[Level], limits: Mapping[str, float], reached: Check, refusal: str
) -> Section:
    """Several levels side by side, and the cost against the sessions."""
    held = f"{reached.value:.0f} sessions were within the limits: " + ", ".join(
        f"{MEASURES[name].title} {limit:g} {MEASURES[name].unit}".rstrip() for name, limit in limits.items()
    )
    notes = [f"{held}.", refusal, *(_lateness_note(level) for level in levels)]
    table = Table(
        f"{mix}: cost by sessions",
        (
            Column("sessions", "sessions"),
            Column("cores", "daemon", "cores", 2),
            Column("us_per_frame", "each frame", "us"),
            Column("rss_mb", "memory", "MB"),
            Column("age_p50", "frame age p50", "ms"),
            Column("age_p99", "p99", "ms"),
            Column("final_p95", "final p95", "ms", 0),
            Column("dropped", "dropped", "", 0),
            Column("lost", "lost finals"),
            Column("generator", "generator", "cores", 2),
            Column("broken", "breaks"),
        ),
        tuple(_ramp_row(level, limits) for level in levels),
        "\n".join(note for note in notes if note),
    )
    return Section((table,), _cost_curves(mix, levels, limits), (reached,))


def _ramp_row(level: Level, limits: Mapping[str, float]) -> dict[str, Cell]:
    return {
        "sessions": level.sessions,
        "cores": level.cores,
        "us_per_frame": level.us_per_frame,
        "rss_mb": level.peak_mb,
        "age_p50": level.percentile_ms("frame_age_ms", 50),
        "age_p99": level.percentile_ms("frame_age_ms", 99),
        "final_p95": level.percentile_ms("final_ms", 95),
        "dropped": dropped(level),
        "lost": level.figures.finals_lost,
        "generator": level.generator_cores,
        "broken": ", ".join(broken(level, limits)) or "-",
    }


def _cost_curves(mix: Mix, levels: Sequence[Level], limits: Mapping[str, float]) -> tuple[Curve, ...]:
    sessions = Axis("sessions")

    def points(values: Sequence[float]) -> tuple[tuple[float, float], ...]:
        return tuple((float(level.sessions), value) for level, value in zip(levels, values, strict=True))

    def delay(percent: float, name: str = "frame_age_ms") -> tuple[tuple[float, float], ...]:
        return points([level.percentile_ms(name, percent) for level in levels])

    ages = {f"p{percent}": delay(percent) for percent in (50, 95, 99)}
    curves = [
        Curve(
            f"{mix}: cost of a frame",
            sessions,
            Axis("processor time", "us"),
            {"daemon": points([level.us_per_frame for level in levels])},
        ),
        Curve(
            f"{mix}: processor time",
            sessions,
            Axis("processor time", "cores"),
            {"daemon": points([level.cores for level in levels])},
            limits.get("cpu"),
        ),
        Curve(f"{mix}: frame age", sessions, Axis("frame age", "ms"), ages, limits.get("frame_age_p99")),
        Curve(
            f"{mix}: memory",
            sessions,
            Axis("resident memory", "MB"),
            {"daemon": points([level.peak_mb for level in levels])},
            limits.get("memory"),
        ),
    ]
    if mix is not Mix.LISTEN:
        finals = {f"p{percent}": delay(percent, "final_ms") for percent in (50, 95)}
        curves.append(
            Curve(f"{mix}: final latency", sessions, Axis("final latency", "ms"), finals, limits.get("final_p95"))
        )
    return tuple(curves)


def _delays(title: str, level: Level) -> Table:
    """Percentiles of each kind of delay that there was."""
    rows: list[dict[str, Cell]] = []
    for name, meaning in DELAYS.items():
        values = getattr(level.figures, name)
        if values:
            row = {f"p{percent}": percentile(values, percent) for percent in (50, 95, 99)}
            rows.append({"delay": meaning, "count": len(values), **row, "max": max(values)})
    columns = (
        Column("delay", "delay"),
        Column("count", "count"),
        *(Column(name, name, "ms") for name in ("p50", "p95", "p99", "max")),
    )
    note = "From when the audio was due to be sent to when the client was told."
    return Table(f"{title}: delays", columns, tuple(rows), "\n".join(filter(None, (note, _lateness_note(level)))))


def _account(title: str, level: Level) -> Table:
    """What was sent and what became of it."""
    found = level.figures
    counts: dict[str, Cell] = {
        "frames sent": found.frames_sent,
        "frames processed": found.frames_processed,
        "frames dropped": found.frames_dropped,
        "frames not accounted for": found.frames_unaccounted,
        "sessions without an end": found.unended,
    }
    if found.turns_spoken:
        counts |= {
            "turns spoken": found.turns_spoken,
            "turns without a beginning heard": found.turns_unheard,
            "finals due": found.finals_due,
            "finals received": found.finals,
            "finals lost": found.finals_lost,
            "finals received twice": found.finals_twice,
        }
    if found.interruptions_due:
        counts |= {
            "interruptions due": found.interruptions_due,
            "interruptions received": len(found.interruption_ms),
        }
    for kind, counter in (
        ("warning", found.warnings),
        ("error", found.errors),
        ("step", found.steps),
        ("connection", found.losses),
    ):
        counts |= {f"{kind} {name}": count for name, count in sorted(counter.items())}
    rows = tuple({"what": what, "count": count} for what, count in counts.items())
    return Table(f"{title}: account", (Column("what", "what"), Column("count", "count")), rows)


def _cost(title: str, level: Level) -> Table:
    """What it took."""
    watched, lateness = level.watched, level.lateness
    lags, waits = watched.loop_lag_ms, watched.vad_wait_ms
    figures: list[tuple[str, str, float]] = [
        ("daemon, processor time", "cores", level.cores),
        ("daemon, frames due in a second", "", level.sessions / FRAME_S),
        ("daemon, frames judged in a second", "", level.judged_per_s),
        ("daemon, for each frame judged", "us", level.us_per_frame),
        *([("daemon, for a second of speech", "s", level.cores_per_speaker)] if level.duty else []),
        ("daemon, memory before", "MB", watched.rss_before_mb),
        ("daemon, memory with all sessions open", "MB", watched.rss_opened_mb),
        ("daemon, memory at most", "MB", level.peak_mb),
        ("daemon, growth for each session", "KB", level.kb_per_session),
        ("daemon, event loop's lag, p50", "ms", percentile(lags, 50)),
        ("daemon, event loop's lag, p95", "ms", percentile(lags, 95)),
        ("daemon, detector's queue, p95", "ms", percentile(waits, 50)),
        ("generator, processor time", "cores", level.generator_cores),
        ("generator, late by, p99", "ms", lateness.percentile_ms(99)),
        ("generator, late by, at most", "ms", lateness.worst_ms()),
    ]
    rows: tuple[dict[str, Cell], ...] = tuple(
        {"what": what, "unit": unit, "value": value} for what, unit, value in figures
    )
    columns = (Column("what", "what"), Column("value", "value", digits=2), Column("unit", "unit"))
    return Table(f"{title}: cost", columns, rows)


def _distribution(title: str, level: Level) -> Curve:
    """How the delays are spread."""
    series = {
        meaning.strip(): tuple((float(percent), percentile(values, percent)) for percent in PERCENTS)
        for name, meaning in DELAYS.items()
        if (values := getattr(level.figures, name))
    }
    return Curve(f"{title}: delays", Axis("share of events", "%"), Axis("delay", "ms"), series)


def _lateness_note(level: Level) -> str:
    """A loud word when the generator was behind; "" when it was not."""
    late = level.lateness.late_frames()
    if not late:
        return ""
    share = late / max(1, level.lateness.frames)
    return (
        f"ATTENTION: with {level.sessions} sessions THE GENERATOR ITSELF WAS LATE by more than a frame "
        f"({FRAME_S * 1000:.0f} ms) with {late} frames ({share:.2%}), {level.lateness.worst_ms():.0f} ms at most. "
        "The delays are the generator's as well as the daemon's."
    )
