"""Where the words of a recording are, found without any recogniser.

The synthesiser speaks each word by itself, and the recording is laid along what it said by dynamic time warping
over cepstra (Sakoe & Chiba 1978, doi:10.1109/TASSP.1978.1163055). So the times are neither the recogniser's own
opinion nor made by hand. Of 22 pauses that loudness alone shows in 44 s of read speech, half begin within 60 ms of
the end of a word as found here, four in five within 110 ms; where it errs, the word mostly ends too early, so that
delays counted from there come out too long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.resample import Resampler
from alfred_voice.bench.loudness import HOP_SAMPLES, levels_db, loud_span, speech_level_db
from alfred_voice.bench.recordings import SpokenWord
from alfred_voice.models.engine import SAMPLE_RATE, Int16, TtsEngine


Float64 = NDArray[np.float64]

_WINDOW_SAMPLES = SAMPLE_RATE // 40
"""25 ms, the usual window of cepstra; every 10 ms."""
_FFT = 512
_BANDS, _COEFFICIENTS = 26, 13
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0
_EMPHASIS = 0.97
_STEPS = 4
"""For each 10 ms of the recording the reading goes on by 0 to 3 times as much: it is slower than any speaker."""
_SILENCE = -1
"""The word's number of what lies between words."""


def synthesised(engine: TtsEngine, voice: str) -> Callable[[str], Int16]:
    """A speaker of single words at 16 kHz, without the silence around them."""

    def say(word: str) -> Int16:
        pieces: list[Int16] = []

        def keep(piece: Int16) -> bool:
            pieces.append(piece.copy())
            return True

        engine.synthesise(word, voice, 1.0, keep)
        spoken = Resampler(engine.sample_rate, SAMPLE_RATE).feed(np.concatenate(pieces), last=True)
        level = speech_level_db(spoken)
        span = None if level is None else loud_span(spoken, level)
        return spoken[slice(*span)] if span else spoken

    return say


def align(samples: Int16, words: Sequence[str], say: Callable[[str], Int16]) -> list[SpokenWord]:
    """Where each of ``words``, which are all that is said, is in ``samples``.

    Args:
        samples: int16, shape (n,), 16 kHz: the recording.
        words: in their order.
        say: speaks one word: int16, 16 kHz, without silence around it.

    Returns:
        One for each word, in their order. A word ends where it is last louder than the pauses.
    """
    level = speech_level_db(samples)
    if level is None or not words:
        return []
    heard = cepstra(samples)
    is_loud = levels_db(samples)[: len(heard)] >= level
    heard = _standardised(heard, is_loud)
    silence = heard[~is_loud].mean(axis=0) if not is_loud.all() else np.zeros(_COEFFICIENTS)
    reading, owners = _reading([cepstra(_at_least_a_window(say(word))) for word in words], silence)
    owner_of_hop = owners[_path(heard, reading)]
    return [_place(word, owner_of_hop == number, is_loud) for number, word in enumerate(words)]


def cepstra(samples: Int16) -> Float64:
    """Mel-frequency cepstra: float64, shape (hops, 13), one for each 10 ms that a window of 25 ms fits behind."""
    signal = samples.astype(np.float64) / 32768.0
    signal[1:] -= _EMPHASIS * signal[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(signal, _WINDOW_SAMPLES)[::HOP_SAMPLES]
    power = np.square(np.abs(np.fft.rfft(windows * np.hamming(_WINDOW_SAMPLES), _FFT)))
    bands: Float64 = np.log(power @ _mel_bands().T + 1e-8)
    angles = np.pi / _BANDS * np.outer(np.arange(_COEFFICIENTS), np.arange(_BANDS) + 0.5)
    spectra: Float64 = bands @ np.cos(angles).T
    return spectra


def _mel_bands() -> Float64:
    """Triangles that are equally wide to the ear: float64, shape (26, 257)."""

    def mel(hz: float) -> float:
        return float(2595.0 * np.log10(1.0 + hz / 700.0))  # O'Shaughnessy 1987

    edges: Float64 = 700.0 * (10.0 ** (np.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), _BANDS + 2) / 2595.0) - 1.0)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hz = np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT
    bands: Float64 = np.clip(np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)), 0.0, None)
    return bands


def _at_least_a_window(samples: Int16) -> Int16:
    return np.pad(samples, (0, max(0, _WINDOW_SAMPLES - len(samples))))


def _standardised(features: Float64, counted: NDArray[np.bool_]) -> Float64:
    """Freed from what a voice, a room and a microphone add: mean 0 and deviation 1 over what is ``counted``."""
    known = features[counted]
    standard: Float64 = (features - known.mean(axis=0)) / (known.std(axis=0) + 1e-9)
    return standard


def _reading(spoken: Sequence[Float64], silence: Float64) -> tuple[Float64, NDArray[Any]]:
    """What the recording is laid along: the words with a moment of silence around each, and whose each moment is."""
    together = np.concatenate(spoken)
    together = _standardised(together, np.ones(len(together), np.bool_))
    parts, owners = [silence[None]], [_SILENCE]
    start = 0
    for number, word in enumerate(spoken):
        parts += [together[start : start + len(word)], silence[None]]
        owners += [number] * len(word) + [_SILENCE]
        start += len(word)
    return np.concatenate(parts), np.array(owners)


def _path(heard: Float64, reading: Float64) -> NDArray[np.int64]:
    """The cheapest way to go through ``reading`` while ``heard`` passes: int64, shape (len(heard),)."""
    count, length = len(heard), len(reading)
    squares = np.square(reading).sum(axis=1)
    total = np.full(length, np.inf)
    total[:2] = 0.0  # it may begin with silence or with the first word
    came_by = np.zeros((count, length), np.uint8)
    options = np.full((_STEPS, length), np.inf)
    for at, moment in enumerate(heard):
        if at:
            options[0] = total
            for step in range(1, _STEPS):
                options[step, step:] = total[:-step]
            came_by[at] = options.argmin(axis=0)
            total = options.min(axis=0)
        distance = np.square(moment).sum() + squares - 2.0 * (reading @ moment)
        total = total + np.sqrt(np.maximum(distance, 0.0))
    path = np.empty(count, np.int64)
    place = length - 1 if total[-1] <= total[-2] else length - 2
    for at in range(count - 1, -1, -1):
        path[at] = place
        place -= int(came_by[at, place])
    return path


def _place(word: str, is_its: NDArray[np.bool_], is_loud: NDArray[np.bool_]) -> SpokenWord:
    """From the first to the last loud moment that was laid along the word, or of all of them when none is loud."""
    moments = np.flatnonzero(is_its & is_loud)
    if not len(moments):
        moments = np.flatnonzero(is_its)
    if not len(moments):
        return SpokenWord(word, float("nan"), float("nan"))
    hop_s = HOP_SAMPLES / SAMPLE_RATE
    return SpokenWord(word, float(moments[0]) * hop_s, float(moments[-1] + 1) * hop_s)
