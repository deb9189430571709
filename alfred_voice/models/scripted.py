"""Engines that answer what they are told to: for tests, and for trying a set-up without models.

Each takes a script: either a function of what the engine is given, or a sequence of answers, of
which the last one goes on for ever. Each can be told to fail: while ``failure`` is set, a call
raises it. Each keeps what it was given, for a test to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from alfred_voice.errors import AlfredVoiceError, EngineFailure, SpeechError, UnknownVoice
from alfred_voice.models.engine import Clip, Float32, Int16
from alfred_voice.models.silero import check_windows, row_index
from alfred_voice.results import Piece, Transcript, TurnJudgement, Voice


Given = TypeVar("Given")
Answer = TypeVar("Answer")

SPEECH_PROBABILITY = 0.95
SILENCE_PROBABILITY = 0.02


def speech_above(level: float) -> Callable[[Float32], float]:
    """A script for the detector: a window whose root mean square exceeds ``level`` is speech."""

    def probability(window: Float32) -> float:
        rms = float(np.sqrt(np.mean(np.square(window))))
        return SPEECH_PROBABILITY if rms > level else SILENCE_PROBABILITY

    return probability


class ScriptedVadStates:
    """How many windows each session has had; grows, never shrinks.

    Attributes:
        windows: int64, shape (capacity,).
    """

    __slots__ = ("windows",)

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"Expected a capacity of at least 0, but got {capacity}")
        self.windows = np.zeros(capacity, np.int64)

    @property
    def capacity(self) -> int:
        """How many sessions there is room for."""
        return len(self.windows)

    def reset(self, rows: Sequence[int]) -> None:
        """Make these rows fresh, as before a session's first window."""
        self.windows[row_index(rows, self.capacity)] = 0

    def grow(self, capacity: int) -> None:
        """Make room for ``capacity`` sessions; the rows there are stay as they are, new ones are fresh."""
        if capacity < self.capacity:
            raise ValueError(f"Expected a capacity of at least {self.capacity}, but got {capacity}")
        self.windows = np.concatenate((self.windows, np.zeros(capacity - self.capacity, np.int64)))


class ScriptedVad:
    """A voice activity detector that goes by loudness, or by a list.

    Attributes:
        failure: raised by :meth:`step` while it is set.
        batches: how many windows each call had.
    """

    name = "scripted"

    def __init__(self, script: Callable[[Float32], float] | Sequence[float] | None = None) -> None:
        """A list is each session's own: its first window gets the first probability, and so on."""
        self._script = speech_above(0.01) if script is None else _checked(script)
        self.failure: AlfredVoiceError | None = None
        self.batches: list[int] = []

    def new_states(self, capacity: int) -> ScriptedVadStates:
        """State of up to ``capacity`` sessions, one row each, all fresh."""
        return ScriptedVadStates(capacity)

    def step(self, states: ScriptedVadStates, rows: Sequence[int], windows: Float32) -> Float32:
        """One window of each of the sessions that ``rows`` names, float32 of shape (len(rows), 512)."""
        check_windows(rows, windows)
        index = row_index(rows, states.capacity)
        _raise(self.failure)
        self.batches.append(len(rows))
        answers = [
            _answer(self._script, int(position), window)
            for position, window in zip(states.windows[index], windows, strict=True)
        ]
        states.windows[index] += 1
        return np.asarray(answers, np.float32)


class ScriptedStt:
    """A recogniser that has its texts before it hears anything.

    It spells a text in whole words and numbers them as they come up. A prefix replaces as many
    words at the beginning of the script's text.

    Attributes:
        failure: raised by :meth:`transcribe` while it is set.
        clips: all that it was given, in order.
    """

    name = "scripted"

    def __init__(
        self, script: Callable[[Clip], str] | Sequence[str] = ("hello world",), *, confidence: float = 0.9
    ) -> None:
        self._script = _checked((script,) if isinstance(script, str) else script)
        self._confidence = confidence
        self._words: list[str] = []
        self.failure: AlfredVoiceError | None = None
        self.clips: list[Clip] = []

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """One transcript for each clip, in their order; a clip without samples is empty and takes no text."""
        _raise(self.failure)
        return [self._transcript(clip) for clip in clips]

    def _transcript(self, clip: Clip) -> Transcript:
        if not len(clip.samples):
            return Transcript(text="", language=clip.language or "en")
        text = _answer(self._script, len(self.clips), clip)
        self.clips.append(clip)
        committed = [self._word(token) for token in clip.prefix]
        words = committed + text.split()[len(committed) :]
        return Transcript(
            text=" ".join(words),
            pieces=tuple(Piece(" " + word, (self._token(word),)) for word in words),
            confidence=self._confidence if words else 0.0,
            language=clip.language or "en",
        )

    def _word(self, token: int) -> str:
        if not 0 <= token < len(self._words):
            raise EngineFailure(f"scripted has no token {token}, only {len(self._words)} so far")
        return self._words[token]

    def _token(self, word: str) -> int:
        """The number of a word, a new one if it has none yet."""
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)


class ScriptedTurn:
    """A turn engine whose mind is made up.

    Attributes:
        failure: raised by :meth:`judge` while it is set.
        turns: all that it was given, in order.
    """

    name = "scripted"

    def __init__(self, script: Callable[[Float32], float] | Sequence[float] = (0.95,)) -> None:
        self._script = _checked(script)
        self.failure: AlfredVoiceError | None = None
        self.turns: list[Float32] = []

    def judge(self, turns: Sequence[Float32]) -> list[TurnJudgement]:
        """One judgement for each turn, in their order."""
        _raise(self.failure)
        return [self._judgement(turn) for turn in turns]

    def _judgement(self, turn: Float32) -> TurnJudgement:
        probability = _answer(self._script, len(self.turns), turn)
        self.turns.append(turn)
        return TurnJudgement(probability)


class ScriptedTts:
    """A synthesiser that hums: one tone, as long as the text takes.

    Attributes:
        sample_rate: Hz.
        failure: raised by :meth:`synthesise`, before the first piece, while it is set.
        texts: all that it was asked to speak, in order.
    """

    name = "scripted"
    TONE_HZ = 220.0
    AMPLITUDE = 8_000
    PIECE_MS = 20
    MIN_SPEED = 0.25
    MAX_SPEED = 4.0

    def __init__(self, *, sample_rate: int = 22_050, ms_per_character: float = 60.0) -> None:
        self.sample_rate = sample_rate
        self.ms_per_character = ms_per_character
        self.failure: AlfredVoiceError | None = None
        self.texts: list[str] = []

    def voices(self) -> list[Voice]:
        """All voices there are, sorted by name."""
        return [
            Voice("en-gb", "en-GB", description="a hum, said to be British"),
            Voice("en-us", "en-US", description="a hum"),
        ]

    def check(self, voice: str, speed: float) -> None:
        """Raise :exc:`~alfred_voice.errors.SpeechError` unless this voice and speed can be had."""
        names = [known.name for known in self.voices()]
        if voice not in names:
            raise UnknownVoice(f"Expected a voice among {', '.join(names)}, but got {voice!r}")
        if not self.MIN_SPEED <= speed <= self.MAX_SPEED:
            raise SpeechError(f"Expected a speed from {self.MIN_SPEED} to {self.MAX_SPEED}, but got {speed}")

    def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
        """Hum for as long as the text has characters, in pieces of 20 ms, until ``sink`` returns False."""
        self.check(voice, speed)
        _raise(self.failure)
        self.texts.append(text)
        total = round(len(text.strip()) * self.ms_per_character / 1_000 / speed * self.sample_rate)
        piece = self.sample_rate * self.PIECE_MS // 1_000
        for start in range(0, total, piece):
            phase = 2 * np.pi * self.TONE_HZ / self.sample_rate * np.arange(start, min(start + piece, total))
            if not sink((self.AMPLITUDE * np.sin(phase)).astype(np.int16)):
                return


def _checked(
    script: Callable[[Given], Answer] | Sequence[Answer],
) -> Callable[[Given], Answer] | Sequence[Answer]:
    """The script itself, once it is sure that it has an answer."""
    if not callable(script) and not len(script):
        raise ValueError("Expected a script with at least one answer")
    return script


def _answer(script: Callable[[Given], Answer] | Sequence[Answer], position: int, given: Given) -> Answer:
    """What the script says to ``given``, which comes after ``position`` others."""
    if callable(script):
        return script(given)
    return script[min(position, len(script) - 1)]


def _raise(failure: AlfredVoiceError | None) -> None:
    if failure is not None:
        raise failure
