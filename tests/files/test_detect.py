from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.files.detect import RecordingDetector
from alfred_voice.models.silero import SileroVad
from alfred_voice.models.store import Store
from alfred_voice.session.options import VadOptions


Int16 = NDArray[np.int16]


class LoudnessVad:
    """Says how loud each window is, and remembers the windows since it was last made fresh."""

    name = "loudness"

    def __init__(self) -> None:
        self.since_reset: list[int] = []
        self.windows: list[NDArray[np.float32]] = []
        self._count = 0

    def new_states(self, capacity: int) -> LoudnessVad:
        assert capacity == 1
        return self

    def reset(self, rows: Sequence[int]) -> None:
        assert list(rows) == [0]
        self._count = 0

    def step(self, states: Any, rows: Sequence[int], windows: NDArray[np.float32]) -> NDArray[np.float32]:
        assert states is self
        assert list(rows) == [0]
        assert windows.shape == (1, 512)
        assert windows.dtype == np.float32
        self._count += 1
        self.since_reset.append(self._count)
        self.windows.append(windows[0].copy())
        loudest: NDArray[np.float32] = np.abs(windows).max(axis=1)
        return loudest


def options(reset_after_ms: int = 0) -> VadOptions:
    return VadOptions(reset_after_ms=reset_after_ms)


@pytest.mark.parametrize("sizes", [[512], [1024], [511, 1], [1, 2, 1021], [0, 512, 0], [100] * 11, [5000, 7]])
def test_windows_do_not_depend_on_the_blocks(sizes: list[int]) -> None:
    total = sum(sizes)
    samples = np.random.default_rng(0).integers(-32768, 32768, total).astype(np.int16)
    vad = LoudnessVad()
    detector = RecordingDetector(vad, options())
    found: list[float] = []
    for block in np.split(samples, np.cumsum(sizes)[:-1]):
        found += detector.feed(block)
    assert len(found) == total // 512
    found += detector.flush()
    assert len(found) == -(-total // 512)
    heard = np.concatenate(vad.windows)
    np.testing.assert_array_equal(heard[:total], samples.astype(np.float32) / 32768)
    assert not heard[total:].any()


def test_without_a_rest_there_is_nothing_to_flush() -> None:
    detector = RecordingDetector(LoudnessVad(), options())
    detector.feed(np.zeros(512, np.int16))
    assert detector.flush() == []


def test_an_empty_recording_has_no_windows() -> None:
    detector = RecordingDetector(LoudnessVad(), options())
    assert detector.feed(np.zeros(0, np.int16)) + detector.flush() == []


def test_the_state_is_made_fresh_after_a_clear_silence() -> None:
    vad = LoudnessVad()
    RecordingDetector(vad, options(reset_after_ms=96)).feed(np.zeros(512 * 7, np.int16))
    assert vad.since_reset == [1, 2, 3, 1, 2, 3, 1]


def test_but_not_while_there_is_sound() -> None:
    vad = LoudnessVad()
    sound = np.zeros(512 * 8, np.int16)
    sound[512 * 2 : 512 * 3] = 10_000  # 0.3: no speech, and no clear silence either
    RecordingDetector(vad, options(reset_after_ms=96)).feed(sound)
    assert vad.since_reset == [1, 2, 3, 4, 5, 6, 1, 2]


def test_and_never_when_that_is_turned_off() -> None:
    vad = LoudnessVad()
    RecordingDetector(vad, options(reset_after_ms=0)).feed(np.zeros(512 * 400, np.int16))
    assert vad.since_reset == list(range(1, 401))


@pytest.mark.models
def test_the_real_model_says_the_same_as_when_it_is_asked_window_by_window(models: Store, beckett: Int16) -> None:
    vad = SileroVad.load(models.path("silero-vad", "silero_vad_op18_ifless.onnx"))
    detector = RecordingDetector(vad, options())
    found = [p for block in np.array_split(beckett, 9) for p in detector.feed(block)] + detector.flush()

    states = vad.new_states(1)
    padded = np.pad(beckett, (0, -len(beckett) % 512)).astype(np.float32) / np.float32(32768)
    expected = [float(vad.step(states, [0], window[None])[0]) for window in padded.reshape(-1, 512)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert max(found) > 0.9
