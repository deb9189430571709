"""One daemon for most tests, and the daemon's own synthesiser to say what the recordings do not."""

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
