"""Words laid along a recording: against made recordings whose words' places are known, and real pauses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alfred_voice.bench.alignment import align, cepstra, synthesised
from alfred_voice.bench.loudness import levels_db, speech_level_db
from alfred_voice.bench.recordings import load_recordings
from alfred_voice.bench.words import words_of
from alfred_voice.models.engine import Int16
from alfred_voice.models.espeak import EspeakTts
from alfred_voice.models.scripted import ScriptedTts
from alfred_voice.models.store import Store


SENTENCE = ["the", "lighthouse", "keeper", "saw", "nothing", "but", "a", "yellow", "boat"]


def spoken(words: list[str], voice: str, pause_s: float) -> tuple[Int16, list[float]]:
    """The words with pauses between, and where each ends in seconds; another voice than the one aligned with."""
    say = synthesised(EspeakTts(), voice)
    silence = np.random.default_rng(1).normal(0, 10, round(pause_s * 16_000)).astype(np.int16)
    parts, ends, at = [silence], [], len(silence)
    for word in words:
        parts += [sound := say(word), silence]
        ends.append((at + len(sound)) / 16_000)
        at += len(sound) + len(silence)
    return np.concatenate(parts), ends


@pytest.mark.parametrize("voice", ["en-gb", "en-us+f3"], ids=["another accent", "a woman"])
def test_words_of_another_voice_are_found_where_they_are(voice: str) -> None:
    samples, ends = spoken(SENTENCE, voice, pause_s=0.12)
    found = align(samples, SENTENCE, synthesised(EspeakTts(), "en-us"))
    assert [word.word for word in found] == SENTENCE
    away_ms = [abs(word.end_s - end) * 1000 for word, end in zip(found, ends, strict=True)]
    assert np.median(away_ms) <= 30
    assert max(away_ms) <= 120


def test_words_follow_each_other() -> None:
    samples, _ = spoken(SENTENCE, "en-gb", pause_s=0.02)
    found = align(samples, SENTENCE, synthesised(EspeakTts(), "en-us"))
    assert all(word.start_s < word.end_s for word in found)
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in itertools.pairwise(found))


def test_a_pause_belongs_to_no_word() -> None:
    first, _ = spoken(SENTENCE[:4], "en-gb", pause_s=0.02)
    second, _ = spoken(SENTENCE[4:], "en-gb", pause_s=0.02)
    silence = np.random.default_rng(2).normal(0, 10, 16_000).astype(np.int16)
    found = align(np.concatenate([first, silence, second]), SENTENCE, synthesised(EspeakTts(), "en-us"))
    assert found[3].end_s == pytest.approx(len(first) / 16_000, abs=0.12)
    assert found[4].start_s == pytest.approx((len(first) + 16_000) / 16_000, abs=0.12)


@pytest.mark.models
def test_in_read_speech_most_pauses_begin_at_the_end_of_a_word(models: Store) -> None:
    recording = load_recordings(models)[0]
    found = align(recording.samples, words_of(recording.text or ""), synthesised(EspeakTts(), "en-us"))
    level = speech_level_db(recording.samples)
    assert level is not None
    is_loud = levels_db(recording.samples) >= level
    edges = np.flatnonzero(np.diff(is_loud.astype(int))) + 1
    pauses = [at for at, end in itertools.pairwise(edges) if not is_loud[at] and end - at >= 15]
    ends = np.array([word.end_s for word in found])
    away_ms = [1000 * np.abs(ends - at / 100).min() for at in pauses]
    assert len(pauses) >= 15
    assert np.median(away_ms) <= 80
    assert np.mean(np.array(away_ms) <= 150) >= 0.7


@pytest.mark.parametrize("samples", [np.zeros(16_000, np.int16), np.zeros(0, np.int16)])
def test_where_nobody_speaks_no_word_is(samples: Int16) -> None:
    assert align(samples, ["word"], synthesised(ScriptedTts(), "en-us")) == []


def test_cepstra_do_not_depend_on_how_loud_it_is_but_for_the_first() -> None:
    sound = np.random.default_rng(0).normal(0, 2000, 4000)
    quiet, loud = cepstra(sound.astype(np.int16)), cepstra((3 * sound).astype(np.int16))
    assert quiet.shape == ((4000 - 400) // 160 + 1, 13)
    assert quiet[:, 1:] == pytest.approx(loud[:, 1:], abs=0.2)
    assert loud[:, 0].min() > quiet[:, 0].max() - 20


def test_the_speaker_of_single_words_leaves_out_the_silence_around_them() -> None:
    word = synthesised(EspeakTts(), "en-us")("lighthouse")
    levels = levels_db(word)
    assert levels[:3].max() > levels.max() - 30
    assert levels[-3:].max() > levels.max() - 30
    assert 0.3 < len(word) / 16_000 < 1.2
