"""The native protocol's messages as bytes: what a client sends is read here, what a session tells is written here.

Reading is strict (an unknown field, a wrong type or a number out of range is an error); of a key that stands twice
the last one counts.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from alfred_voice.events import EVENT_TYPES, Event, PipelineHealth
from alfred_voice.pipeline.outbox import Numbered, SpeechAudio
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage, ProtocolError, UnexpectedMessage, UnknownMessage


MS_DIGITS = 1
"""Times are told to a tenth of a millisecond: about one and a half samples."""
RATIO_DIGITS = 4
"""Probabilities, loads and confidences."""
SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""


class Mode(StrEnum):
    """A WebSocket sub-protocol: how messages are written on one connection."""

    JSON = "alfred.v1.json"
    MSGPACK = "alfred.v1.msgpack"


Integer = Annotated[int, Meta(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
Name = Annotated[str, Meta(max_length=128)]
EventName = Annotated[str, Meta(max_length=32)]


class Start(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="start"):
    """Open the session with these settings; whatever is absent has the connection's default."""

    session_id: Annotated[str, Meta(max_length=1024)] | None = None
    sample_rate: Integer | None = None
    channels: Integer | None = None
    encoding: Name | None = None
    language: Name | None = None
    events: Annotated[list[EventName], Meta(max_length=64)] | None = None
    partials: bool | None = None
    turns: bool | None = None
    engine: Name | None = None
    resumable: bool | None = None
    resume_token: Name | None = None
    last_seq: Annotated[int, Meta(ge=-1, le=SAFE_INTEGER)] | None = None


class Speak(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="speak"):
    """Say this text, after whatever is still being said."""

    text: str
    voice: Name | None = None
    speed: Annotated[float, Meta(gt=0, le=100)] | None = None
    speech_id: Annotated[int, Meta(ge=0, le=SAFE_INTEGER)] | None = None


class StopSpeaking(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="stopSpeaking"):
    """Cancel all speech now."""


class Flush(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="flush"):
    """End the open utterance now."""


class Stop(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="stop"):
    """End the session, everything delivered first."""


class Ping(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ping"):
    """Answer with a ``pong`` that has the same ``id``."""

    id: Name | Integer | None = None


class Audio(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="audio"):
    """PCM in the declared format, where messages are MessagePack."""

    audio: bytes


Control = Start | Speak | StopSpeaking | Flush | Stop | Ping
"""What a client may send in either mode."""
Message = Control | Audio
"""What a client may send."""

START_TYPE = "start"
_AUDIO_TYPE = "audio"
CONTROL_TYPES = (START_TYPE, "speak", "stopSpeaking", "flush", "stop", "ping")


class _Heading(Struct):
    """The one field that says what the rest should be."""

    type: Any = None


# Decoders hold no state between calls: they are compiled tables of the types above.
_TEXT = msgspec.json.Decoder(Control)
_TEXT_HEADING = msgspec.json.Decoder(_Heading)
_MSGPACK = msgspec.msgpack.Decoder(Message)
_MSGPACK_HEADING = msgspec.msgpack.Decoder(_Heading)

_SPARSE = ("from_ms", "to_ms", "resume", "recorded", "retry_after_s")
"""Fields that are left out where they have no value."""
_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in EVENT_TYPES}


def decode_text(data: str | bytes) -> Control:
    """One JSON object.

    Raises:
        MalformedMessage: it is not one, or a field is unknown, missing, of the wrong type or out of range.
        UnknownMessage: the protocol has no such ``type``.
        UnexpectedMessage: ``audio``, which travels as a BINARY message in this mode.
    """
    try:
        control: Control = _TEXT.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _refusal(error, peek_type(data, Mode.JSON), Mode.JSON) from error
    return control


def decode_msgpack(data: bytes) -> Message:
    """One MessagePack map.

    Raises:
        MalformedMessage: it is not one, or a field is unknown, missing, of the wrong type or out of range.
        UnknownMessage: the protocol has no such ``type``.
    """
    try:
        message: Message = _MSGPACK.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _refusal(error, peek_type(data, Mode.MSGPACK), Mode.MSGPACK) from error
    return message


def peek_type(data: str | bytes, mode: Mode) -> str | None:
    """The ``type`` of a message that may be wrong otherwise; None where it cannot be told."""
    try:
        if mode is Mode.JSON:
            heading = _TEXT_HEADING.decode(data)
        else:
            heading = _MSGPACK_HEADING.decode(data if isinstance(data, bytes) else data.encode())
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return heading.type if isinstance(heading.type, str) else None


def type_of(message: Message) -> str:
    """Its ``type`` on the wire."""
    return str(message.__struct_config__.tag)


def _refusal(error: Exception, kind: str | None, mode: Mode) -> ProtocolError:
    """What to tell a client whose message could not be read."""
    if mode is Mode.JSON and kind == _AUDIO_TYPE:
        return UnexpectedMessage("audio travels as a BINARY message of raw PCM here, but a TEXT message came")
    known = CONTROL_TYPES if mode is Mode.JSON else (*CONTROL_TYPES, _AUDIO_TYPE)
    if kind is not None and kind not in known:
        return UnknownMessage(f"expected a message of type {', '.join(known)}, but {shorten(kind)!r} came")
    if not isinstance(error, msgspec.ValidationError):
        notation = "JSON object" if mode is Mode.JSON else "MessagePack map"
        return MalformedMessage(f"expected one {notation}, but it cannot be read: {shorten(str(error))}")
    return MalformedMessage(f"{'message' if kind is None else kind}: {shorten(str(error))}")


def describe(numbered: Numbered, session_id: str) -> dict[str, Any]:
    """An event as the plain object that stands on the wire."""
    event = numbered.event
    heading = {"type": EVENT_TYPES[type(event)], "session_id": session_id, "seq": numbered.seq}
    return heading | _fields_of(event)


def describe_event(event: Event) -> dict[str, Any]:
    """The same without session and number, for those who look on."""
    return {"type": EVENT_TYPES[type(event)]} | _fields_of(event)


def _fields_of(event: Event) -> dict[str, Any]:
    if isinstance(event, PipelineHealth):
        return event.status
    told: dict[str, Any] = {}
    for name in _FIELDS[type(event)]:
        value = getattr(event, name)
        if value is not None or name not in _SPARSE:
            told[name] = _plain(name, value)
    return told


def _plain(name: str, value: Any) -> Any:
    """A field's value without dataclasses, floats rounded to what they are worth."""
    if isinstance(value, float):
        return round(value, MS_DIGITS if name.endswith("_ms") else RATIO_DIGITS)
    if isinstance(value, tuple):
        return [_plain(name, item) for item in value]
    if is_dataclass(value):
        return {field.name: _plain(field.name, getattr(value, field.name)) for field in fields(value)}
    return value


def encode(numbered: Numbered, session_id: str, mode: Mode) -> bytes:
    """An event as the payload of one message: TEXT in JSON mode, BINARY in MessagePack mode."""
    if mode is Mode.JSON:
        return msgspec.json.encode(describe(numbered, session_id))
    return msgspec.msgpack.encode(describe(numbered, session_id))


def encode_audio(audio: SpeechAudio, mode: Mode) -> bytes:
    """Synthesised audio as the payload of one BINARY message."""
    if mode is Mode.JSON:
        return audio.data
    return msgspec.msgpack.encode({"type": "ttsAudio", "speech_id": audio.speech_id, "audio": audio.data})
