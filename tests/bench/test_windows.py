"""Growing windows: which clips the recogniser is asked about, with which drafts, in which calls."""

from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.bench.stopwatch import Stopwatch
from alfred_voice.bench.windows import GrowingWindows, tokens_of
from alfred_voice.clock import ManualClock
from alfred_voice.models.engine import Clip, Int16
from alfred_voice.models.scripted import ScriptedStt


def speech(seconds: float) -> Int16:
    return np.full(round(seconds * 16_000), 1000, np.int16)


def counting_words(clip: Clip) -> str:
    """A word for each 100 ms."""
    return " ".join(f"w{number}" for number in range(len(clip.samples) // 1600))


def run(engine: ScriptedStt, *streams: list[Int16], interval_s: float = 0.2) -> GrowingWindows:
    return GrowingWindows(engine, interval_s, Stopwatch(ManualClock(), lambda: 0.0))


def test_partials_come_at_half_a_second_and_then_at_each_interval_and_the_final_is_the_whole() -> None:
    engine = ScriptedStt(counting_words)
    grown = run(engine).run([[speech(1.25)]])
    lengths = [len(clip.samples) / 16_000 for clip in engine.clips]
    assert lengths == pytest.approx([0.5, 0.7, 0.9, 1.1, 1.25])
    assert [clip.is_final for clip in engine.clips] == [False] * 4 + [True]
    assert grown.texts == [[counting_words(Clip(np.zeros(20_000, np.float32)))]]
    assert (len(grown.partials), len(grown.finals)) == (4, 1)
    assert grown.speech_s == 1.25


def test_what_was_heard_is_the_draft_of_the_next_question_and_of_the_final_but_not_of_another_utterance() -> None:
    engine = ScriptedStt(counting_words)
    run(engine).run([[speech(0.8), speech(0.6)]])
    heard = [len(clip.samples) // 1600 for clip in engine.clips]
    assert heard == [5, 7, 8, 5, 6]
    assert [len(clip.draft) for clip in engine.clips] == [0, 5, 7, 0, 5]
    assert all(not clip.prefix for clip in engine.clips)


def test_streams_share_a_call_for_partials_and_finals_go_alone() -> None:
    engine = ScriptedStt(counting_words)
    grown = run(engine).run([[speech(1.0)], [speech(0.6)], [speech(1.0)]])
    assert [rows for rows, _ in grown.partials] == [3, 2, 2]
    assert len(grown.finals) == 3
    assert [len(texts) for texts in grown.texts] == [1, 1, 1]
    assert grown.speech_s == pytest.approx(2.6)


def test_the_next_utterance_follows_when_one_has_its_final() -> None:
    engine = ScriptedStt(counting_words)
    grown = run(engine).run([[speech(0.6), speech(0.7), speech(0.3)]])
    assert [len(text.split()) for text in grown.texts[0]] == [6, 7, 3]
    assert len(grown.finals) == 3


def test_without_streams_nothing_is_asked() -> None:
    engine = ScriptedStt()
    assert run(engine).run([]).cpu_s == 0
    assert run(engine).run([[]]).texts == [[]]
    assert engine.clips == []


def test_all_calls_are_summed_up() -> None:
    clock, cpu = ManualClock(), iter(range(100))
    grown = GrowingWindows(ScriptedStt(), 0.2, Stopwatch(clock, lambda: float(next(cpu)))).run([[speech(1.0)]])
    assert grown.cpu_s == len(grown.partials) + len(grown.finals) == 4


def test_tokens_are_those_of_all_words() -> None:
    (transcript,) = ScriptedStt(["a b a"]).transcribe([Clip(np.zeros(8000, np.float32))])
    assert tokens_of(transcript) == (0, 1, 0)
