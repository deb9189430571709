"""Segments as subtitles: cues of few short lines, written as SubRip, WebVTT or a table.

Two lines of 42 characters are what broadcasters ask for (Netflix, English Timed Text Style Guide).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from alfred_voice.files.result import Segment


LINE_CHARS = 42
CUE_LINES = 2

_CLOSING = ".!?,;:"
"""What a line should rather end with than break off before."""


SHORTEST_CUE_MS = 833.0
"""20 pictures at 24 a second: quicker than that nobody reads (the same guide); where the next words come sooner, they
come."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at once."""

    start_ms: float
    end_ms: float
    lines: tuple[str, ...]


def cues_of(segment: Segment, line_chars: int = LINE_CHARS, cue_lines: int = CUE_LINES) -> list[Cue]:
    """A segment in cues, each from its first word to its last.

    Where the segment's words have no times, each cue has its share of the segment's time by its number of
    characters. A word that is longer than a line is not divided.

    Raises:
        ValueError: a line without a character, or a cue without a line.
    """
    if line_chars < 1 or cue_lines < 1:
        raise ValueError(f"Expected lines and characters in them, but got {cue_lines} lines of {line_chars}")
    said = segment.text.split()
    lines = _lines(said, line_chars)
    groups = [tuple(lines[at : at + cue_lines]) for at in range(0, len(lines), cue_lines)]
    return _timed_cues(segment, groups) if len(segment.words) == len(said) else _shared_cues(segment, groups)


def _timed_cues(segment: Segment, groups: Sequence[tuple[str, ...]]) -> list[Cue]:
    """By the times of the words, which are those of the text, one for one."""
    spans: list[tuple[float, float]] = []
    first = 0
    for group in groups:
        last = first + sum(len(line.split()) for line in group) - 1
        spans.append((segment.words[first].start_ms, segment.words[last].end_ms))
        first = last + 1
    cues: list[Cue] = []
    for at, (group, (start, end)) in enumerate(zip(groups, spans, strict=True)):
        following = spans[at + 1][0] if at + 1 < len(spans) else max(end, segment.end_ms)
        cues.append(Cue(start, max(end, min(start + SHORTEST_CUE_MS, following)), group))
    return cues


def _shared_cues(segment: Segment, groups: Sequence[tuple[str, ...]]) -> list[Cue]:
    """By the share of the text that each is."""
    whole = sum(map(_characters, groups))
    cues: list[Cue] = []
    shown = 0
    for group in groups:
        start, shown = shown, shown + _characters(group)
        length_ms = segment.end_ms - segment.start_ms
        begin, end = (segment.start_ms + length_ms * place / whole for place in (start, shown))
        cues.append(Cue(begin, end, group))
    return cues


def _characters(lines: Sequence[str]) -> int:
    return sum(map(len, lines))


def _lines(words: Sequence[str], most: int) -> list[str]:
    """As few lines as the words need; where a clause ends in the later half of a line, the line ends with it."""
    lines: list[str] = []
    rest = list(words)
    while rest:
        fitting = _fitting(rest, most)
        if fitting < len(rest):
            ends = [
                count
                for count in range(1, fitting + 1)
                if rest[count - 1][-1] in _CLOSING and len(" ".join(rest[:count])) * 2 >= most
            ]
            fitting = ends[-1] if ends else fitting
        lines.append(" ".join(rest[:fitting]))
        del rest[:fitting]
    return lines


def _fitting(words: Sequence[str], most: int) -> int:
    """How many of the words fit one line; one at least."""
    count, length = 1, len(words[0])
    while count < len(words) and length + 1 + len(words[count]) <= most:
        length += 1 + len(words[count])
        count += 1
    return count


def subrip(segments: Iterable[Segment]) -> Iterator[str]:
    """SubRip (``.srt``), cue by cue."""
    number = 0
    for segment in segments:
        for cue in cues_of(segment):
            number += 1
            lines = "\n".join(cue.lines)
            yield f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{lines}\n\n"


def webvtt(segments: Iterable[Segment]) -> Iterator[str]:
    """WebVTT (``.vtt``, www.w3.org/TR/webvtt1), its header first, then cue by cue."""
    yield "WEBVTT\n\n"
    for segment in segments:
        for cue in cues_of(segment):
            lines = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            yield f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{lines}\n\n"


def table(segments: Iterable[Segment]) -> Iterator[str]:
    """Tab-separated values (``.tsv``): start and end in milliseconds, and the text, segment by segment."""
    yield "start\tend\ttext\n"
    for segment in segments:
        yield f"{round(segment.start_ms)}\t{round(segment.end_ms)}\t{' '.join(segment.text.split())}\n"


SUBTITLES: Mapping[str, Callable[[Iterable[Segment]], Iterator[str]]] = {"srt": subrip, "vtt": webvtt, "tsv": table}
"""Name, which is also the usual ending of such a file -> how it is written."""


def _clock(ms: float, point: str) -> str:
    """``00:01:02,345``."""
    seconds, thousandths = divmod(round(ms), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{thousandths:03d}"
