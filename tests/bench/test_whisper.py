"""``bench whisper`` with stand-ins for the others' packages; ours is measured on a Whisper that is tiny indeed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alfred_voice.bench import whisper, whisper_probe
from alfred_voice.bench.peer_environment import PeerFailed
from alfred_voice.cli import main
from alfred_voice.models.whisper_checkpoint import Dimensions


MINUTE = Dimensions(80, 1500, 32, 2, 1, 51865, 448, 32, 2, 2)
SLOW_S, QUICK_S = 100.0, 1e-6


class FakeEnvironment:
    """Takes a hundred seconds for everything with one package, and no time with the other."""

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.heard: dict[str, list[int]] = {}
        self.refused: set[str] = set()
        self.broken: set[str] = set()
        self.weights: dict[str, tuple[int, ...]] = {}

    def install(self, requirements: Sequence[str]) -> None:
        if self.refused & set(requirements):
            raise PeerFailed(f"no {requirements[-1]}\nand much more")
        self.installed += requirements

    def probe(self, name: str, job: dict[str, Any], script: ModuleType) -> dict[str, Any]:
        assert script is whisper_probe
        self.jobs[name] = json.loads(json.dumps(job))
        self.heard[name] = [len(np.fromfile(one["file"], np.int16)) for one in job["recordings"]]
        self.weights = {name: value.shape for name, value in np.load(job["weights"]).items()}
        if name in self.broken:
            raise PeerFailed(f"{name} fell over")
        seconds = {"openai": SLOW_S, "faster": QUICK_S}[name]
        return {"seconds": [[seconds * 2, seconds, seconds / 2] for _ in job["recordings"]], "rss_mb": 300.0}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> FakeEnvironment:
    fake = FakeEnvironment()

    @contextmanager
    def made(folder: Path | None) -> Iterator[FakeEnvironment]:
        yield fake

    monkeypatch.setattr(whisper, "peer_environment", made)
    monkeypatch.setattr(whisper, "SIZES", {"tiny": MINUTE, "base": MINUTE})
    return fake


def ran(recordings: Path, scripted: list[str], *options: str) -> dict[str, Any]:
    file = recordings / "found.json"
    command = ["bench", "whisper", "--audio", str(recordings), "--json", str(file), "--threads", "1", "--runs", "1"]
    assert main([*command, *options, *scripted]) == 0
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return report


def test_every_size_and_length_has_a_row_with_everybody_in_it(
    environment: FakeEnvironment, recordings: Path, scripted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = ran(recordings, scripted, "--sizes", "tiny", "base", "--seconds", "1", "2")
    (table,) = report["tables"]
    assert [(row["size"], row["seconds"], row["tokens"]) for row in table["rows"]] == [
        ("tiny", 1, 4), ("tiny", 2, 8), ("base", 1, 4), ("base", 2, 8),
    ]  # fmt: skip
    for row in table["rows"]:
        assert row["openai_ms"] == 1000 * SLOW_S
        assert row["openai_rtf"] == SLOW_S / row["seconds"]
        assert row["ours_ms"] > 0
        assert row["times_openai"] == pytest.approx(row["openai_ms"] / row["ours_ms"])
        assert row["times_faster"] == pytest.approx(row["faster_ms"] / row["ours_ms"])
    printed = capsys.readouterr().err
    assert "tiny ..." in printed
    assert "installing faster-whisper==1.2.1 ..." in printed


def test_targets_are_told_for_every_row(environment: FakeEnvironment, recordings: Path, scripted: list[str]) -> None:
    report = ran(recordings, scripted, "--sizes", "tiny", "--seconds", "1", "2")
    checks = {check["name"]: check for check in report["checks"]}
    assert len(checks) == 4
    assert checks["tiny, 1 s, against openai-whisper"]["limit"] == whisper.TIMES_OPENAI
    assert checks["tiny, 2 s, against faster-whisper"]["limit"] == whisper.TIMES_FASTER
    assert checks["tiny, 1 s, against openai-whisper"]["value"] > whisper.TIMES_OPENAI
    assert checks["tiny, 1 s, against faster-whisper"]["value"] < whisper.TIMES_FASTER


def test_a_curve_shows_one_size(environment: FakeEnvironment, recordings: Path, scripted: list[str]) -> None:
    (curve,) = ran(recordings, scripted, "--sizes", "base", "tiny", "--seconds", "1", "2")["curves"]
    assert curve["title"].startswith("base")
    assert curve["series"]["openai-whisper, float32"] == [[1, 1000 * SLOW_S], [2, 1000 * SLOW_S]]
    assert set(curve["series"]) == {"this package, int8", *whisper.NAMES.values()}


def test_the_others_are_given_the_same_weights_recordings_and_lengths(
    environment: FakeEnvironment, recordings: Path, scripted: list[str]
) -> None:
    ran(recordings, scripted, "--sizes", "tiny", "--seconds", "1.5", "30")
    assert environment.heard == {name: [24_000, 480_000] for name in whisper.PACKAGES}
    assert environment.weights["decoder.token_embedding.weight"] == (51865, 32)
    job = environment.jobs["faster"]
    assert [one["tokens"] for one in job["recordings"]] == [6, 120]
    assert (job["threads"], job["runs"]) == (1, 1)
    assert job["dims"]["n_audio_layer"] == 1
    assert job["opening"] == [50258, 50259, 50359, 50363]
    assert (job["end"], job["commands"]["<|0.00|>"]) == (50257, 50364)
    assert job["languages"] == list(range(50259, 50358))


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_ours_alone(environment: FakeEnvironment, recordings: Path, scripted: list[str], precision: str) -> None:
    report = ran(recordings, scripted, "--sizes", "tiny", "--seconds", "1", "--alone", "--precision", precision)
    (row,) = report["tables"][0]["rows"]
    assert row["ours_ms"] > 0
    assert set(row) == {"size", "seconds", "tokens", "ours_ms", "ours_rtf"}
    assert report["checks"] == []
    assert environment.installed == []


def test_what_cannot_be_had_or_does_not_run_is_left_out_and_named(
    environment: FakeEnvironment, recordings: Path, scripted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment.refused = {"openai-whisper==20250625"}
    environment.broken = {"faster"}
    report = ran(recordings, scripted, "--sizes", "tiny", "--seconds", "1")
    note = report["tables"][0]["note"]
    assert "openai-whisper, float32 is missing: no openai-whisper==20250625" in note
    assert "and much more" not in note
    assert "faster-whisper, int8 is missing: faster fell over" in note
    assert report["checks"] == []
    assert "left out: faster fell over" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0.5", "31"])
def test_other_lengths_are_refused(
    environment: FakeEnvironment,
    recordings: Path,
    scripted: list[str],
    capsys: pytest.CaptureFixture[str],
    seconds: str,
) -> None:
    command = ["bench", "whisper", "--audio", str(recordings), "--seconds", seconds, "--alone", *scripted]
    assert main(command) == 1
    assert "--seconds: expected lengths from 1 to 30 s" in capsys.readouterr().err


class TestProbe:
    """The script that runs in the others' environment, with a stand-in for a package."""

    @staticmethod
    def job(tmp_path: Path) -> dict[str, Any]:
        np.array([0, 16384, -32768], np.int16).tofile(tmp_path / "a.s16")
        return {"recordings": [{"file": str(tmp_path / "a.s16"), "tokens": 5}] * 2, "runs": 3}

    def test_every_run_is_timed_but_the_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[tuple[list[float], int]] = []
        monkeypatch.setattr(
            whisper_probe, "openai", lambda _: lambda samples, tokens: calls.append((samples.tolist(), tokens))
        )
        found = whisper_probe.main("openai", self.job(tmp_path))
        assert calls == [([0.0, 0.5, -1.0], 5)] * 8
        assert [len(runs) for runs in found["seconds"]] == [3, 3]
        assert found["rss_mb"] > 1

    def test_another_number_of_tokens_ends_it(self) -> None:
        whisper_probe._expect(10, 9)
        with pytest.raises(SystemExit, match="expected 10 tokens, got 8"):
            whisper_probe._expect(10, 8)

    def test_products_beside_each_other_have_no_bias_where_one_lacks_it(self) -> None:
        spec = SimpleNamespace()
        weights = {"q.weight": np.ones((2, 3)), "q.bias": np.ones(2), "k.weight": np.zeros((2, 3))}
        whisper_probe._fill_beside(spec, weights, ["q", "k"])
        assert spec.weight.shape == (4, 3)
        assert spec.bias.tolist() == [1, 1, 0, 0]
