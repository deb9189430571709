"""Those who watch: all get the same, nobody waits for a slow one, and there is a limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alfred_voice.errors import Overloaded
from alfred_voice.server.monitor.audience import MOST_WAITING, Audience, event


class Transport:
    """As much of a transport as is needed."""

    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def transport() -> Any:
    return Transport()


@pytest.fixture
def audience() -> Audience:
    return Audience(2, "the test")


async def test_all_viewers_get_the_same_bytes(audience: Audience) -> None:
    with audience.watching(transport()) as one, audience.watching(transport()) as two:
        audience.show(b"news")
        seen = [await asyncio.wait_for(viewer.waiting.get(), 5) for viewer in (one, two)]

    assert seen[0] is seen[1]


async def test_a_viewer_that_does_not_read_is_dropped_and_the_others_are_not(audience: Audience) -> None:
    slow, quick = transport(), transport()
    with audience.watching(slow) as asleep, audience.watching(quick) as awake:
        for _ in range(MOST_WAITING + 1):
            audience.show(b"news")
            await asyncio.wait_for(awake.waiting.get(), 5)

        assert (slow.is_aborted, asleep.is_dropped) == (True, True)
        assert (quick.is_aborted, awake.is_dropped) == (False, False)
        assert len(audience) == 1


async def test_there_is_a_limit_of_viewers_and_who_leaves_makes_room(audience: Audience) -> None:
    with audience.watching(transport()):
        with (
            audience.watching(transport()),
            pytest.raises(Overloaded, match="at most 2 viewers of the test"),
            audience.watching(transport()),
        ):
            pass
        with audience.watching(transport()):
            assert len(audience) == 2
    assert len(audience) == 0


async def test_it_is_known_whether_anybody_looks(audience: Audience) -> None:
    assert not audience.has_viewers.is_set()
    with audience.watching(transport()):
        assert audience.has_viewers.is_set()
    assert not audience.has_viewers.is_set()


async def test_the_end_is_told_even_to_who_has_not_read_everything(audience: Audience) -> None:
    with audience.watching(transport()) as viewer:
        for _ in range(MOST_WAITING):
            audience.show(b"news")
        audience.close()
        told = [viewer.waiting.get_nowait() for _ in range(viewer.waiting.qsize())]

        assert told == [b"news"] * (MOST_WAITING - 1) + [None]
        with pytest.raises(Overloaded), audience.watching(transport()):
            pass


def test_an_event_is_what_a_browser_expects() -> None:
    assert event("now", b'{"a":1}') == b'event: now\ndata: {"a":1}\n\n'
