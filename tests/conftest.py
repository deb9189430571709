"""What many tests need: the real models, and the speech that lies beside one of them, with its words."""

from __future__ import annotations

import signal
import wave
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from scipy.signal import resample_poly

from alfred_voice.models.store import Store, models_folder
from tests.event_loop import TidyLoop


SAMPLE_RATE = 16_000

settings.register_profile("without_clock", deadline=None)
settings.load_profile("without_clock")
# Whether an example is right does not depend on how busy the machine was.

READING_S = 10.42
"""Where the pause after the fifth clause of the reading begins."""
SENTENCE_S = (0.7, 4.72)
"""Where the first sentence of the reading begins and ends, with what little silence there is around it."""


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


@pytest.fixture(scope="session")
def beckett_text() -> str:
    """What is said in ``beckett`` (Samuel Beckett, Worstward Ho)."""
    return "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."


@pytest.fixture(scope="session")
def two_cities_text() -> str:
    """What is said in ``two_cities`` (Charles Dickens, A Tale of Two Cities, book 1, chapter 1)."""
    return (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
        "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had "
        "nothing before us, we were all going direct to Heaven, we were all going direct the other way - in short, "
        "the period was so far like the present period, that some of its noisiest authorities insisted on its being "
        "received, for good or for evil, in the superlative degree of comparison only."
    )


@pytest.fixture(scope="session")
def reading(two_cities: NDArray[np.int16]) -> NDArray[np.int16]:
    """10 s of real speech, five clauses with short pauses; its words do not depend on which of them end a turn."""
    return two_cities[: round(READING_S * 16_000)]


@pytest.fixture(scope="session")
def reading_text() -> str:
    """The words of ``reading``."""
    return (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief."
    )


@pytest.fixture(scope="session")
def sentence(two_cities: NDArray[np.int16]) -> NDArray[np.int16]:
    """4 s of real speech in one breath."""
    begin, end = (round(at * 16_000) for at in SENTENCE_S)
    return two_cities[begin:end]


@pytest.fixture(scope="session")
def sentence_text() -> str:
    """The words of ``sentence``."""
    return "It was the best of times, it was the worst of times."


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
