"""Engines that do wrong in a real daemon: what one session's row costs it alone, and what costs nobody anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.models.store import Store
from tests.event_loop import run_to_end
from tests.faults import Fault, Switch, Wrong, marked
from tests.sounds import Int16, joined, silence
from tests.support import (
    Daemon,
    Heard,
    check_session,
    metrics_of,
    running_daemon,
    status_of,
    stream,
    wait_until_calm,
    words,
)


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 3.0
"""Of a call of an engine: many times what one takes here."""
OTHERS = 3
SETTINGS = (
    f"pipeline.engine_timeout_s={TIMEOUT_S}",
    # A recogniser that is loaded again takes more for a while, and this is not about memory.
    "memory.limit_mb=2000",
    "memory.gc_trigger_mb=2000",
)


@dataclass
class Faulty:
    """A daemon whose engines do wrong when they are told to."""

    daemon: Daemon
    switch: Switch
    before: dict[str, Any] = field(default_factory=dict)

    def throw(self, kind: Any, wrong: Wrong, **asked: Any) -> None:
        self.before = metrics_of(self.daemon)["lanes"]
        self.switch.throw(Fault(kind, wrong, **asked))

    def more(self, kind: str, figure: str) -> int:
        """By how much a figure of a lane has grown since the fault was thrown."""
        return int(metrics_of(self.daemon)["lanes"][kind][figure]) - int(self.before[kind][figure])

    async def speak(self, *sounds: Int16, partials: bool = True) -> list[Heard]:
        """As many sessions at once, in real time, in step so that they share batches."""
        start = {"partials": partials}
        sessions = [stream(self.daemon.ws, sound, start=start, within_s=40) for sound in sounds]
        return list(await asyncio.gather(*sessions))


@pytest.fixture(scope="module")
def daemon_with_faults(models: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    assert models.root.is_dir()
    folder = tmp_path_factory.mktemp("faulty")
    switch = folder / "switch"
    with running_daemon(
        folder,
        *(word for setting in SETTINGS for word in ("--set", setting)),
        command=(str(ROOT / "tests" / "faulty_daemon.py"), str(switch)),
        env={"PYTHONPATH": str(ROOT)},
    ) as daemon:
        yield Faulty(daemon, Switch(switch))


@pytest.fixture
def faulty(daemon_with_faults: Faulty) -> Iterator[Faulty]:
    """The same daemon for all tests: a lane that one of them has broken for good would fail the next."""
    yield daemon_with_faults
    daemon_with_faults.switch.throw(None)
    deadline = time.monotonic() + 20
    while {lane["state"] for lane in metrics_of(daemon_with_faults.daemon)["lanes"].values()} != {"up"}:
        assert time.monotonic() < deadline, daemon_with_faults.daemon.log_tail()
        time.sleep(0.1)
    wait_until_calm(daemon_with_faults.daemon)
    assert status_of(f"{daemon_with_faults.daemon.base}/readyz") == 200


@pytest.fixture(scope="module")
def said(sentence: Int16) -> Int16:
    """A sentence and the silence that ends the turn."""
    return joined(silence(0.3), sentence, silence(1.2))


@pytest.fixture(scope="module")
def undisturbed(daemon_with_faults: Faulty, said: Int16) -> Heard:
    """What the daemon hears when nothing goes wrong."""
    (heard,) = run_to_end(daemon_with_faults.speak(said, partials=False))
    check_session(heard)
    assert heard.text
    return heard


def finals(heard: Heard) -> list[tuple[str, float, float]]:
    return [(final["text"], final["start_ms"], final["end_ms"]) for final in heard.finals]


def check_unharmed(all_heard: list[Heard], undisturbed: Heard, *, partials: bool = True) -> None:
    """All have heard what is heard when nothing goes wrong.

    To the letter without partials; with them capitals and stops are those of the partial that made a word stable.
    """
    for heard in all_heard:
        check_session(heard)
        assert words(heard.text) == words(undisturbed.text)
        assert partials or finals(heard) == finals(undisturbed)
        assert not heard.of("error")


def check_ended(heard: Heard) -> None:
    """The fault has ended this session, in order, and with what had been heard of it."""
    check_session(heard, reason="error", dropped=True)
    (error,) = heard.of("error")
    assert (error["code"], error["fatal"]) == ("row_failure", True)
    assert heard.types[-2:] == ["error", "sessionEnded"]
    assert heard.finals
    assert heard.close_code == 1011


@pytest.mark.parametrize("wrong", ["raise", "memory", "oom", "nan", "count"])
async def test_a_recogniser_that_cannot_bear_one_session_costs_that_one_alone(
    faulty: Faulty, said: Int16, undisturbed: Heard, wrong: Wrong
) -> None:
    faulty.throw("stt", wrong, only_marked=True)
    lost, *others = await faulty.speak(marked(said), *[said] * OTHERS)
    check_ended(lost)
    check_unharmed(others, undisturbed)
    assert lost.of("warning"), "the partial that failed"
    # A partial, maybe one that waited behind it, after which no more were asked for; and the final.
    assert faulty.more("stt", "rows_failed") in (2, 3)
    assert faulty.more("stt", "restarts") == 0


@pytest.mark.parametrize("wrong", ["raise", "nan", "count"])
async def test_a_detector_that_cannot_bear_one_session_costs_that_one_alone(
    faulty: Faulty, said: Int16, undisturbed: Heard, wrong: Wrong
) -> None:
    faulty.throw("vad", wrong, only_marked=True)
    lost, *others = await faulty.speak(marked(said), *[said] * OTHERS, partials=False)
    check_ended(lost)
    check_unharmed(others, undisturbed, partials=False)
    assert faulty.more("vad", "rows_failed") == 1
    assert faulty.more("vad", "restarts") == 0


async def test_a_turn_model_that_cannot_bear_one_session_leaves_its_end_to_silence(
    faulty: Faulty, said: Int16, undisturbed: Heard
) -> None:
    faulty.throw("turn", "raise", only_marked=True)
    unjudged, other = await faulty.speak(joined(marked(said), silence(2.0)), said)
    check_unharmed([other], undisturbed)
    check_session(unjudged)
    assert unjudged.one("turnComplete")["reason"] == "silence"


@pytest.mark.parametrize("wrong", ["raise", "oom", "nan"])
@pytest.mark.parametrize("kind", ["stt", "turn"])
async def test_an_engine_that_fails_three_times_is_started_again_and_nothing_is_lost(
    faulty: Faulty, said: Int16, undisturbed: Heard, kind: str, wrong: Wrong
) -> None:
    faulty.throw(kind, wrong, times=3)
    check_unharmed(await faulty.speak(said), undisturbed)
    assert faulty.more(kind, "restarts") >= 1
    assert faulty.more(kind, "rows_failed") == 0


async def test_a_detector_that_fails_for_everybody_is_started_again_and_nobody_is_lost(
    faulty: Faulty, said: Int16, undisturbed: Heard
) -> None:
    faulty.throw("vad", "raise", times=3)
    check_unharmed(await faulty.speak(said, said), undisturbed)
    assert faulty.more("vad", "rows_failed") == 0


@pytest.mark.parametrize("kind", ["stt", "turn"])
async def test_an_engine_that_hangs_is_started_again_and_nothing_is_lost(
    faulty: Faulty, said: Int16, undisturbed: Heard, kind: str
) -> None:
    faulty.throw(kind, "hang", times=1)
    all_heard = await faulty.speak(*[joined(said, silence(2.0))] * 2)
    assert faulty.more(kind, "timeouts") == 1
    # Nobody waits for a turn model that takes so long: the sessions may be over before there is another one.
    async with asyncio.timeout(30):
        while not faulty.more(kind, "restarts"):  # noqa: ASYNC110  what is waited for is in another process
            await asyncio.sleep(0.1)
    check_unharmed(all_heard, undisturbed)


async def test_one_session_whose_clip_hangs_the_recogniser_ends_and_the_others_have_their_finals(
    faulty: Faulty, said: Int16, undisturbed: Heard
) -> None:
    faulty.throw("stt", "hang", only_marked=True)
    lost, *others = await faulty.speak(marked(said), said)
    check_ended(lost)
    check_unharmed(others, undisturbed)
    # The detector went on all the while: what the others said was told to have begun and ended.
    assert all(heard.of("speechStart") and heard.of("speechEnd") for heard in others)
