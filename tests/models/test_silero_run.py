"""The detector for whole recordings beside the live one, over the same sound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import ModelMissing
from alfred_voice.models.catalog import SILERO_RECORDING, SILERO_SESSIONS
from alfred_voice.models.derived import RECORD_NAME
from alfred_voice.models.engine import WINDOW_SAMPLES, Float32
from alfred_voice.models.silero import SileroVad
from alfred_voice.models.silero_run import RecordingSilero
from alfred_voice.models.store import Store


pytestmark = pytest.mark.models

STOCK = ("silero-vad", "silero_vad_op18_ifless.onnx")


@pytest.fixture(scope="module")
def windows(two_cities: NDArray[np.int16]) -> Float32:
    """The reading, 44 s."""
    samples = two_cities.astype(np.float32) / np.float32(32_768)
    return samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)


@pytest.fixture(scope="module")
def network(models: Store) -> RecordingSilero:
    return RecordingSilero.load(models.path(*STOCK))


def test_says_what_the_live_one_says_window_by_window(
    models: Store, network: RecordingSilero, windows: Float32
) -> None:
    windows = np.tile(windows, (4, 1))  # chained over three minutes
    live = SileroVad.load(models.path(*STOCK))
    states = live.new_states(1)
    expected = np.concatenate([live.step(states, [0], window[None]) for window in windows])
    found = network.new_run().hear(windows)
    # The state carries rounding on from window to window: 3e-6 is the most that was seen, over 400 s.
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5)
    assert ((found >= 0.5) == (expected >= 0.5)).all()
    assert 0.2 < (found >= 0.5).mean() < 0.99, "both speech and silence were there to be told apart"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_does_not_mind_how_many_windows_it_is_given_at_once(
    network: RecordingSilero, windows: Float32, size: int
) -> None:
    run, some = network.new_run(), windows[:300]
    parts = np.concatenate([run.hear(some[start : start + size]) for start in range(0, len(some), size)])
    np.testing.assert_allclose(parts, network.new_run().hear(some), rtol=0, atol=5e-5)


def test_is_as_fresh_as_a_new_one_after_a_reset(network: RecordingSilero, windows: Float32) -> None:
    run = network.new_run()
    run.hear(windows[:50])
    run.reset()
    np.testing.assert_array_equal(run.hear(windows[50:80]), network.new_run().hear(windows[50:80]))


def test_no_window_has_no_probability(network: RecordingSilero) -> None:
    assert network.new_run().hear(np.zeros((0, WINDOW_SAMPLES), np.float32)).shape == (0,)


def test_runs_of_one_network_do_not_hear_each_other(network: RecordingSilero, windows: Float32) -> None:
    one, other = network.new_run(), network.new_run()
    one.hear(windows[:100])
    np.testing.assert_array_equal(other.hear(windows[100:130]), network.new_run().hear(windows[100:130]))


def test_a_store_of_an_earlier_version_is_completed(models: Store, tmp_path: Path, windows: Float32) -> None:
    stock = models.path(*STOCK)
    expected = RecordingSilero.load(stock).new_run().hear(windows[:50])
    for path in (stock, stock.with_name(SILERO_SESSIONS)):
        shutil.copy2(path, tmp_path)
    record = json.loads(stock.with_name(RECORD_NAME).read_text("utf-8"))
    del record["results"][SILERO_RECORDING]
    (tmp_path / RECORD_NAME).write_text(json.dumps(record | {"version": "1"}), "utf-8")
    found = RecordingSilero.load(tmp_path / stock.name).new_run().hear(windows[:50])
    np.testing.assert_array_equal(found, expected)
    assert (tmp_path / SILERO_RECORDING).is_file()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"silero\.onnx"):
        RecordingSilero.load(tmp_path / "silero.onnx")
