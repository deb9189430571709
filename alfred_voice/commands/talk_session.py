"""One conversation as ``alfred-voice talk`` holds it: audio goes out while events come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from alfred_voice.client import Conversation, ConversationLost
from alfred_voice.commands.talk_sound import SpeechSink
from alfred_voice.commands.talk_view import View


class TalkSession:
    """Sends until the audio is at its end or :meth:`stop` is called, and shows events until the session is over."""

    def __init__(self, conversation: Conversation, view: View, sinks: Sequence[SpeechSink] = ()) -> None:
        self._conversation = conversation
        self._view = view
        self._sinks = sinks
        self._stopping = asyncio.Event()
        self._answered = asyncio.Event()
        self._is_open = False
        self._speech_over = asyncio.Event()
        self._is_over = False
        self._had_error = False

    def stop(self) -> None:
        """End the session now; what is pending is still shown."""
        self._stopping.set()

    async def hold(self, frames: AsyncIterator[bytes], *, say: str | None = None, voice: str | None = None) -> bool:
        """Hold the conversation to its end.

        Args:
            frames: audio as it is to be sent, ``pcm_s16le``, mono, 16 kHz.
            say: what the daemon is to speak from the start; the session then lasts until that is over too.
            voice: for ``say``.

        Returns:
            Whether the daemon reported no error.

        Raises:
            ClientError: the connection failed.
            AudioError: the source of the frames did.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(frames, say, voice))
                await self._read()
                self._is_over = True
                self._stopping.set()
                self._answered.set()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return not self._had_error

    async def _read(self) -> None:
        """Show what comes."""
        async for event in self._conversation:
            self._view.show(event)
            for sink in self._sinks:
                sink.receive(event)
            match event["type"]:
                case "sessionStarted":
                    self._is_open = True
                    self._answered.set()
                case "ttsEnd":
                    self._speech_over.set()
                case "error":
                    self._had_error = True
                    self._speech_over.set()
                    self._answered.set()
                case "sessionEnded":
                    self._had_error |= event["reason"] == "error"

    async def _send(self, frames: AsyncIterator[bytes], say: str | None, voice: str | None) -> None:
        """Send everything, or what there is until :meth:`stop`; then end the session."""
        try:
            # What follows a start that was refused would only be refused as well.
            await self._answered.wait()
            if self._is_open and say is not None:
                await self._conversation.speak(say, voice=voice)
            if self._is_open:
                await self._until_stopped(self._feed(frames, waits_for_speech=say is not None))
            if not self._is_over:
                await self._conversation.stop()
        except ConversationLost:
            # The reader meets the same end, and knows whether it was a clean one.
            return

    async def _feed(self, frames: AsyncIterator[bytes], *, waits_for_speech: bool) -> None:
        """The audio, and then the rest of the daemon's speech."""
        async for frame in frames:
            await self._conversation.send_audio(frame)
        if waits_for_speech:
            await self._speech_over.wait()

    async def _until_stopped(self, feeding: Coroutine[Any, Any, None]) -> None:
        """Await ``feeding``, but no longer than until :meth:`stop`."""
        feed = asyncio.ensure_future(feeding)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((feed, stopping), return_when=asyncio.FIRST_COMPLETED)
            if feed.done():
                feed.result()
        finally:
            feed.cancel()
            stopping.cancel()
            await asyncio.gather(feed, stopping, return_exceptions=True)
