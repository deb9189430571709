"""When words were said: attention drawn by hand, and marks of punctuation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.models.whisper_vocabulary import Vocabulary
from alfred_voice.models.whisper_words import _joined, aligned_words
from alfred_voice.results import Word


Float32 = NDArray[np.float32]

BYTES = [bytes([value]) for value in range(256)]
WORDS = [b" hello", b" wor", b"ld", b",", b".", b" (", b")", b' "']
HELLO, WOR, LD, COMMA, STOP, OPENED, CLOSED, QUOTE = range(256, 264)
VOCABULARY = Vocabulary(BYTES + WORDS, 99)
OPENING = 4


def looked(spans: list[tuple[int, int]], states: int, heads: int = 3) -> Float32:
    """Attention of which each token looks at its own states; a token is decided in the row before its own."""
    fit = np.random.default_rng(0).normal(0, 0.1, (heads, OPENING + len(spans) + 1, states)).astype(np.float32)
    fit[:, : OPENING - 1, 0] += 8
    for at, (first, last) in enumerate(spans):
        fit[:, OPENING - 1 + at, first:last] += 8
    fit[:, OPENING - 1 + len(spans), spans[-1][1] :] += 8
    return fit


def words(tokens: list[int], spans: list[tuple[int, int]], states: int = 100, language: str = "en") -> tuple[Word, ...]:
    chances = np.linspace(0.5, 0.9, len(tokens)).astype(np.float32)
    return aligned_words(looked(spans, states), chances, tokens, OPENING, VOCABULARY, language)


class TestTimes:
    def test_a_word_is_where_its_tokens_looked(self) -> None:
        found = words([HELLO, WOR, LD], [(0, 30), (30, 50), (50, 80)])
        assert [one.word for one in found] == ["hello", "world"]
        for one, (start, end) in zip(found, [(0, 600), (600, 1600)], strict=True):
            assert one.start_ms == pytest.approx(start, abs=80)
            assert one.end_ms == pytest.approx(end, abs=80)

    def test_its_probability_is_the_mean_of_its_tokens(self) -> None:
        found = words([HELLO, WOR, LD], [(0, 30), (30, 50), (50, 80)])
        assert [one.probability for one in found] == pytest.approx([0.5, 0.8])

    def test_words_follow_each_other_without_a_gap(self) -> None:
        found = words([HELLO, HELLO, HELLO], [(5, 20), (40, 60), (60, 90)])
        assert [one.start_ms for one in found[1:]] == [one.end_ms for one in found[:-1]]
        assert found[0].start_ms == 0

    def test_without_spaces_each_character_is_a_word(self) -> None:
        found = words([HELLO, WOR, LD], [(0, 30), (30, 50), (50, 80)], language="ja")
        assert [one.word for one in found] == ["hello", "wor", "ld"]

    def test_nothing_has_no_words(self) -> None:
        assert aligned_words(np.zeros((2, 5, 10), np.float32), np.zeros(0, np.float32), [], 4, VOCABULARY, "en") == ()
        none = np.zeros((2, 6, 0), np.float32)
        assert aligned_words(none, np.ones(1, np.float32), [HELLO], 4, VOCABULARY, "en") == ()

    def test_a_clip_of_one_state_has_all_words_there(self) -> None:
        found = words([HELLO, HELLO], [(0, 1), (0, 1)], states=1)
        assert [one.word for one in found] == ["hello", "hello"]
        assert all(0 <= one.start_ms <= one.end_ms <= 20 for one in found)

    @given(tokens=st.lists(st.integers(256, 263), min_size=1, max_size=20), states=st.integers(1, 60))
    def test_times_are_in_order_and_in_the_clip_whatever_is_looked_at(self, tokens: list[int], states: int) -> None:
        fit = np.random.default_rng(len(tokens)).normal(0, 3, (2, OPENING + len(tokens) + 1, states))
        chances = np.full(len(tokens), 0.5, np.float32)
        found = aligned_words(fit.astype(np.float32), chances, tokens, OPENING, VOCABULARY, "en")
        times = [time for one in found for time in (one.start_ms, one.end_ms)]
        assert times == sorted(times)
        assert all(0 <= time <= states * 20 for time in times)
        assert "".join(one.word for one in found).replace(" ", "") == VOCABULARY.text(tokens).replace(" ", "")


class TestMarks:
    @staticmethod
    def joined(*texts: str) -> list[str]:
        return [one.word for one in _joined([Word(text, 0, 0, 1) for text in texts])]

    @pytest.mark.parametrize(
        ("apart", "together"),
        [
            ([" hello", ",", " world", "."], [" hello,", " world."]),
            ([" (", "yes", ")", "."], [" (yes)."]),
            ([' "', "no", '"', " he"], [' "no"', " he"]),
            ([" -", " -", "x"], [" - -x"]),
            (["你", "好", "。"], ["你", "好。"]),
            ([" a", " ,", " b"], [" a", " ,", " b"]),
            ([".", " a"], [".", " a"]),
            ([" a", " ("], [" a", " ("]),
            ([], []),
        ],
    )
    def test_they_go_to_the_words_that_they_belong_to(self, apart: list[str], together: list[str]) -> None:
        assert self.joined(*apart) == together

    def test_the_times_of_the_word_stay(self) -> None:
        found = _joined([Word(" (", 0, 10, 0.1), Word("yes", 10, 20, 0.9), Word(")", 20, 40, 0.2)])
        assert found == [Word(" (yes)", 10, 20, 0.9)]

    def test_the_words_of_a_text_have_their_marks(self) -> None:
        found = words([QUOTE, LD, COMMA, HELLO, STOP], [(0, 5), (5, 30), (30, 35), (35, 80), (80, 90)])
        assert [one.word for one in found] == ['"ld,', "hello."]
