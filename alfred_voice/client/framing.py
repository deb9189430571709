"""How messages of the native protocol stand in WebSocket frames, in its two modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, assert_never

import msgspec

from alfred_voice.client.errors import UnreadableMessage


Mode = Literal["json", "msgpack"]
"""How messages are written: JSON in text frames, or MessagePack in binary ones."""

ClientEvent = dict[str, Any]
"""One event as it came, with its ``type``; synthesised audio is ``{"type": "ttsAudio", "speech_id", "audio"}``."""


class Framing(Protocol):
    """Turns messages into the payload of a frame and back. A ``str`` is a text frame, ``bytes`` a binary one."""

    subprotocol: str

    def write_control(self, message: Mapping[str, Any]) -> str | bytes:
        """The frame of a control message."""
        ...

    def write_audio(self, audio: bytes) -> bytes:
        """The frame of a stretch of audio."""
        ...

    def read(self, payload: str | bytes) -> ClientEvent:
        """The event in a frame.

        Raises:
            UnreadableMessage: it holds none.
        """
        ...


class JsonFraming:
    """Control and events as JSON text; audio as bare binary. One per connection: it remembers whose audio comes."""

    subprotocol = "alfred.v1.json"

    def __init__(self) -> None:
        self._speech_id: int | None = None

    def write_control(self, message: Mapping[str, Any]) -> str:
        """A text frame."""
        return msgspec.json.encode(message).decode()

    def write_audio(self, audio: bytes) -> bytes:
        """A binary frame with nothing around the samples."""
        return audio

    def read(self, payload: str | bytes) -> ClientEvent:
        """An event of a text frame, or the audio that the last ``ttsStart`` announced."""
        if isinstance(payload, bytes):
            if self._speech_id is None:
                raise UnreadableMessage(f"{len(payload)} bytes of audio came before any ttsStart")
            return {"type": "ttsAudio", "speech_id": self._speech_id, "audio": payload}
        try:
            event = _checked(msgspec.json.decode(payload))
        except msgspec.DecodeError as exc:
            raise UnreadableMessage(f"expected a JSON event, got {payload[:80]!r}: {exc}") from exc
        if event["type"] == "ttsStart":
            self._speech_id = event.get("speech_id")
        return event


class MsgpackFraming:
    """Everything a MessagePack map in a binary frame, audio included."""

    subprotocol = "alfred.v1.msgpack"

    def write_control(self, message: Mapping[str, Any]) -> bytes:
        """A binary frame with one map."""
        return msgspec.msgpack.encode(message)

    def write_audio(self, audio: bytes) -> bytes:
        """A binary frame with one map that holds the samples."""
        return msgspec.msgpack.encode({"type": "audio", "audio": audio})

    def read(self, payload: str | bytes) -> ClientEvent:
        """The map of a binary frame."""
        if isinstance(payload, str):
            raise UnreadableMessage(f"expected a binary frame with a MessagePack map, got text {payload[:80]!r}")
        try:
            return _checked(msgspec.msgpack.decode(payload))
        except msgspec.DecodeError as exc:
            raise UnreadableMessage(f"expected a MessagePack event, got {payload[:40]!r}: {exc}") from exc


def framing_of(mode: Mode) -> Framing:
    """A framing for one connection."""
    match mode:
        case "json":
            return JsonFraming()
        case "msgpack":
            return MsgpackFraming()
        case _:
            assert_never(mode)


def _checked(event: Any) -> ClientEvent:
    """The event, if it is one."""
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise UnreadableMessage(f"expected an object with a type, got {str(event)[:80]!r}")
    return event
