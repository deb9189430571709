"""What a model says, without any model's own types."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word with its place in time."""

    word: str
    start_ms: float
    """From the start of the clip that was recognised."""
    end_ms: float
    probability: float
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A word as the recogniser spelt it: the unit in which hypotheses are compared and committed.

    The texts of a transcript's pieces, joined, are its text before trimming.
    """

    text: str
    """With its leading space, where there is one."""
    tokens: tuple[int, ...] = ()
    """The recogniser's own numbers for it; empty where an engine does not give them."""
    probability: float = field(default=1.0, compare=False)
    """0 to 1, of its least sure token; 1 for what was given as a prefix and where an engine does not tell."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """One clip, recognised."""

    text: str
    """Trimmed; empty when there were no words."""
    pieces: tuple[Piece, ...] = ()
    """The whole text, the prefix that was given included."""
    words: tuple[Word, ...] = ()
    """Only where the engine gives times."""
    confidence: float = 0.0
    """0 to 1: the geometric mean of the tokens' probabilities, or the engine's own figure."""
    language: str = "en"
    processing_ms: float = 0.0
    """Time the batch took that this clip was part of."""
    engine: str = ""
    """Who recognised it, where there is a choice."""


@dataclass(frozen=True, slots=True)
class TurnJudgement:
    """Whether the speaker has finished."""

    probability: float
    """0 to 1 that the turn is complete."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice that a synthesiser offers."""

    name: str
    """What ``voice`` takes."""
    language: str
    """BCP 47, as the engine gives it."""
    gender: str = ""
    description: str = ""
