"""Who is to blame for a batch that failed: the row that fails alone while others go well, or the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.errors import EngineFailure, EngineFault, ModelMissing, OutOfMemory, RowFailure
from alfred_voice.pipeline.trial import PartlyAnswered, Trial, blamed, is_fault
from alfred_voice.pipeline.work import Job


Answer = Callable[[Sequence[Any]], Sequence[Any] | Exception]


def jobs(count: int) -> list[Job[Any]]:
    return [Job(cast("Any", None), cast("Any", number), 0.0) for number in range(count)]


def run(trial: Trial[Any], engine: Answer) -> tuple[dict[int, Any], list[list[int]]]:
    """The answers by the jobs' numbers, and what was asked; the probe is an empty one."""
    settled: dict[int, Any] = {}
    asked: list[list[int]] = []
    while (following := trial.next()) is not None:
        asked.append([cast("Any", job.request) for job in following])
        for job, answer in trial.receive(following, engine(following)):
            number = cast("Any", job.request)
            assert number not in settled
            settled[number] = answer
    return settled, asked


def bad_rows(*bad: int) -> Answer:
    def answer(asked: Sequence[Any]) -> Sequence[Any] | Exception:
        found = [job.request for job in asked if job.request in bad]
        return ValueError(str(found)) if found else [job.request * 10 for job in asked]

    return answer


@given(size=st.integers(2, 40), data=st.data())
def test_every_row_that_can_be_answered_is_and_only_the_bad_ones_are_to_blame(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
    trial = Trial([jobs(size)])
    settled, asked = run(trial, bad_rows(*bad))
    assert settled == {number: number * 10 for number in range(size) if number not in bad}
    assert {job.request for job in trial.suspects} == bad
    assert not trial.is_broken
    assert len(asked) <= 2 * size + len(bad) + 1


def test_a_batch_of_which_no_row_goes_well_is_the_engines_fault() -> None:
    trial = Trial([jobs(4)])
    settled, asked = run(trial, bad_rows(0, 1, 2, 3))
    assert settled == {}
    assert trial.is_broken
    assert len(trial.left) == 4
    assert [] not in asked


def test_a_row_of_its_own_is_tried_again_behind_the_probe() -> None:
    trial = Trial([jobs(1)])
    _, asked = run(trial, bad_rows(0))
    assert asked == [[0], [], [0]]
    assert not trial.is_broken
    assert isinstance(trial.error, ValueError)


def test_an_engine_that_does_not_answer_the_probe_is_broken() -> None:
    trial = Trial([jobs(1)])
    _, asked = run(trial, lambda _: RuntimeError("always"))
    assert asked == [[0], []]
    assert trial.is_broken


def test_a_probe_that_is_refused_deliberately_is_an_answer() -> None:
    trial = Trial([jobs(1)])
    run(trial, lambda asked: ValueError("no") if asked else EngineFailure("the server is away"))
    assert not trial.is_broken
    assert len(trial.suspects) == 1


def test_what_the_engine_refuses_deliberately_is_asked_for_each_alone_and_answered_with_it() -> None:
    refusal = EngineFailure("the server is away")
    trial = Trial([jobs(4)])
    settled, asked = run(trial, lambda _: refusal)
    assert settled == dict.fromkeys(range(4), refusal)
    assert asked == [[0, 1, 2, 3], [0], [1], [2], [3]]
    assert not trial.suspects


def test_nonsense_for_one_row_is_asked_again_once() -> None:
    def answer(asked: Sequence[Any]) -> Sequence[Any] | Exception:
        nonsense = {place: EngineFault("nan") for place, job in enumerate(asked) if job.request == 1}
        answers = [job.request for job in asked]
        return PartlyAnswered(answers, nonsense) if nonsense else answers

    trial = Trial([jobs(3)])
    settled, asked = run(trial, answer)
    assert (settled, asked) == ({0: 0, 2: 2}, [[0, 1, 2], [1]])
    assert next(iter(trial.suspects.values())).args == ("nan",)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ValueError("x"), True),
        (MemoryError(), True),
        (OutOfMemory("x"), True),
        (EngineFault("x"), True),
        (EngineFailure("x"), False),
        (ModelMissing("x"), False),
    ],
)
def test_what_nobody_meant_is_a_fault(error: Exception, fault: bool) -> None:
    assert is_fault(error) is fault


def test_the_blame_names_what_was_raised() -> None:
    failure = blamed("stt", MemoryError("too long"))
    assert isinstance(failure, RowFailure)
    assert (str(failure), failure.code) == ("stt: MemoryError: too long", "row_failure")
    assert str(blamed("stt", EngineFault("stt: nan"))) == "stt: nan"
