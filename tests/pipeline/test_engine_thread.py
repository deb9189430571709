"""The thread of an engine: one call after the other, and none that keeps the process from ending."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable

from alfred_voice.pipeline.engine_thread import EngineThread


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


async def test_calls_are_made_in_order_in_one_thread_that_ends_when_told(eventually: Eventually) -> None:
    made: list[tuple[int, str]] = []
    thread = EngineThread("lane-x")
    for number in range(3):
        thread.put(lambda number=number: made.append((number, threading.current_thread().name)))  # type: ignore[misc]
    await eventually(lambda: len(made) == 3)
    assert made == [(number, "lane-x") for number in range(3)]
    assert "lane-x" in {one.name for one in threading.enumerate()}
    thread.end()
    await eventually(lambda: "lane-x" not in {one.name for one in threading.enumerate()})


async def test_a_thread_that_was_never_used_is_none() -> None:
    EngineThread("lane-unused").end()
    assert "lane-unused" not in {one.name for one in threading.enumerate()}


def test_a_call_that_hangs_does_not_hold_up_the_process_s_end() -> None:
    script = (
        "import threading; from alfred_voice.pipeline.engine_thread import EngineThread\n"
        "EngineThread('lane-x').put(threading.Event().wait)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=30, check=False)
    assert ended.returncode == 0
