"""What a language model makes of a finished transcript: better punctuation, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from alfred_voice.errors import EngineFailure
from alfred_voice.files.result import Segment, Transcription
from alfred_voice.models.post_processing import PostProcessed


class Processor(Protocol):
    """As :class:`~alfred_voice.models.post_processing.PostProcessor`."""

    def process(self, text: str) -> PostProcessed:
        """The text with the same lines, and its summary where one is wanted."""
        ...


def post_processed(transcription: Transcription, processor: Processor) -> Transcription:
    """The transcription as the processor would have it; as it was, with the reason in its metadata, where it fails.

    Segments keep their times and their words' times. A transcript is worth more than its decoration: nothing that
    goes wrong here makes it an error.
    """
    if not transcription.segments:
        return transcription
    lines = [" ".join(segment.text.split()) for segment in transcription.segments]
    try:
        done = processor.process("\n".join(lines))
    except EngineFailure as error:
        return replace(transcription, metadata={**transcription.metadata, "post_processing": str(error)})
    better = _respelt(transcription.segments, done.text.split("\n"))
    return replace(transcription, segments=better, summary=done.summary)


def _respelt(segments: Sequence[Segment], lines: Sequence[str]) -> tuple[Segment, ...]:
    """The segments with these texts; as they were if there are not as many."""
    if len(lines) != len(segments):
        return tuple(segments)
    return tuple(replace(segment, text=line) for segment, line in zip(segments, lines, strict=True))
