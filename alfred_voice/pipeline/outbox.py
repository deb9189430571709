"""The one bounded place out: what one client has not been told yet.

A client that reads too slowly loses what a newer event has made worthless: a partial of the same
utterance, an older state of health. Events are numbered when they leave, so that ``seq`` has no
gaps whatever was superseded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from alfred_voice.errors import Fault, Overloaded, ResumeRefused
from alfred_voice.events import Event, PartialTranscription, PipelineHealth


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with its place in the session's sequence."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class SpeechAudio:
    """A piece of the daemon's speech, in the client's rate and encoding; 20 ms or less."""

    speech_id: int
    data: bytes


class SlowReader(Overloaded):
    """The client reads more slowly than it is told things; its connection is closed with 1013."""

    code = "slow_reader"
    fault = Fault.CLIENT


class Outbox:
    """The queue towards one client: filled by the session, emptied by one reader."""

    def __init__(self, limit: int, first_seq: int = 0, *, retained: int = 0) -> None:
        """Bounded by ``limit`` items; keeps the newest ``retained`` events that were taken, to be told again."""
        self._limit = limit
        self._told: deque[Numbered] = deque(maxlen=retained)
        self._items: deque[list[Event | SpeechAudio]] = deque()
        # The slots of superseded events are emptied in place, so that the order of the others holds.
        self._replaceable: dict[type, list[Event | SpeechAudio]] = {}
        self._count = 0
        self._seq = first_seq
        self._wake = asyncio.Event()
        self._overflowed = False
        self._closed = False
        self.superseded = 0

    def __len__(self) -> int:
        """Items that wait."""
        return self._count

    def put(self, item: Event | SpeechAudio) -> None:
        """Add an item; when the queue is full all the same, the reader gets :exc:`SlowReader`."""
        if self._closed or self._overflowed:
            return
        slot = [item]
        if isinstance(item, (PartialTranscription, PipelineHealth)):
            self._supersede(item, slot)
        if self._count >= self._limit:
            self._overflowed = True
            self._items.clear()
            self._replaceable.clear()
            self._count = 0
        else:
            self._items.append(slot)
            self._count += 1
        self._wake.set()

    def _supersede(self, item: PartialTranscription | PipelineHealth, slot: list[Event | SpeechAudio]) -> None:
        older = self._replaceable.get(type(item))
        self._replaceable[type(item)] = slot
        if older and _makes_worthless(item, older[0]):
            older.clear()
            self._count -= 1
            self.superseded += 1

    def drop_audio(self) -> list[SpeechAudio]:
        """Throw away all audio that waits, because the speech was cancelled; returns the pieces."""
        dropped: list[SpeechAudio] = []
        kept: deque[list[Event | SpeechAudio]] = deque()
        for slot in self._items:
            if slot and isinstance(slot[0], SpeechAudio):
                dropped.append(slot[0])
            elif slot:
                kept.append(slot)
        self._items = kept
        self._count -= len(dropped)
        return dropped

    def close(self) -> None:
        """Nothing more will be put in; the reader gets what is there and then the end."""
        self._closed = True
        self._wake.set()

    def discard(self) -> None:
        """Nobody reads any more."""
        self._items.clear()
        self._replaceable.clear()
        self._count = 0
        self.close()

    def take_now(self) -> list[Numbered | SpeechAudio]:
        """Take all there is, without waiting.

        Raises:
            SlowReader: the queue was full at some time; nothing more can be had.
        """
        if self._overflowed:
            raise SlowReader(f"more than {self._limit} events waited to be read")
        taken: list[Numbered | SpeechAudio] = []
        for slot in self._items:
            if not slot:
                continue
            item = slot[0]
            if isinstance(item, SpeechAudio):
                taken.append(item)
            else:
                numbered = Numbered(self._seq, item)
                taken.append(numbered)
                self._told.append(numbered)
                self._seq += 1
            # Emptied, so that a newer event finds nothing left to replace.
            slot.clear()
        self._items.clear()
        self._count = 0
        if not self._closed:
            self._wake.clear()
        return taken

    def told_after(self, seq: int) -> list[Numbered]:
        """What was taken behind the event of that number, -1 for from the beginning.

        Raises:
            ResumeRefused: not all of it is kept, or there was no such event.
        """
        oldest = self._told[0].seq if self._told else self._seq
        if not oldest - 1 <= seq < self._seq:
            kept = f"{oldest - 1} to {self._seq - 1}"
            raise ResumeRefused(
                f"last_seq: expected {kept}, got {seq}; what came behind it is gone, open a new session"
            )
        return [numbered for numbered in self._told if numbered.seq > seq]

    async def take(self) -> list[Numbered | SpeechAudio]:
        """Take all there is; wait for at least one item. Empty when all is taken and no more will come."""
        while True:
            await self._wake.wait()
            taken = self.take_now()
            if taken or self._closed:
                return taken


def _makes_worthless(newer: Event, older: Event | SpeechAudio) -> bool:
    if isinstance(newer, PartialTranscription):
        return isinstance(older, PartialTranscription) and older.utterance == newer.utterance
    return True
