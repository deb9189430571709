"""``alfred-voice bench``: which benchmark runs, what is printed, written and drawn, and the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.report import Axis, Check, Column, Curve, Report, Table
from alfred_voice.cli import main
from alfred_voice.commands import bench
from alfred_voice.commands.bench import BENCHMARKS
from alfred_voice.config import Config


class Fake(ModuleType):
    """A benchmark that measures nothing."""

    HELP = "Measures nothing."

    def __init__(self, name: str, value: float = 1.0, fails: str = "") -> None:
        super().__init__(f"alfred_voice.bench.{name}")
        self.benchmark = name
        self.value = value
        self.fails = fails
        self.seen: list[argparse.Namespace] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--batch", type=int, default=64)

    def run(self, args: argparse.Namespace, config: Config) -> Report:
        assert isinstance(config, Config)
        self.seen.append(args)
        if self.fails:
            raise BenchmarkFailed(self.fails)
        return Report(
            self.benchmark,
            args.command_line,
            {"cores": "2"},
            (Table("Windows", (Column("batch", "batch"),), ({"batch": args.batch},)),),
            (Curve("c", Axis("x"), Axis("y"), {"a": ((0.0, 1.0), (1.0, 2.0))}),),
            (Check("window", self.value, 2.0, "us"),),
        )


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fake]:
    """Every benchmark, replaced."""
    found = {name: Fake(name) for name in BENCHMARKS}
    monkeypatch.setattr(bench, "_module", lambda name: found[name])
    return found


def test_a_benchmark_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench"])

    assert "BENCHMARK" in capsys.readouterr().err


def test_help_names_all_benchmarks_without_importing_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> ModuleType:
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr(bench, "_module", refuse)
    with pytest.raises(SystemExit):
        main(["bench", "--help"])

    shown = capsys.readouterr().out
    assert all(name in shown for name in (*BENCHMARKS, "all"))


def test_only_the_benchmark_that_runs_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def module(name: str) -> Fake:
        asked.append(name)
        return Fake(name)

    monkeypatch.setattr(bench, "_module", module)
    main(["bench", "tts"])

    assert set(asked) == {"tts"}


@pytest.mark.parametrize("name", [*BENCHMARKS, "all"])
def test_each_benchmark_has_help(name: str, fakes: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["bench", name, "--help"])

    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert all(option in shown for option in ("--json", "--check", "--set"))
    assert ("--plot" in shown) == (name == "all" or BENCHMARKS[name].draws)
    assert ("--batch" in shown) == (name != "all")
    assert ("--audio" in shown) == (name == "all" or BENCHMARKS[name].hears)


def test_a_report_is_printed(fakes: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "vad", "--batch", "3"]) == 0

    shown = capsys.readouterr().out
    assert "Windows\nbatch\n    3\n" in shown
    assert "ok      window: 1 us, at most 2 us" in shown


def test_json_goes_into_a_file(fakes: dict[str, Fake], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "vad", "--json", str(tmp_path / "vad.json")]) == 0

    assert json.loads((tmp_path / "vad.json").read_text())["tables"][0]["rows"] == [{"batch": 64}]
    assert "Windows" in capsys.readouterr().out


def test_json_on_standard_output_is_alone_there(fakes: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "vad", "--json", "-"]) == 0

    shown = capsys.readouterr()
    assert json.loads(shown.out)["benchmark"] == "vad"
    assert "Windows" in shown.err


def test_a_curve_is_drawn(fakes: dict[str, Fake], tmp_path: Path) -> None:
    assert main(["bench", "vad", "--plot", str(tmp_path / "vad.svg")]) == 0

    assert "<svg" in (tmp_path / "vad.svg").read_text("utf-8")


@pytest.mark.parametrize(
    "option", [("--plot", "x.gif"), ("--plot", "no/where/x.svg"), ("--json", "no/where/x.json")], ids=" ".join
)
def test_files_that_cannot_be_written_are_refused_before_anything_is_measured(
    option: tuple[str, str], fakes: dict[str, Fake], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "vad", option[0], str(tmp_path / option[1])]) == 1

    assert "error:" in capsys.readouterr().err
    assert fakes["vad"].seen == []


def test_a_missed_target_fails_only_when_it_is_asked_for(fakes: dict[str, Fake]) -> None:
    fakes["vad"].value = 3.0

    assert main(["bench", "vad"]) == 0
    assert main(["bench", "vad", "--check"]) == 1
    assert main(["bench", "tts", "--check"]) == 0


def test_a_benchmark_that_fails_says_why(fakes: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    fakes["vad"].fails = "the daemon was not ready"

    assert main(["bench", "vad"]) == 1
    assert "error: the daemon was not ready" in capsys.readouterr().err


def test_the_command_line_stands_in_the_report(fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/alfred-voice", "bench", "vad", "--batch", "3", "--json", "-"])
    main()

    assert fakes["vad"].seen[0].command_line == "alfred-voice bench vad --batch 3 --json -"


def test_settings_may_stand_behind_the_benchmarks_name(fakes: dict[str, Fake]) -> None:
    assert main(["bench", "vad", "--set", "sessions.max_concurrent=3"]) == 0

    assert fakes["vad"].seen[0].loaded.config.sessions.max_concurrent == 3


# All of them


def test_all_runs_each_with_its_defaults(fakes: dict[str, Fake], tmp_path: Path) -> None:
    assert main(["bench", "all", "--json", str(tmp_path / "all.json")]) == 0

    found = json.loads((tmp_path / "all.json").read_text())
    assert [report["benchmark"] for report in found["reports"]] == list(BENCHMARKS)
    assert (found["benchmark"], found["failures"], found["holds"]) == ("all", {}, True)
    assert found["reports"][0]["command"] == "alfred-voice bench vad"
    assert all(fake.seen[0].batch == 64 for fake in fakes.values())


def test_all_goes_on_past_one_that_fails(fakes: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    fakes["stt"].fails = "no model"

    assert main(["bench", "all", "--json", "-"]) == 1

    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["failures"] == {"stt": "no model"}
    assert [report["benchmark"] for report in found["reports"]] == [name for name in BENCHMARKS if name != "stt"]
    assert "error: stt: no model" in shown.err


def test_all_goes_on_past_one_that_lacks_a_package(
    fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def module(name: str) -> Fake:
        if name == "peers":
            raise ModuleNotFoundError("No module named 'elsewhere'")
        return fakes[name]

    monkeypatch.setattr(bench, "_module", module)

    assert main(["bench", "all", "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["failures"] == {"peers": "No module named 'elsewhere'"}


def test_all_checks_the_targets_of_all(fakes: dict[str, Fake]) -> None:
    fakes["tts"].value = 3.0

    assert main(["bench", "all"]) == 0
    assert main(["bench", "all", "--check"]) == 1


def test_all_hands_on_recordings_and_settings(fakes: dict[str, Fake], tmp_path: Path) -> None:
    assert main(["bench", "all", "--audio", str(tmp_path), "--set", "tts.speed=1.5"]) == 0

    heard, unheard = fakes["stt"].seen[0], fakes["vad"].seen[0]
    assert heard.audio == tmp_path
    assert heard.command_line == f"alfred-voice bench stt --audio {tmp_path} --set tts.speed=1.5"
    assert unheard.command_line == "alfred-voice bench vad --set tts.speed=1.5"
    assert heard.loaded.config.tts.speed == 1.5


def test_all_draws_a_file_for_each(fakes: dict[str, Fake], tmp_path: Path) -> None:
    assert main(["bench", "all", "--plot", str(tmp_path / "cost.svg")]) == 0

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"cost-{name}.svg" for name in BENCHMARKS)
