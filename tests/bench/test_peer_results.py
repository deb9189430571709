"""What other people's packages came to, as tables."""

from __future__ import annotations

import math
from typing import Any

import pytest

from alfred_voice.bench.peer_results import PeerResults, checks_of, stt_table, turn_table, vad_table


@pytest.fixture
def results() -> PeerResults:
    """Two rounds of everything; the second is twice as slow."""
    made = PeerResults()
    for factor in (1.0, 2.0):
        made.add("pipecat_vad", {"us_per_frame": 400.0 * factor, "kb_per_stream": 9000.0})
        made.add("our pipecat_vad", {"us_per_frame": 40.0 * factor, "kb_per_stream": 50.0, "rss_mb": 160.0})
        made.add("silero_vad", {"us_per_frame": 90.0 * factor})
        made.add("our silero_vad", {"us_1": 60.0 * factor, "us_64": 10.0 * factor})
        made.add("pipecat_turn", {"wall_ms": 80.0 * factor, "cpu_ms": 81.0 * factor})
        made.add("our pipecat_turn", {"wall_ms": 70.0 * factor, "cpu_ms": 71.0 * factor})
        for name, cpu_s in (("moonshine", 30.0), ("moonshine_text", 15.0)):
            made.add(name, {"cpu_s": cpu_s * factor, "blocked_p95_ms": 250.0, "rss_mb": 350.0})
        made.add("our moonshine", {"cpu_s": 5.0 * factor, "all_cpu_s": 7.0 * factor, "partial_p95_ms": 40.0})
    return made


WRONG = {"moonshine": (8, 100), "moonshine_text": (8, 100), "our moonshine": (6, 100)}


def column(table: Any, key: str) -> list[Any]:
    return [row[key] for row in table.rows]


def test_medians_are_over_the_rounds(results: PeerResults) -> None:
    assert results.median("pipecat_vad", "us_per_frame") == 600
    assert math.isnan(results.median("another", "us_per_frame"))


def test_voice_activity_is_compared_with_the_whole_daemon(results: PeerResults) -> None:
    table = vad_table(results, streams=16, listeners=100)
    assert column(table, "us") == [600, 135, 90, 15, 60]
    assert column(table, "times") == [10, 2.25, 1.5, 0.25, 1]
    assert column(table, "kb") == [9000, None, None, None, 50]
    assert "16 streams" in str(table.rows[0]["who"])
    assert "100 listeners" in str(table.rows[-1]["who"])


def test_judgements_are_side_by_side(results: PeerResults) -> None:
    assert column(turn_table(results), "wall") == [120, 105]


def test_transcription_is_counted_for_a_second_of_audio_with_and_without_the_turn_model(results: PeerResults) -> None:
    table = stt_table(results, 50.0, WRONG, "as it was done")
    assert column(table, "cpu") == pytest.approx([0.9, 0.45, 0.15, 0.21])
    assert column(table, "times") == pytest.approx([6, 3, 1, 1.4])
    assert column(table, "rss") == [350, 350, 160, 160]
    assert column(table, "errors") == [8, 8, 6, 6]
    assert table.note == "as it was done"


def test_the_targets_are_the_package_as_it_comes_and_its_words(results: PeerResults) -> None:
    cheaper, words = checks_of(results, WRONG)
    assert (cheaper.value, cheaper.limit, cheaper.holds) == (6, 5, True)
    assert (words.value, words.holds) == (-2, True)
    _, worse = checks_of(results, WRONG | {"our moonshine": (9, 100)})
    assert (worse.value, worse.holds) == (1, False)


def test_what_is_left_out_is_named_and_reaches_no_target(results: PeerResults) -> None:
    for name in ("moonshine", "moonshine_text"):
        del results.found[name]
        results.missing[name] = "no wheel for this machine"
    table = stt_table(results, 50.0, {"our moonshine": (6, 100)}, "as it was done")
    assert len(table.rows) == 2
    assert "moonshine is left out: no wheel for this machine" in table.note
    (check,) = checks_of(results, {"our moonshine": (6, 100)})
    assert not check.holds
    results.missing["silero_vad"] = "no torch"
    assert vad_table(results, 16, 100).note.endswith("silero_vad is left out: no torch")
