"""Who is here: names, limits, rows, and who has been here too long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.errors import (
    SessionBusy,
    TooManySessions,
    TooManySessionsOfAddress,
    TooManySessionsOfKey,
    UnknownSession,
)
from alfred_voice.pipeline.options import SessionsOptions
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.roster import LONGEST_END_S, STOP_PATIENCE_S, UNKNOWN_END_S, Roster
from alfred_voice.pipeline.stream import Stream


@dataclass(eq=False)
class Guest:
    """What the roster knows of a stream."""

    session_id: str
    opened_at: float = 0.0
    last_active: float = 0.0
    stopped_at: float | None = None
    row: int = -1

    def idle_s(self, now: float) -> float:
        return now - self.last_active


def guest(session_id: str = "a", **known: Any) -> Stream:
    return cast("Stream", Guest(session_id, **known))


@pytest.fixture
def roster() -> Roster:
    return Roster(SessionsOptions(max_concurrent=3, max_duration_s=100, idle_timeout_s=10))


def test_who_was_added_is_found_and_who_was_removed_is_not(roster: Roster) -> None:
    one = guest("one")
    roster.add(one)
    assert roster.get("one") is one
    assert roster.all() == [one]
    assert len(roster) == 1
    assert roster.remove(one, 0.0)
    with pytest.raises(UnknownSession, match="'one'"):
        roster.get("one")
    assert len(roster) == 0


def test_a_name_that_a_stranger_made_up_is_shortened(roster: Roster) -> None:
    with pytest.raises(UnknownSession) as caught:
        roster.get("x" * 10_000)
    assert len(str(caught.value)) < 300


def test_removing_twice_is_told_and_frees_one_row(roster: Roster) -> None:
    one = guest("one")
    roster.add(one)
    assert roster.remove(one, 0.0)
    assert not roster.remove(one, 0.0)
    rows = []
    for name in "abc":
        roster.add(newcomer := guest(name))
        rows.append(newcomer.row)
    assert sorted(rows) == [0, 1, 2]


def test_a_namesake_does_not_remove_who_is_here(roster: Roster) -> None:
    here = guest("same")
    roster.add(here)
    assert not roster.remove(guest("same"), 0.0)
    assert roster.get("same") is here


def test_a_name_is_taken_while_its_session_is_open(roster: Roster) -> None:
    roster.check_free("one")
    roster.add(guest("one"))
    with pytest.raises(SessionBusy, match="'one'"):
        roster.check_free("one")
    roster.check_free("two")


def test_there_is_room_up_to_the_limit(roster: Roster) -> None:
    for name in "abc":
        roster.check_room(0.0)
        roster.add(guest(name))
    with pytest.raises(TooManySessions, match="the limit is 3"):
        roster.check_room(0.0)
    roster.remove(roster.get("b"), 0.0)
    roster.check_room(0.0)


def test_who_finds_no_room_is_told_how_long_sessions_take_to_end_of_late() -> None:
    roster = Roster(SessionsOptions(max_concurrent=1))
    roster.add(guest("first"))

    def told(now: float) -> int:
        with pytest.raises(TooManySessions) as caught:
            roster.check_room(now)
        return caught.value.retry_after_s

    assert told(0.0) == UNKNOWN_END_S, "nothing is known before two have ended"
    for end in range(1, 9):
        roster.remove(roster.all()[0], 7.0 * end)
        roster.add(guest(str(end)))
    assert told(56.0) == 7
    assert told(10_000.0) == LONGEST_END_S


def test_the_lowest_free_row_is_used_again() -> None:
    roster = Roster(SessionsOptions())
    guests = [guest(name) for name in "abcd"]
    for each in guests:
        roster.add(each)
    assert [each.row for each in guests] == [0, 1, 2, 3]
    roster.remove(guests[2], 0.0)
    roster.remove(guests[0], 0.0)
    later = [guest(name) for name in "xyz"]
    for each in later:
        roster.add(each)
    assert [each.row for each in later] == [0, 2, 4]


@given(st.lists(st.one_of(st.just("add"), st.integers(0, 20)), max_size=60))
def test_no_two_sessions_ever_share_a_row_and_rows_stay_as_few_as_sessions(script: list[object]) -> None:
    roster = Roster(SessionsOptions())
    here: list[Stream] = []
    most = 0
    for number, entry in enumerate(script):
        if entry == "add":
            newcomer = guest(str(number))
            roster.add(newcomer)
            here.append(newcomer)
            most = max(most, len(here))
        elif isinstance(entry, int) and here:
            roster.remove(here.pop(entry % len(here)), 0.0)
        rows = [each.row for each in here]
        assert len(set(rows)) == len(rows)
        assert all(0 <= row < most for row in rows)
        assert roster.all() == here


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"opened_at": 0.0, "last_active": 99.0}, None),
        ({"opened_at": -1.0, "last_active": 99.0}, "max_duration"),
        ({"opened_at": 90.0, "last_active": 89.1}, None),
        ({"opened_at": 90.0, "last_active": 89.0}, "idle"),
        ({"opened_at": -500.0, "last_active": -500.0}, "max_duration"),
        ({"opened_at": -500.0, "last_active": -500.0, "stopped_at": 98.0}, None),
    ],
    ids=["young and active", "too long", "silent, not yet too long", "silent too long", "both", "stopping already"],
)
def test_who_is_too_long_here_or_too_long_silent_has_expired(
    roster: Roster, known: dict[str, float], reason: str | None
) -> None:
    stream = guest("one", **known)
    roster.add(stream)
    assert roster.expired(99.0) == ([(stream, reason)] if reason else [])


@pytest.mark.parametrize(
    ("stopped_at", "is_stuck"), [(None, False), (0.0, True), (0.1, False)], ids=["open", "long ago", "lately"]
)
def test_who_was_told_to_stop_long_ago_and_is_still_here_is_stuck(
    roster: Roster, stopped_at: float | None, is_stuck: bool
) -> None:
    stream = guest("one")
    roster.add(stream)
    cast("Guest", stream).stopped_at = stopped_at
    assert roster.stuck(STOP_PATIENCE_S) == ([stream] if is_stuck else [])


# Owners


def test_a_session_has_the_owner_that_it_was_entered_with(roster: Roster) -> None:
    alice = Owner("alice", "10.0.0.1")
    one, two = guest("one"), guest("two")
    roster.add(one, alice)
    roster.add(two)

    assert roster.owner_of("one") == alice
    assert roster.owner_of("two") == NOBODY
    roster.remove(one, 0.0)
    assert roster.owner_of("one") is None


def test_a_key_may_have_so_many_sessions_wherever_it_is_used(roster: Roster) -> None:
    alice = Owner("alice", "10.0.0.1", max_of_key=2)
    one = guest("one")
    roster.add(one, alice)
    roster.add(guest("other"), Owner("bob", "10.0.0.1"))
    roster.check_share(alice)
    roster.add(guest("two"), replace(alice, address="10.0.0.2"))

    with pytest.raises(TooManySessionsOfKey, match="2 sessions open at a time, and has 2"):
        roster.check_share(alice)
    roster.remove(one, 0.0)
    roster.check_share(alice)


def test_an_address_may_have_so_many_sessions_whatever_its_keys(roster: Roster) -> None:
    alice = Owner("alice", "10.0.0.1", max_of_address=2)
    roster.add(guest("one"), alice)
    roster.add(guest("two"), replace(alice, key="bob"))

    with pytest.raises(TooManySessionsOfAddress, match="2 sessions open at a time, and this one has 2"):
        roster.check_share(replace(alice, key="carol"))
    roster.check_share(replace(alice, address="10.0.0.2"))


def test_a_key_that_may_have_no_session_gets_none(roster: Roster) -> None:
    with pytest.raises(TooManySessionsOfKey):
        roster.check_share(Owner("scraper", max_of_key=0))
