"""What Whisper may say next, against the rules told in another way: as the set of tokens that are left."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.models.whisper_rules import LogitRules, choose, compression
from alfred_voice.models.whisper_vocabulary import TIMESTAMPS, Vocabulary


Float32 = NDArray[np.float32]

VOCABULARY = Vocabulary([bytes([ord("a") + at]) for at in range(20)], 3)
FIRST, END = VOCABULARY.first_timestamp, VOCABULARY.end
UNSPOKEN = (7, VOCABULARY.start, VOCABULARY.transcribe, VOCABULARY.translate)
BLANK = (5,)
RULES = LogitRules(VOCABULARY, UNSPOKEN, BLANK)
NEVER = float("-inf")


def allowed(logits: Float32, said: list[int], *, with_timestamps: bool) -> set[int]:
    """The tokens that may follow."""
    left = set(range(len(VOCABULARY))) - set(UNSPOKEN)
    if not said:
        left -= {*BLANK, END}
    if not with_timestamps:
        return left
    left.discard(VOCABULARY.no_timestamps)
    times = {token for token in left if token >= FIRST}
    if not said:
        return {token for token in times if token - FIRST <= 50}
    ends_segment = said[-1] >= FIRST and (len(said) < 2 or said[-2] >= FIRST)
    if ends_segment:
        left -= times
    elif said[-1] >= FIRST:
        left -= set(range(END))
    earlier = [token for token in said if token >= FIRST]
    if earlier:
        is_open = said[-1] >= FIRST and not ends_segment
        left -= {token for token in times if token < earlier[-1] or (token == earlier[-1] and not is_open)}
    words, times = {token for token in left if token < FIRST}, {token for token in left if token >= FIRST}
    weight = sum(exp(float(logits[token])) for token in times)
    if words and weight > 0 and log(weight) > max(float(logits[token]) for token in words):
        return times
    return left


tokens = st.integers(0, END - 1)
moments = st.integers(FIRST, len(VOCABULARY) - 1)
histories = st.lists(tokens | moments | st.sampled_from([FIRST, FIRST + 1, FIRST + 50]), max_size=8)


@settings(max_examples=300, deadline=None)
@given(said=histories, seed=st.integers(0, 10_000), lean=st.sampled_from([-12.0, -4.0, 0.0, 4.0]), timed=st.booleans())
def test_what_may_follow_is_what_the_rules_leave(said: list[int], seed: int, lean: float, timed: bool) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, len(VOCABULARY)).astype(np.float32)
    logits[FIRST:] += np.float32(lean)
    expected = allowed(logits, said, with_timestamps=timed)
    after = logits.copy()
    RULES.apply(after, said, with_timestamps=timed)
    assert set(np.flatnonzero(np.isfinite(after)).tolist()) == expected
    np.testing.assert_array_equal(after[sorted(expected)], logits[sorted(expected)])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), length=st.integers(1, 30))
def test_texts_with_times_are_in_order(seed: int, length: int) -> None:
    """Drawn at random under the rules: a time first, then pairs, never back."""
    random = np.random.default_rng(seed)
    said: list[int] = []
    for _ in range(length):
        logits = random.normal(0, 3, len(VOCABULARY)).astype(np.float32)
        logits[FIRST:] -= 3
        logits[END] -= 5
        RULES.apply(logits, said, with_timestamps=True)
        if not np.isfinite(logits).any():
            break
        token, chance = choose(logits, 1.0, random)
        assert chance > NEVER
        if token == END:
            break
        said.append(token)
    times = [token for token in said if token >= FIRST]
    assert said[0] == times[0] <= FIRST + 50
    assert times == sorted(times)
    assert not any(all(token >= FIRST for token in said[at : at + 3]) for at in range(len(said) - 2))


class TestChoosing:
    def test_the_likeliest_is_chosen_at_nothing(self) -> None:
        logits = np.array([0.0, 3.0, 1.0], np.float32)
        token, chance = choose(logits, 0.0, np.random.default_rng(0))
        assert token == 1
        assert chance == pytest.approx(log(exp(3) / (1 + exp(3) + exp(1))), abs=1e-6)

    def test_without_chance_the_likeliest_is_chosen(self) -> None:
        assert choose(np.array([0.0, 3.0, 1.0], np.float32), 1.0, None)[0] == 1

    @pytest.mark.parametrize("temperature", [0.2, 0.6, 1.0])
    def test_tokens_are_drawn_as_often_as_they_are_likely(self, temperature: float) -> None:
        logits = np.array([1.0, 2.0, 1.5, NEVER, 0.0], np.float32)
        random = np.random.default_rng(7)
        drawn = [choose(logits, temperature, random)[0] for _ in range(20_000)]
        weights = np.exp(logits.astype(np.float64) / temperature)
        found = np.bincount(drawn, minlength=5) / len(drawn)
        # Four deviations of a share of 20 000 draws.
        np.testing.assert_allclose(found, weights / weights.sum(), rtol=0, atol=4 * 0.5 / np.sqrt(len(drawn)))
        assert found[3] == 0

    def test_the_same_seed_draws_the_same(self) -> None:
        logits = np.random.default_rng(1).normal(size=100).astype(np.float32)
        first, second = (np.random.default_rng(3) for _ in range(2))
        drawn = [choose(logits, 1.0, first) for _ in range(50)]
        assert drawn == [choose(logits, 1.0, second) for _ in range(50)]
        assert len(set(drawn)) > 10


class TestLanguage:
    @staticmethod
    def logits(**languages: float) -> Float32:
        logits = np.full(len(VOCABULARY), 9.0, np.float32)
        for code, value in languages.items():
            logits[VOCABULARY.languages[code]] = value
        return logits

    def test_the_likeliest_is_found_among_languages_alone(self) -> None:
        found, chances = RULES.language(self.logits(en=1.0, zh=3.0, de=2.0))
        assert found == "zh"
        total = exp(1) + exp(3) + exp(2)
        assert chances == pytest.approx({"en": exp(1) / total, "zh": exp(3) / total, "de": exp(2) / total})

    def test_only_those_allowed_are_chosen(self) -> None:
        found, chances = RULES.language(self.logits(en=1.0, zh=3.0, de=2.0), ["en", "de"])
        assert found == "de"
        assert chances["zh"] == 0
        assert sum(chances.values()) == pytest.approx(1)


def test_no_speech_is_a_share_of_everything() -> None:
    logits = np.zeros(len(VOCABULARY), np.float32)
    assert RULES.no_speech(logits) == pytest.approx(1 / len(VOCABULARY))
    logits[VOCABULARY.no_speech] = 50.0
    assert RULES.no_speech(logits) == pytest.approx(1.0)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([3e4, 3e4, -3e4], np.float32)
    token, chance = choose(logits, 0.0, None)
    assert token == 0
    assert chance == pytest.approx(-log(2), abs=1e-2)


class TestCompression:
    def test_a_loop_can_be_said_much_shorter_than_speech(self) -> None:
        speech = "It was the best of times, it was the worst of times, it was the age of wisdom."
        assert compression(speech) < 2.4 < compression("Thank you. " * 20)

    def test_it_is_told_in_bytes(self) -> None:
        assert compression("") == 0
        assert compression("ä" * 100) > compression("a" * 100)

    def test_the_times_are_as_many_as_there_are_in_thirty_seconds(self) -> None:
        assert len(VOCABULARY) - FIRST == TIMESTAMPS == 30 * 50 + 1
