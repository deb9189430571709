from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.results import Piece
from alfred_voice.session.hypothesis import AgreementOptions, Hypothesis, joined, plain, starts_with, text_of


TWO = AgreementOptions(hypotheses=2, held_back=1, min_probability=0.5)


def pieces(text: str, probability: float = 1.0) -> tuple[Piece, ...]:
    return tuple(Piece(f" {word}", (len(word), index), probability) for index, word in enumerate(text.split()))


def test_agreed_words_are_committed_but_for_the_newest() -> None:
    hypothesis = Hypothesis(TWO)

    assert hypothesis.receive(pieces("one two"))
    assert text_of(hypothesis.stable) == ""
    assert hypothesis.receive(pieces("one two three"))
    assert text_of(hypothesis.stable) == "one"
    assert hypothesis.prefix == (3, 0)
    assert text_of(hypothesis.pieces) == "one two three"


def test_by_default_four_hypotheses_must_agree_and_three_words_are_held_back() -> None:
    hypothesis = Hypothesis(AgreementOptions())
    for _ in range(3):
        hypothesis.receive(pieces("a b c d"))
        assert hypothesis.stable == ()
    hypothesis.receive(pieces("a b c d"))

    assert text_of(hypothesis.stable) == "a"


def test_nothing_behind_a_disagreement_is_committed() -> None:
    hypothesis = Hypothesis(TWO)
    hypothesis.receive(pieces("a x c d e"))
    hypothesis.receive(pieces("a b c d e"))

    assert text_of(hypothesis.stable) == "a"


@pytest.mark.parametrize(("probability", "committed"), [(0.49, ""), (0.5, "a b")])
def test_a_word_that_the_recogniser_was_not_sure_of_is_not_committed(probability: float, committed: str) -> None:
    hypothesis = Hypothesis(TWO)
    hypothesis.receive(pieces("a b c", probability))
    hypothesis.receive(pieces("a b c"))

    assert text_of(hypothesis.stable) == committed


def test_case_and_punctuation_do_not_matter_and_the_committed_spelling_stays() -> None:
    hypothesis = Hypothesis(TWO)
    hypothesis.receive(pieces("Well, then go"))
    hypothesis.receive(pieces("well then. go"))
    assert text_of(hypothesis.stable) == "well then."

    assert hypothesis.receive(pieces("WELL! then go on"))
    assert text_of(hypothesis.pieces) == "well then. go on"


def test_a_hypothesis_that_contradicts_what_is_committed_is_no_news() -> None:
    hypothesis = Hypothesis(TWO)
    for _ in range(2):
        hypothesis.receive(pieces("a b c"))

    assert not hypothesis.receive(pieces("a x c d"))
    assert not hypothesis.receive(pieces("a"))
    assert not hypothesis.receive(())
    assert text_of(hypothesis.pieces) == "a b c"


def test_what_follows_a_settled_part_goes_on_with_the_rest_of_what_is_committed() -> None:
    hypothesis = Hypothesis(TWO)
    for _ in range(2):
        hypothesis.receive(pieces("a b c d"))

    rest = hypothesis.rest_after(2)

    assert text_of(rest.stable) == "c"
    assert text_of(rest.pieces) == "c"
    assert rest.prefix == (1, 2)
    assert not rest.receive(pieces("d e"))


def test_settling_more_than_is_committed_leaves_nothing_committed() -> None:
    hypothesis = Hypothesis(TWO)
    for _ in range(2):
        hypothesis.receive(pieces("a b c"))

    assert hypothesis.rest_after(3).stable == ()


@pytest.mark.parametrize(
    ("text", "expected"), [(" It's,", "its"), ("STRASSE", "strasse"), ("Straße.", "strasse"), ("-", "")]
)
def test_a_plain_word_has_neither_case_nor_punctuation(text: str, expected: str) -> None:
    assert plain(Piece(text)) == expected


@pytest.mark.parametrize(
    ("text", "prefix", "expected"),
    [("a b", "", True), ("", "", True), ("a b", "A, B.", True), ("a", "a b", False), ("a c", "a b", False)],
)
def test_a_text_begins_with_another(text: str, prefix: str, expected: bool) -> None:
    assert starts_with(pieces(text), pieces(prefix)) is expected


def test_texts_are_joined_where_there_are_any() -> None:
    assert joined("a b", "", "c") == "a b c"
    assert joined("", "") == ""


WORDS = st.lists(st.sampled_from(["a", "A", "b", "b,", "c"]), max_size=7).map(" ".join)


@given(
    st.lists(st.tuples(WORDS, st.sampled_from([0.4, 0.5, 1.0])), max_size=30),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_what_is_committed_only_grows_and_begins_every_hypothesis(
    heard: list[tuple[str, float]], hypotheses: int, held_back: int
) -> None:
    hypothesis = Hypothesis(AgreementOptions(hypotheses, held_back))
    taken: list[tuple[Piece, ...]] = []
    for text, probability in heard:
        before = hypothesis.stable
        if hypothesis.receive(pieces(text, probability)):
            taken.append(pieces(text, probability))
        assert hypothesis.stable[: len(before)] == before
        assert hypothesis.pieces[: len(hypothesis.stable)] == hypothesis.stable
        # By the definition: each new word was the same, sure, and not among the newest in each of the last few.
        recent = taken[-hypotheses:]
        for index in range(len(before), len(hypothesis.stable)):
            assert len(recent) == hypotheses
            assert len({plain(words[index]) for words in recent}) == 1
            assert all(index < len(words) - held_back for words in recent)
            assert all(words[index].probability >= 0.5 for words in recent)
