"""Several recognisers at work on one recording, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

from alfred_voice.clock import Clock, SystemClock
from alfred_voice.models.engine import Clip, SttEngine
from alfred_voice.results import Transcript


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What became of one batch."""

    transcripts: list[Transcript]
    seconds: float
    """How long the engine took."""


class Crew:
    """Engines that take batches side by side; each is called by one thread at a time.

    One engine alone works in the thread that asks it: there is nothing to do meanwhile that would be quicker elsewhere.
    May be used by several recordings at once, which then share the engines.

    Args:
        engines: all of one kind.
        clock: measures them.
    """

    def __init__(self, engines: Sequence[SttEngine], clock: Clock | None = None) -> None:
        if not engines:
            raise ValueError("Expected at least one engine, but got none")
        self._clock = clock or SystemClock()
        self.name = engines[0].name
        self.first = engines[0]
        """Any of them, to ask what all of them are."""
        self.size = len(engines)
        self._free: SimpleQueue[SttEngine] = SimpleQueue()
        for engine in engines:
            self._free.put(engine)
        self._pool = ThreadPoolExecutor(self.size, thread_name_prefix="recogniser") if self.size > 1 else None

    def submit(self, clips: Iterable[Clip]) -> Future[Answer]:
        """Have a batch recognised; the answer has one transcript for each clip, in their order.

        ``clips`` is gone over when the batch's turn has come, once, in the worker's thread: what is made there and then
        takes no memory while it waits.
        """
        if self._pool is not None:
            return self._pool.submit(self._work, clips)
        answered: Future[Answer] = Future()
        try:
            answered.set_result(self._work(clips))
        except Exception as error:  # noqa: BLE001  raised where the answer is asked for, as a thread's would be
            answered.set_exception(error)
        return answered

    def close(self) -> None:
        """Wait for what is being recognised, and forget the rest."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self, clips: Iterable[Clip]) -> Answer:
        engine = self._free.get()
        begun = self._clock.now()
        try:
            transcripts = engine.transcribe(list(clips))
        finally:
            self._free.put(engine)
        return Answer(transcripts, self._clock.now() - begun)
