"""Sessions that lose their connection and get another, in whatever order: each gets its own, and nothing stays."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alfred_voice.audio.ingest import Ingest
from alfred_voice.audio.pcm import AudioFormat
from alfred_voice.errors import ResumeRefused
from alfred_voice.events import Pong
from alfred_voice.pipeline.outbox import Numbered, Outbox
from alfred_voice.pipeline.owner import Owner
from alfred_voice.pipeline.stream import Stream
from alfred_voice.server.protocol.resumption import Link, Resumption


GRACE_S = 30.0
OWNERS = (Owner(key="a"), Owner(key="b"))


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time goes on when it is told to."""

    moment = 0.0

    def time(self) -> float:
        return self.moment


class Told:
    """A session, as far as its connections have to do with it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.transport = "websocket"
        self.outbox = Outbox(100, retained=4)
        self.audio_bytes = 0
        self.is_attached = False
        self.is_gone = False
        self.tell = self.outbox.put
        self.told_after = self.outbox.told_after

    def attach(self) -> None:
        assert not self.is_gone
        assert not self.is_attached, "two connections have one session"
        self.is_attached = True

    def detach(self) -> None:
        self.is_attached = False

    def abandon(self) -> None:
        self.is_attached = False
        self.is_gone = True


class ResumptionMachine(RuleBasedStateMachine):
    """Three names, two owners, and connections that come and go."""

    @initialize()
    def begin(self) -> None:
        self.loop = Loop()
        self.resumption = Resumption(GRACE_S)
        self.sessions: dict[str, tuple[Told, Link, str, Owner]] = {}
        self.lost_at: dict[str, float] = {}
        self.count = 0

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def let_go_of(self, link: Link) -> Any:
        """As a connection does that is told to go: not at once, but in a later turn of the loop."""
        return lambda: self.loop.call_soon(lambda: self.resumption.leave(link, may_return=True))

    def give(self, link: Link) -> None:
        async def take() -> None:
            await self.resumption.attach(link, self.let_go_of(link))

        self.run(take())
        self.lost_at.pop(link.stream.session_id, None)

    @rule(name=st.sampled_from("xyz"), owner=st.sampled_from(OWNERS))
    def open(self, name: str, owner: Owner) -> None:
        if name in self.sessions:
            return
        told = Told(name)
        link = Link(cast("Stream", told), Ingest(AudioFormat()), owner)
        offer = self.resumption.offer()
        self.resumption.keep(link, offer)
        self.give(link)
        self.sessions[name] = (told, link, offer.token, owner)

    def attached(self) -> list[str]:
        return sorted(name for name, (told, *_) in self.sessions.items() if told.is_attached)

    @precondition(lambda self: self.attached())
    @rule(data=st.data(), for_good=st.booleans())
    def lose(self, data: st.DataObject, for_good: bool) -> None:
        name = data.draw(st.sampled_from(self.attached()))
        told, link, *_ = self.sessions[name]

        async def leave() -> None:
            self.resumption.leave(link, may_return=not for_good)

        self.run(leave())
        if for_good:
            assert told.is_gone
            del self.sessions[name]
        else:
            self.lost_at[name] = self.loop.moment

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), wrong_token=st.booleans(), owner=st.sampled_from(OWNERS), behind=st.integers(0, 6))
    def come_back(self, data: st.DataObject, wrong_token: bool, owner: Owner, behind: int) -> None:
        """Also to a session whose connection is alive as far as the daemon knows."""
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        told, link, token, whose = self.sessions[name]
        last = told.outbox._seq - 1
        asked = last - behind
        if wrong_token or owner.key != whose.key or behind > min(4, last + 1):
            with pytest.raises(ResumeRefused):
                self.resumption.claim(name, "no" if wrong_token else token, asked, owner)
            return
        assert self.resumption.claim(name, token, asked, owner) is link
        self.give(link)
        missed = self.resumption.catch_up(link, asked)
        assert [numbered.seq for numbered in missed] == list(range(asked + 1, last + 1))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def tell(self, data: st.DataObject) -> None:
        told, *_ = self.sessions[data.draw(st.sampled_from(sorted(self.sessions)))]
        self.count += 1
        told.tell(Pong(self.count))
        assert all(isinstance(item, Numbered) for item in told.outbox.take_now())

    @rule(seconds=st.sampled_from([1.0, 10.0, GRACE_S - 1, GRACE_S + 1]))
    def wait(self, seconds: float) -> None:
        self.loop.moment += seconds
        self.run(asyncio.sleep(0))
        self.run(asyncio.sleep(0))
        for name, lost_at in list(self.lost_at.items()):
            if self.loop.moment - lost_at >= GRACE_S:
                assert self.sessions[name][0].is_gone, "kept longer than its time"
                del self.sessions[name], self.lost_at[name]

    @invariant()
    def the_table_holds_what_may_come_back_and_nothing_else(self) -> None:
        if hasattr(self, "sessions"):
            assert len(self.resumption) == len(self.sessions)
            assert all(self.resumption.knows(name) for name in self.sessions)
            assert not any(told.is_gone for told, *_ in self.sessions.values())

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.resumption.close()
            assert len(self.resumption) == 0
            self.loop.close()


TestResumptionMachine = ResumptionMachine.TestCase
TestResumptionMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
