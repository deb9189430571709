"""What a client may ask of its open session in messages, whatever brings them."""

from __future__ import annotations

import asyncio

from alfred_voice.errors import SessionEnded
from alfred_voice.pipeline.stream import Stream
from alfred_voice.server.errors import UnexpectedMessage
from alfred_voice.server.guard.rates import Pace, Verdict
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.opening import too_often


Request = wire.Speak | wire.StopSpeaking | wire.Ping | wire.Start
"""What is carried out the same however audio comes; ``flush`` and ``stop`` wait for it."""


class Control:
    """Carries out one client's wishes, as often as it may have some."""

    __slots__ = ("_pace", "_stream")

    def __init__(self, stream: Stream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace

    def is_in_time(self) -> bool:
        """Whether a message may be carried out now, or comes too soon after others.

        Raises:
            SessionEnded: there have been so many that this ends the session.
        """
        verdict = self._pace.take(asyncio.get_running_loop().time())
        if verdict is Verdict.CLOSE:
            self._stream.report(too_often(), fatal=True)
            raise SessionEnded("too many messages have come")
        if verdict is Verdict.TELL:
            self._stream.report(too_often())
        return verdict is Verdict.FINE

    def carry_out(self, meant: Request) -> None:
        """Do what a message asks for.

        Raises:
            AlfredVoiceError: it cannot be done.
        """
        match meant:
            case wire.Speak():
                self._stream.speak(meant.text, meant.voice, meant.speed, meant.speech_id)
            case wire.StopSpeaking():
                self._stream.stop_speaking()
            case wire.Ping():
                self._stream.ping(meant.id)
            case wire.Start():
                raise UnexpectedMessage("expected no second start, as the session is open, but one came")
