"""What is made of a whole recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alfred_voice.models.summary import Summary
from alfred_voice.results import Word


MS_DIGITS = 1
RATIO_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch's text, with its place in the recording."""

    start_ms: float
    end_ms: float
    text: str
    confidence: float
    """0 to 1."""
    words: tuple[Word, ...] = ()
    """With their times in the recording, where they were asked for and the recogniser knows them."""

    def as_fields(self) -> dict[str, Any]:
        """For JSON; ``words`` only where there are some."""
        fields: dict[str, Any] = {
            "start_ms": round(self.start_ms, MS_DIGITS),
            "end_ms": round(self.end_ms, MS_DIGITS),
            "text": self.text,
            "confidence": round(self.confidence, RATIO_DIGITS),
        }
        if self.words:
            fields["words"] = [_word_fields(word) for word in self.words]
        return fields

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Segment:
        """What :meth:`as_fields` gave; raises KeyError, TypeError or ValueError for anything else."""
        words = tuple(
            Word(str(word["word"]), float(word["start_ms"]), float(word["end_ms"]), float(word["probability"]))
            for word in fields.get("words", ())
        )
        return cls(
            float(fields["start_ms"]), float(fields["end_ms"]), str(fields["text"]), float(fields["confidence"]), words
        )


def _word_fields(word: Word) -> dict[str, Any]:
    return {
        "word": word.word,
        "start_ms": round(word.start_ms, MS_DIGITS),
        "end_ms": round(word.end_ms, MS_DIGITS),
        "probability": round(word.probability, RATIO_DIGITS),
    }


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds. The stages run side by side: their sum may exceed the total."""

    decode_s: float = 0.0
    """Reading the file's format."""
    detect_s: float = 0.0
    """Finding speech."""
    recognise_s: float = 0.0
    """Recognising, of all workers together."""
    total_s: float = 0.0
    """From the beginning to the end."""

    def as_fields(self) -> dict[str, float]:
        """For JSON."""
        return {
            "decode_s": round(self.decode_s, 3),
            "detect_s": round(self.detect_s, 3),
            "recognise_s": round(self.recognise_s, 3),
            "total_s": round(self.total_s, 3),
        }


@dataclass(frozen=True, slots=True)
class Transcription:
    """A whole recording's text, segment by segment.

    ``str()`` of it is its text.
    """

    segments: tuple[Segment, ...]
    duration_ms: float
    """Of the recording."""
    language: str = "en"
    timing: Timing = field(default_factory=Timing)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The recording's name, the engines, how many workers there were."""
    summary: Summary | None = None
    """Where one was asked for."""
    warnings: tuple[str, ...] = ()
    """What may have gone wrong, in sentences."""

    @property
    def text(self) -> str:
        """All that was said, on one line."""
        return joined(self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def speech_ms(self) -> float:
        """How much of the recording is in segments."""
        return sum(segment.end_ms - segment.start_ms for segment in self.segments)

    @property
    def real_time_factor(self) -> float:
        """Time that it took for each second of the recording; below 1 is faster than life."""
        return self.timing.total_s * 1000 / self.duration_ms if self.duration_ms else 0.0

    def __str__(self) -> str:
        return self.text

    def as_fields(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "duration_ms": round(self.duration_ms, MS_DIGITS),
            "language": self.language,
            "text": self.text,
            "segments": [segment.as_fields() for segment in self.segments],
            "speech_ms": round(self.speech_ms, MS_DIGITS),
            "real_time_factor": round(self.real_time_factor, 5),
            "timing": self.timing.as_fields(),
            "metadata": dict(self.metadata),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
            **({"summary": asdict(self.summary)} if self.summary else {}),
        }


def joined(segments: Iterable[Segment]) -> str:
    """The texts on one line."""
    return " ".join(segment.text for segment in segments)
