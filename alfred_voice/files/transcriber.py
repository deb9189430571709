"""From the samples of a whole recording to its text, stretch by stretch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alfred_voice.audio.pcm import to_float
from alfred_voice.errors import EmptyAudio
from alfred_voice.files.detect import RecordingDetector
from alfred_voice.files.segment import Span, clips, segments
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Clip, Int16, SttEngine, VadEngine
from alfred_voice.session.options import SttOptions, VadOptions


JOIN_MS = 600
"""Speech closer together than this, padding aside, is recognised as one: nobody waits for an endpoint here, and a
whole sentence is understood better than its parts (over 116 words, 3 errors instead of 4)."""
_BATCH_SAMPLES = 60 * SAMPLE_RATE
"""Audio in one call of the recogniser: beyond it a batch takes memory and saves no more time."""
_PER_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """One clip's text, with its place in the recording."""

    start_ms: float
    end_ms: float
    text: str
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A whole recording and what the detector says of it."""

    samples: Int16
    """int16, shape (n,), 16 kHz: 115 MB for an hour."""
    probabilities: list[float]
    """Of speech, one for each window of 512 samples."""

    @property
    def duration_ms(self) -> float:
        """Its length."""
        return len(self.samples) / _PER_MS

    def voiced_ms(self, span: Span, threshold: float) -> float:
        """How much of ``span`` is in windows of speech."""
        windows = self.probabilities[span[0] // WINDOW_SAMPLES : -(-span[1] // WINDOW_SAMPLES)]
        return sum(probability >= threshold for probability in windows) * WINDOW_SAMPLES / _PER_MS


def _nobody(_figure: float) -> None:
    """Hears of progress where nobody wants to."""


class Transcriber:
    """The way from samples to segments, with the engines for it."""

    def __init__(
        self, vad: VadEngine, stt: SttEngine, vad_options: VadOptions, stt_options: SttOptions, max_batch: int
    ) -> None:
        self._vad = vad
        self._stt = stt
        self._vad_options = vad_options
        self._stt_options = stt_options
        self._max_batch = max_batch

    def listen(self, blocks: Iterable[Int16], tell: Callable[[float], None] = _nobody) -> Recording:
        """All of a recording, and the probability of speech in it.

        Args:
            blocks: int16, shape (n,), 16 kHz: one after the other.
            tell: gets the milliseconds heard so far.

        Raises:
            EmptyAudio: no sample at all.
        """
        detector = RecordingDetector(self._vad, self._vad_options)
        heard: list[Int16] = []
        probabilities: list[float] = []
        for block in blocks:
            heard.append(block)
            probabilities.extend(detector.feed(block))
            tell(len(probabilities) * WINDOW_SAMPLES / _PER_MS)
        if not heard:
            raise EmptyAudio("Expected a recording, but got no sample")
        return Recording(np.concatenate(heard), probabilities + detector.flush())

    def spans(self, recording: Recording) -> list[Span]:
        """Where there is speech, in clips that the recogniser takes."""
        found = segments(recording.probabilities, self._vad_options, len(recording.samples))
        return clips(found, recording.samples, JOIN_MS, self._stt_options.max_window_ms)

    def recognise(self, recording: Recording, tell: Callable[[float], None] = _nobody) -> Iterator[Segment]:
        """The segments that have words, in order, batch by batch.

        Args:
            recording: what :meth:`listen` gave.
            tell: gets how much of the recording is done before each batch, 0 to 1.

        Raises:
            EngineFailure: the recogniser failed.
        """
        wanted = [
            (span, voiced_ms)
            for span in self.spans(recording)
            if (voiced_ms := recording.voiced_ms(span, self._vad_options.threshold)) >= self._stt_options.min_voiced_ms
        ]
        for batch in _batches(wanted, self._max_batch):
            tell(batch[0][0][0] / len(recording.samples))
            asked = [
                Clip(
                    to_float(recording.samples[span[0] : span[1]]),
                    language=self._stt_options.language,
                    voiced_ms=voiced_ms,
                )
                for span, voiced_ms in batch
            ]
            for (span, _), transcript in zip(batch, self._stt.transcribe(asked), strict=True):
                if transcript.text:
                    yield Segment(span[0] / _PER_MS, span[1] / _PER_MS, transcript.text, transcript.confidence)


def _batches(wanted: Sequence[tuple[Span, float]], max_clips: int) -> Iterator[list[tuple[Span, float]]]:
    """Neighbours together, up to a number of clips and a minute of audio."""
    batch: list[tuple[Span, float]] = []
    length = 0
    for clip in wanted:
        (start, end), _ = clip
        if batch and (len(batch) == max_clips or length + end - start > _BATCH_SAMPLES):
            yield batch
            batch, length = [], 0
        batch.append(clip)
        length += end - start
    if batch:
        yield batch
