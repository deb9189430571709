"""``bench peers`` with stand-ins for the packages and for our daemon; our engines are scripted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alfred_voice.bench import peers
from alfred_voice.bench.peer_environment import PeerFailed
from alfred_voice.cli import main


class FakeEnvironment:
    """Finds the same each time; some packages cannot be installed or do not run."""

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.probed: list[tuple[str, dict[str, Any]]] = []
        self.refused: set[str] = set()
        self.broken: set[str] = set()
        self.audio: dict[str, list[int]] = {}

    def install(self, requirements: Sequence[str]) -> None:
        if self.refused & set(requirements):
            raise PeerFailed(f"no {requirements[-1]}")
        self.installed += requirements

    def probe(self, name: str, job: dict[str, Any]) -> dict[str, Any]:
        self.probed.append((name, job))
        self.audio[name] = [len(np.fromfile(path, np.int16)) for path in job["audio"]]
        if name in self.broken:
            raise PeerFailed(f"{name} fell over")
        return {
            "us_per_frame": 500.0,
            "kb_per_stream": 9000.0,
            "wall_ms": 80.0,
            "cpu_ms": 80.0,
            "cpu_s": 9.0,
            "texts": ["hello word", "goodbye world"][: len(job["audio"])],
            "blocked_p95_ms": 250.0,
            "rss_mb": 300.0,
        }


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> FakeEnvironment:
    fake = FakeEnvironment()

    @contextmanager
    def made(folder: Path | None) -> Iterator[FakeEnvironment]:
        yield fake

    monkeypatch.setattr(peers, "peer_environment", made)
    figures = {"us_per_frame": 50.0, "kb_per_stream": 40.0, "rss_mb": 150.0}
    monkeypatch.setattr(peers._Ours, "daemon", lambda self: figures)
    return fake


def ran(recordings: Path, scripted: list[str], *options: str) -> dict[str, Any]:
    file = recordings / "found.json"
    command = ["bench", "peers", "--audio", str(recordings), "--json", str(file), *options, *scripted]
    assert main(command) == 0
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return report


def test_each_package_is_measured_in_each_round_beside_our_own(
    environment: FakeEnvironment, recordings: Path, scripted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = ran(recordings, scripted, "--runs", "2")
    assert [name for name, _ in environment.probed] == [*peers.PACKAGES, *peers.PACKAGES]
    vad, turn, stt = report["tables"]
    assert [row["us"] for row in vad["rows"]][::4] == [500, 50]
    assert turn["rows"][0]["wall"] == 80
    assert turn["rows"][1]["wall"] > 0
    theirs, _, ours, whole = stt["rows"]
    assert theirs["errors"] == 1
    assert theirs["words"] == ours["words"] == 4
    assert theirs["times"] == pytest.approx(theirs["cpu"] / ours["cpu"])
    assert whole["cpu"] >= ours["cpu"] > 0
    assert "round 2 of 2 ..." in capsys.readouterr().err


def test_the_transcribers_hear_all_speech_with_pauses_behind_it_and_the_others_the_first_of_it(
    environment: FakeEnvironment, recordings: Path, scripted: list[str]
) -> None:
    report = ran(recordings, scripted, "--runs", "1")
    with_pause = 36_800 + 40_000
    assert environment.audio["moonshine"] == [with_pause, with_pause]
    assert environment.audio["pipecat_vad"] == [with_pause]
    assert f"{2 * with_pause / 16_000:.0f} s of audio" in report["tables"][2]["note"]


def test_no_more_speech_than_wanted(environment: FakeEnvironment, recordings: Path, scripted: list[str]) -> None:
    ran(recordings, scripted, "--runs", "1", "--seconds", "3")
    assert len(environment.audio["moonshine"]) == 1


def test_what_cannot_be_had_or_does_not_run_is_left_out(
    environment: FakeEnvironment, recordings: Path, scripted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment.refused = {"torch==2.13.0"}
    environment.broken = {"moonshine"}
    report = ran(recordings, scripted, "--runs", "1")
    assert "silero_vad" not in [name for name, _ in environment.probed]
    assert "silero_vad is left out: no silero-vad==6.2.3" in report["tables"][0]["note"]
    assert "moonshine is left out: moonshine fell over" in report["tables"][2]["note"]
    assert report["tables"][2]["rows"][0]["who"] == "moonshine-voice, text alone"
    assert "left out: no silero-vad==6.2.3" in capsys.readouterr().err


def test_without_any_package_there_is_nothing_to_compare(
    environment: FakeEnvironment, recordings: Path, scripted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment.refused = {requirement for wanted in peers.PACKAGES.values() for requirement in wanted}
    assert main(["bench", "peers", "--audio", str(recordings), *scripted]) == 1
    assert "none of the packages could be installed" in capsys.readouterr().err


def test_recordings_without_known_words_are_refused(
    environment: FakeEnvironment, recordings: Path, scripted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "manifest.json").write_text('{"files": [{"file": "silence.wav", "text": ""}]}', "utf-8")
    assert main(["bench", "peers", "--audio", str(recordings), *scripted]) == 1
    assert "whose text is known, got none" in capsys.readouterr().err


def test_no_round_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "peers", "--runs", "0"]) == 1
    assert "--runs: expected at least one round, got 0" in capsys.readouterr().err
