"""Another engine for a lane, loaded and tried in a thread while the old one works on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from alfred_voice.clock import ManualClock
from alfred_voice.errors import AlfredVoiceError, EngineFailure
from alfred_voice.pipeline.engine_call import close_aside
from alfred_voice.pipeline.engine_thread import EngineThread
from alfred_voice.pipeline.engine_work import JudgeWork, TranscribeWork


LOAD_WITHIN_S = 300.0
"""A large model from a cold disk, or its graphs for a graphics card, take minutes."""


def try_engine(lane: str, engine: Any) -> None:
    """Ask a new engine about a moment of silence; it raises what the engine raises.

    Raises:
        EngineFault: it answers nonsense.
    """
    # To ask about silence takes no time that anybody reads.
    work = JudgeWork(engine) if lane == "turn" else TranscribeWork(engine, ManualClock())
    work.probe()


async def load_aside(lane: str, build: Callable[[], Any], within_s: float = LOAD_WITHIN_S) -> Any:
    """An engine that has been built and tried, both in a thread of its own.

    When nobody waits any more, because of a cancellation or the time, the engine is closed as soon as it is there.

    Args:
        lane: what it is for: ``stt``, ``stt-`` and a name, or ``turn``.
        build: makes it.
        within_s: longest that it may take.

    Raises:
        EngineFailure: it could not be loaded, or answers nonsense, or takes too long.
        AlfredVoiceError: what ``build`` raises deliberately, a missing model for example.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    gone = threading.Event()

    def settle(engine: Any, error: Exception | None) -> None:
        if outcome.done():
            close_aside(lane, engine)
        elif error is None:
            outcome.set_result(engine)
        else:
            close_aside(lane, engine)
            outcome.set_exception(error)

    def run() -> None:
        engine, error = _built(lane, build)
        is_awaited = not gone.is_set() and not loop.is_closed()
        if is_awaited:
            loop.call_soon_threadsafe(settle, engine, error)
        else:
            close_aside(lane, engine)

    thread = EngineThread(f"load-{lane}")
    thread.put(run)
    thread.end()
    try:
        async with asyncio.timeout(within_s):
            return await outcome
    except TimeoutError:
        raise EngineFailure(f"{lane}: not loaded within {within_s:g} s") from None
    finally:
        gone.set()


def _built(lane: str, build: Callable[[], Any]) -> tuple[Any, AlfredVoiceError | None]:
    """An engine and what is wrong with it; the engine is None when it could not be built at all."""
    engine = None
    try:
        engine = build()
        try_engine(lane, engine)
    except AlfredVoiceError as error:
        return engine, error
    except Exception as error:  # noqa: BLE001  the border to the engine: whatever it raises, it cannot be had
        return engine, EngineFailure(f"{lane}: {type(error).__name__}: {error}")
    return engine, None
