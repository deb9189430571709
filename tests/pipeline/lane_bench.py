"""A lane on the bench: an engine that does as it is told, and all that comes of it."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from alfred_voice.clock import ManualClock
from alfred_voice.errors import AlfredVoiceError, EngineFault, ModelMissing
from alfred_voice.pipeline.lane import Lane
from alfred_voice.pipeline.lane_options import LaneOptions
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.trial import PartlyAnswered
from alfred_voice.pipeline.work import DetectQueue, Job
from alfred_voice.session.requests import DetectRequest


Make = Callable[..., Job[DetectRequest]]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Engine:
    """One engine of the lane, as the test wants it to be."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Bench:
    """A lane whose engines a test scripts, and what came out of it."""

    def __init__(self, clock: ManualClock, metrics: Metrics, max_batch: int = 3, timeout_s: float = 30.0) -> None:
        self.clock = clock
        self.queue = DetectQueue(max_batch=max_batch, deadline_ms=10.0)
        self.batches: list[list[int]] = []
        self.engines = [Engine(0)]
        self.threads: set[str] = set()
        self.got: list[tuple[int, Any]] = []
        self.came: list[list[int]] = []
        self.forgotten: list[int] = []
        self.probes = 0
        self.afters = 0
        self.poisoned: dict[int, Exception] = {}
        self.nonsense: set[int] = set()
        self.hanging: set[int] = set()
        self.broken: Exception | None = None
        self.raises = 0
        self.is_unsound = False
        self.unbuilt = 0
        self.is_mended_by_building = False
        self.gate = threading.Event()
        self.gate.set()
        self.let_go = threading.Event()
        self.figures = LaneMetrics("vad", metrics)
        self.lane = Lane[DetectRequest, int](
            "vad", self.queue, partial(Asked, self), self.engines[0], self._deliver, self._after, clock, self.figures,
            LaneOptions(timeout_s=timeout_s, build=self.build),
        )  # fmt: skip

    def build(self) -> Engine:
        if self.unbuilt:
            self.unbuilt -= 1
            raise ModelMissing("no such file")
        if self.is_mended_by_building:
            self.poisoned.clear()
        self.engines.append(Engine(len(self.engines)))
        return self.engines[-1]

    def work(self, jobs: Sequence[Job[DetectRequest]]) -> list[int]:
        self.gate.wait(5)
        self.threads.add(threading.current_thread().name)
        rows = [job.stream.row for job in jobs]
        self.batches.append(rows)
        if self.hanging & set(rows):
            self.let_go.wait(20)
        self._maybe_raise()
        for row in rows:
            if row in self.poisoned:
                raise self.poisoned[row]
        if self.nonsense & set(rows):
            raise PartlyAnswered(
                [row * 10 for row in rows],
                {place: EngineFault("nan") for place, row in enumerate(rows) if row in self.nonsense},
            )
        return [row * 10 for row in rows]

    def probe(self) -> None:
        self.probes += 1
        self._maybe_raise()
        if self.is_unsound:
            raise EngineFault("even so")

    def _maybe_raise(self) -> None:
        if self.raises:
            self.raises -= 1
            raise RuntimeError("a fault in passing")
        if self.broken is not None:
            raise self.broken

    def _deliver(self, jobs: Sequence[Job[DetectRequest]], answers: Sequence[int | AlfredVoiceError]) -> None:
        self.got += [(job.stream.row, answer) for job, answer in zip(jobs, answers, strict=True)]
        self.came.append([job.stream.row for job in jobs])

    def _after(self) -> None:
        self.afters += 1

    def has_answered(self, count: int) -> bool:
        return len(self.got) == count

    @property
    def rows(self) -> list[int]:
        return [row for row, _ in self.got]


class Asked:
    """The work of the bench's lane with one engine."""

    def __init__(self, bench: Bench, engine: Engine) -> None:
        self.engine = engine
        self._bench = bench

    def __call__(self, jobs: Sequence[Job[DetectRequest]]) -> list[int]:
        return self._bench.work(jobs)

    def probe(self) -> None:
        self._bench.probe()

    def forget(self, jobs: Sequence[Job[DetectRequest]]) -> None:
        self._bench.forgotten += [job.stream.row for job in jobs]

    def longest_s(self, jobs: int) -> float:
        return 0.0


def fill(bench: Bench, detect_job: Make, speaker: Callable[..., Any], rows: Sequence[int]) -> list[Any]:
    speakers = [speaker(row) for row in rows]
    for each in speakers:
        bench.lane.put(detect_job(each, bench.clock.now()))
    bench.lane.kick()
    return speakers
