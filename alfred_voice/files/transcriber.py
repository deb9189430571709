"""From the samples of a whole recording to its text, in a rolling window: what is recognised is forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from alfred_voice.audio.pcm import to_float
from alfred_voice.clock import Clock, SystemClock
from alfred_voice.errors import AudioError, EmptyAudio
from alfred_voice.files.crew import Answer, Crew
from alfred_voice.files.detect import RecordingDetector, RecordingVad
from alfred_voice.files.errors import RecordingTooLong
from alfred_voice.files.result import Segment, Timing, Transcription
from alfred_voice.files.rounds import BATCH_SAMPLES, plan_round
from alfred_voice.files.segment import Span
from alfred_voice.files.stretches import Stretch, Stretches
from alfred_voice.models.engine import SAMPLE_RATE, Clip, Int16, SttEngine, VadEngine
from alfred_voice.models.spoken import only_language, unknown_language
from alfred_voice.results import Transcript, Word
from alfred_voice.session.options import SttOptions, VadOptions


JOIN_MS = 600
"""Speech closer together than this, padding aside, is recognised as one: nobody waits for an endpoint here, and a
whole sentence is understood better than its parts (over 116 words, 3 errors instead of 4)."""
JOINED_MS = 6000
"""No longer than that by joining. In an hour of short sentences of several speakers, 6881 words, 101 errors; with 8 s
133, and 60 with each sentence in a file of its own. One reader's 119 words have 5 instead of 2."""
ROUNDS_AHEAD = 2
"""One that is being recognised, and one that waits, so that no worker does."""
_ROUNDING_MS = 1
"""Times that come back out of a file have been rounded."""
_PER_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for beside the text."""

    language: str | None = None
    """What is spoken; as configured when absent."""
    words: bool = False
    """Whether words are told with their times."""
    prompt: str = ""
    """Words to be expected; a recogniser that takes none ignores it."""
    max_duration_s: float | None = None
    """A longer recording is an error."""
    done_until_ms: float = 0.0
    """What ends before is known already and not recognised again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    heard_ms: float
    """Audio that has been read."""
    done_ms: float
    """Audio before which everything has been told."""


Tell = Callable[[Progress], None]


def _nobody(_progress: object) -> None:
    """Hears of progress where nobody wants to."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The speech of a recording: of what lies between nothing is kept."""

    duration_ms: float
    stretches: tuple[Stretch, ...]


class Transcriber:
    """The way from samples to segments, with the engines for it.

    The detector is asked in the thread that reads the recording, so one object serves one recording at a time.

    Args:
        vad: hears where speech is.
        stt: recognises it; a crew for work on several cores.
        vad_options: what is speech.
        stt_options: language, and how much is recognised in one piece.
        max_batch: most clips in one call of the recogniser.
        clock: measures the stages.
    """

    def __init__(
        self,
        vad: VadEngine | RecordingVad,
        stt: SttEngine | Crew,
        vad_options: VadOptions,
        stt_options: SttOptions,
        max_batch: int,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.vad = vad
        self.crew = stt if isinstance(stt, Crew) else Crew((stt,), self.clock)
        self.vad_options = vad_options
        self.stt_options = stt_options
        self.max_batch = max_batch

    def start(self, blocks: Iterable[Int16], wishes: Wishes | None = None, tell: Tell = _nobody) -> Pass:
        """Go once over a recording.

        Args:
            blocks: int16, shape (n,), 16 kHz: one after the other, each taken when the one before is done with.
            wishes: what is asked for.
            tell: hears how far it is, about every second of audio.
        """
        return Pass(self, blocks, wishes or Wishes(), tell)

    def listen(self, blocks: Iterable[Int16]) -> Recording:
        """All speech of a recording.

        Raises:
            EmptyAudio: no sample at all.
        """
        going = self.start(blocks)
        stretches = tuple(going.stretches())
        going.check()
        return Recording(going.duration_ms, stretches)

    def spans(self, recording: Recording) -> list[Span]:
        """Where there is speech, in clips that the recogniser takes."""
        return [(stretch.start, stretch.end) for stretch in recording.stretches]

    def recognise(self, recording: Recording) -> Iterator[Segment]:
        """The segments that have words, in order.

        Raises:
            EngineFailure: the recogniser failed.
        """
        yield from self.start(()).recognise(recording.stretches)


class Pass:
    """One recording on its way; gives its segments in order, once.

    Attributes:
        duration_ms: how much of the recording has been read.
    """

    def __init__(self, transcriber: Transcriber, blocks: Iterable[Int16], wishes: Wishes, tell: Tell) -> None:
        self._of = transcriber
        self._blocks = blocks
        self._wishes = wishes
        self._tell = tell
        self._clock = transcriber.clock
        self._begun_at = self._clock.now()
        self._decode_s = self._detect_s = self._recognise_s = 0.0
        self._segments: list[Segment] = []
        self._done_ms = 0.0
        asked = wishes.language or transcriber.stt_options.language
        self._language = only_language(transcriber.crew.first) or asked
        self._warnings = [unknown_language(asked, transcriber.crew.first, transcriber.crew.name)]
        self._damage: AudioError | None = None
        self.duration_ms = 0.0

    def __iter__(self) -> Generator[Segment, None, None]:
        """The segments that have words, as soon as they are certain; damage is raised when what came before is told.

        Raises:
            AudioError: as what gives the blocks, and for a recording of no sample or of too many.
            EngineFailure: an engine failed.
        """
        for segment in self.recognise(self.stretches()):
            self._segments.append(segment)
            yield segment
        self.check()
        self._tell(Progress(self.duration_ms, self.duration_ms))

    def result(
        self,
        known: Iterable[Segment] = (),
        metadata: Mapping[str, Any] | None = None,
        warnings: Iterable[str] = (),
    ) -> Transcription:
        """What there is so far; everything, after the last segment.

        Args:
            known: segments of before :attr:`Wishes.done_until_ms`.
            metadata: what is known of the recording beside the engines.
            warnings: what else may have gone wrong.
        """
        timing = Timing(self._decode_s, self._detect_s, self._recognise_s, self._clock.now() - self._begun_at)
        engines = {"vad": self._of.vad.name, "stt": self._of.crew.name, "workers": self._of.crew.size}
        segments = (*known, *self._segments)
        return Transcription(
            segments,
            self.duration_ms,
            self._language,
            timing,
            {**(metadata or {}), **engines},
            warnings=tuple(warning for warning in (*self._warnings, *warnings) if warning),
        )

    def check(self) -> None:
        """Raise what ended the recording before its time, once it has been gone over."""
        if self._damage is not None:
            raise self._damage
        if not self.duration_ms:
            raise EmptyAudio("Expected a recording, but got no sample")

    def stretches(self) -> Iterator[Stretch]:
        """The speech of the recording, while it is being read; of a damaged one what comes before the damage."""
        detector = RecordingDetector(self._of.vad, self._of.vad_options)
        cutter = Stretches(self._of.vad_options, JOIN_MS, JOINED_MS, self._of.stt_options.max_window_ms)
        blocks = iter(self._blocks)
        while (block := self._next_block(blocks)) is not None:
            begun_at = self._clock.now()
            found = cutter.feed(block, detector.feed(block))
            self._detect_s += self._clock.now() - begun_at
            yield from found
            self._tell(Progress(self.duration_ms, self._done_ms))
        yield from cutter.flush(detector.flush())

    def recognise(self, stretches: Iterable[Stretch]) -> Iterator[Segment]:
        """The segments of some stretches, in order."""
        ahead: deque[_Round] = deque()
        try:
            for gathered in self._gathered(stretches):
                ahead.append(self._submit(gathered))
                while len(ahead) >= ROUNDS_AHEAD:
                    yield from self._told(ahead.popleft())
            while ahead:
                yield from self._told(ahead.popleft())
        finally:
            for left in ahead:
                left.cancel()

    def _next_block(self, blocks: Iterator[Int16]) -> Int16 | None:
        """About a second of what has been read next; None at the end, whatever the end is."""
        begun_at = self._clock.now()
        pieces: list[Int16] = []
        samples = 0
        try:
            while samples < SAMPLE_RATE and self._damage is None and (piece := next(blocks, None)) is not None:
                pieces.append(piece)
                samples += len(piece)
        except AudioError as error:
            self._damage = error  # what came before is as good as ever
        self._decode_s += self._clock.now() - begun_at
        return self._allowed(np.concatenate(pieces)) if samples else None

    def _allowed(self, block: Int16) -> Int16 | None:
        """As much of ``block`` as the recording may still have; None when that is nothing."""
        longest_s = self._wishes.max_duration_s
        if longest_s is not None:
            left = round(longest_s * SAMPLE_RATE) - round(self.duration_ms * _PER_MS)
            if len(block) > left:
                self._damage = RecordingTooLong(f"expected at most {longest_s:g} s of audio, but more came")
                block = block[:left]
        self.duration_ms += len(block) / _PER_MS
        return block if len(block) else None

    def _gathered(self, stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
        """So many stretches at a time that all workers are busy for a while."""
        gathered: list[Stretch] = []
        samples = 0
        for stretch in stretches:
            if not self._is_wanted(stretch):
                continue
            gathered.append(stretch)
            samples += len(stretch.samples)
            if samples >= self._of.crew.size * BATCH_SAMPLES:
                yield gathered
                gathered, samples = [], 0
        if gathered:
            yield gathered

    def _is_wanted(self, stretch: Stretch) -> bool:
        is_new = stretch.end / _PER_MS > self._wishes.done_until_ms + _ROUNDING_MS
        return is_new and stretch.voiced_ms >= self._of.stt_options.min_voiced_ms

    def _submit(self, gathered: list[Stretch]) -> _Round:
        """Have all of them recognised."""
        answers: dict[int, tuple[Future[Answer], int]] = {}
        batches = plan_round(gathered, self._of.crew.size, self._of.max_batch)
        for batch in batches:
            answer = self._of.crew.submit(self._clip(gathered[at]) for at in batch)
            answers.update((at, (answer, place)) for place, at in enumerate(batch))
        return _Round(gathered, answers)

    def _clip(self, stretch: Stretch) -> Clip:
        wishes = self._wishes
        return Clip(
            to_float(stretch.samples),
            language=wishes.language or self._of.stt_options.language,
            voiced_ms=stretch.voiced_ms,
            wants_words=wishes.words,
            prompt=wishes.prompt,
        )

    def _told(self, one: _Round) -> Iterator[Segment]:
        """What became of a round, in the recording's order."""
        try:
            for at, stretch in enumerate(one.stretches):
                future, place = one.answers[at]
                answer = future.result()
                if place == 0:
                    self._recognise_s += answer.seconds
                transcript = answer.transcripts[place]
                self._done_ms = stretch.end / _PER_MS
                if transcript.text:
                    self._language = transcript.language or self._language
                    yield _segment(stretch, transcript)
        finally:
            one.cancel()


@dataclass(frozen=True, slots=True, eq=False)
class _Round:
    """Stretches that were given to the workers together."""

    stretches: list[Stretch]
    answers: Mapping[int, tuple[Future[Answer], int]]
    """Place of a stretch -> its batch, and its place there."""

    def cancel(self) -> None:
        """Do not begin what has not been begun."""
        for answer, _ in self.answers.values():
            answer.cancel()


def _segment(stretch: Stretch, transcript: Transcript) -> Segment:
    """A stretch's transcript, its words on the recording's clock."""
    start_ms, end_ms = stretch.start / _PER_MS, stretch.end / _PER_MS
    words = tuple(
        Word(word.word, start_ms + word.start_ms, min(start_ms + word.end_ms, end_ms), word.probability)
        for word in transcript.words
    )
    return Segment(start_ms, end_ms, transcript.text, transcript.confidence, words)
