"""Threads in which engines compute come after the event loop."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from alfred_voice.pipeline.engine_thread import EngineThread
from alfred_voice.pipeline.priority import GIVE_WAY, give_way


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there each thread has its own")


def nice_in_a_thread(*calls: object) -> int:
    """The nice value of a new thread after these calls."""
    found: list[int] = []

    def run() -> None:
        for call in calls:
            assert callable(call)
            call()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_gives_way_and_those_that_it_starts_with_it() -> None:
    assert nice_in_a_thread(give_way) == GIVE_WAY
    inner: list[int] = []
    nice_in_a_thread(give_way, lambda: inner.append(nice_in_a_thread()))
    assert inner == [GIVE_WAY]


def test_no_other_thread_is_touched() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    nice_in_a_thread(give_way)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
    assert nice_in_a_thread() == before


def test_who_is_behind_already_stays_there() -> None:
    assert nice_in_a_thread(lambda: os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15), give_way) == 15


def test_an_engines_thread_gives_way() -> None:
    done, found = threading.Event(), []
    thread = EngineThread("engine")
    thread.put(lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    thread.put(done.set)
    assert done.wait(5)
    thread.end()
    assert found == [GIVE_WAY]
