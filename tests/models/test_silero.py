from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure, ModelMissing
from alfred_voice.models.engine import Float32
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.silero import LARGEST_BATCH, SileroStates, SileroVad
from alfred_voice.models.store import Store


WINDOW = 512
SAMPLE_RATE = 16_000


def noise(samples: int, level: float = 0.1, seed: int = 0) -> Float32:
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def speech_of(recording: NDArray[np.int16]) -> Float32:
    """A recording as engines get it."""
    return recording.astype(np.float32) / np.float32(32_768)


def windows_of(samples: Float32) -> Float32:
    """All whole windows, one after the other; shape (n, 512)."""
    return samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)


def alone(vad: SileroVad, windows: Float32) -> list[float]:
    """What a session that is on its own gets for its windows."""
    states = vad.new_states(1)
    return [float(vad.step(states, [0], window[None])[0]) for window in windows]


class Echo:
    """In the place of the network: says how loud a window is, and remembers in the state how often it was asked.

    The LSTM's output counts the calls, its cell keeps the last sample of the context.
    """

    def __init__(self) -> None:
        self.fed: list[Float32] = []
        self.answer: Float32 | None = None

    def run(self, heard: Float32, output: Float32, cell: Float32) -> tuple[Float32, Float32, Float32]:
        assert len(heard) <= LARGEST_BATCH
        self.fed.append(heard.copy())
        loudness: Float32 = np.abs(heard[:, 64:]).max(axis=1)
        new_cell: Float32 = np.repeat(heard[:, 63, None], cell.shape[1], axis=1)
        return loudness if self.answer is None else self.answer, output + 1, new_cell


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def echoing(echo: Echo) -> SileroVad:
    """The detector around an :class:`Echo`."""
    return SileroVad(echo)


def test_network_hears_the_last_64_samples_of_the_window_before(echoing: SileroVad, echo: Echo) -> None:
    states = echoing.new_states(2)
    windows = windows_of(noise(3 * WINDOW))
    for window in windows:
        echoing.step(states, [1], window[None])
    heard = [samples[0] for samples in echo.fed]
    assert [samples.shape for samples in heard] == [(576,)] * 3
    np.testing.assert_array_equal(heard[0][:64], 0)
    np.testing.assert_array_equal(heard[1][:64], windows[0, -64:])
    np.testing.assert_array_equal(heard[2][:64], windows[1, -64:])
    np.testing.assert_array_equal([samples[64:] for samples in heard], windows)


def test_more_rows_than_fit_are_judged_in_parts(echoing: SileroVad, echo: Echo) -> None:
    sessions = 2 * LARGEST_BATCH + 3
    states = echoing.new_states(sessions)
    windows = np.linspace(0, 1, sessions, dtype=np.float32)[:, None].repeat(WINDOW, axis=1)
    np.testing.assert_array_equal(echoing.step(states, range(sessions), windows), windows[:, 0])
    assert [len(heard) for heard in echo.fed] == [LARGEST_BATCH, LARGEST_BATCH, 3]
    np.testing.assert_array_equal(states.state[0], 1)
    np.testing.assert_array_equal(states.context[:, 0], windows[:, 0])


def test_each_row_has_its_own_state(echoing: SileroVad) -> None:
    states = echoing.new_states(4)
    window = np.zeros((1, WINDOW), np.float32)
    echoing.step(states, [3, 1], np.concatenate((window + 0.3, window + 0.1)))
    echoing.step(states, [3], window + 0.3)
    assert states.state[0, :, 0].tolist() == [0, 1, 0, 2]
    np.testing.assert_array_equal(states.context[:, 0], np.array([0, 0.1, 0, 0.3], np.float32))


def test_answers_come_in_the_order_of_the_rows(echoing: SileroVad) -> None:
    windows = np.array([[0.3], [0.1], [0.2]], np.float32).repeat(WINDOW, axis=1)
    answers = echoing.step(echoing.new_states(3), [2, 0, 1], windows)
    assert answers.dtype == np.float32
    np.testing.assert_array_equal(answers, windows[:, 0])


def test_batch_of_nothing_asks_nothing(echoing: SileroVad, echo: Echo) -> None:
    answers = echoing.step(echoing.new_states(3), [], np.zeros((0, WINDOW), np.float32))
    assert answers.shape == (0,)
    assert answers.dtype == np.float32
    assert not echo.fed


@pytest.mark.parametrize("rows", [[0, 0], [1, 2, 1]], ids=str)
def test_row_named_twice_is_refused(echoing: SileroVad, echo: Echo, rows: list[int]) -> None:
    states = echoing.new_states(3)
    with pytest.raises(ValueError, match="at most once"):
        echoing.step(states, rows, np.zeros((len(rows), WINDOW), np.float32))
    with pytest.raises(ValueError, match="at most once"):
        states.reset(rows)
    assert not echo.fed


@pytest.mark.parametrize("rows", [[3], [-1], [0, 99]], ids=str)
def test_row_that_is_not_there_is_refused(echoing: SileroVad, echo: Echo, rows: list[int]) -> None:
    states = echoing.new_states(3)
    with pytest.raises(ValueError, match="rows from 0 to 2"):
        echoing.step(states, rows, np.zeros((len(rows), WINDOW), np.float32))
    with pytest.raises(ValueError, match="rows from 0 to 2"):
        states.reset(rows)
    assert not echo.fed


@pytest.mark.parametrize(
    "windows",
    [
        np.zeros((1, 511), np.float32),
        np.zeros((1, 513), np.float32),
        np.zeros((2, 512), np.float32),
        np.zeros((0, 512), np.float32),
        np.zeros(512, np.float32),
        np.zeros((1, 1, 512), np.float32),
        np.zeros((1, 512), np.float64),
        np.zeros((1, 512), np.int16),
    ],
    ids=lambda windows: f"{windows.dtype} {windows.shape}",
)
def test_windows_of_another_shape_or_type_are_refused(echoing: SileroVad, echo: Echo, windows: Any) -> None:
    with pytest.raises(ValueError, match="Expected windows float32"):
        echoing.step(echoing.new_states(1), [0], windows)
    assert not echo.fed


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf])
def test_answer_that_is_no_number_is_a_failure_and_moves_no_state_on(
    echoing: SileroVad, echo: Echo, nonsense: float
) -> None:
    states = echoing.new_states(3)
    windows = windows_of(noise(3 * WINDOW))
    echoing.step(states, [0, 1, 2], windows)
    state, context = states.state.copy(), states.context.copy()
    echo.answer = np.array([0.5, nonsense, 0.5], np.float32)
    with pytest.raises(EngineFailure, match="1 of 3 windows"):
        echoing.step(states, [0, 1, 2], windows)
    np.testing.assert_array_equal(states.state[:, [0, 2]], state[:, [0, 2]])
    np.testing.assert_array_equal(states.context[[0, 2]], context[[0, 2]])
    # The row that failed is fresh, or it would fail the batches of all others for ever.
    assert not states.state[:, 1].any()
    assert not states.context[1].any()


def test_reset_makes_rows_fresh_and_leaves_the_others(echoing: SileroVad) -> None:
    states = echoing.new_states(3)
    echoing.step(states, [0, 1, 2], noise(3 * WINDOW).reshape(3, WINDOW))
    kept = states.state[:, 1].copy(), states.context[1].copy()
    states.reset([2, 0])
    assert not states.state[:, [0, 2]].any()
    assert not states.context[[0, 2]].any()
    np.testing.assert_array_equal(states.state[:, 1], kept[0])
    np.testing.assert_array_equal(states.context[1], kept[1])


def test_reset_of_no_row_changes_nothing() -> None:
    states = SileroStates(2)
    states.state += 1
    states.reset([])
    assert states.state.all()


def test_states_are_contiguous_and_sized_as_the_network_wants_them() -> None:
    states = SileroStates(5)
    states.grow(7)
    assert states.capacity == 7
    assert (states.state.shape, states.context.shape) == ((2, 7, 128), (7, 64))
    for array in (states.state, states.context):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous


@pytest.mark.parametrize("capacity", [3, 4, 100])
def test_grow_keeps_the_rows_there_are_and_adds_fresh_ones(capacity: int) -> None:
    states = SileroStates(3)
    states.state += np.arange(3, dtype=np.float32)[None, :, None] + 1
    states.context += np.arange(3, dtype=np.float32)[:, None] + 1
    states.grow(capacity)
    assert states.state[1, :, 127].tolist() == [1, 2, 3] + [0] * (capacity - 3)
    assert states.context[:, 63].tolist() == [1, 2, 3] + [0] * (capacity - 3)


def test_states_do_not_shrink() -> None:
    states = SileroStates(3)
    with pytest.raises(ValueError, match="at least 3"):
        states.grow(2)
    assert states.capacity == 3


def test_capacity_may_begin_at_nothing_but_not_below() -> None:
    states = SileroStates(0)
    states.grow(1)
    assert states.capacity == 1
    with pytest.raises(ValueError, match="at least 0"):
        SileroStates(-1)


def test_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        SileroVad.load(tmp_path / "silero.onnx")


@pytest.fixture
def vad(models: Store) -> SileroVad:
    return SileroVad.load(models.path("silero-vad", "silero_vad_op18_ifless.onnx"))


class Stock:
    """The stock graph, fed as its makers' wrapper feeds it: one window a call."""

    def __init__(self, path: Path) -> None:
        self._session: Session = open_session(path)

    def judge(self, windows: Float32) -> tuple[list[float], Float32]:
        """The probability of each window, and the LSTM's state behind each, shape (n, 2, 128)."""
        state = np.zeros((2, 1, 128), np.float32)
        context = np.zeros((1, 64), np.float32)
        probabilities, states = [], []
        for window in windows:
            heard = np.concatenate((context, window[None]), axis=1)
            feeds = {"input": heard, "state": state, "sr": np.array(SAMPLE_RATE, np.int64)}
            probability, state = self._session.run(feeds, ["output", "stateN"])
            context = heard[:, -64:]
            probabilities.append(float(probability[0, 0]))
            states.append(state[:, 0])
        return probabilities, np.array(states)


def judged(vad: SileroVad, windows: Float32) -> tuple[list[float], Float32]:
    """The same from the detector under test."""
    states = vad.new_states(1)
    probabilities, behind = [], []
    for window in windows:
        probabilities.append(float(vad.step(states, [0], window[None])[0]))
        behind.append(states.state[:, 0].copy())
    return probabilities, np.array(behind)


@pytest.fixture
def stock(models: Store) -> Stock:
    """The graph that the detector has its weights from."""
    return Stock(models.path("silero-vad", "silero_vad_op18_ifless.onnx"))


@pytest.fixture
def other(models: Store) -> Stock:
    """Another export of the same model."""
    return Stock(models.path("silero-vad", "silero_vad_16k_op15.onnx"))


def minutes_of_sound(speech: Float32) -> Float32:
    """Speech at three levels, clipped speech, noise at three levels, digital silence, a loud tone, and speech again."""
    second = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.tile(np.sin(2 * np.pi * 440 * second), 5).astype(np.float32)
    parts = [speech, speech / np.float32(30), noise(10 * SAMPLE_RATE, 0.003), np.clip(speech * np.float32(20), -1, 1)]
    parts += [noise(10 * SAMPLE_RATE), np.zeros(10 * SAMPLE_RATE, np.float32), tone]
    parts += [np.clip(noise(5 * SAMPLE_RATE, 1.0), -1, 1), speech]
    both: Float32 = np.concatenate(parts)
    return both


@pytest.mark.models
@pytest.mark.parametrize("name", ["beckett", "two_cities"])
def test_chained_minutes_are_judged_as_by_the_stock_graph(
    vad: SileroVad, stock: Stock, request: pytest.FixtureRequest, name: str
) -> None:
    windows = windows_of(minutes_of_sound(speech_of(request.getfixturevalue(name))))
    assert len(windows) * WINDOW > 75 * SAMPLE_RATE
    expected, states = stock.judge(windows)
    assert min(expected) < 0.01
    assert max(expected) > 0.99
    got, behind = judged(vad, windows)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(behind[:, 0], states[:, 0], rtol=0, atol=1e-3)
    # Some cells only add up, window by window, and their rounding errors with them.
    np.testing.assert_allclose(behind[:, 1], states[:, 1], rtol=1e-3, atol=1e-3)


@pytest.mark.models
@pytest.mark.parametrize("name", ["beckett", "two_cities"])
def test_whole_recording_is_judged_as_by_another_export(
    vad: SileroVad, other: Stock, request: pytest.FixtureRequest, name: str
) -> None:
    windows = windows_of(speech_of(request.getfixturevalue(name)))
    expected, _ = other.judge(windows)
    np.testing.assert_allclose(alone(vad, windows), expected, rtol=0, atol=1e-4)


@pytest.mark.models
@pytest.mark.parametrize("level", [0.0, 1e-4, 0.01, 0.1, 1.0])
def test_noise_of_any_loudness_is_judged_as_by_the_stock_graph(vad: SileroVad, stock: Stock, level: float) -> None:
    windows = windows_of(np.clip(noise(100 * WINDOW, level), -1, 1))
    np.testing.assert_allclose(alone(vad, windows), stock.judge(windows)[0], rtol=0, atol=1e-5)


@pytest.mark.models
def test_sessions_that_come_and_go_in_a_batch_are_judged_as_if_alone(
    vad: SileroVad, two_cities: NDArray[np.int16]
) -> None:
    speech = windows_of(speech_of(two_cities))
    random = np.random.default_rng(7)
    starts = random.integers(0, len(speech) - 60, 24)
    sessions = [
        speech[start : start + length] for start, length in zip(starts, random.integers(1, 60, 24), strict=True)
    ]

    states = vad.new_states(2)
    got: list[list[float]] = [[] for _ in sessions]
    waiting, free = list(range(len(sessions))), [0, 1]
    row_of: dict[int, int] = {}
    largest = 0
    while waiting or row_of:
        while waiting and random.random() < 0.5:
            if not free:
                free = list(range(states.capacity, states.capacity + 3))
                states.grow(states.capacity + 3)
            row_of[waiting.pop(0)] = free.pop(int(random.integers(len(free))))
        # Not every session has a window ready at each tick, and they come in no order.
        ready = [session for session in random.permutation(list(row_of)).astype(int).tolist() if random.random() < 0.8]
        largest = max(largest, len(ready))
        windows = np.array([sessions[session][len(got[session])] for session in ready], np.float32).reshape(-1, WINDOW)
        for session, answer in zip(ready, vad.step(states, [row_of[s] for s in ready], windows), strict=True):
            got[session].append(float(answer))
            if len(got[session]) == len(sessions[session]):
                row = row_of.pop(session)
                states.reset([row])
                free.append(row)

    assert largest > 3
    for windows, answers in zip(sessions, got, strict=True):
        np.testing.assert_allclose(answers, alone(vad, windows), rtol=0, atol=1e-5)


@pytest.mark.models
@pytest.mark.parametrize("sessions", [2, 16, 64, 257])
def test_batch_of_any_size_is_judged_as_one_by_one(vad: SileroVad, sessions: int) -> None:
    levels = np.linspace(0, 0.5, sessions, dtype=np.float32)
    steps = noise(3 * sessions * WINDOW, 1.0).reshape(3, sessions, WINDOW) * levels[:, None]
    states = vad.new_states(sessions)
    together = np.array([vad.step(states, range(sessions), windows) for windows in steps])
    for session in {0, 1, sessions // 2, sessions - 1}:
        np.testing.assert_allclose(together[:, session], alone(vad, steps[:, session]), rtol=0, atol=1e-5)


@pytest.mark.models
def test_row_that_was_reset_hears_as_a_fresh_one(vad: SileroVad, beckett: NDArray[np.int16]) -> None:
    windows = windows_of(speech_of(beckett))[10:40]
    states = vad.new_states(1)
    first = [float(vad.step(states, [0], window[None])[0]) for window in windows]
    carried = [float(vad.step(states, [0], window[None])[0]) for window in windows]
    states.reset([0])
    again = [float(vad.step(states, [0], window[None])[0]) for window in windows]
    assert again == first
    assert max(abs(a - b) for a, b in zip(carried, first, strict=True)) > 0.01


@pytest.mark.models
def test_state_that_went_bad_fails_once_and_recovers(vad: SileroVad) -> None:
    states = vad.new_states(2)
    windows = noise(2 * WINDOW).reshape(2, WINDOW)
    states.state[:, 1] = np.nan
    with pytest.raises(EngineFailure, match="1 of 2 windows"):
        vad.step(states, [0, 1], windows)
    np.testing.assert_allclose(
        vad.step(states, [0, 1], windows), [alone(vad, windows[:1])[0], alone(vad, windows[1:])[0]], rtol=0, atol=1e-5
    )
