from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.files import segment
from alfred_voice.files.segment import TAIL_MS, Span, SpeechSpans, segments
from alfred_voice.session.options import VadOptions


WINDOW = 512
MS = 16
TAIL = TAIL_MS * MS
BARE = VadOptions(threshold=0.5, min_speech_ms=0, min_silence_ms=64, pre_roll_ms=0)
"""A silence of 64 ms is two windows after its first."""


class StockRule:
    """The published streaming iterator's rule, written down from its description: one window at a time.

    Its clock stands at the *end* of the window that it has just seen.
    """

    def __init__(self, threshold: float, lower: float, min_silence: int) -> None:
        self.threshold, self.lower, self.min_silence = threshold, lower, min_silence
        self.triggered = False
        self.temporary_end = 0
        self.now = 0

    def see(self, probability: float) -> tuple[str, int] | None:
        self.now += WINDOW
        if probability >= self.threshold and self.temporary_end:
            self.temporary_end = 0
        if probability >= self.threshold and not self.triggered:
            self.triggered = True
            return "start", self.now - WINDOW
        if probability < self.lower and self.triggered:
            if not self.temporary_end:
                self.temporary_end = self.now
            if self.now - self.temporary_end < self.min_silence:
                return None
            end = self.temporary_end - WINDOW
            self.temporary_end = 0
            self.triggered = False
            return "end", end
        return None


def stock_spans(probabilities: list[float], options: VadOptions) -> list[Span]:
    rule = StockRule(options.threshold, options.lower_threshold, options.min_silence_ms * MS)
    told = [change for probability in probabilities if (change := rule.see(probability))]
    samples = [sample for _, sample in told]
    if rule.triggered:
        samples.append(len(probabilities) * WINDOW)
    return list(zip(samples[::2], samples[1::2], strict=True))


def windows(text: str) -> list[float]:
    """One window for each character: ``#`` speech, ``-`` neither speech nor silence, ``.`` silence."""
    return [{"#": 0.9, "-": 0.4, ".": 0.1}[char] for char in text]


def unpadded(probabilities: list[float], options: VadOptions, total: int) -> list[Span]:
    """The spans without pre-roll and tail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "_TAIL", 0)
        return segments(probabilities, replace(options, pre_roll_ms=0), total)


def padded(spans: list[Span], options: VadOptions, total: int) -> list[Span]:
    """The rule of padding, written down for all spans at once."""
    found: list[Span] = []
    for index, (start, end) in enumerate(spans):
        gap = total - end if index + 1 == len(spans) else (spans[index + 1][0] - end) // 2
        earliest = found[-1][1] if found else 0
        found.append((max(start - options.pre_roll_ms * MS, earliest), end + min(TAIL, gap)))
    return found


def bare(text: str, options: VadOptions = BARE) -> list[Span]:
    """The spans in windows, before padding."""
    probabilities = windows(text)
    spans = unpadded(probabilities, options, len(probabilities) * WINDOW)
    return [(start // WINDOW, end // WINDOW) for start, end in spans]


class TestRule:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", []),
            ("....", []),
            ("----", []),
            ("..###....", [(2, 5)]),
            ("#........", [(0, 1)]),
            pytest.param("..###..###...", [(2, 10)], id="a silence one window too short"),
            pytest.param("..###...###...", [(2, 5), (8, 11)], id="a silence just long enough"),
            pytest.param("..###", [(2, 5)], id="to the end"),
            pytest.param("..###..", [(2, 7)], id="a silence at the end that is too short"),
            pytest.param("..##--##...", [(2, 8)], id="between the thresholds speech goes on"),
            pytest.param(".---##....", [(4, 6)], id="but does not begin"),
            pytest.param("###.-.###", [(0, 3), (6, 9)], id="a dip over the lower threshold does not end a silence"),
            pytest.param("###.---.##....", [(0, 3), (8, 10)], id="nor end the speech by itself"),
            pytest.param("###.---##....", [(0, 9)], id="which only a window below it does"),
            pytest.param("###.#.#.#....", [(0, 9)], id="speech forgets a silence"),
        ],
    )
    def test_by_values(self, text: str, expected: list[Span]) -> None:
        assert bare(text) == expected

    def test_exactly_at_the_thresholds(self) -> None:
        options = replace(BARE, threshold=0.5, negative_threshold=0.35)
        probabilities = [0.4999, 0.5, 0.35, 0.35, 0.35, 0.3499, 0.3499, 0.3499, 0.1]
        spans = unpadded(probabilities, options, len(probabilities) * WINDOW)
        assert spans == [(1 * WINDOW, 5 * WINDOW)]

    @given(
        probabilities=st.lists(st.sampled_from([0.0, 0.2, 0.3499, 0.35, 0.4, 0.5, 0.6, 1.0]), max_size=120),
        min_silence_ms=st.integers(32, 400),
        threshold=st.sampled_from([0.3, 0.5, 0.6]),
        lower=st.sampled_from([None, 0.2, 0.25]),
    )
    def test_it_is_the_stock_iterators(
        self, probabilities: list[float], min_silence_ms: int, threshold: float, lower: float | None
    ) -> None:
        options = replace(BARE, threshold=threshold, negative_threshold=lower, min_silence_ms=min_silence_ms)
        found = unpadded(probabilities, options, len(probabilities) * WINDOW)
        assert found == stock_spans(probabilities, options)

    def test_an_array_does_as_well_as_a_list(self) -> None:
        probabilities = np.array(windows("..####...."), np.float32)
        assert segments(probabilities, BARE) == segments(probabilities.tolist(), BARE)


class TestShortSpeech:
    def test_speech_shorter_than_the_least_is_dropped(self) -> None:
        options = replace(BARE, min_speech_ms=96)
        found = segments(windows("..##....###....####...."), options)
        assert [start // WINDOW for start, _ in found] == [8, 15]

    def test_padding_does_not_make_it_longer(self) -> None:
        options = replace(BARE, min_speech_ms=96, pre_roll_ms=300)
        assert segments(windows("....##......"), options) == []


class TestPadding:
    def test_a_lonely_span_gets_the_pre_roll_and_the_tail(self) -> None:
        options = replace(BARE, pre_roll_ms=100)
        assert segments(windows("......###......"), options) == [(6 * WINDOW - 1600, 9 * WINDOW + TAIL)]

    def test_it_stays_within_the_recording(self) -> None:
        options = replace(BARE, pre_roll_ms=300)
        assert segments(windows(".###."), options) == [(0, 5 * WINDOW)]

    def test_the_recordings_end_counts_where_the_last_window_is_not_full(self) -> None:
        assert segments(windows("..###"), BARE, total_samples=4 * WINDOW + 7) == [(2 * WINDOW, 4 * WINDOW + 7)]
        assert segments(windows("..###..."), BARE, total_samples=7 * WINDOW + 1) == [(2 * WINDOW, 7 * WINDOW + 1)]

    def test_in_a_narrow_gap_the_tail_gets_half_and_the_pre_roll_the_rest(self) -> None:
        options = replace(BARE, pre_roll_ms=300)
        first, second = segments(windows("......###...###......"), options)
        assert first[1] == second[0] == 10 * WINDOW + WINDOW // 2

    def test_in_a_wide_gap_both_get_all(self) -> None:
        options = replace(BARE, pre_roll_ms=64)
        first, second = segments(windows("..###..........###..."), options)
        assert (first[1], second[0]) == (5 * WINDOW + TAIL, 15 * WINDOW - 1024)

    @given(
        text=st.text("#-.", max_size=150),
        pre_roll_ms=st.integers(0, 2000),
        min_speech_ms=st.integers(0, 200),
        short=st.integers(0, WINDOW - 1),
    )
    def test_spans_are_in_order_apart_within_and_hold_the_speech(
        self, text: str, pre_roll_ms: int, min_speech_ms: int, short: int
    ) -> None:
        options = replace(BARE, pre_roll_ms=pre_roll_ms, min_speech_ms=min_speech_ms)
        total = max(len(text) * WINDOW - short, 0)
        found = segments(windows(text), options, total)
        inner = unpadded(windows(text), options, total)
        assert found == padded(inner, options, total)
        edges = [edge for span in found for edge in span]
        assert edges == sorted(edges)
        assert all(0 <= edge <= total for edge in edges)
        for (start, end), (inner_start, inner_end) in zip(found, inner, strict=True):
            assert inner_end - inner_start >= min_speech_ms * MS
            assert inner_start - pre_roll_ms * MS <= start <= inner_start
            assert inner_end <= end <= inner_end + TAIL


class TestStream:
    @given(text=st.text("#-.", max_size=150), min_speech_ms=st.integers(0, 400), pre_roll_ms=st.integers(0, 500))
    def test_what_is_told_early_is_never_taken_back(self, text: str, min_speech_ms: int, pre_roll_ms: int) -> None:
        options = replace(BARE, min_speech_ms=min_speech_ms, pre_roll_ms=pre_roll_ms)
        spans = SpeechSpans(options)
        told: list[Span] = []
        for window, probability in enumerate(windows(text)):
            earliest, going_on = spans.earliest, spans.open
            new = spans.receive(probability, (window + 1) * WINDOW)
            if new and going_on:
                assert new[0][0] == going_on[0]
                assert new[0][1] >= going_on[1]
            assert all(start >= earliest for start, _ in new)
            told += new
        assert told + spans.flush() == segments(windows(text), options)

    def test_a_span_is_told_as_soon_as_its_tail_is_certain(self) -> None:
        spans = SpeechSpans(BARE)
        told = [spans.receive(p, (window + 1) * WINDOW) for window, p in enumerate(windows("##........"))]
        assert [window for window, found in enumerate(told) if found] == [7]
