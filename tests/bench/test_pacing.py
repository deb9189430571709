"""When frames are due, and that nothing holds the generator's clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.bench.pacing import FRAME_S, GRAIN_S, STAGGER_FRAMES, Lateness, Schedule, pace, stagger
from alfred_voice.clock import ManualClock


class Run:
    """Paces with a clock that only moves when the generator sleeps, and notes what was sent when."""

    def __init__(self, clients: int, frames: int, stalls: dict[int, float] | None = None) -> None:
        self.clock = ManualClock(1.0)
        self.schedule = Schedule(1.0, clients, frames)
        self.sent: dict[int, list[tuple[float, bytes]]] = defaultdict(list)
        self.messages = [[bytes((client, frame)) for frame in range(frames)] for client in range(clients)]
        self._stalls = stalls or {}
        self._sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self._sleeps += 1
        self.clock.advance(seconds + self._stalls.get(self._sleeps, 0.0))

    async def run(self) -> Lateness:
        def writer(client: int) -> Callable[[bytes], None]:
            return lambda message: self.sent[client].append((self.clock.now(), message))

        writers = [writer(client) for client in range(self.schedule.clients)]
        return await pace(self.schedule, self.messages, writers, self.clock, self.sleep)


async def test_every_frame_is_sent_once_in_order() -> None:
    run = Run(clients=3, frames=10)
    lateness = await run.run()

    assert {client: [message for _, message in sent] for client, sent in run.sent.items()} == dict(
        enumerate(run.messages)
    )
    assert lateness.frames == run.schedule.slots


async def test_no_frame_leaves_before_its_moment_nor_long_after() -> None:
    run = Run(clients=7, frames=30)
    await run.run()

    for client, sent in run.sent.items():
        for frame, (at, _) in enumerate(sent):
            due = run.schedule.starts_s(client) + frame * FRAME_S
            assert -1e-9 <= at - due <= GRAIN_S + 1e-9


async def test_a_stall_does_not_move_the_frames_after_it() -> None:
    """What is overdue leaves at once; no moment is put off."""
    run = Run(clients=2, frames=50, stalls={300: 0.2})
    lateness = await run.run()

    calm = Run(clients=2, frames=50)
    await calm.run()
    assert run.sent[0][-1][0] == pytest.approx(calm.sent[0][-1][0])
    assert 0.2 * 1000 - 20 <= lateness.worst_ms() <= 0.2 * 1000 + 5
    assert lateness.late_frames() > 0
    held = [at for at, _ in run.sent[0] if at in {late for late, _ in run.sent[1]}]
    assert len(held) >= 9  # 10 frames of 20 ms were due meanwhile, and left together


def test_clients_are_spread_over_20_ms_and_over_the_windows_pattern() -> None:
    schedule = Schedule(0.0, 16, 5)
    phases = [round(schedule.starts_s(client) / FRAME_S % 1, 6) for client in range(16)]
    rows = [int(schedule.starts_s(client) / FRAME_S) for client in range(16)]

    assert sorted(phases) == [client / 16 for client in range(16)]
    assert sorted(rows) == sorted(list(range(8)) * 2)


def test_frames_and_windows_meet_every_8_frames() -> None:
    assert STAGGER_FRAMES == 8
    assert STAGGER_FRAMES * 320 % 512 == 0
    assert [stagger(client) for client in (0, 7, 8)] == [0, 7, 0]


def test_processes_interleave() -> None:
    moments = sorted(Schedule(0.0, 4, 1, shift).slot_s(slot) for shift in (0.0, 0.5) for slot in range(4))

    gaps = [after - before for before, after in pairwise(moments)]
    assert gaps == pytest.approx([FRAME_S / 8] * 7)


@given(
    clients=st.integers(1, 600),
    frames=st.integers(1, 3000),
    shift=st.floats(0, 0.99),
    share=st.floats(-0.1, 1.1),
)
def test_what_is_due_is_what_has_its_moment_behind_it(clients: int, frames: int, shift: float, share: float) -> None:
    schedule = Schedule(100.0, clients, frames, shift)
    now = schedule.begin_s + (schedule.end_s - schedule.begin_s) * share
    due = schedule.due(now)

    assert 0 <= due <= schedule.slots
    if due:
        assert schedule.slot_s(due - 1) <= now + 1e-6
    if due < schedule.slots:
        assert schedule.slot_s(due) > now - 1e-6


@given(clients=st.integers(1, 40), frames=st.integers(1, 40), shift=st.floats(0, 0.99))
def test_a_clients_frames_are_due_every_20_ms(clients: int, frames: int, shift: float) -> None:
    schedule = Schedule(5.0, clients, frames, shift)
    moments: dict[int, list[float]] = defaultdict(list)
    for slot in range(schedule.slots):
        client, frame = schedule.frame_of(slot)
        if 0 <= frame < frames:
            assert frame == len(moments[client])
            moments[client].append(schedule.slot_s(slot))

    assert sorted(moments) == list(range(clients))
    for client, found in moments.items():
        assert found == pytest.approx([schedule.starts_s(client) + frame * FRAME_S for frame in range(frames)])


def test_lateness_counts_frames_not_wakings() -> None:
    lateness = Lateness([(0.001, 98), (0.030, 1), (0.050, 1)])

    assert lateness.frames == 100
    assert lateness.percentile_ms(50) == 1.0
    assert lateness.percentile_ms(98) == 1.0
    assert lateness.percentile_ms(99) == 30.0
    assert lateness.percentile_ms(100) == 50.0
    assert lateness.late_frames() == 2
    assert lateness.worst_ms() == 50.0


def test_nothing_sent_is_never_late() -> None:
    assert (Lateness().worst_ms(), Lateness().percentile_ms(99), Lateness().late_frames()) == (0.0, 0.0, 0)
