"""The times of Moonshine's words, on real speech: near an independent opinion, whatever the clip's boundaries are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.bench.alignment import align, synthesised
from alfred_voice.models.engine import Clip, Float32
from alfred_voice.models.espeak import EspeakTts
from alfred_voice.models.moonshine import Moonshine
from alfred_voice.models.moonshine_encoder import MIN_SAMPLES, STATE_SAMPLES, count_states
from alfred_voice.models.moonshine_graphs import FOLLOWING
from alfred_voice.models.store import Store
from alfred_voice.results import Transcript, Word


pytestmark = pytest.mark.models

RATE = 16_000
SENTENCES = [(0.0, 5.0), (5.0, 9.2), (17.3, 20.7), (20.9, 28.4)]
"""Of the recording of the two cities, in seconds."""


@pytest.fixture(scope="module")
def moonshine(models: Store) -> Moonshine:
    return Moonshine(models.path("moonshine-tiny-en", "encoder_model.ort").parent)


@pytest.fixture(scope="module")
def recordings(beckett: NDArray[np.int16], two_cities: NDArray[np.int16]) -> list[NDArray[np.int16]]:
    """Five, 30 s in all."""
    return [beckett, *(two_cities[int(begin * RATE) : int(end * RATE)] for begin, end in SENTENCES)]


@pytest.fixture(scope="module")
def clips(recordings: list[NDArray[np.int16]]) -> list[Float32]:
    return [as_float(samples) for samples in recordings]


@pytest.fixture(scope="module")
def heard(moonshine: Moonshine, clips: list[Float32]) -> list[Transcript]:
    return [timed(moonshine, samples) for samples in clips]


def as_float(samples: NDArray[np.int16]) -> Float32:
    return (samples / np.float32(32_768)).astype(np.float32)


def noise(seconds: float, level: float, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def timed(moonshine: Moonshine, samples: Float32) -> Transcript:
    (transcript,) = moonshine.transcribe([Clip(samples, wants_words=True)])
    return transcript


def plain(words: Iterable[Word]) -> list[str]:
    return [re.sub(r"[^\w']", "", word.word).lower() for word in words]


def are_in_a_row(words: Sequence[Word], samples: Float32) -> bool:
    """Whether they follow each other within the clip."""
    edges = [0.0, *(edge for word in words for edge in (word.start_ms, word.end_ms)), 1000 * len(samples) / RATE]
    return all(one <= other for one, other in pairwise(edges)) and all(word.start_ms < word.end_ms for word in words)


def moved(alone: Sequence[Word], elsewhere: Sequence[Word], offset_ms: float) -> list[float]:
    """How far the same words are from where they were, starts and ends, milliseconds."""
    blocks = SequenceMatcher(None, plain(alone), plain(elsewhere), autojunk=False).get_matching_blocks()
    pairs = [(alone[one + at], elsewhere[other + at]) for one, other, size in blocks for at in range(size)]
    starts = [abs(there.start_ms - offset_ms - here.start_ms) for here, there in pairs]
    return starts + [abs(there.end_ms - offset_ms - here.end_ms) for here, there in pairs]


class TestWords:
    def test_they_spell_the_text(self, heard: list[Transcript]) -> None:
        assert all(" ".join(word.word for word in transcript.words) == transcript.text for transcript in heard)
        assert sum(len(transcript.words) for transcript in heard) > 70

    def test_they_follow_each_other_within_the_clip(self, heard: list[Transcript], clips: list[Float32]) -> None:
        assert all(are_in_a_row(transcript.words, samples) for transcript, samples in zip(heard, clips, strict=True))

    def test_they_are_as_sure_as_their_pieces(self, heard: list[Transcript]) -> None:
        for transcript in heard:
            expected = [piece.probability for piece in transcript.pieces]
            assert [word.probability for word in transcript.words] == expected

    def test_they_change_nothing_else(
        self, moonshine: Moonshine, heard: list[Transcript], clips: list[Float32]
    ) -> None:
        for transcript, samples in zip(heard, clips, strict=True):
            (unasked,) = moonshine.transcribe([Clip(samples)])
            assert unasked.words == ()
            assert unasked == replace(transcript, words=())
            assert unasked.confidence == transcript.confidence

    def test_company_changes_nothing(self, moonshine: Moonshine, heard: list[Transcript], clips: list[Float32]) -> None:
        together = moonshine.transcribe(
            [Clip(samples, wants_words=wants) for samples in clips for wants in (True, False)]
        )
        assert [transcript.words for transcript in together[::2]] == [transcript.words for transcript in heard]
        assert all(transcript.words == () for transcript in together[1::2])

    def test_partials_and_prefixes_have_them_too(
        self, moonshine: Moonshine, heard: list[Transcript], clips: list[Float32]
    ) -> None:
        prefix = heard[1].pieces[0].tokens + heard[1].pieces[1].tokens
        hearing = moonshine.new_hearing()
        for end in range(RATE, len(clips[1]), RATE // 2):
            samples = clips[1][:end]
            clip = Clip(samples, prefix, is_final=False, hearing=hearing, wants_words=True)
            (partial,) = moonshine.transcribe([clip])
            assert " ".join(word.word for word in partial.words) == partial.text
            assert are_in_a_row(partial.words, samples)
        assert np.percentile(moved(partial.words, heard[1].words, 0.0), 80) <= 100

    def test_where_nothing_is_recognised_there_are_none(self, moonshine: Moonshine) -> None:
        for samples in (np.zeros(RATE, np.float32), noise(2.0, 0.05), noise(1.0, 0.1)[: MIN_SAMPLES - 1]):
            assert timed(moonshine, samples) == Transcript("")

    @pytest.mark.parametrize("samples", [MIN_SAMPLES, 1_600, 16_000])
    def test_more_words_than_there_is_room_for_share_it(
        self, moonshine: Moonshine, heard: list[Transcript], samples: int
    ) -> None:
        prefix = tuple(token for piece in heard[0].pieces for token in piece.tokens)
        sound = noise(1.0, 0.05)[:samples]
        (forced,) = moonshine.transcribe([Clip(sound, prefix, wants_words=True)])
        assert len(forced.words) >= len(heard[0].words)
        assert are_in_a_row(forced.words, sound)


class TestTimes:
    def test_most_are_near_an_independent_opinion(
        self, heard: list[Transcript], recordings: list[NDArray[np.int16]]
    ) -> None:
        """That is itself 60 ms from the ends of words before pauses, in the median."""
        say = synthesised(EspeakTts(), "en-us")
        away: list[float] = []
        for transcript, samples in zip(heard, recordings, strict=True):
            spoken = align(samples, plain(transcript.words), say)
            for word, other in zip(transcript.words, spoken, strict=True):
                away += [abs(word.start_ms - 1000 * other.start_s), abs(word.end_ms - 1000 * other.end_s)]
        assert len(away) > 140
        assert np.median(away) <= 40
        assert np.mean(np.array(away) <= 100) >= 0.8

    @pytest.mark.parametrize(("before_s", "after_s"), [(0.333, 0.1), (0.7, 0.3), (2.0, 0.0)])
    def test_quiet_around_it_moves_no_word(
        self, moonshine: Moonshine, heard: list[Transcript], clips: list[Float32], before_s: float, after_s: float
    ) -> None:
        away: list[float] = []
        for transcript, samples in zip(heard, clips, strict=True):
            longer = np.concatenate([noise(before_s, 0.001), samples, noise(after_s, 0.001)])
            away += moved(transcript.words, timed(moonshine, longer).words, 1000 * before_s)
        assert len(away) > 140
        assert np.median(away) <= 20
        assert np.mean(np.array(away) <= 100) >= 0.95

    @pytest.mark.parametrize(("begin_s", "end_s"), [(20.7, 28.4), (20.0, 29.0), (17.3, 28.4), (15.1, 30.0)])
    def test_neither_do_other_boundaries_of_the_clip(
        self,
        moonshine: Moonshine,
        heard: list[Transcript],
        two_cities: NDArray[np.int16],
        begin_s: float,
        end_s: float,
    ) -> None:
        longer = as_float(two_cities[int(begin_s * RATE) : int(end_s * RATE)])
        away = moved(heard[-1].words, timed(moonshine, longer).words, 1000 * (SENTENCES[-1][0] - begin_s))
        assert len(away) > 40
        assert np.median(away) <= 30
        assert np.mean(np.array(away) <= 100) >= 0.9

    def test_a_pause_belongs_to_no_word(self, heard: list[Transcript]) -> None:
        """Six sentences, and a second or so of silence between each and the next."""
        gaps = [after.start_ms - before.end_ms for before, after in pairwise(heard[0].words)]
        assert sum(gap >= 400 for gap in gaps) == 5

    @pytest.mark.parametrize("ratio_db", [20, 10])
    def test_noise_moves_few(
        self, moonshine: Moonshine, heard: list[Transcript], clips: list[Float32], ratio_db: int
    ) -> None:
        away: list[float] = []
        for transcript, samples in zip(heard, clips, strict=True):
            level = np.sqrt(np.mean(np.square(samples)) / 10 ** (ratio_db / 10))
            loud = samples + noise(len(samples) / RATE, float(level))[: len(samples)]
            noisy = timed(moonshine, loud)
            assert are_in_a_row(noisy.words, loud)
            away += moved(transcript.words, noisy.words, 0.0)
        assert len(away) > 100
        assert np.mean(np.array(away) <= 100) >= 0.8


class TestAttention:
    def test_heads_divide_their_attention_among_the_states(
        self, moonshine: Moonshine, heard: list[Transcript], clips: list[Float32]
    ) -> None:
        tokens = [token for piece in heard[1].pieces for token in piece.tokens]
        weights = moonshine._words._attention(tokens, moonshine._hear(Clip(clips[1], is_final=False)))
        heads = sum(len(heads) for heads in FOLLOWING.values())
        assert weights.shape == (heads, len(tokens) + 1, count_states(len(clips[1])))
        np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)

    def test_a_token_looks_at_nothing_that_is_said_of_later_ones(
        self, moonshine: Moonshine, heard: list[Transcript], clips: list[Float32]
    ) -> None:
        tokens = [token for piece in heard[1].pieces for token in piece.tokens]
        states = moonshine._hear(Clip(clips[1]))
        whole, half = (moonshine._words._attention(text, states) for text in (tokens, tokens[: len(tokens) // 2]))
        np.testing.assert_allclose(whole[:, : half.shape[1]], half, atol=1e-4)

    def test_states_are_24_ms_apart(self) -> None:
        assert STATE_SAMPLES == 384
        assert count_states(10 * RATE + STATE_SAMPLES) == count_states(10 * RATE) + 1
