"""One daemon for most tests, speech whose words are known, and the daemon's own synthesiser to say more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import soxr

from alfred_voice.models.espeak import EspeakTts
from alfred_voice.models.store import Store
from tests.sounds import Int16, trimmed
from tests.support import Daemon, running_daemon, wait_until_calm


Say = Callable[..., Int16]
StartDaemon = Callable[..., AbstractContextManager[Daemon]]

READING_S = 10.42
"""Where the pause after the fifth clause of the reading begins."""
SENTENCE_S = (0.7, 4.72)
"""Where the first sentence of the reading begins and ends, with what little silence there is around it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies here drives a real daemon with real models."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.end_to_end)
            item.add_marker(pytest.mark.models)


@pytest.fixture(scope="session")
def daemon(models: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with its default settings, shared by all tests; its end is a test of its own."""
    assert models.root.is_dir()
    with running_daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture(autouse=True)
def calm_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """What one test loads the shared daemon with is not to be felt by the next."""
    yield
    if "daemon" in request.fixturenames:
        wait_until_calm(request.getfixturevalue("daemon"))


@pytest.fixture
def start_daemon(models: Store, tmp_path: Path) -> StartDaemon:
    """Starts a daemon of the test's own, with further arguments of ``serve``."""
    assert models.root.is_dir()

    def start(*arguments: str) -> AbstractContextManager[Daemon]:
        return running_daemon(tmp_path, *arguments)

    return start


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
def reading(two_cities: Int16) -> Int16:
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
def sentence(two_cities: Int16) -> Int16:
    """4 s of real speech in one breath."""
    begin, end = (round(at * 16_000) for at in SENTENCE_S)
    return two_cities[begin:end]


@pytest.fixture(scope="session")
def sentence_text() -> str:
    """The words of ``sentence``."""
    return "It was the best of times, it was the worst of times."


@pytest.fixture(scope="session")
def say() -> Say:
    """Speaks a text: int16, 16 kHz, without the silence around it."""
    engine = EspeakTts()

    def spoken(text: str, voice: str = "en-us", speed: float = 1.0) -> Int16:
        pieces: list[Int16] = []

        def keep(piece: Int16) -> bool:
            pieces.append(piece.copy())
            return True

        engine.synthesise(text, voice, speed, keep)
        samples = np.concatenate(pieces).astype(np.float64)
        resampled = soxr.resample(samples, engine.sample_rate, 16_000)
        return trimmed(np.clip(resampled, -32768, 32767).astype(np.int16))

    return spoken
