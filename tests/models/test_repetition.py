"""Where a text that repeats itself is cut, and what is left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from alfred_voice.models.repetition import MAX_REPEATS, loop_end


def every_token(token: int) -> bool:
    """As if each token began a word."""
    return True


def tens(token: int) -> bool:
    """As if the multiples of ten began words."""
    return token % 10 == 0


def decode(tokens: Sequence[int], first: int = 0) -> list[int]:
    """What is left of ``tokens`` when they come one at a time, as from a decoder."""
    text: list[int] = list(tokens[:first])
    for token in tokens[first:]:
        text.append(token)
        end = loop_end(text, every_token, first)
        if end is not None:
            return text[:end]
    return text


@pytest.mark.parametrize("size", sorted(MAX_REPEATS))
def test_a_phrase_without_end_is_kept_once(size: int) -> None:
    phrase = list(range(100, 100 + size))
    assert decode(phrase * 40) == phrase


@pytest.mark.parametrize("size", sorted(MAX_REPEATS))
def test_what_stands_before_the_loop_is_kept(size: int) -> None:
    phrase = list(range(100, 100 + size))
    assert decode([1, 2, 3, *phrase * 40]) == [1, 2, 3, *phrase]


@pytest.mark.parametrize("size", sorted(MAX_REPEATS))
def test_a_phrase_at_its_limit_survives_and_one_more_does_not(size: int) -> None:
    phrase = list(range(100, 100 + size))
    limit = MAX_REPEATS[size]
    assert decode(phrase * limit) == phrase * limit
    assert decode(phrase * (limit + 1)) == phrase


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param([7, 7, 7], id="no no no"),
        pytest.param([7, 8, 7, 8, 7, 8], id="no, no, no,"),
        pytest.param([5, 5, 5, 6], id="very very very good"),
        pytest.param([9] * 7, id="zero, seven times"),
        pytest.param([1, 2, 3, 4, 5, 6] * 3, id="I don't know, three times"),
        pytest.param([1, 2, 3, 11, 4, 1, 2, 3, 12, 4, 1, 2, 3, 13, 4, 1, 2, 3, 14, 4], id="it was the age of ..."),
        pytest.param([], id="nothing"),
    ],
)
def test_what_people_say_survives(tokens: list[int]) -> None:
    assert decode(tokens) == tokens


def test_a_loop_inside_the_given_prefix_does_not_count() -> None:
    prefix = [3] * 20
    assert loop_end([*prefix, 3], every_token, len(prefix)) is None
    assert decode([*prefix, *[4] * 20], first=len(prefix)) == [*prefix, 4]


def test_the_prefix_is_never_cut_even_when_the_loop_goes_on_from_it() -> None:
    prefix = [1, 2, 1, 2]
    assert decode([*prefix, *[1, 2] * 30], first=len(prefix)) == [*prefix, 1, 2]


def test_the_cut_falls_where_a_word_begins() -> None:
    """ "Uh, uh, uh, ..." is found in the middle of a word: its first token differs from the others."""
    text = [10, 1, 2]  # a capital letter, then the rest of the word and a comma
    end = None
    while end is None:
        text += [20, 1, 2][(len(text) - 3) % 3 :][:1]
        end = loop_end(text, tens)
    assert text[:end] == [10, 1, 2, 20, 1, 2]


def test_the_cut_falls_behind_one_instance_when_no_word_begins() -> None:
    assert loop_end([5, 6] * 7, tens) == 2


def test_random_texts_are_left_alone() -> None:
    source = random.Random(4)
    for _ in range(200):
        tokens = [source.randrange(1000) for _ in range(80)]
        assert decode(tokens) == tokens


def test_a_cut_text_agrees_with_a_plain_search_for_repeats() -> None:
    """Over an alphabet of two tokens loops abound: the brute force tries every size at every end."""
    source = random.Random(5)
    found = 0
    for _ in range(2000):
        tokens = [source.randrange(2) for _ in range(40)]
        expected = any(
            tokens[-size * (limit + 1) :] == tokens[-size:] * (limit + 1)
            for size, limit in MAX_REPEATS.items()
            if size * (limit + 1) <= len(tokens)
        )
        found += expected
        assert (loop_end(tokens, every_token) is not None) == expected
    assert found > 0
