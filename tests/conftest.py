"""What many tests need: the real models, and the speech that lies beside one of them."""

from __future__ import annotations

import signal
import wave
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from alfred_voice.models.store import Store, models_folder
from tests.event_loop import TidyLoop


SAMPLE_RATE = 16_000


def pytest_configure() -> None:
    """Shells start what runs in the background with Ctrl-C ignored, and programs that the tests start inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], TidyLoop]]:
    """The one kind of loop that tests run on."""
    return {"tidy": TidyLoop}


@pytest.fixture(scope="session")
def models() -> Store:
    """The user's store with all default models, fetched now if they are not there."""
    store = Store(models_folder())
    store.pull()
    return store


@pytest.fixture(scope="session")
def references(models: Store) -> Store:
    """The same store, with the published code that ours is compared with."""
    models.pull("references")
    return models


@pytest.fixture(scope="session")
def beckett(models: Store) -> NDArray[np.int16]:
    """10 s of read speech: int16, shape (n,), 16 kHz."""
    return _recording(models.path("moonshine-tiny-en", "beckett.wav"))


@pytest.fixture(scope="session")
def two_cities(models: Store) -> NDArray[np.int16]:
    """44 s of read speech with pauses: int16, shape (n,), 16 kHz (recorded at 48 kHz)."""
    return _recording(models.path("moonshine-tiny-en", "two_cities.wav"))


def _recording(path: Path) -> NDArray[np.int16]:
    """A mono 16-bit WAV file at 16 kHz."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    if rate != SAMPLE_RATE:
        divisor = np.gcd(rate, SAMPLE_RATE)
        resampled = resample_poly(samples.astype(np.float64), SAMPLE_RATE // divisor, rate // divisor)
        samples = np.clip(np.round(resampled), -32768, 32767).astype(np.int16)
    samples = samples.astype(np.int16)
    samples.flags.writeable = False  # shared by all tests
    return samples
