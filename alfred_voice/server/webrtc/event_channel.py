"""The data channel of one peer: the native protocol's JSON messages, bounded by what the peer leaves unread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiortc import RTCDataChannel


LABEL = "alfred"
MOST_BUFFERED_BYTES = 262_144
"""What may be on its way; a peer that does not take it is told no more until it does."""
RESUME_BYTES = 65_536
STALL_TIMEOUT_S = 10.0
"""How long a peer may leave all that unread."""


class ChannelStalled(Exception):
    """The peer does not read its events."""


class EventChannel:
    """Waits for the peer's channel, sends on it, and hands on what comes."""

    def __init__(self) -> None:
        self.on_message: Callable[[str | bytes], None] | None = None
        """Takes what the peer sends; must not raise."""
        self._channel: RTCDataChannel | None = None
        self._opened = asyncio.Event()
        self._drained = asyncio.Event()
        self.has_closed = asyncio.Event()
        """Set when the peer has closed it."""

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self._channel is not None and self._channel.readyState == "open"

    @property
    def state(self) -> str:
        """``waiting`` for it, or the state of the peer's channel."""
        return "waiting" if self._channel is None else self._channel.readyState

    def attach(self, channel: RTCDataChannel) -> None:
        """Take a channel that the peer has opened; another one, or one of another name, is closed."""
        if channel.label != LABEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = RESUME_BYTES
        channel.on("message", self._hand_on)
        channel.on("close", self._on_close)
        channel.on("bufferedamountlow", self._drained.set)
        self._opened.set()

    async def opened(self) -> None:
        """Returns when the peer has opened it."""
        await self._opened.wait()

    async def send(self, text: str) -> None:
        """Send a message, as soon as there is room for it.

        Raises:
            ChannelStalled: the peer has left everything unread for too long.
        """
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return  # the peer has closed it, and whoever carries the connection sees that
        if channel.bufferedAmount > MOST_BUFFERED_BYTES:
            self._drained.clear()
            try:
                async with asyncio.timeout(STALL_TIMEOUT_S):
                    await self._drained.wait()
            except TimeoutError as error:
                raise ChannelStalled(f"events were not read for {STALL_TIMEOUT_S:g} s") from error
        if channel.readyState == "open":
            channel.send(text)

    def _hand_on(self, data: str | bytes) -> None:
        if self.on_message is not None:
            self.on_message(data)

    def _on_close(self) -> None:
        self.has_closed.set()
        self._drained.set()
