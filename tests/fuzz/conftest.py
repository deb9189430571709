"""How many inputs there are, what they may cost, and the daemon that gets them over the network."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.inputs import SEEN
from tests.support import Daemon, running_daemon


MOST_MEMORY = 6 << 30
"""So that an input that makes a parser ask for all memory fails its test instead of the machine."""
SCRIPTED = tuple(part for room in ("vad", "stt", "turn", "tts") for part in ("--set", f"{room}.engine=scripted"))

settings.register_profile(
    "long",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "1500")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("short", max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
if "FUZZ_EXAMPLES" in os.environ:
    settings.load_profile("long")
else:
    settings.load_profile("short")


@pytest.fixture(scope="session", autouse=True)
def bounded_memory() -> Iterator[None]:
    """No input may take the machine with it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A real daemon with scripted engines; nothing that it is sent may make it log a traceback."""
    with running_daemon(tmp_path_factory.mktemp("daemon"), *SCRIPTED) as running:
        yield running
    log = running.log.read_text(errors="replace")
    for mark in ("Traceback", " ERROR ", "py.warnings"):
        assert mark not in log, log[max(0, log.index(mark) - 1000) :][:5000]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A failure may be shown in full, however large the input is that it comes from."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many inputs each parser saw, where that was asked for."""
    if "FUZZ_EXAMPLES" in os.environ:
        for parser, count in sorted(SEEN.items()):
            terminalreporter.write_line(f"{count:>9,}  {parser}")
        terminalreporter.write_line(f"{SEEN.total():>9,}  inputs")
