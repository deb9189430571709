"""Several engines side by side, and which clips they get."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.clock import ManualClock
from alfred_voice.errors import EngineFailure
from alfred_voice.files.crew import Crew
from alfred_voice.files.rounds import BATCH_SAMPLES, plan_round
from alfred_voice.files.stretches import Stretch
from alfred_voice.models.engine import Clip
from alfred_voice.results import Transcript


CLIP = Clip(np.zeros(16_000, np.float32))


class Strict:
    """Fails when two threads call it at once; waits at a gate until all are there."""

    name = "strict"

    def __init__(self, gate: threading.Barrier | None = None) -> None:
        self._gate = gate
        self._lock = threading.Lock()
        self.calls = 0

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        assert self._lock.acquire(blocking=False), "two at once"
        try:
            self.calls += 1
            if self._gate is not None:
                self._gate.wait(timeout=5)
            return [Transcript(str(len(clip.samples))) for clip in clips]
        finally:
            self._lock.release()


def test_engines_work_at_the_same_time_and_each_for_one_at_a_time() -> None:
    gate = threading.Barrier(3)
    engines = [Strict(gate) for _ in range(3)]
    with Crew(engines) as crew:
        answers = [crew.submit([CLIP, CLIP]) for _ in range(9)]
        assert [[one.text for one in answer.result().transcripts] for answer in answers] == [["16000"] * 2] * 9
    assert [engine.calls for engine in engines] == [3, 3, 3]


def test_one_engine_works_in_the_thread_that_asks() -> None:
    class Named(Strict):
        def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
            return [Transcript(threading.current_thread().name) for _ in clips]

    (transcript,) = Crew([Named()]).submit([CLIP]).result().transcripts
    assert transcript.text == threading.current_thread().name


@pytest.mark.parametrize("size", [1, 2])
def test_a_failure_is_raised_where_the_answer_is_taken_and_the_engine_goes_on(size: int) -> None:
    class Once(Strict):
        def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
            if len(clips) == 1:
                raise EngineFailure("not that one")
            return super().transcribe(clips)

    with Crew([Once() for _ in range(size)]) as crew:
        failing, fine = crew.submit([CLIP]), crew.submit([CLIP, CLIP])
        with pytest.raises(EngineFailure):
            failing.result()
        assert len(fine.result().transcripts) == 2


def test_the_time_that_an_engine_took_is_told() -> None:
    clock = ManualClock()

    class Slow(Strict):
        def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
            clock.advance(2.5)
            return super().transcribe(clips)

    assert Crew([Slow()], clock).submit([CLIP]).result().seconds == 2.5


def test_clips_are_made_when_their_turn_has_come() -> None:
    begun, go, made = threading.Event(), threading.Event(), threading.Event()

    class Held(Strict):
        def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
            begun.set()
            assert go.wait(10)
            return super().transcribe(clips)

    def clips() -> Iterator[Clip]:
        made.set()
        yield CLIP

    with Crew([Held()] * 2) as crew:
        held = [crew.submit([CLIP]) for _ in range(2)]
        assert begun.wait(10)
        waiting = crew.submit(clips())
        assert not made.is_set()
        go.set()
        assert len(waiting.result(10).transcripts) == 1
        assert made.is_set()
        assert [len(one.result(10).transcripts) for one in held] == [1, 1]


def test_a_crew_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one engine"):
        Crew([])


def stretches(*samples: int) -> list[Stretch]:
    return [Stretch(0, np.zeros(count, np.int16), 0.0) for count in samples]


def test_each_worker_gets_something() -> None:
    assert plan_round(stretches(10, 10, 10, 10), workers=4, max_clips=16) == [[0], [1], [2], [3]]


def test_the_longest_come_first_and_together() -> None:
    assert plan_round(stretches(1, 9, 1, 9), workers=2, max_clips=2) == [[1], [3, 0], [2]]


@given(
    samples=st.lists(st.integers(1, BATCH_SAMPLES // 4), max_size=60),
    workers=st.integers(1, 9),
    max_clips=st.integers(1, 20),
)
def test_a_round_has_each_stretch_once_in_batches_within_their_limits(
    samples: list[int], workers: int, max_clips: int
) -> None:
    batches = plan_round(stretches(*samples), workers, max_clips)
    assert sorted(at for batch in batches for at in batch) == list(range(len(samples)))
    for batch in batches:
        assert 1 <= len(batch) <= max_clips
        assert len(batch) == 1 or sum(samples[at] for at in batch) <= BATCH_SAMPLES
