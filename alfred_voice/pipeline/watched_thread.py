"""An engine's thread with a watchdog: a call comes back to the loop, or is given up together with its thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from alfred_voice.pipeline.engine_thread import EngineThread


T = TypeVar("T")

CLOSE_WITHIN_S = 5.0
"""How long a call that runs may hold up the end."""


class WatchedThread(Generic[T]):
    """Makes one call at a time. Used on the event loop; only the calls themselves are in the thread.

    Args:
        name: the thread's.
        receive: called on the loop with what a call has returned.
        on_hang: called on the loop when one has been given up, with how many seconds it had; there is a fresh thread.
    """

    def __init__(self, name: str, receive: Callable[[T], None], on_hang: Callable[[float], None]) -> None:
        self._name = name
        self._receive = receive
        self._on_hang = on_hang
        self._thread = EngineThread(name)
        self._running: Future[T] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def is_running(self) -> bool:
        """Whether a call is being made that has not been given up."""
        return self._running is not None

    def call(self, function: Callable[[], T], timeout_s: float) -> None:
        """Make a call, which must not raise, and give it up after so many seconds."""
        loop = asyncio.get_running_loop()
        running: Future[T] = Future()
        self._running = running
        running.add_done_callback(partial(self._bring_back, loop))
        self._thread.put(lambda: running.set_result(function()))
        self._watchdog = loop.call_later(timeout_s, self._give_up, timeout_s)

    async def close(self) -> None:
        """Make no more calls, and wait a little for the one that runs; nobody gets what it returns."""
        self._closed = True
        self._stop_watching()
        self._thread.end()
        if self._running is not None:
            await asyncio.wait([asyncio.wrap_future(self._running)], timeout=CLOSE_WITHIN_S)

    def _bring_back(self, loop: asyncio.AbstractEventLoop, done: Future[T]) -> None:
        # In the thread. What has been given up comes back to nobody.
        if not self._closed and self._running is done:
            loop.call_soon_threadsafe(self._take_back, done)

    def _take_back(self, done: Future[T]) -> None:
        if self._running is not done or self._closed:
            return
        self._running = None
        self._stop_watching()
        self._receive(done.result())

    def _give_up(self, after_s: float) -> None:
        self._watchdog = self._running = None
        self._thread.end()
        self._thread = EngineThread(self._name)
        self._on_hang(after_s)

    def _stop_watching(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = None
