"""Calls in an engine's thread: brought back to the loop, or given up when they hang."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

from alfred_voice.pipeline.watched_thread import WatchedThread


Eventually = Callable[[Callable[[], object]], Awaitable[None]]

NEVER_S = 60.0


async def test_what_a_call_returns_is_received_on_the_loop(eventually: Eventually) -> None:
    received: list[tuple[str, str]] = []
    thread: WatchedThread[str] = WatchedThread(
        "lane-x", lambda name: received.append((name, threading.current_thread().name)), lambda _: None
    )
    thread.call(lambda: threading.current_thread().name, NEVER_S)
    was_running = thread.is_running
    await eventually(lambda: received)
    assert received == [("lane-x", threading.current_thread().name)]
    assert (was_running, thread.is_running) == (True, False)
    await thread.close()


async def test_a_call_that_hangs_is_given_up_and_the_next_one_has_a_fresh_thread(eventually: Eventually) -> None:
    received: list[str] = []
    hung: list[float] = []
    let_go = threading.Event()
    thread: WatchedThread[str] = WatchedThread("lane-x", received.append, hung.append)
    thread.call(lambda: str(let_go.wait()), 0.01)
    await eventually(lambda: hung)
    assert (hung, thread.is_running) == ([0.01], False)

    thread.call(lambda: "the next one", NEVER_S)
    await eventually(lambda: received)
    let_go.set()  # what it returns now is nobody's any more
    await eventually(lambda: "lane-x" not in names_but_one())
    assert received == ["the next one"]
    await thread.close()


async def test_nobody_receives_what_is_returned_after_the_end() -> None:
    received: list[bool] = []
    begun, let_go = threading.Event(), threading.Event()

    def call() -> bool:
        begun.set()
        return let_go.wait()

    thread: WatchedThread[bool] = WatchedThread("lane-x", received.append, lambda _: None)
    thread.call(call, NEVER_S)
    begun.wait()
    let_go.set()
    await thread.close()
    assert received == []


def names_but_one() -> list[str]:
    """The threads' names, without the newest of ``lane-x``, which waits for its next call."""
    names = [one.name for one in threading.enumerate()]
    names.remove("lane-x")
    return names
