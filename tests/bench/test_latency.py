"""``bench latency``: what counts as the arrival of a word, what is due when; and a run against a scripted daemon."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alfred_voice.bench.latency import word_arrivals
from alfred_voice.bench.recordings import SpokenWord
from alfred_voice.bench.speaker import Heard, cause_of
from alfred_voice.cli import main
from alfred_voice.client.pacing import PaceRecord


def said(text: str) -> tuple[SpokenWord, ...]:
    return tuple(SpokenWord(word, at, at + 0.5) for at, word in enumerate(text.split()))


def partial(at: float, text: str) -> tuple[float, dict[str, object]]:
    return at, {"type": "partialTranscription", "text": text}


def final(at: float, text: str) -> tuple[float, dict[str, object]]:
    return at, {"type": "finalTranscription", "text": text}


def test_a_word_has_arrived_with_the_first_partial_that_holds_it() -> None:
    paused: tuple[float, dict[str, object]] = (2.5, {"type": "speechEnd"})
    events = [partial(1.0, "turn"), partial(2.0, "Turn on"), paused, final(3.0, "Turn on the.")]
    assert word_arrivals(said("turn on the"), events) == {0: (1.0, True), 1: (2.0, True), 2: (3.0, False)}


def test_a_word_that_the_final_does_not_have_is_not_counted() -> None:
    events = [partial(1.0, "turn on the lamb"), final(2.0, "turn on the lamb")]
    assert set(word_arrivals(said("turn on the lamp"), events)) == {0, 1, 2}
    events = [partial(1.0, "turn on the lamp"), final(2.0, "turn on the lamb")]
    assert set(word_arrivals(said("turn on the lamp"), events)) == {0, 1, 2}


def test_a_word_that_comes_twice_arrives_twice() -> None:
    events = [partial(1.0, "it was"), partial(2.0, "it was so it"), final(3.0, "it was so it was")]
    arrivals = word_arrivals(said("it was so it was"), events)
    assert [at for at, _ in arrivals.values()] == [1.0, 1.0, 2.0, 2.0, 3.0]


def test_a_word_that_is_misheard_at_first_arrives_when_it_is_right() -> None:
    events = [partial(1.0, "turn an"), partial(2.0, "turn on the"), final(3.0, "turn on the")]
    assert word_arrivals(said("turn on the"), events)[1] == (2.0, True)


def test_without_a_final_no_word_has_arrived() -> None:
    assert word_arrivals(said("turn"), [partial(1.0, "turn")]) == {}


@pytest.mark.parametrize(("end_sample", "frame"), [(1, 0), (320, 0), (321, 1), (640, 1), (16_000, 49), (0, 0)])
def test_audio_is_due_with_the_frame_that_its_last_sample_is_in(end_sample: int, frame: int) -> None:
    heard = Heard(PaceRecord(interval_s=0.02, started_s=100.0))
    assert heard.due_s(end_sample) == pytest.approx(100.0 + 0.02 * frame)


def test_the_last_event_of_a_type_is_found() -> None:
    heard = Heard(events=[final(1.0, "a"), final(2.0, "b"), (3.0, {"type": "sessionEnded"})])
    assert heard.last("finalTranscription") == final(2.0, "b")
    assert heard.last("turnComplete") is None


def test_the_cause_of_a_failed_group_is_its_first_error() -> None:
    inner = ExceptionGroup("in", [ValueError("first"), ValueError("second")])
    assert str(cause_of(ExceptionGroup("out", [inner, KeyError("third")]))) == "first"


@pytest.mark.end_to_end
def test_a_scripted_daemon_is_timed(recordings: Path, scripted: list[str], tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    words = ["--audio", str(recordings), "--interruptions", "2", "--speakers", "2", "--json", str(file)]
    assert main(["bench", "latency", *scripted, *words]) == 0
    turns, spoken, interruptions = (table["rows"] for table in json.loads(file.read_text("utf-8"))["tables"])
    assert [row["count"] for row in turns] == [4, 4, 4, 4]
    # 200 ms of silence decide at the earliest, and nothing here computes.
    assert 150 < turns[1]["p50"] < 3000
    # "hello world" is all that the engine says: of the second passage one word of two is right.
    assert spoken[0]["count"] == 6
    assert [row["count"] for row in interruptions] == [2, 2]
    assert 60 < interruptions[0]["p50"] < 3000
    assert np.all(np.diff([turns[0]["p50"], turns[0]["p95"], turns[0]["worst"]]) >= 0)


def test_recordings_without_speech_are_refused(
    recordings: Path, scripted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "manifest.json").write_text('{"files": [{"file": "silence.wav", "text": "nothing"}]}', "utf-8")
    assert main(["bench", "latency", *scripted, "--audio", str(recordings)]) == 1
    assert "nothing in them stands out as speech" in capsys.readouterr().err
