"""A recording on its way in, as a form or as the file itself, and what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO

from aiohttp import BodyPartReader, ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from alfred_voice.errors import EmptyAudio, InvalidSettings
from alfred_voice.files.transcriber import Wishes
from alfred_voice.models.spoken import SHAPE, is_language
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage, MessageTooLarge
from alfred_voice.server.http.form import AUDIO_FIELD, FIELD_BYTES, FRAMING_BYTES


CHUNK_BYTES = 256 * 1024
_FIELDS = ("language", "words", "prompt")
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


async def read_recording(request: web.Request, file: BinaryIO, max_bytes: int) -> dict[str, str]:
    """Write the recording to ``file``; the form's other fields.

    The body is a form (``multipart/form-data`` with ``audio_file``), or the file itself.

    Raises:
        MalformedMessage: a form that is none, or with an unknown or repeated field.
        EmptyAudio: no bytes.
        MessageTooLarge: more than ``max_bytes``.
    """
    is_form = request.content_type == "multipart/form-data"
    coming = request.content_length or 0
    if coming > max_bytes + (FRAMING_BYTES if is_form else 0):
        raise MessageTooLarge(f"expected at most {max_bytes} bytes of audio, but {coming} come")
    if not is_form:
        await _write(request.content.iter_chunked(CHUNK_BYTES), file, max_bytes)
        return {}
    try:
        return await _read_form(request, file, max_bytes)
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError, ClientPayloadError, EOFError) as error:
        # Whatever the form's reader makes of bytes that are none.
        raise MalformedMessage(f"the multipart form cannot be read: {shorten(str(error))}") from error


async def _read_form(request: web.Request, file: BinaryIO, max_bytes: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    has_audio = False
    async for part in await request.multipart():
        name = part.name if isinstance(part, BodyPartReader) else None
        if not isinstance(part, BodyPartReader) or name not in (AUDIO_FIELD, *_FIELDS):
            known = ", ".join((AUDIO_FIELD, *_FIELDS))
            raise MalformedMessage(f"{shorten(str(name))}: unknown field; expected {known}")
        if name in fields or (name == AUDIO_FIELD and has_audio):
            raise MalformedMessage(f"{name}: expected once, but it came twice")
        if name == AUDIO_FIELD:
            has_audio = True
            await _write(_chunks(part), file, max_bytes)
        else:
            fields[name] = await _text(part, name)
    if not has_audio:
        raise MalformedMessage(f"{AUDIO_FIELD}: missing field")
    return fields


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK_BYTES):
        yield chunk


async def _text(part: BodyPartReader, name: str) -> str:
    data = bytearray()
    async for chunk in _chunks(part):
        data += chunk
        if len(data) > FIELD_BYTES:
            raise MessageTooLarge(f"{name}: expected at most {FIELD_BYTES} bytes, but more came")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{name}: expected UTF-8 text, but other bytes came") from error


async def _write(chunks: AsyncIterator[bytes], file: BinaryIO, max_bytes: int) -> None:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise MessageTooLarge(f"expected at most {max_bytes} bytes of audio, but more came")
        await asyncio.to_thread(file.write, chunk)  # to a disk
    if not size:
        raise EmptyAudio("expected a recording, got 0 bytes")


def wishes_of(fields: Mapping[str, str], max_duration_s: float) -> Wishes:
    """What the query and the form ask for.

    Raises:
        InvalidSettings: an unknown field, or one with a value that it cannot have.
    """
    unknown = next((name for name in fields if name not in _FIELDS), None)
    if unknown is not None:
        raise InvalidSettings(f"{shorten(unknown)}: unknown; expected {', '.join(_FIELDS)}")
    language = fields.get("language")
    if language is not None and not is_language(language):
        raise InvalidSettings(f"language: expected a code {SHAPE}, got {shorten(language)!r}")
    words = _WORDS.get(fields.get("words", "true").strip().lower())
    if words is None:
        raise InvalidSettings(f"words: expected true or false, got {shorten(fields['words'])!r}")
    return Wishes(language, words, fields.get("prompt", ""), max_duration_s)
