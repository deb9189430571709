"""Many clients at once: opened, paced, stopped, and what came of it. Runs in this process, or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from alfred_voice.bench.caller import Caller
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.journal import Figures, Timeline, figures_of, merged
from alfred_voice.bench.pacing import Lateness, Schedule, pace
from alfred_voice.bench.script import Script, ScriptOptions, ScriptWriter, Turn
from alfred_voice.bench.stopwatch import own_cpu_s
from alfred_voice.clock import SystemClock


T = TypeVar("T")

OPEN_WITHIN_S = 30.0
OPENING_AT_ONCE = 32
END_WITHIN_S = 30.0
"""How long after ``stop`` the last events may take."""
_SAMPLED_EVENTS = ("frameProcessed",)


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many clients, and how they are looked at."""

    sessions: int
    processes: int = 1
    """Over which they are spread."""
    sampled: int = 8
    """How many of them ask for the verdict on every frame."""
    warm_up_s: float = 3.0
    """What is sent before that is not counted among the delays."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadPlan:
    """What the clients of one process do."""

    host: str
    port: int
    numbers: tuple[int, ...]
    """Which of all clients these are."""
    sampled: int
    """Clients whose numbers are below that ask for the verdict on every frame."""
    shift: float
    """Where these clients' frames stand between those of the other processes: see :class:`Schedule`."""
    options: ScriptOptions
    turns: tuple[Turn, ...]
    warm_up_s: float


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """What came of the load of one process."""

    figures: Figures
    lateness: Lateness
    cpu_s: float
    """Of the generator, while it sent."""


class Load(Protocol):
    """Clients wherever they run: opened first, then sent."""

    async def open(self) -> None:
        """Open all sessions.

        Raises:
            CallRefused: the daemon does not take so many.
        """

    async def run(self, begin_s: float) -> LoadFigures:
        """Send everything, the first frames from ``begin_s`` on, and wait for the sessions' ends."""


class OwnLoad:
    """The clients of this process."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._clock = SystemClock()
        writer = ScriptWriter(plan.turns, plan.options)
        self._scripts: list[Script] = [writer.write(number) for number in plan.numbers]
        self._callers: list[Caller] = []

    async def open(self) -> None:
        """Open all sessions."""
        gate = asyncio.Semaphore(OPENING_AT_ONCE)

        async def opened(number: int) -> Caller:
            events = _SAMPLED_EVENTS if number < self._plan.sampled else ()
            async with gate:
                return await Caller.open(self._clock, self._plan.host, self._plan.port, OPEN_WITHIN_S, events)

        # Whoever was let in is told to leave when another was not.
        results = await asyncio.gather(*map(opened, self._plan.numbers), return_exceptions=True)
        self._callers = [result for result in results if isinstance(result, Caller)]
        refusals = [result for result in results if isinstance(result, BaseException)]
        if refusals:
            await self._end()
            raise refusals[0]

    async def run(self, begin_s: float) -> LoadFigures:
        """Send everything and wait for the sessions' ends."""
        plan = self._plan
        schedule = Schedule(begin_s, len(self._callers), plan.options.frames, plan.shift)
        cpu_before = own_cpu_s()
        lateness = await pace(
            schedule,
            [script.messages for script in self._scripts],
            [caller.write for caller in self._callers],
            self._clock,
        )
        cpu_s = own_cpu_s() - cpu_before
        await self._end()
        counted_from_s = begin_s + plan.warm_up_s
        figures = merged(
            figures_of(
                caller.journal,
                Timeline(schedule.starts_s(client), plan.options.frames, counted_from_s),
                script.spoken,
                script.speech_frames,
            )
            for client, (caller, script) in enumerate(zip(self._callers, self._scripts, strict=True))
        )
        return LoadFigures(figures, lateness, cpu_s)

    async def _end(self) -> None:
        """Stop all sessions, each to its end or until there has been time enough."""
        for caller in self._callers:
            caller.stop()
        overs = [caller.over for caller in self._callers]
        if overs:
            await asyncio.wait(overs, timeout=END_WITHIN_S)
        for caller in self._callers:
            caller.abort()


class RemoteLoad:
    """The clients of a process of their own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def open(self) -> None:
        """Open all sessions."""
        await self._answer()

    async def run(self, begin_s: float) -> LoadFigures:
        """Send everything and wait for the sessions' ends."""
        self._pipe.send(begin_s)
        answer: LoadFigures = await self._answer()
        return answer

    async def _answer(self) -> Any:
        try:
            answer = await asyncio.to_thread(self._pipe.recv)
        except EOFError as exc:
            raise BenchmarkFailed("a process of the load generator has died") from exc
        if isinstance(answer, BenchmarkFailed):
            raise answer
        return answer


@contextlib.contextmanager
def loads(plans: Sequence[LoadPlan]) -> Iterator[list[Load]]:
    """One load for each plan: a single one in this process, several in processes of their own."""
    if len(plans) == 1:
        yield [OwnLoad(plans[0])]
        return
    # Forking a process that has threads and an event loop is asking for trouble.
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        remote: list[Load] = []
        for plan in plans:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve_load, args=(plan, theirs), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join, END_WITHIN_S)
            stack.callback(process.terminate)
            stack.callback(ours.close)
            remote.append(RemoteLoad(ours))
        yield remote


def plans_for(
    address: tuple[str, int], crowd: Crowd, options: ScriptOptions, turns: Sequence[Turn] = ()
) -> list[LoadPlan]:
    """Deal the clients out to processes, as one deals cards."""
    used = max(1, min(crowd.processes, crowd.sessions))
    return [
        LoadPlan(
            *address,
            numbers=tuple(range(number, crowd.sessions, used)),
            sampled=crowd.sampled,
            shift=number / used,
            options=options,
            turns=tuple(turns),
            warm_up_s=crowd.warm_up_s,
        )
        for number in range(used)
    ]


def run_event_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on the fastest event loop there is."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


def _serve_load(plan: LoadPlan, pipe: Connection) -> None:
    """The whole life of a process that loads."""
    try:
        run_event_loop(_serve(plan, pipe))
    except BenchmarkFailed as exc:
        pipe.send(exc)


async def _serve(plan: LoadPlan, pipe: Connection) -> None:
    load = OwnLoad(plan)
    await load.open()
    pipe.send(None)
    begin_s = await asyncio.to_thread(pipe.recv)
    pipe.send(await load.run(begin_s))
