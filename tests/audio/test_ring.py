from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alfred_voice.audio.pcm import Int16
from alfred_voice.audio.ring import INITIAL_SAMPLES, Ring


def ramp(n: int, first: int = 0) -> Int16:
    return np.arange(first, first + n).astype(np.int16)


def test_what_was_appended_is_read_by_index() -> None:
    ring = Ring(100, initial=10)
    ring.append(ramp(7))

    assert (ring.start, ring.end) == (0, 7)
    assert ring.read(2, 5).tolist() == [2, 3, 4]
    assert ring.read(0, 7).tolist() == list(range(7))


def test_a_read_is_a_copy() -> None:
    ring = Ring(10, initial=10)
    ring.append(ramp(4))
    ring.read(0, 4)[:] = -1

    assert ring.read(0, 4).tolist() == [0, 1, 2, 3]


def test_an_empty_span_can_be_read_at_either_edge() -> None:
    ring = Ring(10, initial=10)
    ring.append(ramp(4))

    assert ring.read(0, 0).tolist() == []
    assert ring.read(4, 4).tolist() == []


@pytest.mark.parametrize(("start", "end"), [(0, 3), (4, 9), (6, 4), (-1, 5), (9, 9)])
def test_a_span_that_is_not_held_is_refused(start: int, end: int) -> None:
    ring = Ring(10, initial=10)
    ring.append(ramp(8))
    ring.discard(2)

    with pytest.raises(ValueError, match=f"expected a span within 2 to 8, got {start} to {end}"):
        ring.read(start, end)


def test_frames_are_taken_without_allocating_once_it_is_large_enough() -> None:
    ring = Ring(16_000 * 30)
    for at in range(0, 16_000 * 5, 320):
        ring.append(ramp(320, at))
        ring.discard(ring.end - 8_000)

    assert ring.nbytes == INITIAL_SAMPLES * 2
    np.testing.assert_array_equal(ring.read(72_000, 80_000), ramp(8_000, 72_000))


def test_memory_doubles_when_more_must_be_kept_and_returns_when_it_is_let_go() -> None:
    ring = Ring(1_000, initial=100)
    sizes = []
    for at in range(0, 600, 50):
        ring.append(ramp(50, at))
        sizes.append(ring.nbytes // 2)

    assert sizes == [100, 100, 200, 200, 400, 400, 400, 400, 800, 800, 800, 800]
    ring.discard(590)
    assert ring.nbytes // 2 == 100
    assert ring.read(590, 600).tolist() == list(range(590, 600))


def test_discarding_a_little_keeps_the_memory_for_what_comes() -> None:
    ring = Ring(1_000, initial=100)
    ring.append(ramp(400))
    ring.discard(200)

    assert ring.nbytes // 2 == 400


def test_beyond_the_maximum_the_oldest_samples_give_way() -> None:
    ring = Ring(250, initial=100)
    for at in range(0, 400, 40):
        ring.append(ramp(40, at))

    assert (ring.start, ring.end) == (150, 400)
    assert ring.nbytes // 2 == 250
    assert ring.read(150, 400).tolist() == list(range(150, 400))


@pytest.mark.parametrize("n", [249, 250, 251, 1_000])
def test_one_append_around_the_maximum_keeps_its_end(n: int) -> None:
    ring = Ring(250, initial=100)
    ring.append(ramp(30))
    ring.append(ramp(n, 30))

    assert ring.end == 30 + n
    assert ring.start == 30 + n - 250
    assert ring.read(ring.start, ring.end).tolist() == list(range(ring.start, ring.end))


def test_a_gap_reads_as_silence_and_keeps_the_clock() -> None:
    ring = Ring(100, initial=10)
    ring.append(ramp(3, 1))
    ring.skip(4)
    ring.append(ramp(2, 8))

    assert ring.end == 9
    assert ring.read(0, 9).tolist() == [1, 2, 3, 0, 0, 0, 0, 8, 9]


def test_a_gap_of_hours_costs_no_memory() -> None:
    ring = Ring(1_000, initial=100)
    ring.append(ramp(90))
    ring.skip(16_000 * 3600 * 10)

    assert ring.end == 90 + 16_000 * 3600 * 10
    assert ring.start == ring.end - 1_000
    assert not ring.read(ring.start, ring.end).any()


def test_a_gap_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="got -1"):
        Ring(10, initial=10).skip(-1)


def test_discarding_the_future_or_the_past_goes_to_the_edge() -> None:
    ring = Ring(100, initial=10)
    ring.append(ramp(8))
    ring.discard(-5)
    assert ring.start == 0
    ring.discard(3)
    ring.discard(1)
    assert ring.start == 3
    ring.discard(50)
    assert (ring.start, ring.end) == (8, 8)


@pytest.mark.parametrize(("maximum", "initial"), [(0, 10), (0, 0), (5, 0), (-1, 5)])
def test_impossible_sizes_are_refused(maximum: int, initial: int) -> None:
    with pytest.raises(ValueError, match=f"initial {initial} and maximum {maximum}"):
        Ring(maximum, initial)


def test_a_maximum_below_the_usual_beginning_is_the_beginning() -> None:
    ring = Ring(100)
    ring.append(ramp(150))

    assert ring.nbytes == 200
    assert ring.read(50, 150).tolist() == list(range(50, 150))


class RingAgainstList(RuleBasedStateMachine):
    """The ring and a plain list that keeps everything."""

    @initialize(initial=st.integers(1, 40), extra=st.integers(0, 300))
    def begin(self, initial: int, extra: int) -> None:
        self.initial = initial
        self.ring = Ring(initial + extra, initial)
        self.all: list[int] = []
        self.start = 0

    def grew(self, samples: list[int]) -> None:
        self.all += samples
        self.start = max(self.start, len(self.all) - self.ring.maximum)

    @rule(n=st.integers(0, 120))
    def append(self, n: int) -> None:
        samples = ramp(n, len(self.all) + 1)
        self.ring.append(samples)
        self.grew(samples.tolist())

    @rule(n=st.integers(0, 400))
    def skip(self, n: int) -> None:
        self.ring.skip(n)
        self.grew([0] * n)

    @rule(kept=st.integers(-10, 200))
    def discard_all_but(self, kept: int) -> None:
        before = len(self.all) - kept
        self.ring.discard(before)
        self.start = min(max(self.start, before), len(self.all))

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(self.start, len(self.all)))
        end = data.draw(st.integers(start, len(self.all)))
        assert self.ring.read(start, end).tolist() == self.all[start:end]

    @invariant()
    def agrees(self) -> None:
        assert (self.ring.start, self.ring.end) == (self.start, len(self.all))
        held = self.ring.end - self.ring.start
        assert self.ring.read(self.start, len(self.all)).tolist() == self.all[self.start :]
        assert held <= self.ring.nbytes // 2 <= self.ring.maximum

    @invariant()
    def memory_stays_near_what_is_held_after_a_discard(self) -> None:
        self.ring.discard(self.ring.start)
        held = self.ring.end - self.ring.start
        assert self.ring.nbytes // 2 <= max(self.initial, 4 * held)


RingAgainstList.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
TestRingAgainstList = RingAgainstList.TestCase
