from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alfred_voice.pipeline.hearings import Hearings
from alfred_voice.session.requests import TranscribeRequest, Urgency


class Engine:
    """Makes hearings of a megabyte."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def new_hearing(self) -> Any:
        self.made.append(SimpleNamespace(nbytes=1_000_000))
        return self.made[-1]


def speaker() -> Any:
    # Compared by identity, as streams are.
    return type("Speaker", (), {"ended": False})()


def question(urgency: Urgency = Urgency.PARTIAL, utterance: int = 0, start: int = 0) -> TranscribeRequest:
    return TranscribeRequest(urgency, utterance, 0, np.zeros(320, np.int16), start, (), "en", 0.0, 0.0)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def hearings(engine: Engine) -> Hearings:
    return Hearings(engine, most_bytes=3_000_000)


def test_the_partials_of_one_utterance_are_heard_on_from_each_other(hearings: Hearings, engine: Engine) -> None:
    one, other = speaker(), speaker()
    first = hearings.of(one, question())
    assert hearings.of(other, question()) is not first
    assert hearings.of(one, question()) is first
    assert len(engine.made) == 2


@pytest.mark.parametrize("changed", [{"utterance": 1}, {"start": 16_000}], ids=str)
def test_what_begins_elsewhere_is_heard_anew(hearings: Hearings, changed: dict[str, Any]) -> None:
    one = speaker()
    first = hearings.of(one, question())
    second = hearings.of(one, question(**changed))
    assert second is not first
    assert hearings.of(one, question(**changed)) is second
    assert len(hearings) == 1


def test_a_final_is_heard_whole_and_nothing_is_kept_behind_it(hearings: Hearings) -> None:
    one = speaker()
    first = hearings.of(one, question())
    assert hearings.of(one, question(Urgency.FINAL)) is None
    assert len(hearings) == 0
    assert hearings.of(one, question()) is not first


def test_the_search_for_a_cut_leaves_alone_what_is_kept(hearings: Hearings) -> None:
    one = speaker()
    first = hearings.of(one, question())
    assert hearings.of(one, question(Urgency.CUT)) is None
    assert hearings.of(one, question()) is first


def test_beyond_the_limit_those_longest_not_asked_of_give_way(hearings: Hearings) -> None:
    speakers = [speaker() for _ in range(5)]
    kept = [hearings.of(one, question()) for one in speakers]
    assert hearings.of(speakers[0], question()) is kept[0]
    hearings.tidy()
    assert len(hearings) == 3
    assert [hearings.of(one, question()) is was for one, was in zip(speakers, kept, strict=True)] == [
        True, False, False, True, True,
    ]  # fmt: skip


def test_one_that_is_larger_than_the_limit_is_kept_while_it_is_the_only_one(engine: Engine) -> None:
    hearings = Hearings(engine, most_bytes=10)
    one = speaker()
    first = hearings.of(one, question())
    hearings.tidy()
    assert hearings.of(one, question()) is first


def test_nothing_is_kept_of_sessions_that_have_ended(hearings: Hearings) -> None:
    gone, here = speaker(), speaker()
    hearings.of(gone, question())
    first = hearings.of(here, question())
    gone.ended = True
    hearings.tidy()
    assert len(hearings) == 1
    assert hearings.of(here, question()) is first


def test_everything_can_be_let_go_and_is_made_again(hearings: Hearings, engine: Engine) -> None:
    one, other = speaker(), speaker()
    first = hearings.of(one, question())
    hearings.of(other, question())
    assert hearings.clear() == 2_000_000
    assert hearings.clear() == 0
    assert hearings.of(one, question()) is not first
