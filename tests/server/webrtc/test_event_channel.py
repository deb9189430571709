"""A peer's data channel: bounded by what it leaves unread."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiortc import RTCDataChannel
from pyee.asyncio import AsyncIOEventEmitter

from alfred_voice.server.webrtc import event_channel
from alfred_voice.server.webrtc.event_channel import LABEL, MOST_BUFFERED_BYTES, ChannelStalled, EventChannel


class PlayedChannel(AsyncIOEventEmitter):
    """A channel whose peer does what a test says."""

    def __init__(self, label: str = LABEL) -> None:
        super().__init__()
        self.label = label
        self.readyState = "open"
        self.bufferedAmount = 0
        self.bufferedAmountLowThreshold = 0
        self.sent: list[str] = []

    def send(self, text: str) -> None:
        self.sent.append(text)
        self.bufferedAmount += len(text)

    def close(self) -> None:
        self.readyState = "closed"
        self.emit("close")

    def read(self) -> None:
        self.bufferedAmount = 0
        self.emit("bufferedamountlow")


@pytest.fixture
def played() -> PlayedChannel:
    return PlayedChannel()


@pytest.fixture
async def channel(played: PlayedChannel) -> EventChannel:
    channel = EventChannel()
    channel.attach(cast("RTCDataChannel", played))
    return channel


async def test_what_is_sent_goes_out_at_once(channel: EventChannel, played: PlayedChannel) -> None:
    await channel.send("one")
    await channel.send("two")
    assert played.sent == ["one", "two"]


async def test_before_there_is_a_channel_it_is_waited_for(played: PlayedChannel) -> None:
    channel = EventChannel()
    assert channel.state == "waiting"
    opened = asyncio.create_task(channel.opened())
    await asyncio.sleep(0)
    assert not opened.done()
    channel.attach(cast("RTCDataChannel", played))
    await opened
    assert channel.state == "open"


@pytest.mark.parametrize("label", ["other", ""])
async def test_channels_of_other_names_are_closed(label: str) -> None:
    channel, other = EventChannel(), PlayedChannel(label)
    channel.attach(cast("RTCDataChannel", other))
    assert other.readyState == "closed"
    assert channel.state == "waiting"


async def test_a_second_channel_is_closed_and_the_first_one_stays(channel: EventChannel) -> None:
    second = PlayedChannel()
    channel.attach(cast("RTCDataChannel", second))
    assert second.readyState == "closed"
    assert channel.state == "open"
    assert not channel.has_closed.is_set()


async def test_a_peer_that_does_not_read_is_told_no_more_until_it_does(
    channel: EventChannel, played: PlayedChannel
) -> None:
    await channel.send("x" * (MOST_BUFFERED_BYTES + 1))
    waiting = asyncio.create_task(channel.send("later"))
    await asyncio.sleep(0.01)
    assert len(played.sent) == 1
    played.read()
    await waiting
    assert played.sent[1] == "later"


async def test_a_peer_that_never_reads_is_given_up(channel: EventChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_channel, "STALL_TIMEOUT_S", 0.01)
    await channel.send("x" * (MOST_BUFFERED_BYTES + 1))
    with pytest.raises(ChannelStalled, match="not read"):
        await channel.send("later")


async def test_a_channel_that_closes_ends_the_wait(channel: EventChannel, played: PlayedChannel) -> None:
    await channel.send("x" * (MOST_BUFFERED_BYTES + 1))
    waiting = asyncio.create_task(channel.send("later"))
    await asyncio.sleep(0.01)
    played.close()
    await waiting
    assert len(played.sent) == 1
    assert channel.has_closed.is_set()


async def test_what_comes_is_handed_on(channel: EventChannel, played: PlayedChannel) -> None:
    heard: list[Any] = []
    played.emit("message", "nobody listens yet")
    channel.on_message = heard.append
    played.emit("message", "text")
    played.emit("message", b"bytes")
    assert heard == ["text", b"bytes"]
