from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.results import Piece, Transcript
from alfred_voice.session.cut import CutSearch, agreement, quiet_moments


def heard(text: str) -> Transcript:
    return Transcript(text, tuple(Piece(f" {word}") for word in text.split()))


def noise(n: int, quiet: dict[int, int]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Loud samples with 100 ms of a given level from each given sample."""
    samples = np.full(n, 8000, np.int16)
    samples[::2] *= -1
    for start, level in quiet.items():
        samples[start : start + 1600] = level
    return samples


def test_the_quietest_moments_come_first_and_are_given_by_their_middles() -> None:
    samples = noise(64_000, {16_000: 300, 32_000: 0, 48_000: 100})

    assert quiet_moments(samples, 0, 64_000) == [32_800, 48_800, 16_800]


def test_only_the_range_is_looked_at() -> None:
    samples = noise(64_000, {3_200: 0, 32_000: 100, 60_800: 0})

    assert quiet_moments(samples, 16_000, 48_000, count=1) == [32_800]


def test_a_second_moment_is_another_gap() -> None:
    samples = noise(32_000, {8_000: 0, 9_600: 1, 24_000: 500})

    first, second = quiet_moments(samples, 0, 32_000, count=2)

    assert first == 8_800
    assert abs(second - first) > 8_000


@pytest.mark.parametrize(("samples", "found"), [(0, 0), (1_599, 0), (1_600, 1), (1_919, 1)])
def test_a_range_shorter_than_a_moment_has_none(samples: int, found: int) -> None:
    assert len(quiet_moments(noise(samples, {}), 0, samples)) == found


@pytest.mark.parametrize(("samples", "found"), [(0, 0), (16_000, 0), (17_599, 0), (17_600, 1), (48_000, 1)])
def test_a_range_ends_where_the_audio_does(samples: int, found: int) -> None:
    assert len(quiet_moments(noise(samples, {}), 16_000, 64_000, count=1)) == found


@given(st.integers(0, 40_000), st.integers(0, 40_000), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_moments_lie_in_the_range_and_apart(first: int, length: int, count: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-9000, 9000, first + length).astype(np.int16)

    found = quiet_moments(samples, first, first + length, count)

    assert len(found) <= count
    assert all(first + 800 <= moment <= first + length - 800 for moment in found)
    assert all(abs(a - b) > 8_000 for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize(
    ("head", "whole", "expected"),
    [
        ("a b", "a b c", 1.0),
        ("A, b.", "a b c", 1.0),
        ("a x", "a b c", 0.5),
        ("a b c d", "a b c", 0.0),
        ("", "a", 0.0),
        ("", "", 0.0),
    ],
)
def test_a_head_agrees_as_far_as_its_words_begin_the_whole(head: str, whole: str, expected: float) -> None:
    assert agreement(heard(head).pieces, heard(whole).pieces) == expected


def test_a_search_is_over_at_the_first_candidate_that_falls_between_two_words() -> None:
    search = CutSearch([100, 200, 300])
    search.receive_whole(heard("one two three"))

    assert search.next_candidate() == 100
    assert not search.receive_head(heard("one to"))
    assert search.next_candidate() == 200
    assert search.receive_head(heard("One two."))
    assert search.best == (1.0, 200, heard("One two."))


def test_a_search_without_a_good_candidate_takes_the_best() -> None:
    search = CutSearch([100, 200])
    search.receive_whole(heard("one two three"))
    search.next_candidate()
    assert not search.receive_head(heard("one to"))
    search.next_candidate()
    assert search.receive_head(heard("won to"))

    assert search.best is not None
    assert search.best[1] == 100
    assert search.next_candidate() is None


def test_an_answer_that_was_not_asked_for_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="not been asked"):
        CutSearch([100]).receive_head(heard("one"))
