"""The multipart form of ``/process_frame``, read strictly and within its limit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    BodyPartReader,
    ClientPayloadError,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError

from alfred_voice.errors import EmptyAudio, InvalidSettings
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage, MessageTooLarge


FIELD_BYTES = 1024
"""The most that a field other than the audio may have."""
FRAMING_BYTES = 16_384
"""What the form may add to the audio: boundaries, headers and the other fields."""
AUDIO_FIELD = "audio_file"
_TEXT_FIELDS = ("session_id", "final", "sample_rate", "encoding", "channels")
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_TRANSPARENT = ("", "binary", "8bit", "7bit")
"""Transfer encodings that leave the bytes as they are (RFC 2045, section 6.2)."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One call's fields; None for what was not sent."""

    session_id: str
    audio: bytes | None
    final: bool = False
    sample_rate: int | None = None
    encoding: str | None = None
    channels: int | None = None


def ignore_warnings() -> None:
    """Have the library not warn of wrong headers in forms, for the process.

    Python keeps a note of each warning's text for ever, and the text is the client's.
    """
    for category in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.filterwarnings("ignore", category=category)


async def read_upload(request: web.Request, max_bytes: int) -> Upload:
    """The fields in whatever order they come.

    Raises:
        MalformedMessage: no multipart form, or one with an unknown, repeated or missing field.
        InvalidSettings: a field's value; the sentence names it.
        EmptyAudio: a file of no bytes.
        MessageTooLarge: more than ``max_bytes`` of audio.
    """
    if request.content_type != "multipart/form-data":
        raise MalformedMessage(f"expected a multipart/form-data body, but {shorten(request.content_type)!r} came")
    if request.content_length is not None and request.content_length > max_bytes + FRAMING_BYTES:
        raise MessageTooLarge(f"expected at most {max_bytes} bytes of audio, but {request.content_length} come")
    try:
        parts = await _read_parts(request, max_bytes)
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError, ClientPayloadError, EOFError) as error:
        # Whatever the form's reader makes of bytes that are none.
        raise MalformedMessage(f"the multipart form cannot be read: {shorten(str(error))}") from error
    return _checked(parts)


async def _read_parts(request: web.Request, max_bytes: int) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise MalformedMessage("expected form fields, each with a name, but another kind of part came")
        name = part.name
        if name != AUDIO_FIELD and name not in _TEXT_FIELDS:
            known = ", ".join((AUDIO_FIELD, *_TEXT_FIELDS))
            raise MalformedMessage(f"{shorten(name)}: unknown field; expected {known}")
        if name in parts:
            raise MalformedMessage(f"{name}: expected once, but it came twice")
        coding = part.headers.get("Content-Transfer-Encoding", "").lower()
        if coding not in _TRANSPARENT:
            raise MalformedMessage(f"{name}: expected plain bytes, but transfer encoding {shorten(coding)!r} came")
        parts[name] = await _read_part(part, name, max_bytes if name == AUDIO_FIELD else FIELD_BYTES)
    return parts


async def _read_part(part: BodyPartReader, name: str, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(65_536):
        data += chunk
        if len(data) > limit:
            raise MessageTooLarge(f"{name}: expected at most {limit} bytes, but more came")
    return bytes(data)


def _checked(parts: dict[str, bytes]) -> Upload:
    if "session_id" not in parts:
        raise MalformedMessage("session_id: missing field")
    final = _flag(parts.get("final"))
    audio = parts.get(AUDIO_FIELD)
    if audio is None and not final:
        raise MalformedMessage(f"{AUDIO_FIELD}: missing field")
    if audio is not None and not audio:
        raise EmptyAudio(f"{AUDIO_FIELD}: expected audio, but the file is empty")
    encoding = parts.get("encoding")
    return Upload(
        session_id=_text("session_id", parts["session_id"]),
        audio=audio,
        final=final,
        sample_rate=_number("sample_rate", parts.get("sample_rate")),
        encoding=None if encoding is None else _text("encoding", encoding),
        channels=_number("channels", parts.get("channels")),
    )


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{name}: expected UTF-8 text, but other bytes came") from error


def _number(name: str, value: bytes | None) -> int | None:
    if value is None:
        return None
    if not (value.isdigit() and len(value) <= 9):
        raise InvalidSettings(f"{name}: expected a whole number, got {shorten(repr(value.decode(errors='replace')))}")
    return int(value)


def _flag(value: bytes | None) -> bool:
    if value is None:
        return False
    word = _WORDS.get(value.decode(errors="replace").strip().lower())
    if word is None:
        raise InvalidSettings(f"final: expected true or false, got {shorten(repr(value))}")
    return word
