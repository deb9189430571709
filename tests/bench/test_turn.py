"""``bench turn``: with a scripted engine; a short run of the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.cli import main
from alfred_voice.models.store import Store


def run(tmp_path: Path, *words: str) -> list[list[dict[str, Any]]]:
    file = tmp_path / "turn.json"
    assert main(["bench", "turn", "--json", str(file), *words]) == 0
    return [table["rows"] for table in json.loads(file.read_text("utf-8"))["tables"]]


def test_each_length_is_timed_on_one_thread_and_as_configured(
    recordings: Path, scripted: list[str], tmp_path: Path
) -> None:
    times, judged = run(tmp_path, *scripted, "--audio", str(recordings), "--runs", "2")
    assert [(row["threads"], row["seconds"]) for row in times] == [
        ("1", 1), ("1", 4), ("1", 8), ("configured", 1), ("configured", 4), ("configured", 8),
    ]  # fmt: skip
    # The scripted engine calls everything complete with 0.95; the recording of silence holds no passage.
    assert [(row["passages"], row["complete"]) for row in judged] == [(2, 2), (2, 2)]
    assert [row["mean"] for row in judged] == pytest.approx([0.95, 0.95])


@pytest.mark.models
def test_the_real_model_tells_the_ends_of_sentences_from_their_middles(models: Store, tmp_path: Path) -> None:
    times, (ends, middles) = run(tmp_path, "--runs", "1")
    assert all(row["wall_ms"] > 0 for row in times)
    assert ends["passages"] == middles["passages"] >= 15
    assert ends["complete"] > middles["complete"]
