"""What speakers will ask of the engines: price of speech, share of those who speak, and what is too little to say."""

from __future__ import annotations

from itertools import pairwise

import pytest

from alfred_voice.pipeline.demand import FEWEST_SESSIONS, LEAST_HEARD_S, PRICE_WINDOW_S, TALK_WINDOW_S, Demand


TICK_S = 0.1


class Room:
    """Sessions in which some speak, and engines for which a second of speech has a price."""

    def __init__(self) -> None:
        self.demand = Demand()
        self.now = 1000.0
        self.heard_s = 0.0
        self.busy_s = (0.0, 0.0)

    def go_on(self, seconds: float, *, sessions: int, speakers: int, prices: tuple[float, float] = (0.1, 0.0)) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            heard_s = speakers * TICK_S
            self.heard_s += heard_s
            self.busy_s = (self.busy_s[0] + heard_s * prices[0], self.busy_s[1] + heard_s * prices[1])
            self.demand.note(self.now, sessions=sessions, speakers=speakers, heard_s=self.heard_s, busy_s=self.busy_s)


@pytest.fixture
def room() -> Room:
    return Room()


def test_nobody_asks_for_nothing(room: Room) -> None:
    assert room.demand.share(100) == 0.0, "nothing is known yet"
    room.go_on(10, sessions=0, speakers=0)
    assert room.demand.share(100) == 0.0


def test_it_is_price_times_speakers(room: Room) -> None:
    room.go_on(30, sessions=10, speakers=4)
    assert room.demand.share(10) == pytest.approx(0.4)


def test_newcomers_are_taken_to_speak_as_much_as_those_who_are_there(room: Room) -> None:
    room.go_on(30, sessions=10, speakers=4)
    shares = [room.demand.share(sessions) for sessions in (10, 20, 25)]
    assert shares == pytest.approx([0.4, 0.8, 1.0])


def test_the_busiest_engine_is_what_counts(room: Room) -> None:
    room.go_on(30, sessions=10, speakers=4, prices=(0.1, 0.2))
    assert room.demand.share(10) == pytest.approx(0.8)


def test_those_who_only_listen_ask_for_nothing_however_many_they_are(room: Room) -> None:
    room.go_on(30, sessions=10, speakers=4)
    room.go_on(2 * TALK_WINDOW_S, sessions=500, speakers=0)
    assert room.demand.share(500) == 0.0


def test_nothing_is_concluded_from_a_first_dear_final(room: Room) -> None:
    room.go_on(LEAST_HEARD_S - 2, sessions=1, speakers=1, prices=(5.0, 0.0))
    assert room.demand.share(FEWEST_SESSIONS) == 0.0
    room.go_on(4, sessions=1, speakers=1, prices=(5.0, 0.0))
    assert room.demand.share(FEWEST_SESSIONS) == pytest.approx(5.0 * FEWEST_SESSIONS, rel=0.05)


def test_of_a_few_nothing_is_concluded_however_much_the_only_one_speaks(room: Room) -> None:
    room.go_on(30, sessions=1, speakers=1, prices=(0.5, 0.0))
    assert [room.demand.share(sessions) for sessions in range(FEWEST_SESSIONS)] == [0.0] * FEWEST_SESSIONS
    assert room.demand.share(FEWEST_SESSIONS) == pytest.approx(0.5 * FEWEST_SESSIONS)


def test_what_was_dear_once_is_forgotten(room: Room) -> None:
    room.go_on(30, sessions=10, speakers=4, prices=(0.5, 0.0))
    room.go_on(PRICE_WINDOW_S + 1, sessions=10, speakers=4)
    assert room.demand.share(10) == pytest.approx(0.4)


def test_a_pause_of_the_talk_shows_within_seconds(room: Room) -> None:
    room.go_on(30, sessions=10, speakers=8)
    shares = []
    for _ in range(6):
        shares.append(room.demand.share(10))
        room.go_on(1, sessions=10, speakers=2)
    assert all(later < earlier for earlier, later in pairwise(shares))
    assert room.demand.share(10) == pytest.approx(0.2)


def test_history_is_bounded(room: Room) -> None:
    room.go_on(10 * PRICE_WINDOW_S, sessions=1, speakers=1)
    assert len(room.demand._history) <= PRICE_WINDOW_S / TICK_S + 2


def test_a_clock_that_stands_still_breaks_nothing(room: Room) -> None:
    for _ in range(3):
        room.demand.note(room.now, sessions=5, speakers=5, heard_s=0.0, busy_s=(0.0,))
    assert room.demand.share(5) == 0.0
