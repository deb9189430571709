"""``bench tts``: with a scripted engine, whose length of speech is known; a short run of the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.bench.tts import LONG, SHORT
from alfred_voice.cli import main


def run(tmp_path: Path, *words: str) -> list[dict[str, Any]]:
    file = tmp_path / "tts.json"
    assert main(["bench", "tts", "--json", str(file), "--runs", "2", *words]) == 0
    (table,) = json.loads(file.read_text("utf-8"))["tables"]
    rows: list[dict[str, Any]] = table["rows"]
    return rows


def test_a_short_and_a_long_text_are_spoken_anew_and_from_memory(scripted: list[str], tmp_path: Path) -> None:
    rows = run(tmp_path, *scripted)
    assert [(row["text"], row["made"]) for row in rows] == [
        ("short", "anew"), ("short", "remembered"), ("long", "anew"), ("long", "remembered"),
    ]  # fmt: skip
    assert [row["characters"] for row in rows] == [len(SHORT)] * 2 + [len(LONG)] * 2
    # The scripted voice takes 60 ms for a character; the spaces between sentences are not spoken.
    assert rows[0]["audio_s"] == pytest.approx(0.06 * len(SHORT), abs=0.01)
    assert rows[0]["audio_s"] == rows[1]["audio_s"]
    assert rows[2]["audio_s"] == pytest.approx(0.06 * len(LONG), abs=0.5)
    assert all(0 <= row["first_ms"] <= row["first_p95"] for row in rows)


def test_texts_of_ones_own_take_their_place(scripted: list[str], tmp_path: Path) -> None:
    rows = run(tmp_path, *scripted, "--text", "one", "--text", "three")
    assert [(row["text"], row["characters"]) for row in rows if row["made"] == "anew"] == [("own 1", 3), ("own 2", 5)]


def test_the_real_voice_is_quicker_from_memory(tmp_path: Path) -> None:
    anew, remembered = run(tmp_path, "--text", LONG)
    # From one time to the next, its sentences differ by a few milliseconds.
    assert anew["audio_s"] == pytest.approx(remembered["audio_s"], abs=0.05)
    assert anew["audio_s"] > 10
    assert remembered["factor"] < anew["factor"]
