"""Whisper's decoding with a scripted decoder, whose logits depend on all that it may look at and on nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure
from alfred_voice.models.decoder_batch import Heard
from alfred_voice.models.onnx import Session
from alfred_voice.models.whisper_decoder import Row, WhisperDecoder
from alfred_voice.models.whisper_rules import LogitRules, choose
from alfred_voice.models.whisper_vocabulary import Vocabulary


Float32 = NDArray[np.float32]

WORDS = 24
VOCABULARY = Vocabulary([(b" " if at % 2 else b"") + bytes([97 + at]) for at in range(WORDS)], 3)
END, START, FIRST = VOCABULARY.end, VOCABULARY.start, VOCABULARY.first_timestamp
RULES = LogitRules(VOCABULARY, [3, START, VOCABULARY.transcribe, VOCABULARY.translate], [5])
BEGINS = np.array([VOCABULARY.begins_word(token) for token in range(WORDS)])
OPENING = tuple(VOCABULARY.opening("de"))
LIKELY_WORDS = 6
"""So few that texts are sometimes the draft, and sometimes go round in circles."""


def logits_behind(tokens: Sequence[int], voice: int) -> Float32:
    """What the scripted decoder answers behind these tokens, in a clip of so many states."""
    key = [voice, *tokens[-3:], len(tokens) // 4]
    random = np.random.default_rng(key)
    logits = random.normal(0, 1, len(VOCABULARY)).astype(np.float32)
    logits[random.integers(0, LIKELY_WORDS) * 2] += 8
    logits[FIRST:] -= np.float32(5)
    logits[FIRST + int(random.integers(0, 1500))] += np.float32(12)
    if random.random() < 0.05:
        logits[END] += 12
    return logits


class ScriptedDecoder:
    """Its cache holds the tokens themselves."""

    input_names = ("tokens", "past_key_0", "key_0")
    output_names = ("logits", "present_key_0", "fit")

    def __init__(self, *, is_broken: bool = False) -> None:
        self.shapes: list[tuple[int, int]] = []
        """Rows and positions of each call."""
        self._is_broken = is_broken

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        assert outputs is not None
        assert outputs[:2] == ("logits", "present_key_0")
        tokens, cache = feeds["tokens"], feeds["past_key_0"].copy()
        self.shapes.append((tokens.shape[0], tokens.shape[1]))
        rows, places = feeds["places"][..., 0], feeds["places"][..., 1]
        np.testing.assert_array_equal(places, feeds["positions"])
        cache[rows, places, 0] = tokens
        answers = []
        for flat in feeds["wanted"]:
            row, place = divmod(int(flat), tokens.shape[1])
            seen = feeds["bias"][row, 0, place] == 0
            assert list(np.flatnonzero(seen)) == list(range(feeds["positions"][row, place] + 1))
            answers.append(logits_behind(cache[row, seen, 0].astype(int).tolist(), int(feeds["mask"][row].sum())))
        logits = np.array(answers, np.float32).reshape(-1, len(VOCABULARY))
        if self._is_broken:
            logits[-1, 0] = np.nan
        fit = np.zeros((len(tokens), 2, tokens.shape[1], feeds["mask"].shape[1]), np.float32)
        fit += feeds["tokens"][:, np.newaxis, :, np.newaxis]
        return [logits, cache, fit][: len(outputs)]


def heard(states: int, padding: int = 3) -> Heard:
    return Heard(states, (np.zeros((1, 2, states + padding, 4), np.float32),))


def decoder(session: ScriptedDecoder | None = None) -> WhisperDecoder:
    return WhisperDecoder(cast(Session, session or ScriptedDecoder()), VOCABULARY, RULES)


@dataclass
class ByHand:
    """A row that is decoded one token after the other."""

    row: Row
    voice: int
    tokens: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    is_cut: bool = False

    def run(self) -> ByHand:
        row, prefix = self.row, list(self.row.prefix)
        random = None if row.random is None else np.random.default_rng(int(row.max_tokens))
        said: list[int] = []
        while len(prefix) + len(said) < row.max_tokens or not self.chances:
            logits = logits_behind([*row.opening, *prefix, *said], self.voice)
            RULES.apply(logits, prefix + said, with_timestamps=row.with_timestamps)
            token, chance = choose(logits, row.temperature, random)
            self.chances.append(chance)
            if token == END:
                self.tokens = prefix + said
                return self
            said.append(token)
        self.is_cut = True
        self.tokens = prefix + said
        return self


tokens = st.integers(0, WORDS - 1)
texts = st.lists(tokens, max_size=12).map(tuple)


@st.composite
def rows(draw: st.DrawFn) -> tuple[Row, int]:
    """A row and who speaks; its draft is wrong, right or nearly right."""
    prefix, voice = draw(texts), draw(st.integers(1, 30))
    most = len(prefix) + draw(st.integers(1, 30))
    earlier = draw(st.sampled_from([(), (VOCABULARY.earlier, 1, 2, 7)]))
    with_timestamps = draw(st.booleans()) and not prefix
    opening = (*earlier, *VOCABULARY.opening("de", with_timestamps=with_timestamps))
    temperature = draw(st.sampled_from([0.0, 0.0, 0.8]))

    def row(draft: tuple[int, ...] = ()) -> Row:
        random = np.random.default_rng(most) if temperature else None
        return Row(opening, most, prefix, draft, temperature, with_timestamps, random)

    text = list(ByHand(row(), voice).run().tokens)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 2))] = draw(st.lists(tokens, max_size=2))
    return row(draw(st.sampled_from([(), tuple(text), draw(texts)]))), voice


@settings(max_examples=100, deadline=None)
@given(crowd=st.lists(rows(), min_size=1, max_size=5))
def test_neither_company_nor_drafts_change_what_a_row_comes_to(crowd: list[tuple[Row, int]]) -> None:
    decoder().decode([row for row, _ in crowd], [heard(voice) for _, voice in crowd])
    for row, voice in crowd:
        expected = ByHand(row, voice).run()
        assert row.tokens == expected.tokens
        assert row.tokens[: len(row.prefix)] == list(row.prefix)
        assert row.log_probabilities == pytest.approx(expected.chances)
        assert row.is_cut is expected.is_cut
        assert row.done
        first = row.opening.index(START)
        assert row.no_speech == pytest.approx(RULES.no_speech(logits_behind(row.opening[: first + 1], voice)))


def long_text() -> tuple[tuple[int, ...], int]:
    """A text of twenty-six tokens that is not over then, and the voice that says it."""
    for voice in range(1, 200):
        found = ByHand(Row(OPENING, 26), voice).run()
        if found.is_cut:
            return tuple(found.tokens), voice
    raise AssertionError("there should be a long text")


def calls(draft: Sequence[int]) -> int:
    """How many calls the long text takes with that draft."""
    text, voice = long_text()
    session, row = ScriptedDecoder(), Row(OPENING, len(text), draft=tuple(draft))
    decoder(session).decode([row], [heard(voice)])
    assert tuple(row.tokens) == text
    return len(session.shapes)


class TestCalls:
    def test_without_a_draft_each_token_takes_a_call(self) -> None:
        assert calls(()) == 26

    def test_the_right_draft_takes_two_of_which_the_first_tries_twenty_four_tokens(self) -> None:
        text, _ = long_text()
        assert calls(text) == 2

    def test_a_draft_helps_as_far_as_it_is_right(self) -> None:
        text, _ = long_text()
        wrong = (text[10] + 1) % WORDS
        assert calls([*text[:10], wrong, *text[11:]]) == 1 + 26 - 11
        assert calls(text[:10]) == 1 + 26 - 11

    def test_a_draft_of_another_prefix_is_not_tried(self) -> None:
        text, voice = long_text()
        prefix = ((text[0] + 1) % WORDS,)
        session = ScriptedDecoder()
        decoder(session).decode([Row(OPENING, 10, prefix, text)], [heard(voice)])
        assert session.shapes[0] == (1, len(OPENING) + 1)

    def test_rows_that_are_done_leave_once_they_are_half(self) -> None:
        _, voice = long_text()
        session = ScriptedDecoder()
        most = (1, 2, 8, 20)
        crowd = [Row(OPENING, count) for count in most]
        decoder(session).decode(crowd, [heard(voice)] * 4)
        assert [len(row.tokens) for row in crowd] == list(most)
        assert [count for count, _ in session.shapes] == [4, 4] + [2] * 6 + [1] * 12


def test_a_text_may_end_where_its_prefix_ends_but_not_before_it_has_begun() -> None:
    """The clip may hold no more than what has been committed of it; but there is a text, as somebody spoke."""
    logits = np.zeros((2, len(VOCABULARY)), np.float32)
    logits[1, END] = 9
    begun, not_begun = Row(OPENING, 20, (1, 2)), Row(OPENING, 20)
    for row in (begun, not_begun):
        row.feed()
        row.receive(logits.copy(), RULES, END)
    assert begun.done
    assert begun.tokens == [1, 2]
    assert not not_begun.done


class TestLoops:
    @staticmethod
    def spell(text: Sequence[int], begins: NDArray[np.bool_] | None = BEGINS, prefix: tuple[int, ...] = ()) -> Row:
        """A row that is given these tokens one by one, with a probability of a half each."""
        row = Row(OPENING, 100, prefix, begins_word=begins)
        for token in text:
            if not row._take(token, -0.5, END):
                row.done = True
                break
        return row

    def test_a_word_without_end_is_said_once(self) -> None:
        row = self.spell([2, *[7] * 50])
        assert row.tokens == [2, 7]
        assert row.log_probabilities == [-0.5, -0.5]
        assert row.is_cut
        assert row.done

    def test_a_sentence_without_end_is_said_once(self) -> None:
        row = self.spell([1, 4, 9, 6] * 20)
        assert row.tokens == [1, 4, 9, 6]
        assert row.is_cut

    def test_nobody_looks_for_loops_without_knowing_words(self) -> None:
        row = self.spell([7] * 50, begins=None)
        assert len(row.tokens) == 50
        assert not row.is_cut

    def test_a_prefix_is_not_cut_whatever_it_says(self) -> None:
        row = self.spell([7, 8, END], prefix=(7,) * 30)
        assert row.tokens == [*(7,) * 30, 7, 8]
        assert not row.is_cut
        again = self.spell([7] * 50, prefix=(7,) * 30)
        assert again.tokens[:30] == [7] * 30
        assert len(again.log_probabilities) == len(again.tokens) - 30
        assert again.is_cut

    def test_a_time_begins_no_word(self) -> None:
        assert self.spell([FIRST + 3] * 50).is_cut

    def test_a_text_that_ends_of_itself_is_not_cut(self) -> None:
        row = self.spell([1, 2, END])
        assert row.tokens == [1, 2]
        assert row.log_probabilities == [-0.5] * 3
        assert not row.is_cut

    def test_a_text_that_becomes_too_long_is_cut(self) -> None:
        row = self.spell(range(10))
        assert not row.is_cut
        row = Row(OPENING, 3)
        assert [row._take(token, -0.5, END) for token in (1, 2, 4)] == [True, True, False]
        assert row.is_cut


class TestHearing:
    def test_languages_are_told_of_each_clip(self) -> None:
        found = decoder().languages([heard(3), heard(9)])
        assert found == [RULES.language(logits_behind([START], voice)) for voice in (3, 9)]

    def test_a_text_is_laid_along_what_was_heard(self) -> None:
        text = [4, 7, 2]
        fit, chances = decoder().fits(heard(5), OPENING, text)
        assert fit.shape == (2, len(OPENING) + 3 + 1, 5)
        assert fit[0, :, 0].tolist() == [*OPENING, *text, END]
        for at, token in enumerate(text):
            logits = logits_behind([*OPENING, *text[:at]], 5)[:END].astype(np.float64)
            assert chances[at] == pytest.approx(np.exp(logits[token]) / np.exp(logits).sum(), rel=1e-5)

    def test_no_text_fits_too(self) -> None:
        fit, chances = decoder().fits(heard(5), OPENING, [])
        assert fit.shape == (2, len(OPENING) + 1, 5)
        assert chances.shape == (0,)


class TestFailures:
    def test_logits_that_are_no_numbers_are_told(self) -> None:
        with pytest.raises(EngineFailure, match="not numbers"):
            decoder(ScriptedDecoder(is_broken=True)).decode([Row(OPENING, 5)], [heard(3)])

    @pytest.mark.parametrize(
        ("inputs", "outputs"),
        [
            (("tokens", "key_0"), ScriptedDecoder.output_names),
            (("tokens", "past_key_0"), ScriptedDecoder.output_names),
            (ScriptedDecoder.input_names, ("best", "present_key_0")),
        ],
    )
    def test_another_graph_is_refused(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        session = ScriptedDecoder()
        session.input_names, session.output_names = inputs, outputs  # type: ignore[assignment]
        with pytest.raises(EngineFailure, match="is no decoder of this engine"):
            decoder(session)
