"""An engine on its way back: attempts that follow each other with growing pauses, and never on the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from alfred_voice.pipeline.rebuild import LONGEST_PAUSE_S, Rebuild, pause_s


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def test_pauses_grow_up_to_a_bound() -> None:
    assert [pause_s(restarts) for restarts in (0, 1, 2, 3, 4)] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert pause_s(100) == LONGEST_PAUSE_S


async def test_the_engine_is_built_in_a_thread_and_told_on_the_loop(eventually: Eventually) -> None:
    threads: list[str] = []
    built: list[tuple[str, int]] = []

    def build() -> str:
        threads.append(threading.current_thread().name)
        return "an engine"

    Rebuild("stt", build, lambda engine: built.append((engine, threading.get_ident())), lambda: None)
    await eventually(lambda: built)
    assert threads == ["build-stt"]
    assert built == [("an engine", threading.get_ident())]


async def test_an_attempt_that_fails_is_told_and_followed_by_another(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.FIRST_PAUSE_S", 0.001)
    answers: list[Exception | str] = [OSError("no file"), MemoryError(), "an engine"]
    built: list[str] = []
    failures: list[int] = []

    def build() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    Rebuild("stt", build, built.append, lambda: failures.append(1))
    await eventually(lambda: built)
    assert (built, len(failures)) == (["an engine"], 2)


async def test_an_attempt_that_hangs_is_left_behind(eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("alfred_voice.pipeline.rebuild.BUILD_WITHIN_S", 0.02)
    let_go = threading.Event()
    attempts: list[int] = []
    built: list[int] = []

    def build() -> int:
        attempts.append(1)
        number = len(attempts)
        if number == 1:
            let_go.wait(10)
        return number

    Rebuild("stt", build, built.append, lambda: None)
    await eventually(lambda: built)
    let_go.set()
    await asyncio.sleep(0.02)
    assert built == [2]


async def test_what_has_been_cancelled_tells_nothing(eventually: Eventually) -> None:
    let_go, begun = threading.Event(), threading.Event()
    told: list[int] = []

    def build() -> int:
        begun.set()
        let_go.wait(10)
        return 1

    rebuild = Rebuild("stt", build, told.append, lambda: told.append(0))
    await eventually(begun.is_set)
    rebuild.cancel()
    let_go.set()
    await asyncio.sleep(0.02)
    assert told == []
