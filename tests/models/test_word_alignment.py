"""Attention laid along a recording: against a slow reference, and texts whose places are known."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from alfred_voice.models.engine import Float32
from alfred_voice.models.word_alignment import (
    Float64,
    fitted,
    in_order,
    median_filtered,
    timed_words,
    token_spans,
    warp,
    without_pauses,
)
from alfred_voice.results import Piece


RATE = 16_000


def slow_warp(cost: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Dynamic time warping cell by cell; of ways that cost the same the one that stays with the token."""
    tokens, frames = cost.shape
    total = {(-1, -1): 0.0}
    came_from: dict[tuple[int, int], tuple[int, int]] = {}
    for token, frame in itertools.product(range(tokens), range(frames)):
        both, up, left = (token - 1, frame - 1), (token - 1, frame), (token, frame - 1)
        costs = [total.get(place, np.inf) for place in (both, up, left)]
        if costs[0] < min(costs[1:]):
            before = both
        elif costs[1] < min(costs[0], costs[2]):
            before = up
        else:
            before = left
        came_from[token, frame] = before
        total[token, frame] = float(cost[token, frame]) + total.get(before, np.inf)
    way = [(tokens - 1, frames - 1)]
    while way[-1] != (0, 0):
        way.append(came_from[way[-1]])
    return way[::-1]


def way_of(cost: NDArray[np.floating]) -> list[tuple[int, int]]:
    return list(zip(*(indices.tolist() for indices in warp(cost)), strict=True))


def looking(bounds: list[int], frames: int, heads: int = 3, seed: int = 0) -> Float32:
    """Attention of heads that follow the speech: token t looks at the frames from bounds[t] to the next one's."""
    source = np.random.default_rng(seed)
    fits = source.normal(0, 0.5, (heads, len(bounds), frames))
    for token, (start, end) in enumerate(itertools.pairwise([*bounds, frames])):
        fits[:, token, start:end] += 5
    weights = np.exp(fits)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


class TestWarp:
    @given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 999))
    def test_it_is_the_way_of_the_slow_reference(self, tokens: int, frames: int, seed: int) -> None:
        cost = np.random.default_rng(seed).standard_normal((tokens, frames))
        assert way_of(cost) == slow_warp(cost)

    @given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-2, 2)))
    def test_ways_that_cost_the_same_are_chosen_among_as_there(self, cost: Float32) -> None:
        assert way_of(cost) == slow_warp(cost)

    @given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.floats(-1e6, 1e6)))
    def test_it_goes_from_corner_to_corner_and_never_back(self, cost: Float64) -> None:
        way = way_of(cost)
        assert way[0] == (0, 0)
        assert way[-1] == (cost.shape[0] - 1, cost.shape[1] - 1)
        steps = {(to[0] - at[0], to[1] - at[1]) for at, to in itertools.pairwise(way)}
        assert steps <= {(0, 1), (1, 0), (1, 1)}

    def test_where_all_costs_the_same_the_last_token_gets_the_frames(self) -> None:
        """The way is found from its end."""
        assert way_of(np.zeros((2, 4))) == [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3)]

    def test_a_text_is_laid_along_ten_seconds_in_no_time(self) -> None:
        cost = np.random.default_rng(0).standard_normal((60, 400)).astype(np.float32)
        took = []
        for _ in range(20):
            start = time.perf_counter()
            warp(cost)
            took.append(time.perf_counter() - start)
        assert min(took) < 0.02  # 2 ms as a rule


class TestMedian:
    @given(
        arrays(np.float32, array_shapes(min_dims=1, max_dims=3, max_side=20), elements=st.floats(-9, 9, width=32)),
        st.sampled_from([1, 3, 5, 7, 9]),
    )
    def test_it_is_the_median_of_what_is_around(self, weights: Float32, width: int) -> None:
        found = median_filtered(weights, width)
        if weights.shape[-1] <= width // 2:
            np.testing.assert_array_equal(found, weights)
            return
        size = (1,) * (weights.ndim - 1) + (width,)
        np.testing.assert_array_equal(found, median_filter(weights, size, mode="mirror"))

    def test_more_than_a_block_is_filtered_alike(self) -> None:
        weights = np.random.default_rng(0).standard_normal((3, 50, 300)).astype(np.float32)
        np.testing.assert_array_equal(median_filtered(weights, 7), median_filter(weights, (1, 1, 7), mode="mirror"))

    @pytest.mark.parametrize("width", [0, -1, 2, 8])
    def test_a_width_without_a_middle_is_refused(self, width: int) -> None:
        with pytest.raises(ValueError, match="odd"):
            median_filtered(np.zeros(20, np.float32), width)


class TestSpans:
    @pytest.mark.parametrize("seed", range(5))
    def test_tokens_are_where_they_were_looked_for(self, seed: int) -> None:
        bounds = [0, 20, 31, 60, 66, 90]
        spans = token_spans(looking(bounds, 120, seed=seed))
        np.testing.assert_allclose(spans[:, 0], bounds, atol=2)
        np.testing.assert_allclose(spans[:, 1], [*bounds[1:], 120], atol=2)

    def test_rows_of_marks_take_part_in_the_scale_only(self) -> None:
        weights = looking([0, 5, 10, 40, 80], 100)
        spans = token_spans(weights, slice(2, 4))
        assert spans.shape == (2, 2)
        assert spans[0, 0] == 0
        assert abs(spans[0, 1] - 40) <= 2
        assert spans[1, 1] == 100

    @given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 40), st.integers(0, 99))
    def test_they_touch_from_the_first_frame_to_the_last(self, heads: int, tokens: int, frames: int, seed: int) -> None:
        weights = np.random.default_rng(seed).random((heads, tokens, frames)).astype(np.float32)
        spans = token_spans(weights)
        assert spans.shape == (tokens, 2)
        assert spans[0, 0] == 0
        assert spans[-1, 1] == frames
        assert (spans[:, 0] <= spans[:, 1]).all()
        np.testing.assert_array_equal(spans[1:, 0], spans[:-1, 1])

    def test_no_tokens_have_no_spans(self) -> None:
        assert token_spans(looking([0, 5], 10), slice(2, 2)).shape == (0, 2)

    def test_a_frame_at_which_all_look_alike_tells_nothing(self) -> None:
        """As for a single token, too, to which there is nothing to compare."""
        weights = np.random.default_rng(0).random((2, 3, 30)).astype(np.float32)
        weights[:, :, 7] = 0.25
        assert np.isfinite(fitted(weights)).all()
        np.testing.assert_array_equal(fitted(weights[:, :1]), np.zeros((1, 30)))


def noise(seconds: float, level: float, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def sounding(*spans: tuple[float, float], seconds: float = 2.0) -> Float32:
    """A quiet room, in which it is loud for these spans of seconds."""
    samples = noise(seconds, 0.001)
    for start, end in spans:
        samples[round(start * RATE) : round(end * RATE)] += noise(end - start, 0.1, 1)[: round(end * RATE)]
    return samples


class TestPauses:
    def test_silence_is_taken_from_both_ends(self) -> None:
        found = without_pauses(sounding((0.5, 0.8)), np.array([[100.0, 1900.0]]))
        np.testing.assert_allclose(found, [[500, 800]], atol=10)

    def test_each_word_keeps_to_its_own_span(self) -> None:
        times = np.array([[500.0, 643.0], [643.0, 900.0]])
        np.testing.assert_allclose(without_pauses(sounding((0.4, 0.9)), times), times)

    def test_a_word_may_be_silent_for_a_moment_but_not_pause(self) -> None:
        closed = without_pauses(sounding((0.4, 0.6), (0.7, 0.8)), np.array([[300.0, 1000.0]]))
        np.testing.assert_allclose(closed, [[400, 800]], atol=10)
        paused = without_pauses(sounding((0.4, 0.5), (0.9, 1.2)), np.array([[300.0, 1500.0]]))
        np.testing.assert_allclose(paused, [[900, 1200]], atol=10)

    def test_a_click_is_no_speech(self) -> None:
        found = without_pauses(sounding((0.2, 0.21), (0.3, 0.6)), np.array([[0.0, 1000.0]]))
        np.testing.assert_allclose(found, [[300, 600]], atol=10)

    def test_a_word_that_is_nowhere_loud_stays_where_it_is(self) -> None:
        times = np.array([[1000.0, 1300.0]])
        np.testing.assert_array_equal(without_pauses(sounding((0.4, 0.9)), times), times)

    @pytest.mark.parametrize("samples", [noise(1.0, 0.1), np.zeros(RATE, np.float32), np.zeros(70, np.float32)])
    def test_where_nothing_stands_out_all_stays(self, samples: Float32) -> None:
        times = np.array([[0.0, 400.0], [400.0, 1000.0]])
        np.testing.assert_array_equal(without_pauses(samples, times), times)

    def test_what_is_given_is_not_changed(self) -> None:
        times = np.array([[100.0, 1900.0]])
        without_pauses(sounding((0.5, 0.8)), times)
        np.testing.assert_array_equal(times, [[100.0, 1900.0]])


class TestOrder:
    def test_what_is_in_order_stays(self) -> None:
        times = np.array([[10.0, 100.0], [100.0, 150.0], [400.0, 1000.0]])
        np.testing.assert_array_equal(in_order(times, 1000.0), times)

    def test_a_word_without_a_length_gets_one(self) -> None:
        placed = in_order(np.array([[100.0, 100.0], [100.0, 300.0]]), 1000.0)
        np.testing.assert_array_equal(placed, [[100, 120], [120, 300]])

    def test_words_are_kept_within_the_recording(self) -> None:
        placed = in_order(np.array([[100.0, 990.0], [1030.0, 1100.0], [1100.0, 1200.0]]), 1000.0)
        np.testing.assert_array_equal(placed, [[100, 960], [960, 980], [980, 1000]])

    @given(
        st.lists(st.tuples(st.floats(0, 3000), st.floats(0, 3000)), max_size=40),
        st.floats(1, 2000),
    )
    def test_any_times_become_words_in_a_row(self, times: list[tuple[float, float]], length_ms: float) -> None:
        placed = in_order(np.array(times, np.float64).reshape(-1, 2), length_ms)
        assert (placed[:, 0] < placed[:, 1]).all()
        assert (placed[1:, 0] >= placed[:-1, 1]).all()
        assert (placed >= 0).all()
        assert (placed <= length_ms + 1e-9).all()


class TestWords:
    def test_marks_belong_to_the_word_before_but_take_no_time(self) -> None:
        pieces = [Piece(" well,", (1, 2), 0.5), Piece(" -", (3,)), Piece(" yes.", (4, 5), 0.9)]
        texts = [" well", ",", " -", " yes", "."]
        times = np.array([[100.0, 200.0], [200.0, 700.0], [700.0, 800.0], [800.0, 1000.0], [1000.0, 1900.0]])
        words = timed_words(pieces, texts, times, noise(2.0, 0.1))
        assert [(word.word, word.start_ms, word.end_ms, word.probability) for word in words] == [
            ("well, -", 100.0, 200.0, 0.5),
            ("yes.", 800.0, 1000.0, 0.9),
        ]

    def test_marks_in_front_belong_to_the_first_word(self) -> None:
        pieces = [Piece(' "', (1,)), Piece(" Go", (2,))]
        words = timed_words(pieces, [' "', " Go"], np.array([[0.0, 300.0], [300.0, 500.0]]), noise(1.0, 0.1))
        assert [(word.word, word.start_ms, word.end_ms) for word in words] == [('" Go', 300.0, 500.0)]

    def test_a_word_reaches_over_its_tokens(self) -> None:
        pieces = [Piece(" it's", (1, 2, 3))]
        times = np.array([[100.0, 200.0], [200.0, 260.0], [260.0, 400.0]])
        (word,) = timed_words(pieces, [" it", "'", "s"], times, noise(1.0, 0.1))
        assert (word.start_ms, word.end_ms) == (100.0, 400.0)

    @pytest.mark.parametrize("texts", [[], [" ..."], [" -", "-", ""]])
    def test_marks_alone_are_no_words(self, texts: list[str]) -> None:
        pieces = [Piece("".join(texts), tuple(range(len(texts))))] if texts else []
        times = np.array([[0.0, 10.0]] * len(texts)).reshape(-1, 2)
        assert timed_words(pieces, texts, times, noise(1.0, 0.1)) == ()

    @pytest.mark.parametrize("text", [" &", " $", " 5", "%", " \u00fcber", "\ufffd"])
    def test_what_is_said_is_a_word(self, text: str) -> None:
        words = timed_words([Piece(text, (1,))], [text], np.array([[10.0, 90.0]]), noise(1.0, 0.1))
        assert [word.word for word in words] == [text.strip()]
