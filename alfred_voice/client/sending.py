"""The two ways in which a conversation sends: straight away, or so that what is lost can be sent again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from alfred_voice.client.backlog import Audio, Backlog, sign_of_control
from alfred_voice.client.errors import ClientError, ConversationLost, DaemonSilent
from alfred_voice.client.framing import ClientEvent, Framing
from alfred_voice.client.link import Link


class Sending(Protocol):
    """Takes what is to be sent; all of it in its order."""

    async def audio(self, data: bytes) -> None:
        """One message of audio."""
        ...

    async def control(self, message: Mapping[str, Any]) -> None:
        """One control message."""
        ...

    def note(self, event: ClientEvent) -> None:
        """An event has been read."""
        ...

    async def close(self, why: ClientError) -> None:
        """Nothing is sent any more; whoever tries, or waits, gets the error."""
        ...


class DirectSending:
    """Sends at once over the only connection that there will be."""

    def __init__(self, link: Link, framing: Framing, send_s: float) -> None:
        self._link = link
        self._framing = framing
        self._send_s = send_s
        self._last_error = ""

    async def audio(self, data: bytes) -> None:
        """One message of audio."""
        await self._send(self._framing.write_audio(data))

    async def control(self, message: Mapping[str, Any]) -> None:
        """One control message."""
        await self._send(self._framing.write_control(message))

    def note(self, event: ClientEvent) -> None:
        """Keep what explains a loss."""
        self._last_error = error_in(event) or self._last_error

    async def close(self, why: ClientError) -> None:
        """The connection itself refuses what comes now."""

    async def _send(self, payload: str | bytes) -> None:
        try:
            await self._link.send(payload, self._send_s)
        except ConversationLost as lost:
            raise ConversationLost(lost.close_code, self._last_error or lost.reason) from lost


class KeptSending:
    """Sends over whatever connection there is, and keeps what is not known to have arrived.

    While there is none, what comes is kept for the next one.

    Args:
        link: the first connection.
        framing: how messages are written.
        limit_bytes: how much is kept at most; whoever has more waits for the daemon to acknowledge some of it.
        send_s: how long whoever sends may wait.
    """

    def __init__(self, link: Link, framing: Framing, limit_bytes: int, send_s: float) -> None:
        self._framing = framing
        self._send_s = send_s
        self._backlog = Backlog(limit_bytes)
        self._next_speech = 0
        self._more = asyncio.Event()
        self._moved = asyncio.Event()
        self._failure: ClientError | None = None
        self._writing: asyncio.Task[None] | None = None
        self._begin(link)

    async def audio(self, data: bytes) -> None:
        """One message of audio."""
        await self._room(len(data))
        self._backlog.add_audio(data)
        await self._passed_on()

    async def control(self, message: Mapping[str, Any]) -> None:
        """One control message; a text to speak gets a number if it has none, which tells whether it has arrived."""
        if message.get("type") == "speak":
            message = self._numbered(message)
        data = self._framing.write_control(message)
        await self._room(len(data), is_control=True)
        self._backlog.add_control(data, sign_of_control(message))
        await self._passed_on()

    def note(self, event: ClientEvent) -> None:
        """Let go of what is now known to have arrived.

        Raises:
            ValueError: more is acknowledged than was sent.
        """
        if event["type"] == "audioAcknowledged":
            self._backlog.acknowledge(int(event["audio_bytes"]))
        else:
            self._backlog.note(event)
        self._moved.set()

    def keep_nothing(self) -> None:
        """The session ends with its connection."""
        self._backlog.keep_nothing()
        self._moved.set()

    async def pause(self) -> None:
        """The connection is lost."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.cancel()
            await asyncio.wait((writing,))
            if not writing.cancelled():
                writing.result()
        self._moved.set()

    def go_on(self, link: Link, audio_bytes: int) -> None:
        """There is another connection, on which audio is to be sent from that byte on.

        Raises:
            ValueError: that byte was never sent, or is not kept any more.
        """
        self._backlog.rewind(audio_bytes)
        self._begin(link)
        self._moved.set()

    async def close(self, why: ClientError) -> None:
        """Nothing is sent any more; whoever tries, or waits, gets the error."""
        self._failure = self._failure or why
        await self.pause()

    def _begin(self, link: Link) -> None:
        # The reader may come back in the very moment in which the conversation is closed.
        if self._failure is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(link))

    async def _write(self, link: Link) -> None:
        """Pass on all that is there, and what comes, until the connection is lost.

        How long a daemon that is behind may leave it waiting is up to the connection's heartbeat.
        """
        try:
            while True:
                self._more.clear()
                while (item := self._backlog.take()) is not None:
                    payload = self._framing.write_audio(item.data) if isinstance(item, Audio) else item.data
                    await link.send(payload, None)
                self._moved.set()
                await self._more.wait()
        except ConversationLost:
            # The reader meets the same end, and has sent again what did not arrive.
            return
        finally:
            self._moved.set()

    def _numbered(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """The message with a number of its own, as the daemon would give one."""
        number = message.get("speech_id")
        if number is None:
            number = self._next_speech
            message = {**message, "speech_id": number}
        if isinstance(number, int):
            self._next_speech = max(self._next_speech, number + 1)
        return message

    async def _room(self, size: int, *, is_control: bool = False) -> None:
        """Wait until so much more may be kept."""
        try:
            await self._until(lambda: self._backlog.has_room(size, is_control=is_control))
        except TimeoutError as exc:
            raise DaemonSilent(
                f"the daemon has acknowledged none of the {self._backlog.bytes} bytes that are kept for it "
                f"within {self._send_s} s; its events must be read meanwhile"
            ) from exc

    async def _passed_on(self) -> None:
        """Wait while the connection is slow; what it has not taken is kept, and goes out when it can."""
        self._more.set()
        # Others get their turn, also when there is nothing to wait for.
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            await self._until(lambda: not self._backlog.unsent or self._is_away)

    @property
    def _is_away(self) -> bool:
        return self._writing is None or self._writing.done()

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(self._send_s):
            while True:
                if self._failure is not None:
                    raise self._failure
                if holds():
                    return
                self._moved.clear()
                await self._moved.wait()


def error_in(event: ClientEvent) -> str:
    """What an ``error`` says, for people; "" for any other event."""
    return f"{event.get('message', '')} ({event.get('code', '')})" if event["type"] == "error" else ""
