"""Growing windows over utterances: what a recogniser alone costs that is asked again and again as somebody speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from alfred_voice.audio.pcm import to_float
from alfred_voice.bench.stopwatch import Effort, Stopwatch
from alfred_voice.models.engine import SAMPLE_RATE, Clip, Int16, SttEngine
from alfred_voice.results import Transcript


FIRST_PARTIAL_S = 0.5
"""The first question comes when so much has been said, as by default in the daemon (``stt.min_partial_ms``)."""


@dataclass(slots=True)
class Grown:
    """What came of growing windows."""

    partials: list[tuple[int, Effort]] = field(default_factory=list)
    """Rows and effort of each call for partials."""
    finals: list[Effort] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    """The final texts of each stream, in order."""
    speech_s: float = 0.0
    """Of all streams together."""

    @property
    def cpu_s(self) -> float:
        """Of all calls."""
        return sum(effort.cpu_s for _, effort in self.partials) + sum(effort.cpu_s for effort in self.finals)


class GrowingWindows:
    """Streams that go through their utterances side by side, each asked about every ``interval_s`` of speech.

    What a stream was heard to say goes into its next question as a draft; nothing is forced. Streams that have
    something new are asked about in one call; finals go one by one.
    """

    def __init__(self, engine: SttEngine, interval_s: float, watch: Stopwatch) -> None:
        self._engine = engine
        self._interval = round(interval_s * SAMPLE_RATE)
        self._watch = watch

    def run(self, streams: Sequence[Sequence[Int16]]) -> Grown:
        """Ask about all utterances (int16, 16 kHz) of all streams."""
        grown = Grown(texts=[[] for _ in streams])
        states = [_Stream(list(utterances)) for utterances in streams]
        grown.speech_s = sum(len(u) for utterances in streams for u in utterances) / SAMPLE_RATE
        while any(state.utterances for state in states):
            asked: list[_Stream] = []
            for state, texts in zip(states, grown.texts, strict=True):
                if not state.utterances:
                    continue
                state.heard = state.heard + self._interval if state.heard else round(FIRST_PARTIAL_S * SAMPLE_RATE)
                if state.heard < len(state.utterances[0]):
                    asked.append(state)
                    continue
                clip = _clip(state.utterances[0], state.draft, is_final=True)
                transcripts, effort = self._watch.time(partial(self._engine.transcribe, [clip]))
                grown.finals.append(effort)
                texts.append(transcripts[0].text)
                state.next()
            if asked:
                clips = [_clip(state.utterances[0][: state.heard], state.draft, is_final=False) for state in asked]
                transcripts, effort = self._watch.time(partial(self._engine.transcribe, clips))
                grown.partials.append((len(clips), effort))
                for state, transcript in zip(asked, transcripts, strict=True):
                    state.draft = tokens_of(transcript)
        return grown


@dataclass(slots=True)
class _Stream:
    utterances: list[Int16]
    heard: int = 0
    draft: tuple[int, ...] = ()

    def next(self) -> None:
        """The next utterance."""
        self.utterances.pop(0)
        self.heard, self.draft = 0, ()


def tokens_of(transcript: Transcript) -> tuple[int, ...]:
    """The recogniser's tokens of a text."""
    return tuple(token for piece in transcript.pieces for token in piece.tokens)


def _clip(samples: Int16, draft: tuple[int, ...], *, is_final: bool) -> Clip:
    return Clip(to_float(samples), is_final=is_final, draft=draft)
