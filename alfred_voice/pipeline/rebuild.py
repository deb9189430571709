"""An engine made anew after it has failed: in a thread of its own, again and again until it goes well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from alfred_voice.pipeline.engine_thread import EngineThread


T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""A model that cannot be loaded (no memory, no file) does not come back within a second; a minute is too long to wait
once it could."""
BUILD_WITHIN_S = 120.0
"""A large model from a cold disk takes a minute; what takes longer hangs."""


def pause_s(restarts: int) -> float:
    """How long to wait before the next attempt, after so many that did not help: none at first, then doubled."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (restarts - 1)) if restarts > 0 else 0.0


class Rebuild(Generic[T]):
    """One engine on its way back. Lives on the event loop; only ``build`` runs in a thread.

    Args:
        name: of the lane, for the log and the thread.
        build: makes the engine.
        on_built: called on the loop with the new engine, once.
        on_failed: called on the loop when an attempt has failed; the next one follows by itself.
        restarts: how many have not helped before.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], T],
        on_built: Callable[[T], None],
        on_failed: Callable[[], None],
        restarts: int = 0,
    ) -> None:
        self._name = name
        self._build = build
        self._on_built = on_built
        self._on_failed = on_failed
        self._attempts = restarts
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(pause_s(restarts), self._begin)
        self._attempt: object = None

    def cancel(self) -> None:
        """Leave it; an attempt that runs comes to nothing."""
        self._timer.cancel()
        self._attempt = None

    def _begin(self) -> None:
        self._attempt = attempt = object()
        thread = EngineThread(f"build-{self._name}")
        thread.put(partial(self._run, attempt))
        thread.end()
        self._timer = self._loop.call_later(
            BUILD_WITHIN_S, self._failed, attempt, TimeoutError(f"not built within {BUILD_WITHIN_S:g} s")
        )

    def _run(self, attempt: object) -> None:
        try:
            engine = self._build()
        except Exception as error:  # noqa: BLE001  the border to the engine: whatever it raises, there will be a next time
            self._tell(self._failed, attempt, error)
        else:
            self._tell(self._built, attempt, engine)

    def _tell(self, receive: Callable[..., None], *arguments: object) -> None:
        # Nobody waits any more when the loop has been closed meanwhile.
        if self._attempt is arguments[0] and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(receive, *arguments)

    def _built(self, attempt: object, engine: T) -> None:
        if self._attempt is attempt:
            self.cancel()
            self._on_built(engine)

    def _failed(self, attempt: object, error: Exception) -> None:
        if self._attempt is not attempt:
            return
        self.cancel()
        self._attempts += 1
        wait_s = pause_s(self._attempts)
        log.error("engine_not_built", extra={"lane": self._name, "error": str(error), "next_in_s": wait_s})
        self._timer = self._loop.call_later(wait_s, self._begin)
        self._on_failed()
