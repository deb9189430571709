"""``alfred-voice bench monitor``: its figures as values, and a small real run."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from alfred_voice.bench import monitor
from alfred_voice.bench.errors import BenchmarkFailed, DaemonFailed
from alfred_voice.bench.monitor import Stretch, counted_in, error_of_mean
from alfred_voice.cli import main
from alfred_voice.pipeline.metrics import Metrics


FOUND = [Stretch(40.0, 41.0, 0.3), Stretch(42.0, 41.5, 0.5), Stretch(41.0, 42.0, 0.4)]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    monitor.add_arguments(parser)
    return parser.parse_args(words)


def test_the_usual_run_is_one_viewer_of_a_hundred_listeners() -> None:
    args = parse()
    assert (args.sessions, args.viewers, args.stretches, args.seconds, args.duty) == (100, 1, 8, 10.0, 0.0)


def test_what_the_daemon_counts_is_found_under_the_name_that_it_has() -> None:
    metrics = Metrics("0")
    metrics.door.monitor.inc(0.25)

    assert counted_in(generate_latest(metrics.registry).decode()) == 0.25


def test_a_daemon_that_does_not_count_is_no_cheap_one() -> None:
    with pytest.raises(DaemonFailed, match="alfred_monitor_seconds_total"):
        counted_in("# nothing\n")


def test_the_table_has_what_was_counted_and_the_difference_of_each_pair() -> None:
    rows = {row["what"]: row for row in monitor._table(FOUND).rows}

    assert rows["counted for viewers"]["mean"] == pytest.approx(0.4)
    assert rows["difference within a pair"]["least"] == -0.5
    assert rows["difference within a pair"]["most"] == 1.0


def test_the_error_of_a_mean_shrinks_with_the_root_of_their_number() -> None:
    assert error_of_mean([1.0, 2.0, 3.0]) == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(error_of_mean([1.0]))


@pytest.mark.parametrize(("most", "holds"), [(0.5, True), (1.0, True), (1.1, False)])
def test_no_stretch_may_cost_more_than_the_limit(most: float, holds: bool) -> None:
    (check,) = monitor._checks([*FOUND, Stretch(1, 1, most)])
    assert check.holds is holds


@pytest.mark.parametrize("words", [("--stretches", "0"), ("--viewers", "0")])
def test_nobody_who_looks_is_refused(words: tuple[str, ...]) -> None:
    from alfred_voice.config import Config

    with pytest.raises(BenchmarkFailed, match="at least one"):
        monitor.run(parse(*words), Config())


@pytest.mark.models
def test_a_small_run_counts_something_and_not_much(tmp_path: Path) -> None:
    out = tmp_path / "monitor.json"
    words = ["--sessions", "3", "--stretches", "2", "--seconds", "2", "--json", str(out)]

    assert main(["bench", "monitor", *words]) == 0

    report = json.loads(out.read_text("utf-8"))
    counted = report["tables"][0]["rows"][0]
    assert counted["what"] == "counted for viewers"
    assert 0 < counted["least"] <= counted["most"] < 20
