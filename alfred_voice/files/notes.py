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

    There is no file before there is something to note: what turns out to be no recording leaves none.

    Args:
        path: of the notes.
        about: what makes a segment of another day one of this: the recording's size and age, the engines, the options.
        goes_on: take up the segments that are there already, if they are about the same.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, goes_on: bool) -> None:
        self._path = path
        self._about = dict(about)
        self.known: list[Segment] = []
        self.other = ""
        """Why notes that are there are left aside; empty when they are not."""
        if goes_on:
            self.known, self.other = _read(path, self._about)
        self._file: TextIO | None = None

    @property
    def done_until_ms(self) -> float:
        """Where the known segments end."""
        return self.known[-1].end_ms if self.known else 0.0

    def __enter__(self) -> Notes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, segment: Segment) -> None:
        """The next segment."""
        self._write(_segment_fields(segment))

    def finish(self, result: Transcription) -> None:
        """How it went; the segments have been noted."""
        fields = result.as_fields()
        kept = ("duration_ms", "language", "speech_ms", "real_time_factor", "timing", "metadata")
        self._write({"type": RESULT, **{name: fields[name] for name in kept}})

    def _write(self, fields: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = self._begun()
        self._file.write(_line(fields))
        self._file.flush()

    def _begun(self) -> TextIO:
        """The file, written anew, so that nothing stands behind a line that was not finished."""
        part = self._path.with_name(self._path.name + PART)
        file = part.open("w", encoding="utf-8")
        try:
            file.write(_line({"type": RECORDING, **self._about}))
            file.writelines(_line(_segment_fields(segment)) for segment in self.known)
            file.flush()
            part.replace(self._path)
        except BaseException:
            file.close()
            part.unlink(missing_ok=True)
            raise
        return file


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _segment_fields(segment: Segment) -> dict[str, Any]:
    return {"type": SEGMENT, **segment.as_fields()}


def _read(path: Path, about: Mapping[str, Any]) -> tuple[list[Segment], str]:
    """The segments noted there, and why there are none although there are notes."""
    segments: list[Segment] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = _fields(file.readline())
            if found != {"type": RECORDING, **about}:
                has_other_settings = found.get("settings") != about.get("settings")
                return [], "notes of other settings" if has_other_settings else "notes of another recording"
            for line in file:
                fields = _fields(line)
                if fields["type"] != SEGMENT:
                    break
                segment = Segment.of_fields(fields)
                # What ends before the last segment's end is not recognised again: it must be a time, and go on.
                if not max(segment.start_ms, segments[-1].end_ms if segments else 0.0) <= segment.end_ms < math.inf:
                    break
                segments.append(segment)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # What was read up to here counts.
        return segments, "" if segments else "notes that cannot be read"
    return segments, ""


def _fields(line: str) -> dict[str, Any]:
    """A line's content; raises ValueError for one that is none, or not whole."""
    if not line.endswith("\n"):
        raise ValueError("a line without its end")
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, got {type(fields).__name__}")
    return fields
