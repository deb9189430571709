from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure, ModelMissing
from alfred_voice.models.engine import Float32
from alfred_voice.models.onnx import open_session
from alfred_voice.models.smart_turn import SmartTurn
from alfred_voice.models.store import Store


SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 8 * SAMPLE_RATE


def noise(samples: int, level: float = 0.1, seed: int = 0) -> Float32:
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def turn_until(samples: Float32, end_s: float, silence_ms: int = 200, start_s: float = 0.0) -> Float32:
    """What was said from ``start_s`` to ``end_s``, and silence after it."""
    spoken = samples[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    return np.concatenate((spoken, np.zeros(silence_ms * SAMPLE_RATE // 1_000, np.float32)))


class Classifier:
    """In the place of the graph: gives the answers it has, one a call."""

    def __init__(self, *answers: float) -> None:
        self._answers = list(answers)
        self.fed: list[NDArray[Any]] = []

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self.fed.append(feeds["input_features"])
        return [np.array([[self._answers.pop(0)]], np.float32)]


def engine_around(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> SmartTurn:
    monkeypatch.setattr(
        "alfred_voice.models.smart_turn.open_session", lambda path, *, threads, keeps_memory: classifier
    )
    return SmartTurn(Path("classifier.onnx"))


def test_turns_are_judged_one_by_one_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(0.25, 0.75)
    judgements = engine_around(classifier, monkeypatch).judge([noise(1_000), noise(200_000)])
    assert [judgement.probability for judgement in judgements] == [0.25, 0.75]
    assert [(features.shape, features.dtype.name) for features in classifier.fed] == [((1, 80, 800), "float32")] * 2


def test_no_turns_give_no_judgements(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier()
    assert engine_around(classifier, monkeypatch).judge([]) == []
    assert not classifier.fed


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -0.5, 1.5])
def test_answer_that_is_no_probability_is_a_failure(monkeypatch: pytest.MonkeyPatch, nonsense: float) -> None:
    with pytest.raises(EngineFailure, match="where a probability was expected"):
        engine_around(Classifier(nonsense), monkeypatch).judge([noise(1_000)])


@pytest.mark.parametrize("shape", [(), (1, 16_000), (16_000, 1)])
def test_turn_of_more_or_less_than_one_dimension_is_refused(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="one dimension"):
        engine_around(Classifier(0.5), monkeypatch).judge([np.zeros(shape, np.float32)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sound_that_is_no_number_is_refused_before_it_is_judged(monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    classifier = Classifier(0.5)
    turn = noise(16_000)
    turn[100] = bad
    with pytest.raises(EngineFailure, match="not all numbers"):
        engine_around(classifier, monkeypatch).judge([turn])
    assert not classifier.fed


def test_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        SmartTurn(tmp_path / "smart-turn.onnx")


@pytest.fixture
def smart_turn(models: Store) -> SmartTurn:
    return SmartTurn(models.path("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx"))


@pytest.fixture
def tried(beckett: NDArray[np.int16]) -> Float32:
    """Short sentences of Beckett's with pauses between them, as engines get them."""
    return beckett.astype(np.float32) / np.float32(32_768)


@pytest.fixture
def best_of_times(two_cities: NDArray[np.int16]) -> Float32:
    """One long sentence of Dickens's, in many clauses with pauses between them, as engines get it."""
    return two_cities.astype(np.float32) / np.float32(32_768)


@pytest.fixture
def published(references: Store) -> ModuleType:
    """The feature extractor that the model's own makers publish, as a module."""
    path: Path = references.path("references", "whisper_features.py")
    spec = importlib.util.spec_from_file_location("published_whisper_features", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.models
def test_probabilities_are_those_of_the_published_pipeline(
    smart_turn: SmartTurn, published: ModuleType, models: Store, tried: Float32, best_of_times: Float32
) -> None:
    stock = open_session(models.path("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx"))
    turns: dict[str, Float32] = {
        "empty": np.zeros(0, np.float32),
        "silence": np.zeros(48_000, np.float32),
        "a sample": np.array([0.1], np.float32),
        "shorter than 8 s": turn_until(tried, 2.8),
        "mid-sentence": turn_until(best_of_times, 3.4),
        "exactly 8 s": tried[:WINDOW_SAMPLES],
        "longer than 8 s": tried,
        "long": best_of_times,
        "very loud": np.clip(turn_until(tried, 4.2) * 100, -1, 1),
        "very quiet": turn_until(tried, 4.2) * np.float32(0.001),
        "noise": noise(80_000),
    }
    expected = {}
    for name, turn in turns.items():
        padded = np.concatenate((np.zeros(WINDOW_SAMPLES, np.float32), turn))[-WINDOW_SAMPLES:]
        features = published.compute_whisper_log_mel_features(padded)
        expected[name] = float(stock.run({"input_features": features[None]})[0].item())
    judged = dict(zip(turns, smart_turn.judge(list(turns.values())), strict=True))
    assert {name: judgement.probability for name, judgement in judged.items()} == pytest.approx(expected, abs=1e-3)


@pytest.mark.models
def test_empty_turn_is_judged_as_silence(smart_turn: SmartTurn) -> None:
    empty, silence = smart_turn.judge([np.zeros(0, np.float32), np.zeros(WINDOW_SAMPLES, np.float32)])
    assert empty == silence


@pytest.mark.models
@pytest.mark.parametrize("end_s", [1.4, 3.0, 3.4])
def test_sentence_of_beckett_with_its_pause_is_complete(smart_turn: SmartTurn, tried: Float32, end_s: float) -> None:
    (judgement,) = smart_turn.judge([turn_until(tried, end_s)])
    assert judgement.probability > 0.8


@pytest.mark.models
@pytest.mark.parametrize("end_s", [5.2, 5.8, 6.0, 6.8])
def test_beckett_cut_within_a_sentence_is_incomplete(smart_turn: SmartTurn, tried: Float32, end_s: float) -> None:
    (judgement,) = smart_turn.judge([turn_until(tried, end_s)])
    assert judgement.probability < 0.2


@pytest.mark.models
@pytest.mark.parametrize("end_s", [4.6, 13.3, 28.6, 42.2])
def test_clause_of_dickens_with_its_pause_is_complete(
    smart_turn: SmartTurn, best_of_times: Float32, end_s: float
) -> None:
    (judgement,) = smart_turn.judge([turn_until(best_of_times, end_s)])
    assert judgement.probability > 0.8


@pytest.mark.models
@pytest.mark.parametrize("end_s", [3.4, 5.4, 7.2, 9.2, 15.4, 18.0, 22.8])
def test_dickens_cut_within_a_clause_is_incomplete(smart_turn: SmartTurn, best_of_times: Float32, end_s: float) -> None:
    (judgement,) = smart_turn.judge([turn_until(best_of_times, end_s)])
    assert judgement.probability < 0.2


@pytest.mark.models
def test_what_was_said_before_the_last_eight_seconds_does_not_count(
    smart_turn: SmartTurn, best_of_times: Float32
) -> None:
    long = turn_until(best_of_times, 28.6)
    whole, last = smart_turn.judge([long, long[-WINDOW_SAMPLES:]])
    assert whole == last


@pytest.mark.models
def test_judgement_is_the_same_whatever_else_is_in_the_batch(smart_turn: SmartTurn, best_of_times: Float32) -> None:
    turns = [turn_until(best_of_times, end_s) for end_s in (4.6, 5.4, 13.3)]
    assert smart_turn.judge(turns) == [smart_turn.judge([turn])[0] for turn in turns]
