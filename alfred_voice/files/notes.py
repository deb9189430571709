"""What is noted while a recording is transcribed, so that one that was interrupted can go on.

A file of JSON lines: what the notes are about, each segment as soon as it is certain, and at the end how long it took.
A line that was not written to its end does not count, nor what comes after it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from alfred_voice.files.result import Segment, Transcription


RECORDING, SEGMENT, RESULT = "recording", "segment", "result"
PART = ".part"
"""What a file that is not complete yet has behind its name."""


class Notes:
    """The notes of one recording; a context in which they are open.

    Args:
        path: of the notes.
        about: what makes a segment of another day one of this: the recording's size and age, the engines, the options.
        goes_on: take up the segments that are there already, if they are about the same.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, goes_on: bool) -> None:
        self._path = path
        self._about = dict(about)
        self.known: list[Segment] = _read(path, self._about) if goes_on else []
        self._file: TextIO | None = None

    @property
    def done_until_ms(self) -> float:
        """Where the known segments end."""
        return self.known[-1].end_ms if self.known else 0.0

    def __enter__(self) -> Notes:
        # Written anew, so that nothing stands behind a line that was not finished.
        part = self._path.with_name(self._path.name + PART)
        self._file = part.open("w", encoding="utf-8")
        self._write({"type": RECORDING, **self._about})
        for segment in self.known:
            self.add(segment)
        part.replace(self._path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, segment: Segment) -> None:
        """The next segment."""
        self._write({"type": SEGMENT, **segment.as_fields()})

    def finish(self, result: Transcription) -> None:
        """How it went; the segments have been noted."""
        fields = result.as_fields()
        kept = ("duration_ms", "language", "speech_ms", "real_time_factor", "timing", "metadata")
        self._write({"type": RESULT, **{name: fields[name] for name in kept}})

    def _write(self, fields: Mapping[str, Any]) -> None:
        if self._file is None:
            raise AssertionError("the notes are not open")
        self._file.write(json.dumps(fields, ensure_ascii=False) + "\n")
        self._file.flush()


def _read(path: Path, about: Mapping[str, Any]) -> list[Segment]:
    """The segments noted there; none when the notes are about something else, or there are none."""
    segments: list[Segment] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            if _fields(file.readline()) != {"type": RECORDING, **about}:
                return []
            for line in file:
                fields = _fields(line)
                if fields["type"] != SEGMENT:
                    break
                segment = Segment.of_fields(fields)
                # What ends before the last segment's end is not recognised again: it must be a time, and go on.
                if not max(segment.start_ms, segments[-1].end_ms if segments else 0.0) <= segment.end_ms < math.inf:
                    break
                segments.append(segment)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass  # what was read up to here counts
    return segments


def _fields(line: str) -> dict[str, Any]:
    """A line's content; raises ValueError for one that is none, or not whole."""
    if not line.endswith("\n"):
        raise ValueError("a line without its end")
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, got {type(fields).__name__}")
    return fields
