"""Smart-turn: tells from the sound of a turn whether the speaker has finished.

Smart-turn v3 is Whisper tiny's encoder over eight seconds with a pooled classifier on top; its
graph ends in a sigmoid, though the output is called ``logits`` (model card of smart-turn v3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alfred_voice.errors import EngineFailure, EngineFault
from alfred_voice.models.engine import Float32
from alfred_voice.models.mel import TurnMel
from alfred_voice.models.onnx import open_session
from alfred_voice.results import TurnJudgement


class SmartTurn:
    """The turn engine of the house.

    The last eight seconds of a turn are what counts. An empty turn is judged like eight seconds of
    silence.
    """

    name = "smart_turn"

    def __init__(self, path: Path, threads: int = 1) -> None:
        # One window of 8 s a call, always: with the arena a call takes 70 ms instead of 105 and keeps some 35 MB.
        self._session = open_session(path, threads=threads, keeps_memory=True)
        self._mel = TurnMel()

    def judge(self, turns: Sequence[Float32]) -> list[TurnJudgement]:
        """One judgement for each turn: float32, shape (n,), 16 kHz, the pause at its end included.

        Raises:
            EngineFailure: the model failed, or answered something that is not a probability.
        """
        # One by one: a batch costs the same time and holds its memory all at once.
        return [TurnJudgement(self._probability(turn)) for turn in turns]

    def _probability(self, turn: Float32) -> float:
        """That the turn is complete, 0 to 1."""
        if turn.ndim != 1:
            raise ValueError(f"Expected a turn of one dimension, but got shape {turn.shape}")
        if not np.isfinite(turn).all():
            # The quantised graph would turn them into some probability.
            raise EngineFailure(f"smart_turn was given {turn.size} samples that are not all numbers")
        features = self._mel.features(turn)
        (answer,) = self._session.run({"input_features": features[None]})
        probability = float(answer.reshape(-1)[0])
        if not (math.isfinite(probability) and 0.0 <= probability <= 1.0):
            raise EngineFault(f"smart_turn answered {probability} where a probability was expected")
        return probability
