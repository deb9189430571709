"""What an engine must be able to do. One protocol per kind; weights belong to the engine.

An engine is loaded once, shared by all sessions, and called from one thread at a time (its
lane's). It raises :exc:`alfred_voice.errors.EngineFailure` when it cannot answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.spoken import KnowsLanguages
from alfred_voice.results import Transcript, TurnJudgement, Voice


Float32 = NDArray[np.float32]
Int16 = NDArray[np.int16]

SAMPLE_RATE = 16_000
"""Hz; the one rate inside the house."""
WINDOW_SAMPLES = 512
"""32 ms; what the voice activity detector takes at a time."""


class VadEngine(Protocol):
    """Tells how probable speech is in a window, for many sessions in one call."""

    name: str

    def new_states(self, capacity: int) -> Any:
        """Recurrent state of up to ``capacity`` sessions, one row each, all fresh.

        The result has ``reset(rows)``, which makes rows fresh again, and ``grow(capacity)``.
        """
        ...

    def step(self, states: Any, rows: Sequence[int], windows: Float32) -> Float32:
        """One window of each of the sessions that ``rows`` names; their state moves on.

        Args:
            states: what :meth:`new_states` gave.
            rows: which rows of it the windows belong to, each at most once.
            windows: float32, shape (len(rows), 512), 16 kHz, [-1, 1).

        Returns:
            float32, shape (len(rows),): probability of speech.

        When it raises, the state of no row has moved on; a row may have been made fresh.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A stretch of speech to be recognised."""

    samples: Float32
    """float32, shape (n,), 16 kHz, [-1, 1)."""
    prefix: tuple[int, ...] = ()
    """Tokens that the text must begin with: what has been committed of this clip already."""
    is_final: bool = True
    """False for a partial hypothesis, which may be decoded in a cheaper way."""
    language: str | None = None
    voiced_ms: float | None = None
    """How much of the clip the voice activity detector called speech; None when it is not known."""
    draft: tuple[int, ...] = ()
    """Tokens of the last hypothesis for the same audio: makes decoding quicker, never different."""
    hearing: Any = None
    """From :meth:`GrowingStt.new_hearing`, one for each utterance, for its partials: all begin at the same sample, and
    each is heard on from where the last one ended. Finals are always heard whole."""
    wants_words: bool = False
    """Whether :attr:`Transcript.words` is asked for; an engine that knows no times leaves it empty."""
    prompt: str = ""
    """Text that came before, or words to be expected; an engine that takes none ignores it."""
    translates: bool = False
    """Into English instead of as it is spoken, where the engine can."""


class SttEngine(Protocol):
    """Turns clips of speech into text, a batch at a time."""

    name: str

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """One transcript for each clip, in their order."""
        ...


@runtime_checkable
class GrowingStt(Protocol):
    """What a recogniser offers beside, that need not hear the beginning of a growing clip again and again."""

    def new_hearing(self) -> Any:
        """What :attr:`Clip.hearing` takes; the engine changes it with every clip. It tells its size as ``nbytes``."""
        ...


@runtime_checkable
class TokenStt(Protocol):
    """What a recogniser offers beside, whose tokens others can read, and perhaps write."""

    def text_of(self, tokens: Sequence[int]) -> str:
        """What the tokens spell, untrimmed."""
        ...

    def tokens_of(self, text: str) -> tuple[int, ...] | None:
        """The tokens of a text; None where they cannot be told."""
        ...


@runtime_checkable
class TieredQuality(Protocol):
    """What a recogniser offers beside, that can make do with a smaller model."""

    is_reduced: bool
    """Whether finals are recognised by the smaller one, too; set from any thread."""


@runtime_checkable
class Closing(Protocol):
    """What an engine offers beside, that holds something from outside: connections, for example."""

    def close(self) -> None:
        """Give it back; whoever waits for an answer gets an error."""
        ...


@runtime_checkable
class Patient(Protocol):
    """What an engine offers beside, that waits for others, and not for ever."""

    def longest_s(self, clips: int) -> float:
        """How long a call with so many may take by its own rules; then it gives an answer or an error."""
        ...


class TurnEngine(Protocol):
    """Tells from the sound of a turn so far whether the speaker has finished."""

    name: str

    def judge(self, turns: Sequence[Float32]) -> list[TurnJudgement]:
        """One judgement for each turn: float32, shape (n,), 16 kHz, the pause at its end included."""
        ...


class TtsEngine(Protocol):
    """Speaks a text."""

    name: str
    sample_rate: int
    """Hz, of the samples that :meth:`synthesise` delivers."""

    def voices(self) -> list[Voice]:
        """All voices there are, sorted by name."""
        ...

    def check(self, voice: str, speed: float) -> None:
        """Raise :exc:`~alfred_voice.errors.SpeechError` unless this voice and speed can be had."""
        ...

    def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
        """Speak ``text``; give ``sink`` each piece (int16, shape (n,)) as soon as it is made.

        A ``sink`` that returns False stops the synthesis at once.
        """
        ...


@runtime_checkable
class VariantVoices(Protocol):
    """What a synthesiser offers beside, whose every voice can be spoken in several ways."""

    def variants(self) -> list[Voice]:
        """What may be put after a voice's name to vary it, sorted by name."""
        ...


@dataclass(frozen=True, slots=True)
class Engines:
    """One engine of each kind, loaded; of recognisers maybe more."""

    vad: VadEngine
    stt: SttEngine
    turn: TurnEngine
    tts: TtsEngine
    more_stt: Mapping[str, SttEngine] = field(default_factory=dict)
    """Those that a session may ask for in place of :attr:`stt`, by the name that it asks with."""
    builders: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """What makes an engine anew after it has failed, by its lane: ``vad``, ``stt``, ``stt-whisper``, ``turn``,
    ``tts``. An engine without one is used again as it is. Called from any thread."""

    @property
    def names(self) -> dict[str, str]:
        """Kind -> the engine's name."""
        return self.roll.names_for(None)

    @property
    def roll(self) -> EngineRoll:
        """Who they are, without the engines themselves."""
        more = {name: engine.name for name, engine in self.more_stt.items()}
        spoken = spoken_by({"": self.stt, **self.more_stt})
        return EngineRoll(self.vad.name, self.stt.name, self.turn.name, self.tts.name, more, spoken)


@dataclass(frozen=True, slots=True)
class Languages:
    """What a recogniser knows, when it is not at hand itself."""

    languages: frozenset[str]
    """Codes without regions."""


def spoken_by(recognisers: Mapping[str, SttEngine]) -> dict[str, Languages]:
    """What those of the recognisers know that know which languages they can do."""
    return {
        name: Languages(engine.languages) for name, engine in recognisers.items() if isinstance(engine, KnowsLanguages)
    }


@dataclass(frozen=True, slots=True)
class EngineRoll:
    """The names of the engines that are there. Holds none of them: one that is made anew must be let go of first."""

    vad: str
    stt: str
    turn: str
    tts: str
    more_stt: Mapping[str, str]
    """The name that a session asks with -> the engine's name."""
    spoken: Mapping[str, Languages] = field(default_factory=dict)
    """What each recogniser knows that knows which languages it can do, by the name that a session asks with; empty
    for the usual one."""

    def languages_of(self, engine: str | None) -> Languages | None:
        """What the recogniser knows that a session asks for; None where it does not tell."""
        return self.spoken.get(engine if engine is not None and engine in self.more_stt else "")

    def names_for(self, engine: str | None) -> dict[str, str]:
        """Kind -> the engine's name, for a session that asks for that recogniser."""
        stt = self.more_stt.get(engine or "", self.stt)
        return {"vad": self.vad, "stt": stt, "turn": self.turn, "tts": self.tts}

    def with_engine(self, lane: str, engine: Any) -> EngineRoll:
        """The same but for the engine of one lane."""
        name: str = engine.name
        asked = "" if lane == "stt" else lane.removeprefix(STT_LANE_PREFIX)
        spoken = {**self.spoken, **spoken_by({asked: engine})} if lane.startswith("stt") else self.spoken
        if lane.startswith(STT_LANE_PREFIX):
            return replace(self, more_stt={**self.more_stt, asked: name}, spoken=spoken)
        known = {"vad": self.vad, "stt": self.stt, "turn": self.turn, "tts": self.tts} | {lane: name}
        return EngineRoll(**known, more_stt=self.more_stt, spoken=spoken)


STT_LANE_PREFIX = "stt-"
"""Before the name that a session asks with: the lane of one more recogniser."""
