"""Which tokens are fed, which choices are taken, who shares a batch; with a decoder that can be computed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure
from alfred_voice.models.decoder_batch import Heard, plan_batches
from alfred_voice.models.moonshine_decoder import END, START, GreedyDecoder, Row
from alfred_voice.models.onnx import Session


VOCABULARY = 97


def begins_word(token: int) -> bool:
    return True


def next_token(tokens: Sequence[int], voice: int) -> int:
    """What the decoder of these tests says behind ``tokens``, in a clip of that many states."""
    mixed = sum((at + 3) ** 2 * token for at, token in enumerate(tokens)) + 13 * len(tokens)
    return (31 * mixed + 17 * voice) % VOCABULARY


class CountedDecoder:
    """A decoder whose cache holds the tokens themselves, and whose choice depends on all that it may look at."""

    input_names = ("tokens", "past_key_0", "key_0")
    output_names = ("best", "log_probability", "logits", "present_key_0")

    def __init__(self, *, is_broken: bool = False) -> None:
        self.shapes: list[tuple[int, int]] = []
        """Rows and positions of each call."""
        self._is_broken = is_broken

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        assert outputs == ("best", "log_probability", "present_key_0")
        tokens, cache = feeds["tokens"], feeds["past_key_0"].copy()
        self.shapes.append((tokens.shape[0], tokens.shape[1]))
        rows, places = feeds["places"][..., 0], feeds["places"][..., 1]
        np.testing.assert_array_equal(places, feeds["positions"])
        cache[rows, places, 0] = tokens
        best = []
        for flat in feeds["wanted"]:
            row, place = divmod(int(flat), tokens.shape[1])
            seen = feeds["bias"][row, 0, place] == 0
            assert list(np.flatnonzero(seen)) == list(range(feeds["positions"][row, place] + 1))
            text = cache[row, seen, 0].astype(int).tolist()
            assert text[0] == START
            best.append(next_token(text[1:], int(feeds["mask"][row].sum())))
        sure = [np.nan if self._is_broken else -0.01 * token for token in best]
        return [np.array(best), np.array(sure, np.float32), cache]


def heard(states: int) -> Heard:
    return Heard(states, (np.zeros((1, 2, -(-states // 8) * 8, 3), np.float32),))


def decode(rows: Sequence[Row], voices: Sequence[int], decoder: CountedDecoder | None = None) -> None:
    session = cast(Session, decoder or CountedDecoder())
    GreedyDecoder(session, begins_word).decode(rows, [heard(states) for states in voices])


def by_hand(prefix: tuple[int, ...], most: int, voice: int) -> tuple[list[int], list[float]]:
    """One token after the other."""
    row = Row(prefix, most)
    while row.choose(token := next_token(row.tokens, voice), -0.01 * token, begins_word):
        pass
    return row.tokens, row.log_probabilities


tokens = st.integers(0, VOCABULARY - 1)
texts = st.lists(tokens, max_size=40).map(tuple)


@st.composite
def crowds(draw: st.DrawFn) -> list[tuple[tuple[int, ...], tuple[int, ...], int, int]]:
    """Prefix, draft, limit and voice of each of a few rows; drafts are wrong, right, or nearly right."""
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        prefix, voice = draw(texts), draw(st.integers(1, 40))
        most = len(prefix) + draw(st.integers(1, 30))
        text = list(by_hand(prefix, most, voice)[0])
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(text)))
            text[at : at + draw(st.integers(0, 2))] = draw(st.lists(tokens, max_size=2))
        rows.append((prefix, draw(st.sampled_from([(), tuple(text), draw(texts)])), most, voice))
    return rows


@given(crowd=crowds(), stop=st.none() | tokens)
def test_neither_company_nor_drafts_change_what_a_row_comes_to(
    crowd: list[tuple[tuple[int, ...], tuple[int, ...], int, int]], stop: int | None
) -> None:
    rows = [Row(prefix, most, draft, stop) for prefix, draft, most, _ in crowd]
    decode(rows, [voice for *_, voice in crowd])
    for row, (prefix, _, most, voice) in zip(rows, crowd, strict=True):
        expected, sure = by_hand(prefix, most, voice)
        assert row.tokens == expected
        assert row.log_probabilities == pytest.approx(sure)


def long_text() -> tuple[tuple[int, ...], int]:
    """A text of twenty tokens and more, and the voice that says it."""
    for voice in range(1, 200):
        text, _ = by_hand((), 26, voice)
        if len(text) >= 20:
            return tuple(text), voice
    raise AssertionError("there should be a long text")


def calls(draft: Sequence[int], stop: int | None = None) -> int:
    """How many calls the long text takes with that draft."""
    text, voice = long_text()
    decoder, row = CountedDecoder(), Row((), len(text), tuple(draft), stop)
    decode([row], [voice], decoder)
    assert tuple(row.tokens) == text
    return len(decoder.shapes)


class TestCalls:
    def test_without_a_draft_each_token_takes_a_call(self) -> None:
        text, _ = long_text()
        assert calls(()) == len(text)

    def test_the_right_draft_takes_one(self) -> None:
        text, _ = long_text()
        assert calls(text) == 1

    def test_a_draft_that_ends_too_soon_saves_what_it_has(self) -> None:
        text, _ = long_text()
        assert calls(text[:-5]) == 5

    def test_a_wrong_token_costs_a_call_or_two(self) -> None:
        text, _ = long_text()
        assert calls([*text[:8], text[8] + 1, *text[9:]]) <= 3

    def test_a_missing_token_costs_a_few(self) -> None:
        text, _ = long_text()
        assert calls([*text[:8], *text[9:]]) <= 4

    def test_a_token_too_many_costs_a_few(self) -> None:
        text, _ = long_text()
        assert calls([*text[:8], VOCABULARY - 1, *text[8:]]) <= 4

    def test_two_tokens_for_one_cost_a_few(self) -> None:
        text, _ = long_text()
        assert calls([*text[:8], VOCABULARY - 1, *text[10:]]) <= 5

    def test_a_draft_that_is_all_wrong_costs_nothing(self) -> None:
        text, _ = long_text()
        assert calls([VOCABULARY + 1] * 30) == len(text)

    def test_the_likely_end_is_tried_where_nothing_is_known(self) -> None:
        text, _ = long_text()
        assert calls((), stop=text[-2]) < len(text)

    def test_no_call_has_a_single_position_or_too_many(self) -> None:
        decoder = CountedDecoder()
        rows = [Row((3,) * length, length + 2, (5,) * 40) for length in (0, 1, 90, 200)]
        decode(rows, [4, 5, 6, 7], decoder)
        assert all(positions >= 2 and rows * positions <= 96 for rows, positions in decoder.shapes)

    def test_rows_that_are_done_leave(self) -> None:
        decoder = CountedDecoder()
        decode([Row((), 1), Row((), 1), Row((), 1), Row(tuple(range(3, 40)), 60)], [9] * 4, decoder)
        assert decoder.shapes[0][0] == 4
        assert decoder.shapes[-1][0] == 1


class TestFailures:
    def test_logits_that_are_no_numbers_are_told(self) -> None:
        with pytest.raises(EngineFailure, match="not numbers"):
            decode([Row((), 5)], [3], CountedDecoder(is_broken=True))

    def test_another_graph_is_refused(self) -> None:
        decoder = CountedDecoder()
        decoder.input_names = ("tokens", "key_0", "value_0")
        with pytest.raises(EngineFailure, match="no decoder"):
            GreedyDecoder(cast(Session, decoder), begins_word)


class TestRow:
    """What the decoder's choices make of a row; token 2 is the end."""

    def test_it_ends_at_the_end_token(self) -> None:
        row = Row((), 100)
        assert row.choose(50, -0.1, begins_word)
        assert not row.choose(END, -0.2, begins_word)
        assert row.tokens == [50]
        assert row.log_probabilities == [-0.1, -0.2]

    def test_it_ends_at_its_limit(self) -> None:
        row = Row((), 2)
        assert row.choose(50, -0.1, begins_word)
        assert not row.choose(51, -0.1, begins_word)
        assert row.tokens == [50, 51]

    def test_a_loop_ends_it_and_counts_once(self) -> None:
        row = Row((7, 50), 100)
        assert row.choose(40, -0.5, begins_word)
        while row.choose(60, -0.25, begins_word):
            assert len(row.tokens) < 30
        assert row.tokens == [7, 50, 40, 60]
        assert row.log_probabilities == [-0.5, -0.25]

    def test_it_is_fed_the_start_its_prefix_and_its_draft(self) -> None:
        row = Row((7, 8), 100, (7, 8, 9, 10))
        assert row.feed(32) == [START, 7, 8, 9, 10]
        assert list(row.asked()) == [2, 3, 4]

    def test_a_long_prefix_is_fed_in_parts(self) -> None:
        row = Row(tuple(range(3, 13)), 100, tuple(range(3, 20)))
        assert row.feed(6) == [START, 3, 4, 5, 6, 7]
        assert list(row.asked()) == []
        row.receive([], [], begins_word)
        assert row.position == 6
        assert row.feed(6) == [8, 9, 10, 11, 12, 13]
        assert list(row.asked()) == [4, 5]

    def test_no_more_is_guessed_than_it_may_have(self) -> None:
        row = Row((7,), 3, (7, 8, 9, 10))
        assert row.feed(32) == [START, 7, 8]


class TestBatches:
    def test_nothing_needs_no_batch(self) -> None:
        assert plan_batches([], 16, 2048) == []

    def test_similar_lengths_come_together_the_longest_first(self) -> None:
        assert plan_batches([10, 500, 20, 400], 2, 2048) == [[1, 3], [2, 0]]

    def test_a_batch_has_so_many_rows_at_most(self) -> None:
        assert [len(batch) for batch in plan_batches([40] * 35, 16, 2048)] == [16, 16, 3]

    def test_padding_counts(self) -> None:
        assert plan_batches([600, 600, 600, 600], 16, 2048) == [[0, 1, 2], [3]]
        assert plan_batches([1_500, 20, 10], 16, 2048) == [[0], [1, 2]]

    def test_a_clip_of_any_length_finds_a_batch(self) -> None:
        assert plan_batches([5_000, 5_000], 16, 2048) == [[0], [1]]

    @given(states=st.lists(st.integers(1, 3_000), max_size=40))
    def test_everybody_is_in_one_batch(self, states: list[int]) -> None:
        batches = plan_batches(states, 16, 2048)
        assert sorted(at for batch in batches for at in batch) == list(range(len(states)))
        for batch in batches:
            assert len(batch) <= 16
            assert len(batch) == 1 or len(batch) * max(states[at] for at in batch) <= 2048
