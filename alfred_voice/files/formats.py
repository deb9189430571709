"""A transcription as a file: text, JSON, subtitles or a table."""

from __future__ import annotations

import json
from collections.abc import Iterator

from alfred_voice.files.result import Segment, Transcription
from alfred_voice.files.subtitles import SUBTITLES


TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON, *SUBTITLES)
ENDINGS = {TEXT: "txt"}
"""Of files, where it is not the format's name."""


def render(transcription: Transcription, kind: str, *, timestamps: bool = False, name: str | None = None) -> str:
    """The whole of it, as it stands in a file.

    Args:
        transcription: what is written.
        kind: one of :data:`FORMATS`.
        timestamps: put its time before each line of text.
        name: of the recording, for JSON.

    Raises:
        ValueError: no such format.
    """
    if kind == TEXT:
        lines = "".join(f"{line(segment, timestamps=timestamps)}\n" for segment in transcription.segments)
        return f"{lines}\n{transcription.summary.text}\n" if transcription.summary else lines
    if kind == JSON:
        head = {} if name is None else {"file": name}
        return json.dumps(head | transcription.as_fields(), ensure_ascii=False) + "\n"
    if kind not in SUBTITLES:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, got {kind!r}")
    pieces: Iterator[str] = SUBTITLES[kind](transcription.segments)
    return "".join(pieces)


def line(segment: Segment, *, timestamps: bool = False) -> str:
    """A segment as a line of text; if wanted, as ``[0:00:01.000 - 0:00:02.500] Hello.`` with its time before it."""
    text = " ".join(segment.text.split())
    return f"[{clock(segment.start_ms)} - {clock(segment.end_ms)}] {text}" if timestamps else text


def clock(ms: float) -> str:
    """``0:01:02.345``."""
    seconds, thousandths = divmod(round(ms), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}.{thousandths:03d}"
