"""Words of texts, how many are wrong, and which match, against a search of all ways for short texts."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.bench.words import matching, word_errors, words_of


WORDS = st.lists(st.sampled_from("abc"), max_size=6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It was the best of times, it WAS!", ["it", "was", "the", "best", "of", "times", "it", "was"]),
        ("don't don\N{RIGHT SINGLE QUOTATION MARK}t", ["don't", "don't"]),
        ("'quoted' rock'n'roll", ["quoted", "rock'n'roll"]),
        ("well-known - dash", ["well", "known", "dash"]),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE} Stra\N{LATIN SMALL LETTER SHARP S}e", ["cafe", "strasse"]),
        ("in 1859, no_way", ["in", "1859", "no", "way"]),
        (" ... ", []),
    ],
)
def test_a_text_is_words_without_case_punctuation_and_accents(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("expected", "heard", "errors", "count"),
    [
        ("turn on the lamp", "Turn on the lamp.", 0, 4),
        ("turn on the lamp", "turn on a lamp", 1, 4),
        ("turn on the lamp", "turn on lamp", 1, 4),
        ("turn on the lamp", "turn on the the lamp", 1, 4),
        ("turn on the lamp", "", 4, 4),
        ("", "thank you", 2, 0),
        ("one", "two words", 2, 1),
        ("", "", 0, 0),
    ],
)
def test_errors_are_words_replaced_missing_or_too_many(expected: str, heard: str, errors: int, count: int) -> None:
    assert word_errors(expected, heard) == (errors, count)


def brute_distance(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Every way there is, by the definition."""

    @cache
    def cost(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        return min(cost(i + 1, j) + 1, cost(i, j + 1) + 1, cost(i + 1, j + 1) + (one[i] != other[j]))

    return cost(0, 0)


@given(WORDS, WORDS)
def test_the_number_of_errors_is_the_least_of_all_ways(one: list[str], other: list[str]) -> None:
    assert word_errors(" ".join(one), " ".join(other)) == (brute_distance(tuple(one), tuple(other)), len(one))


@given(WORDS, WORDS)
def test_matching_words_are_equal_in_order_and_belong_to_a_cheapest_way(one: list[str], other: list[str]) -> None:
    pairs = matching(one, other)
    assert all(one[i] == other[j] for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))
    # Between two matches everything else is replaced, left out or put in: that must cost what the cheapest way costs.
    corners = [(-1, -1), *pairs, (len(one), len(other))]
    spent = sum(max(b[0] - a[0], b[1] - a[1]) - 1 for a, b in itertools.pairwise(corners))
    assert spent == brute_distance(tuple(one), tuple(other))


def test_the_beginning_of_a_text_matches_its_beginning_though_its_words_come_again() -> None:
    whole = words_of("it was the best of times it was the worst of times")
    assert matching(whole, words_of("it was the best of times")) == [(at, at) for at in range(6)]
    assert matching(whole, words_of("it was")) == [(0, 0), (1, 1)]


def test_nothing_matches_nothing() -> None:
    assert matching([], ["a"]) == matching(["a"], []) == []
