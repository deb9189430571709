"""``alfred-voice bench sessions`` from its options to a real daemon under a small load."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from alfred_voice.bench import sessions
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.script import Mix
from alfred_voice.cli import main
from alfred_voice.config import load
from alfred_voice.models.store import Store


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sessions.add_arguments(parser)
    args = parser.parse_args(words)
    args.audio, args.command_line = None, "alfred-voice bench sessions"
    return args


def test_the_usual_run_is_a_minute_of_both_mixes() -> None:
    args = parse()

    assert (args.mix, args.sessions, args.seconds, args.processes) == (None, None, 60.0, 1)
    assert sessions.DEFAULT_MIXES == (Mix.LISTEN, Mix.MIXED)
    assert (sessions.DEFAULT_SESSIONS[Mix.LISTEN], sessions.DEFAULT_SESSIONS[Mix.MIXED]) == (500, 16)


def test_a_ramp_is_a_start_and_a_step() -> None:
    assert parse("--ramp", "100,50").ramp == (100, 50)


@pytest.mark.parametrize("text", ["100", "100,", "0,10", "10,0", "a,b", "-1,5"])
def test_what_is_no_ramp_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(f"--ramp={text}")

    assert "100,100" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--sessions", "0"),
        ("--seconds", "0.5"),
        ("--sample", "-1"),
        ("--warm-up", "-1"),
        ("--processes", "0"),
        ("--limit", "speed=1"),
        ("--mix", "mixed", "--duty", "2"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else None,
)
def test_what_makes_no_sense_is_refused_before_a_daemon_is_started(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a daemon was started")

    monkeypatch.setattr(sessions, "running_daemon", start)

    with pytest.raises(BenchmarkFailed, match=words[-2].removeprefix("--")):
        sessions.run(parse(*words, *(() if "--mix" in words else ("--mix", "listen"))), load(environ={}).config)


@pytest.mark.end_to_end
@pytest.mark.models
def test_three_speakers_for_three_seconds(models: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.root.is_dir()
    out = tmp_path / "out.json"
    load = ("--mix", "talk", "--sessions", "3", "--seconds", "3", "--warm-up", "0", "--turns", "all", "--sample", "1")

    assert main(["bench", "sessions", *load, "--json", str(out), "--plot", str(tmp_path / "out.svg")]) == 0

    report = json.loads(out.read_text())
    delays, account, cost = report["tables"]
    counts = {row["what"]: row["count"] for row in account["rows"]}
    assert (counts["frames sent"], counts["sessions without an end"]) == (450, 0)
    assert counts["frames processed"] + counts["frames dropped"] == 450
    # Nobody had said all of their first turn, so that each of them has a final that is due at the end.
    assert counts["finals received"] == counts["finals due"] >= 3
    assert (counts["turns without a beginning heard"], counts["finals lost"]) == (0, 0)
    ages = {row["delay"]: row for row in delays["rows"]}
    assert 140 <= ages["frame age"]["count"] <= 150
    assert ages["frame age"]["p50"] <= ages["frame age"]["p99"] <= ages["frame age"]["max"]
    assert all(row["value"] > 0 for row in cost["rows"] if row["what"].startswith("daemon, memory"))
    assert (tmp_path / "out.svg").stat().st_size > 1000
    assert "talk: 3 sessions" in capsys.readouterr().out


@pytest.mark.end_to_end
@pytest.mark.models
def test_a_ramp_ends_at_the_level_that_breaks_a_limit(models: Store, tmp_path: Path) -> None:
    assert models.root.is_dir()
    out = tmp_path / "out.json"
    ramp = ("--mix", "listen", "--ramp", "1,1", "--sessions", "3", "--seconds", "1", "--limit", "memory=1")

    assert main(["bench", "sessions", *ramp, "--json", str(out), "--check"]) == 1

    report = json.loads(out.read_text())
    assert [row["broken"] for row in report["tables"][0]["rows"]] == ["memory"]
    assert report["checks"][0]["value"] == 0
    assert len(report["curves"]) == 4
