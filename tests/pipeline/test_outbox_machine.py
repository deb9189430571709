"""Whatever is put in and taken in whatever order, what a client has is a sequence without gaps."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alfred_voice.errors import ResumeRefused
from alfred_voice.events import Event, PartialTranscription, PipelineHealth, Pong
from alfred_voice.pipeline.outbox import Numbered, Outbox, SlowReader, SpeechAudio


class OutboxMachine(RuleBasedStateMachine):
    """A session that tells, and a client that reads now and then, loses its connection and comes back."""

    @initialize(limit=st.integers(1, 12), first=st.integers(0, 5), retained=st.integers(0, 8))
    def open(self, limit: int, first: int, retained: int) -> None:
        self.outbox = Outbox(limit, first, retained=retained)
        self.limit, self.first, self.retained = limit, first, retained
        self.told: list[Numbered] = []
        self.waiting: list[Event | SpeechAudio] = []
        self.overflowed = self.closed = False
        self.count = 0

    def put(self, item: Event | SpeechAudio) -> None:
        self.outbox.put(item)
        if self.closed or self.overflowed:
            return
        # By the protocol: a newer partial of the same utterance, and newer health, make the last one worthless.
        latest = [old for old in self.waiting if type(old) is type(item)][-1:]
        for old in latest:
            if isinstance(item, PipelineHealth) or (
                isinstance(item, PartialTranscription)
                and isinstance(old, PartialTranscription)
                and old.utterance == item.utterance
            ):
                self.waiting = [one for one in self.waiting if one is not old]
        if len(self.waiting) >= self.limit:
            self.overflowed = True
        else:
            self.waiting.append(item)

    @rule()
    def tell(self) -> None:
        self.count += 1
        self.put(Pong(self.count))

    @rule(utterance=st.integers(0, 2))
    def tell_partial(self, utterance: int) -> None:
        self.count += 1
        self.put(PartialTranscription(utterance, f"text {self.count}", "", 0.0, 1.0))

    @rule()
    def tell_health(self) -> None:
        self.count += 1
        self.put(PipelineHealth({"number": self.count}))

    @rule(speech=st.integers(0, 2))
    def say(self, speech: int) -> None:
        self.count += 1
        self.put(SpeechAudio(speech, bytes([self.count % 256])))

    @rule()
    def cancel_speech(self) -> None:
        dropped = self.outbox.drop_audio()
        if not self.overflowed:
            assert dropped == [item for item in self.waiting if isinstance(item, SpeechAudio)]
            self.waiting = [item for item in self.waiting if not isinstance(item, SpeechAudio)]

    @rule()
    def read(self) -> None:
        if self.overflowed:
            with pytest.raises(SlowReader):
                self.outbox.take_now()
            return
        taken = self.outbox.take_now()
        assert [item.event if isinstance(item, Numbered) else item for item in taken] == self.waiting
        self.told += [item for item in taken if isinstance(item, Numbered)]
        self.waiting.clear()

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.closed = True
        self.outbox.close()

    @rule(behind=st.integers(-2, 14))
    def come_back(self, behind: int) -> None:
        """With the number of an event so far behind the last one."""
        last = self.first + len(self.told) - 1
        asked = last - behind
        kept = min(self.retained, len(self.told))
        if 0 <= behind <= kept:
            assert self.outbox.told_after(asked) == self.told[len(self.told) - behind :]
        else:
            with pytest.raises(ResumeRefused, match="last_seq"):
                self.outbox.told_after(asked)

    @invariant()
    def numbers_have_no_gap(self) -> None:
        if hasattr(self, "outbox"):
            assert [numbered.seq for numbered in self.told] == list(range(self.first, self.first + len(self.told)))

    @invariant()
    def it_is_bounded(self) -> None:
        if hasattr(self, "outbox"):
            assert len(self.outbox) == (0 if self.overflowed else len(self.waiting)) <= self.limit


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
