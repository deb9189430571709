"""Recordings cut at their pauses: what one speaker says in one breath, ready to be played to the daemon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from alfred_voice.bench.loudness import loud_span, speech_level_db
from alfred_voice.bench.recordings import Recording, SpokenWord
from alfred_voice.files.detect import RecordingDetector
from alfred_voice.files.segment import segments
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Int16, VadEngine
from alfred_voice.session.options import VadOptions


SHORTEST_SAMPLES = SAMPLE_RATE
"""1 s, padding included: less is a word or a noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """Speech between two pauses, with a little of what is around it."""

    recording: str
    start_sample: int
    """Where it begins in the recording."""
    samples: Int16
    """int16, shape (n,), 16 kHz."""
    first_speech: int
    """First sample of the speech, by its loudness."""
    end_of_speech: int
    """One past the last one."""
    first_detected: int
    """First sample of the first window that the detector, run over the whole recording, calls speech."""
    end_detected: int
    """One past the last sample of the last such window."""
    words: tuple[SpokenWord, ...]
    """What is said in it, timed from its first sample; empty where that is not known."""

    @property
    def speech_s(self) -> float:
        """How long the speech is."""
        return (self.end_of_speech - self.first_speech) / SAMPLE_RATE


def passages(
    recording: Recording, words: Iterable[SpokenWord], engine: VadEngine, options: VadOptions
) -> list[Passage]:
    """The passages of a recording, in order; those without audible speech are left out.

    Args:
        recording: with pauses or without.
        words: where its words are, as far as that is known.
        engine: hears where speech is.
        options: what counts as a pause.
    """
    level = speech_level_db(recording.samples)
    if level is None:
        return []
    detector = RecordingDetector(engine, options)
    probabilities = detector.feed(recording.samples) + detector.flush()
    known = [word for word in words if np.isfinite(word.end_s)]
    voiced = np.flatnonzero(np.array(probabilities) >= options.threshold) * WINDOW_SAMPLES
    found = []
    for start, end in segments(probabilities, options, len(recording.samples)):
        samples = recording.samples[start:end]
        span = loud_span(samples, level)
        windows = voiced[(voiced >= start) & (voiced + WINDOW_SAMPLES <= end)] - start
        if span is None or not len(windows) or end - start < SHORTEST_SAMPLES:
            continue
        detected = int(windows[0]), int(windows[-1]) + WINDOW_SAMPLES
        inside = tuple(
            SpokenWord(word.word, word.start_s - start / SAMPLE_RATE, word.end_s - start / SAMPLE_RATE)
            for word in known
            if start <= (word.start_s + word.end_s) / 2 * SAMPLE_RATE < end
        )
        found.append(Passage(recording.name, start, samples, *span, *detected, inside))
    return found
