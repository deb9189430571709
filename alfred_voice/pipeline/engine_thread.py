"""A thread in which an engine computes; one that hangs is left behind and does not hold up the process's end."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from alfred_voice.pipeline.priority import give_way


class EngineThread:
    """Does one call after the other; begins with the first one, and ends when it is told to.

    A daemon thread, unlike those of ``ThreadPoolExecutor``: the interpreter waits for those when it ends, and for one
    that hangs it would wait for ever.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._has_begun = False

    def put(self, call: Callable[[], None]) -> None:
        """Let ``call`` be made when those before it have returned. It must not raise."""
        if not self._has_begun:
            self._has_begun = True
            Thread(target=self._run, name=self._name, daemon=True).start()
        self._calls.put(call)

    def end(self) -> None:
        """Let the thread end when the calls that it has been given have returned."""
        self._calls.put(None)

    def _run(self) -> None:
        give_way()
        while (call := self._calls.get()) is not None:
            call()
            # Or the last call would keep what it holds until the next one comes: an engine, for example.
            del call
