"""Clips cut out of a recording that is never there as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.files.segment import Span, segments
from alfred_voice.files.stretches import Stretch, Stretches
from alfred_voice.session.cut import quiet_moments
from alfred_voice.session.options import VadOptions


Int16 = NDArray[np.int16]
WINDOW = 512
MS = 16
OPTIONS = VadOptions(min_speech_ms=96, min_silence_ms=64, pre_roll_ms=100)


def noise(length: int, quiet: Span | None = None) -> Int16:
    samples = np.random.default_rng(1).integers(-8000, 8000, length).astype(np.int16)
    if quiet:
        samples[slice(*quiet)] = 0
    return samples


def windows(text: str) -> list[float]:
    """One window for each character: ``#`` speech, ``-`` neither speech nor silence, ``.`` silence."""
    return [{"#": 0.9, "-": 0.4, ".": 0.1}[char] for char in text]


def cut_up(
    samples: Int16,
    probabilities: list[float],
    options: VadOptions,
    join_ms: int,
    joined_ms: int,
    max_ms: int,
    size: int = 10**9,
) -> list[Stretch]:
    """What becomes of a recording that comes in blocks of ``size`` samples."""
    stretches = Stretches(options, join_ms, joined_ms, max_ms)
    found: list[Stretch] = []
    known = 0
    for at in range(0, len(samples), size):
        block = samples[at : at + size]
        full = (at + len(block)) // WINDOW
        found += stretches.feed(block, probabilities[known:full])
        known = full
    return found + stretches.flush(probabilities[known:])


def places(stretches: list[Stretch]) -> list[Span]:
    return [(stretch.start, stretch.end) for stretch in stretches]


def clips(spans: list[Span], samples: Int16, join_ms: int, joined_ms: int, max_ms: int) -> list[Span]:
    """The rule, written down for all spans at once."""
    longest = max_ms * MS
    joined: list[Span] = []
    for start, end in spans:
        before = joined[-1] if joined else None
        if before and start - before[1] < join_ms * MS and end - before[0] <= min(joined_ms, max_ms) * MS:
            joined[-1] = (before[0], end)
        else:
            joined.append((start, end))
    found: list[Span] = []
    for start, end in joined:
        while end - start > longest:
            quiet = quiet_moments(samples, start + longest // 2, start + longest, 1)
            at = quiet[0] if quiet else start + longest
            found.append((start, at))
            start = at
        found.append((start, end))
    return found


@settings(deadline=None)
@given(
    pieces=st.lists(st.tuples(st.sampled_from("#-."), st.integers(1, 60)), max_size=25),
    short=st.integers(0, WINDOW - 1),
    pre_roll_ms=st.integers(0, 400),
    min_silence_ms=st.integers(32, 300),
    join_ms=st.integers(0, 1000),
    joined_ms=st.integers(500, 4000),
    max_ms=st.integers(1000, 4000),
    size=st.sampled_from([100, 512, 1024, 7000, 16_000, 10**9]),
)
def test_it_is_the_rule_for_the_whole_recording_however_it_comes(
    pieces: list[tuple[str, int]],
    short: int,
    pre_roll_ms: int,
    min_silence_ms: int,
    join_ms: int,
    joined_ms: int,
    max_ms: int,
    size: int,
) -> None:
    probabilities = windows("".join(char * count for char, count in pieces))
    samples = noise(max(len(probabilities) * WINDOW - short, 0))
    options = replace(OPTIONS, pre_roll_ms=pre_roll_ms, min_silence_ms=min_silence_ms)
    found = cut_up(samples, probabilities, options, join_ms, joined_ms, max_ms, size)
    spans = segments(probabilities, options, len(samples))
    assert places(found) == clips(spans, samples, join_ms, joined_ms, max_ms)
    for stretch in found:
        np.testing.assert_array_equal(stretch.samples, samples[stretch.start : stretch.end])
        inside = probabilities[stretch.start // WINDOW : -(-stretch.end // WINDOW)]
        assert stretch.voiced_ms == 32 * sum(probability >= 0.5 for probability in inside)
        assert 0 < len(stretch.samples) <= max_ms * MS


@pytest.mark.parametrize("text", ["." * 3000, "#" * 3000, "-" * 3000, "#####...." * 300, "#" * 30 + "." * 3000])
def test_of_a_long_recording_only_the_last_seconds_are_kept(text: str) -> None:
    stretches = Stretches(OPTIONS, 600, 4000, 5000)
    kept = 0
    for probability in windows(text):
        stretches.feed(np.zeros(WINDOW, np.int16), [probability])
        kept = max(kept, len(stretches._samples))
        assert len(stretches._probabilities) * WINDOW == len(stretches._samples)
    assert kept < 7 * 16_000


def test_a_stretch_is_told_when_nothing_can_be_joined_to_it() -> None:
    stretches = Stretches(OPTIONS, 600, 4000, 5000)
    told = [
        len(stretches.feed(np.zeros(WINDOW, np.int16), [probability])) for probability in windows("#####" + "." * 40)
    ]
    assert sum(told) == 1
    # 600 ms and the pre-roll of 100 ms behind the tail of 96 ms, in windows of 32 ms
    assert told.index(1) == 5 + -(-796 // 32) - 1


def test_long_speech_is_cut_while_it_goes_on() -> None:
    stretches = Stretches(OPTIONS, 600, 4000, 5000)
    quiet = (58_000, 61_000)
    samples = noise(200 * WINDOW, quiet)
    found = stretches.feed(samples, [0.9] * 200)
    assert len(found) == 1
    assert found[0].start == 0
    assert quiet[0] < found[0].end < quiet[1]
