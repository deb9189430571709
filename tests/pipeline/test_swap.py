"""An engine that is loaded aside: in a thread, tried before it is given, and given back when nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from alfred_voice.errors import EngineFailure, ModelMissing
from alfred_voice.models.engine import Clip
from alfred_voice.models.scripted import ScriptedStt, ScriptedTurn
from alfred_voice.pipeline.swap import load_aside
from alfred_voice.results import Transcript


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class ClosingStt(ScriptedStt):
    """One that holds something from outside."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class MuteStt(ClosingStt):
    """One that answers nothing."""

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        raise ZeroDivisionError("nothing to say")


@pytest.mark.parametrize(("lane", "kind"), [("stt", ScriptedStt), ("stt-more", ScriptedStt), ("turn", ScriptedTurn)])
async def test_an_engine_is_built_in_a_thread_and_has_been_asked_something(lane: str, kind: type) -> None:
    threads = []

    def build() -> object:
        threads.append(threading.current_thread())
        return kind()

    engine = await load_aside(lane, build)

    assert isinstance(engine, kind)
    assert threads != [threading.main_thread()]
    if isinstance(engine, ScriptedStt):
        assert len(engine.clips) == 1


async def test_what_the_loading_says_deliberately_is_told_as_it_is() -> None:
    def build() -> object:
        raise ModelMissing("not in the store")

    with pytest.raises(ModelMissing, match="not in the store"):
        await load_aside("stt", build)


async def test_an_engine_that_cannot_answer_is_not_given_but_given_back(eventually: Eventually) -> None:
    mute = MuteStt()

    with pytest.raises(EngineFailure, match="nothing to say"):
        await load_aside("stt", lambda: mute)

    await eventually(lambda: mute.is_closed)


async def test_one_that_takes_too_long_is_given_back_when_it_is_there(eventually: Eventually) -> None:
    late, may_go = ClosingStt(), threading.Event()

    def build() -> ClosingStt:
        assert may_go.wait(5)
        return late

    with pytest.raises(EngineFailure, match="not loaded within"):
        await load_aside("stt", build, within_s=0.01)
    assert not late.is_closed
    may_go.set()
    await eventually(lambda: late.is_closed)


async def test_the_loop_goes_on_while_an_engine_is_loaded() -> None:
    may_go = threading.Event()

    def build() -> ScriptedStt:
        assert may_go.wait(5)
        return ScriptedStt()

    loading = asyncio.ensure_future(load_aside("stt", build))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not loading.done()
    may_go.set()
    assert isinstance(await loading, ScriptedStt)
