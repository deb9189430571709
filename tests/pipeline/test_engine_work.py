"""From jobs to calls of an engine: rounds, rows, room and freshness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.models.engine import Clip, Float32
from alfred_voice.models.scripted import ScriptedStt, ScriptedTurn, ScriptedVad, ScriptedVadStates
from alfred_voice.pipeline.engine_work import FIRST_CAPACITY, DetectWork, JudgeWork, TranscribeWork
from alfred_voice.pipeline.work import Job
from alfred_voice.results import Transcript
from alfred_voice.session.requests import Urgency


Make = Callable[..., Job[Any]]
Speaker = Callable[..., Any]


class NotingVad(ScriptedVad):
    """Notes the rows of each call; a window's probability is its number, a hundredth each."""

    def __init__(self) -> None:
        super().__init__(lambda window: float(window[0]) * 32_768 / 100)
        self.rows: list[list[int]] = []
        self.states: list[ScriptedVadStates] = []

    def new_states(self, capacity: int) -> ScriptedVadStates:
        self.states.append(super().new_states(capacity))
        return self.states[-1]

    def step(self, states: ScriptedVadStates, rows: Sequence[int], windows: Float32) -> Float32:
        self.rows.append(list(rows))
        return super().step(states, rows, windows)


def test_each_session_gets_its_own_probabilities_in_order(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    jobs = [
        detect_job(speaker(4), windows=3, first=10),
        detect_job(speaker(0), windows=1, first=50),
        detect_job(speaker(2), windows=2, first=70),
    ]
    answers = DetectWork(vad)(jobs)
    assert answers == [
        pytest.approx([0.10, 0.11, 0.12]),
        pytest.approx([0.50]),
        pytest.approx([0.70, 0.71]),
    ]


def test_a_session_with_several_windows_goes_through_as_many_rounds(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    DetectWork(vad)([detect_job(speaker(row), windows=windows) for row, windows in ((4, 3), (0, 1), (2, 2))])
    assert vad.rows == [[4, 0, 2], [4, 2], [4]]


def test_state_goes_on_from_batch_to_batch(detect_job: Make, speaker: Speaker) -> None:
    vad, stream = NotingVad(), speaker(3)
    work = DetectWork(vad)
    work([detect_job(stream, windows=2, fresh=True)])
    work([detect_job(stream, windows=3)])
    assert vad.states[0].windows[3] == 5


def test_a_fresh_row_begins_anew_and_no_other_with_it(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    work = DetectWork(vad)
    work([detect_job(speaker(0), windows=4), detect_job(speaker(1), windows=4)])
    work([detect_job(speaker(0), windows=1, fresh=True), detect_job(speaker(1), windows=1)])
    assert vad.states[0].windows[:2].tolist() == [1, 5]


def test_room_is_made_for_a_high_row_and_the_others_keep_their_state(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    work = DetectWork(vad)
    work([detect_job(speaker(1), windows=2)])
    work([detect_job(speaker(FIRST_CAPACITY * 4), windows=1), detect_job(speaker(1), windows=1)])
    assert len(vad.states) == 1
    assert vad.states[0].capacity == FIRST_CAPACITY * 8
    assert vad.states[0].windows[[1, FIRST_CAPACITY * 4]].tolist() == [3, 1]


def test_the_last_row_of_the_room_needs_no_more(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    DetectWork(vad)([detect_job(speaker(FIRST_CAPACITY - 1))])
    assert vad.states[0].capacity == FIRST_CAPACITY


class SlowStt(ScriptedStt):
    """Takes 0.25 s for each clip."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(("one", "two"))
        self._clock = clock

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        self._clock.advance(0.25 * len(clips))
        return super().transcribe(clips)


def test_clips_go_in_one_call_and_each_is_told_the_time_of_all(clip_job: Make, clock: ManualClock) -> None:
    answers = TranscribeWork(SlowStt(clock), clock)([clip_job(), clip_job()])
    assert [answer.text for answer in answers] == ["one", "two"]
    assert [answer.processing_ms for answer in answers] == [500.0, 500.0]


@pytest.mark.parametrize(
    ("urgency", "is_final"), [(Urgency.FINAL, True), (Urgency.CUT, True), (Urgency.PARTIAL, False)]
)
def test_only_a_partial_may_be_decoded_the_cheap_way(
    clip_job: Make, clock: ManualClock, urgency: Urgency, is_final: bool
) -> None:
    stt = ScriptedStt()
    TranscribeWork(stt, clock)([clip_job(urgency=urgency, samples=640)])
    (clip,) = stt.clips
    assert clip.is_final is is_final
    assert clip.samples.dtype == np.float32
    assert clip.samples.tolist() == [0.5] * 640
    assert (clip.language, clip.voiced_ms, clip.prefix) == ("en", 40.0, ())


def test_what_is_committed_and_what_was_heard_last_go_with_the_clip(clip_job: Make, clock: ManualClock) -> None:
    stt, job = ScriptedStt(["turn on the light"]), clip_job()
    work = TranscribeWork(stt, clock)
    work([job])
    work([Job(job.stream, replace(job.request, prefix=(0,), draft=(0, 1, 2)), 0.0)])
    clip = stt.clips[-1]
    assert (clip.prefix, clip.draft) == ((0,), (0, 1, 2))


def test_turns_are_judged_on_their_samples(turn_job: Make) -> None:
    turn = ScriptedTurn((0.2, 0.9))
    answers = JudgeWork(turn)([turn_job(samples=3), turn_job(samples=5)])
    assert [answer.probability for answer in answers] == [0.2, 0.9]
    assert [samples.tolist() for samples in turn.turns] == [[1 / 32_768] * 3, [1 / 32_768] * 5]
