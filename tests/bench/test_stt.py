"""``bench stt``: with scripted engines, whose words and questions are known; a short run of the real ones."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.cli import main
from alfred_voice.models.engine import Int16


def run(tmp_path: Path, *words: str) -> dict[str, Any]:
    file = tmp_path / "stt.json"
    assert main(["bench", "stt", *words, "--json", str(file)]) == 0
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def table(found: dict[str, Any], title: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = next(one["rows"] for one in found["tables"] if one["title"].startswith(title))
    return rows


@pytest.fixture
def found(recordings: Path, scripted: list[str], tmp_path: Path) -> dict[str, Any]:
    return run(tmp_path, *scripted, "--audio", str(recordings), "--streams", "1", "3")


def test_every_drive_and_number_of_streams_has_a_row(found: dict[str, Any]) -> None:
    rows = table(found, "Cost while people speak")
    assert [(row["drive"], row["streams"]) for row in rows] == [
        ("daemon", 1), ("daemon", 3), ("windows", 1), ("windows", 3),
    ]  # fmt: skip
    for row in rows:
        # Two utterances of 1.3 s, with 300 ms before and in the files' own way a little behind.
        assert row["speech_s"] / row["streams"] == pytest.approx(3.3, abs=0.25)
        assert row["partials"] > 0
        assert row["cpu_per_s"] > 0
        assert row["partial_p50"] <= row["partial_p95"]


def test_wrong_words_are_counted_in_the_first_stream_against_the_texts(found: dict[str, Any]) -> None:
    """The engine always says "hello world": one word of the second recording is wrong, also when decoded whole."""
    for row in table(found, "Words"):
        assert {key: row[key] for key in ("words", "errors", "whole_errors", "unlike_whole")} == {
            "words": 4, "errors": 1, "whole_errors": 1, "unlike_whole": 0,
        }  # fmt: skip


def test_targets_are_set_for_what_the_daemon_asks(found: dict[str, Any]) -> None:
    names = [check["name"] for check in found["checks"]]
    assert sum(name.startswith("CPU for a second of speech") for name in names) == 2
    assert sum(name.startswith("partial p95") for name in names) == 1
    words = [check for check in found["checks"] if check["name"].startswith("wrong words")]
    assert len(words) == 2
    assert all(check["holds"] and check["value"] == 0 for check in words)


def test_single_clips_and_batches_are_timed(found: dict[str, Any]) -> None:
    # The recordings are shorter than 4 s, so that the longer clips are what there is.
    assert [row["seconds"] for row in table(found, "One clip")] == pytest.approx([1, 2, 2.3, 2.3, 2.3])
    assert [row["rows"] for row in table(found, "Partials of 2.3 s")] == [1, 2, 4, 8]


def test_the_curve_has_a_point_for_each_number_of_streams(found: dict[str, Any]) -> None:
    (curve,) = found["curves"]
    assert {name: [x for x, _ in points] for name, points in curve["series"].items()} == {
        "daemon": [1, 3], "windows": [1, 3],
    }  # fmt: skip
    assert curve["limit"] == 0.12


def test_audio_can_be_limited_and_one_drive_chosen(recordings: Path, scripted: list[str], tmp_path: Path) -> None:
    words = [*scripted, "--audio", str(recordings), "--streams", "1", "--seconds", "3", "--drive", "windows"]
    (row,) = table(run(tmp_path, *words), "Words")
    assert (row["drive"], row["words"]) == ("windows", 2)


@pytest.mark.models
def test_the_real_recogniser_hears_no_worse_in_the_daemons_way(two_cities: Int16, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "best.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(two_cities[: 6 * 16_000].tobytes())
    text = "It was the best of times, it was the worst of times, it was the age of wisdom,"
    (tmp_path / "manifest.json").write_text(json.dumps({"files": [{"file": "best.wav", "text": text}]}), "utf-8")
    found = run(tmp_path, "--streams", "1", "--drive", "daemon", "--runs", "1", "--audio", str(tmp_path))
    (row,) = table(found, "Words")
    assert row["words"] == 18
    assert row["errors"] <= row["whole_errors"] <= 3
    clips = table(found, "One clip")
    assert clips[0]["partial_cpu"] < clips[-1]["partial_cpu"]
