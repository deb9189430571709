"""A recorded session, read from its two files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alfred_voice.audio.wav import wav_header
from alfred_voice.errors import AlfredVoiceError, RecordingUnreadable
from alfred_voice.session.recorded import FORMAT, VERSION, Heading
from alfred_voice.session.replaying import Recording


FRAME_SAMPLES = 320
_HEADER_BYTES = len(wav_header(16_000))


def read_tape(path: Path) -> Recording:
    """What was recorded of a session.

    Args:
        path: the ``.jsonl`` file; the audio lies beside it.

    Raises:
        RecordingUnreadable: it is no recording, or one that is damaged or cut short; the message says where.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RecordingUnreadable(f"{path}: cannot be read: {error.strerror or error}") from error
    heading = _heading(path, lines)
    entries = [_entry(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    if not entries or entries[-1]["op"] != "closed":
        raise RecordingUnreadable(f"{path}: is cut short after line {len(lines)}: it does not say that it was closed")
    audio = path.parent / Path(heading.audio).name
    try:
        data = audio.read_bytes()[_HEADER_BYTES:]
    except OSError as error:
        raise RecordingUnreadable(f"{audio}: cannot be read: {error.strerror or error}") from error
    noted = sum(entry["op"] == "frame" for entry in entries)
    there, told = len(data) / (2 * FRAME_SAMPLES), entries[-1].get("frames")
    if not noted == told == there:
        raise RecordingUnreadable(f"{audio}: expected {told} frames, found {there:g}; {noted} are noted")
    frames = np.frombuffer(data, "<i2").reshape(-1, FRAME_SAMPLES)
    return Recording(heading, entries[:-1], frames, is_whole=not entries[-1].get("reason"))


def _heading(path: Path, lines: list[bytes]) -> Heading:
    try:
        plain = msgspec.json.decode(lines[0]) if lines else None
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise RecordingUnreadable(f"{path}: is no recorded session")
        if plain.get("version") != VERSION:
            raise RecordingUnreadable(f"{path}: version {plain.get('version')!r} is not read here, only {VERSION}")
        return msgspec.convert(plain, Heading)
    except msgspec.ValidationError as error:
        raise RecordingUnreadable(f"{path}: line 1: {error}") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RecordingUnreadable(f"{path}: is no recorded session: {error}") from error
    except AlfredVoiceError as error:
        if isinstance(error, RecordingUnreadable):
            raise
        raise RecordingUnreadable(f"{path}: line 1: {error}") from error


def _entry(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        entry = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RecordingUnreadable(f"{path}: line {number} is damaged or cut short: {error}") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("op"), str):
        raise RecordingUnreadable(f"{path}: line {number} is no entry")
    return entry
