"""The whole path, from a checkpoint to a text with its words' times, with a model that recognises something."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alfred_voice.models.engine import SAMPLE_RATE, Clip, Float32
from alfred_voice.models.onnx import open_session
from alfred_voice.models.progress import Silent
from alfred_voice.models.whisper import Whisper
from alfred_voice.models.whisper_checkpoint import read_checkpoint
from alfred_voice.models.whisper_export import export_whisper
from alfred_voice.models.whisper_files import WhisperFiles
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_words import placed_words
from alfred_voice.results import Transcript, Word
from tests.whisper import digits
from tests.whisper.digits import DIGITS, Utterance


pytest.importorskip("torch")
whisper = pytest.importorskip("whisper")

CHECKPOINT = "ALFRED_DIGITS_WHISPER"
"""Environment variable with the path of a checkpoint that has been trained before."""
FULL = 1500
NEAR_MS = 150

pytestmark = [
    pytest.mark.whisper,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    # openai-whisper leaves its vocabulary's file to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper that knows digits: the one that was trained before, or one that is trained now."""
    given = os.environ.get(CHECKPOINT)
    if given:
        return Path(given)
    path = tmp_path_factory.mktemp("digits") / "digits.pt"
    digits.make(path, lambda _: None)
    return path


@pytest.fixture(scope="module")
def theirs(checkpoint: Path) -> Any:
    """It in openai-whisper."""
    return whisper.load_model(str(checkpoint), device="cpu")


@pytest.fixture(scope="module")
def files(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> WhisperFiles:
    """Its graphs."""
    return export_whisper(
        read_checkpoint(checkpoint),
        hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        tmp_path_factory.mktemp("store"),
        "digits",
        Path(whisper.__file__).parent / "assets",
        (Precision.FLOAT32, Precision.INT8),
        Silent(),
        digits.HEADS,
    )


@pytest.fixture(scope="module")
def ours(files: WhisperFiles) -> Whisper:
    """It in float32."""
    return engine(files)


@pytest.fixture(scope="module")
def said() -> list[Utterance]:
    """200 texts in voices that it has not heard."""
    return digits.held_out(200, seed=2)


@pytest.fixture(scope="module")
def texts(ours: Whisper, said: list[Utterance]) -> list[str]:
    """What it makes of them."""
    return recognised(ours, said)


def engine(files: WhisperFiles, precision: Precision = Precision.FLOAT32, *, hears_all: bool = False) -> Whisper:
    encoder, decoder = (open_session(path, threads=2) for path in files.graphs(precision))
    made = Whisper(files, encoder, decoder)
    if hears_all:
        made._states = lambda samples: FULL  # type: ignore[method-assign]
    return made


def transcripts(engine: Whisper, clips: Sequence[Clip]) -> list[Transcript]:
    return [one for at in range(0, len(clips), 10) for one in engine.transcribe(clips[at : at + 10])]


def recognised(engine: Whisper, said: Sequence[Utterance]) -> list[str]:
    return [one.text for one in transcripts(engine, [Clip(one.samples) for one in said])]


def error_rate(said: Sequence[Utterance], texts: Sequence[str]) -> float:
    return digits.error_rate([one.text for one in said], texts)


def test_digits_in_voices_it_has_not_heard_are_recognised(said: list[Utterance], texts: list[str]) -> None:
    assert error_rate(said, texts) <= 0.10


def test_int8_costs_hardly_a_word(files: WhisperFiles, said: list[Utterance], texts: list[str]) -> None:
    words = sum(len(one.digits) for one in said)
    rate = error_rate(said, recognised(engine(files, Precision.INT8), said))
    assert rate <= error_rate(said, texts) + max(0.01, 1 / words)


def test_all_that_openai_whisper_hears_gives_its_texts(
    theirs: Any, files: WhisperFiles, said: list[Utterance], texts: list[str]
) -> None:
    hears_all, some = engine(files, hears_all=True), said[:40]
    partials = transcripts(hears_all, [Clip(one.samples, is_final=False) for one in some])
    in_full = [one.text for one in partials]
    assert in_full == digits.recognise(theirs, [one.samples for one in some])
    # And to hear no more than a clip needs hardly changes any.
    assert sum(one == other for one, other in zip(texts, in_full, strict=False)) >= 0.85 * len(some)


def test_words_are_where_they_were_said(ours: Whisper) -> None:
    said = digits.held_out(60, seed=3, apart=True)
    found = transcripts(ours, [Clip(one.samples, wants_words=True) for one in said])
    errors = []
    for utterance, transcript in zip(said, found, strict=True):
        if transcript.text != utterance.text:
            continue
        assert [one.word for one in transcript.words] == utterance.text.split()
        true = 1000 * np.array(utterance.spans)
        times = np.array([(one.start_ms, one.end_ms) for one in transcript.words])
        errors.append(np.abs(times - true))
    assert np.mean(np.concatenate(errors) <= NEAR_MS) >= 0.75
    assert np.median(np.concatenate(errors)) <= 30


def test_words_are_where_openai_whisper_says_but_for_pauses(theirs: Any, files: WhisperFiles) -> None:
    said = digits.held_out(20, seed=3)
    found = transcripts(engine(files, hears_all=True), [Clip(one.samples, wants_words=True) for one in said])
    for utterance, transcript in zip(said, found, strict=True):
        expected = placed_words(their_words(theirs, utterance.samples, transcript.text), utterance.samples)
        assert [one.word.strip(".") for one in transcript.words] == [one.word for one in expected]
        times, wanted = ([(one.start_ms, one.end_ms) for one in words] for words in (transcript.words, expected))
        np.testing.assert_allclose(times, wanted, atol=21)


def their_words(model: Any, samples: Float32, text: str) -> list[Word]:
    """The words as openai-whisper places them by the heads that were taught."""
    torch, timing = import_module("torch"), import_module("whisper.timing")
    heads = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
    for layer, head in digits.HEADS:
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    tokenizer = import_module("whisper.tokenizer").get_tokenizer(multilingual=False)
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(samples))
    frames = len(samples) // whisper.audio.HOP_LENGTH
    found = timing.find_alignment(model, tokenizer, tokenizer.encode(f" {text}"), mel, frames)
    return [
        Word(one.word.strip(), 1000 * one.start, 1000 * one.end, one.probability)
        for one in found
        if one.word.strip(" .")
    ]


def test_a_draft_changes_nothing(ours: Whisper, said: list[Utterance]) -> None:
    clips = [Clip(one.samples, is_final=False) for one in said[:40]]
    plain = transcripts(ours, clips)
    right = [tuple(token for piece in one.pieces for token in piece.tokens) for one in plain]
    wrong = [*right[1:], right[0]]
    for drafts in (right, wrong):
        helped = transcripts(ours, [replace(clip, draft=draft) for clip, draft in zip(clips, drafts, strict=True)])
        assert [one.text for one in helped] == [one.text for one in plain]


def test_a_text_goes_on_from_its_prefix(ours: Whisper, said: list[Utterance], texts: list[str]) -> None:
    at = next(at for at, text in enumerate(texts) if text == said[at].text and len(said[at].digits) == 5)
    tokens = tuple(ours.vocabulary.encode(" " + " ".join(DIGITS[digit] for digit in said[at].digits[:2])))
    (transcript,) = ours.transcribe([Clip(said[at].samples, prefix=tokens)])
    assert transcript.text == texts[at]


def test_the_model_knows_when_nobody_speaks(ours: Whisper, said: list[Utterance]) -> None:
    random = np.random.default_rng(4)
    noise = [(random.normal(size=2 * SAMPLE_RATE) * level).astype(np.float32) for level in (0.0, 0.001, 0.01, 0.03)]
    assert min(ours.spell(one, 1).no_speech for one in noise) > 0.6
    assert np.median([ours.spell(one.samples, 1).no_speech for one in said]) < 0.1
