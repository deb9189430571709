"""Clients that come one after the other, are let in or not, and try again when they were told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from alfred_voice.bench.caller import Caller, CallRefused
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.journal import Figures, Timeline, figures_of, merged
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.script import Script
from alfred_voice.clock import Clock


OPEN_WITHIN_S = 30.0
END_WITHIN_S = 90.0
"""How long after ``stop`` the last events may take: an overloaded daemon still owes its finals."""
NO_RETRY_AFTER_S = 1.0
"""How long a client waits that was refused without being told for how long."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A session that was let in, and what it sent."""

    caller: Caller
    script: Script
    begin_s: float
    frames: int
    """How many were due and sent."""


@dataclass(slots=True)
class Arrivals:
    """What came of all clients."""

    visits: list[Visit] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """Refusals by HTTP status, or ``error``."""
    unexplained: int = 0
    """Refusals without a ``Retry-After``."""
    never_in: int = 0
    """Clients that were not let in up to the end."""

    def figures(self) -> Figures:
        """What the sessions came to that were let in."""
        return merged(
            figures_of(visit.caller.journal, Timeline(visit.begin_s, visit.frames, visit.begin_s), ())
            for visit in self.visits
        )


class Crowding:
    """So many clients at the door of one daemon until a given moment.

    Args:
        clock: the time.
        address: host and port of the daemon.
        scripts: what each client says.
        spread_s: the time over which they come.
    """

    def __init__(self, clock: Clock, address: tuple[str, int], scripts: Sequence[Script], spread_s: float) -> None:
        self._clock = clock
        self._address = address
        self._scripts = scripts
        self._spread_s = spread_s
        self._arrivals = Arrivals()

    async def run(self, begin_s: float, end_s: float) -> Arrivals:
        """Send until ``end_s``; every session is told to stop then. :meth:`finish` waits for their ends."""
        gap_s = self._spread_s / len(self._scripts)
        async with asyncio.TaskGroup() as tasks:
            for number, script in enumerate(self._scripts):
                tasks.create_task(self._visit(script, begin_s + number * gap_s, end_s))
        return self._arrivals

    async def finish(self) -> None:
        """Wait until every session has ended, or there has been time enough."""
        overs = [visit.caller.over for visit in self._arrivals.visits]
        if overs:
            await asyncio.wait(overs, timeout=END_WITHIN_S)
        for visit in self._arrivals.visits:
            visit.caller.abort()

    async def _visit(self, script: Script, come_s: float, end_s: float) -> None:
        await self._sleep_until(come_s)
        caller = await self._enter(end_s)
        if caller is None:
            self._arrivals.never_in += 1
            return
        begin_s, sent = self._clock.now(), 0
        for message in script.messages:
            due_s = begin_s + sent * FRAME_S
            if due_s >= end_s or caller.over.done():
                break
            await self._sleep_until(due_s)
            caller.write(message)
            sent += 1
        caller.stop()
        self._arrivals.visits.append(Visit(caller, script, begin_s, sent))

    async def _enter(self, end_s: float) -> Caller | None:
        """Come in, however often it takes; None when that did not come to be."""
        while self._clock.now() < end_s:
            try:
                return await Caller.open(self._clock, *self._address, OPEN_WITHIN_S)
            except CallRefused as refusal:
                self._arrivals.refused[refusal.status] += 1
                self._arrivals.unexplained += refusal.retry_after_s is None
                wait_s = NO_RETRY_AFTER_S if refusal.retry_after_s is None else refusal.retry_after_s
            await self._sleep_until(min(end_s, self._clock.now() + wait_s))
        return None

    async def _sleep_until(self, moment: float) -> None:
        wait_s = moment - self._clock.now()
        if wait_s > 0:
            await asyncio.sleep(wait_s)


def check_sessions(sessions: int, times: float) -> int:
    """How many clients come.

    Raises:
        BenchmarkFailed: these are none.
    """
    if sessions < 1 or times <= 0:
        raise BenchmarkFailed(f"expected at least one session and a factor above 0, got {sessions} and {times:g}")
    return max(1, round(sessions * times))
