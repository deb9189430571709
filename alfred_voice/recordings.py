"""Whole recordings, in one line and without a daemon.

    from alfred_voice import transcribe

    result = transcribe("meeting.m4a")
    print(result.text)
    for segment in result.segments:
        print(segment.start_ms, segment.end_ms, segment.text)

The source may be a path, the bytes of a file, or a file opened for reading bytes, in any format that FFmpeg reads. It
is read in a stream: eight hours take no more memory than a few minutes. Segments as soon as they are certain:

    for segment in transcribe_stream("meeting.m4a"):
        print(segment.text)

Loading the models takes a moment: who transcribes many recordings keeps them in a :class:`Recordings`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from alfred_voice import __version__, workshop
from alfred_voice.audio.damage import Damage
from alfred_voice.config import Config, load
from alfred_voice.errors import AudioError, EngineFailure, InvalidSettings
from alfred_voice.files.detect import RecordingVad
from alfred_voice.files.errors import BrokenOff, RecordingTooLong, RecordingUnreadable
from alfred_voice.files.formats import FORMATS, clock, render
from alfred_voice.files.post import post_processed
from alfred_voice.files.result import Segment, Timing, Transcription
from alfred_voice.files.source import Source, opened
from alfred_voice.files.transcriber import Pass, Progress, Transcriber, Wishes
from alfred_voice.models.engine import VadEngine
from alfred_voice.models.spoken import SHAPE, is_language, unknown_language
from alfred_voice.recognisers import check_stt, device_warning, origin_of
from alfred_voice.results import Word


__all__ = [
    "FORMATS", "AudioError", "BrokenOff", "Progress", "RecordingTooLong", "RecordingUnreadable", "Recordings",
    "Segment", "Source", "Timing", "Transcribing", "Transcription", "Wishes", "Word", "render", "transcribe",
    "transcribe_stream",
]  # fmt: skip

MOST_WORKERS = 16
"""By itself: each takes some 80 MB."""

MOST_CLIPS = 8
"""In one call of the recogniser; more take memory in each worker and save no time (measured with 16)."""

OnProgress = Callable[[Progress], None]


def transcribe(
    source: Source,
    *,
    words: bool = True,
    language: str | None = None,
    prompt: str = "",
    workers: int | None = None,
    max_duration_s: float | None = None,
    config: Config | None = None,
    on_progress: OnProgress | None = None,
) -> Transcription:
    """The text of a recording, with the times of its segments and words.

    Args:
        source: a path, the bytes of a file, or a file opened for reading bytes.
        words: whether each word's times are wanted.
        language: what is spoken; as configured when absent.
        prompt: words to be expected; a recogniser that takes none ignores it.
        workers: how many cores recognise; all of them when absent.
        max_duration_s: a longer recording is an error.
        config: engines and their settings; those of the environment (``ALFRED_STT__ENGINE=...``) when absent.
        on_progress: hears how far it is, about every second of audio.

    Raises:
        AudioError: no sound track, an unknown format, damage, too long, unreadable; each its own class.
        BrokenOff: the same, or a failure of the recogniser, when some of it had been transcribed: see its ``so_far``.
        ModelError: a model is missing (``alfred-voice models pull``) or failed.
    """
    with Recordings(config, workers=workers) as recordings:
        return recordings.transcribe(source, Wishes(language, words, prompt, max_duration_s), on_progress)


def transcribe_stream(
    source: Source,
    *,
    words: bool = True,
    language: str | None = None,
    prompt: str = "",
    workers: int | None = None,
    max_duration_s: float | None = None,
    config: Config | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Segment]:
    """The segments of a recording, in order, each as soon as it is certain; see :func:`transcribe`.

    Damage is raised when all that came before it has been given.
    """
    with Recordings(config, workers=workers) as recordings:
        going = recordings.start(source, Wishes(language, words, prompt, max_duration_s), on_progress)
        with closing(iter(going)) as segments:
            yield from segments


class Recordings:
    """The engines for recordings, loaded once; a context in which they are there.

    May be used from several threads, a recording in each: they share the workers.

    Args:
        config: engines and their settings; those of the environment when absent.
        workers: how many cores recognise; all of them when absent.

    Attributes:
        warning: why the device that is configured is not used; empty where it is.

    Raises:
        ConfigError: settings that do not go together.
        ModelError: a model is missing or unusable.
    """

    def __init__(self, config: Config | None = None, *, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"expected at least one worker, got {workers}")
        self.config = load(environ=os.environ).config if config is None else config
        self.workers = workers or default_workers()
        check_stt(self.config)
        self.warning = device_warning(self.config)
        self._store = workshop.open_store(self.config)
        self._detectors: list[VadEngine | RecordingVad] = [workshop.build_recording_vad(self.config, self._store)]
        self._crew = workshop.build_crew(self.config, self._store, self.workers)
        self._is_closed = False
        self._processor = workshop.open_processor(self.config)

    def __enter__(self) -> Recordings:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the workers go, and whoever improves on their texts."""
        self._is_closed = True
        self._crew.close()
        if self._processor is not None:
            self._processor.close()

    def improved(self, transcription: Transcription) -> Transcription:
        """With its punctuation repaired and its summary, where the configuration asks for them."""
        return transcription if self._processor is None else post_processed(transcription, self._processor)

    def unknown_language(self, wishes: Wishes) -> str:
        """What becomes of the language where the recogniser does not know it, in a sentence; empty where it does."""
        return unknown_language(wishes.language or self.config.stt.language, self._crew.first, self._crew.name)

    def fingerprint(self, wishes: Wishes) -> str:
        """Of all that a text depends on beside the recording: settings, models, this version; equal for equal texts.

        Raises:
            ModelError: a model is missing.
        """
        config = self.config
        told = (__version__, config.vad, config.stt, origin_of(config, self._store), wishes)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def transcribe(
        self, source: Source, wishes: Wishes | None = None, on_progress: OnProgress | None = None
    ) -> Transcription:
        """A whole recording; see :func:`transcribe`."""
        return self.start(source, wishes, on_progress).finish()

    def start(
        self, source: Source, wishes: Wishes | None = None, on_progress: OnProgress | None = None
    ) -> Transcribing:
        """A recording whose segments are wanted one by one.

        Raises:
            InvalidSettings: the language that is wished for is none.
            RuntimeError: it has been closed.
        """
        self._check_open()
        if wishes and wishes.language is not None and not is_language(wishes.language):
            raise InvalidSettings(f"language: expected a code {SHAPE}, got {wishes.language[:64]!r}")
        return Transcribing(self, source, wishes or Wishes(words=True), on_progress)

    def take_transcriber(self) -> Transcriber:
        """The way for one recording; to be given back with :meth:`give_back`."""
        self._check_open()
        try:
            vad = self._detectors.pop()
        except IndexError:
            vad = workshop.build_recording_vad(self.config, self._store)
        config = self.config
        return Transcriber(vad, self._crew, config.vad, config.stt, min(MOST_CLIPS, config.pipeline.stt_max_batch))

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("these Recordings have been closed; make new ones, or work inside their context")

    def give_back(self, transcriber: Transcriber) -> None:
        """For the next recording."""
        self._detectors.append(transcriber.vad)


class Transcribing:
    """A recording on its way: its segments in order, once; then, or when they broke off, :meth:`result`."""

    def __init__(
        self, recordings: Recordings, source: Source, wishes: Wishes, on_progress: OnProgress | None = None
    ) -> None:
        self._recordings = recordings
        self._source = source
        self._wishes = wishes
        self._on_progress = on_progress
        self._pass: Pass | None = None
        self._metadata: dict[str, Any] = {}
        self._damage = Damage()
        self.share_read = 0.0
        """How much of the file has been read, 0 to 1."""

    def __iter__(self) -> Generator[Segment, None, None]:
        """The segments; raises as :func:`transcribe`, but for BrokenOff."""
        transcriber = self._recordings.take_transcriber()
        try:
            with opened(self._source) as source:
                self._damage = source.damage
                self._metadata = {"name": source.name, "bytes": source.size}

                def tell(progress: Progress) -> None:
                    self.share_read = min(1.0, max(self.share_read, source.file.tell() / source.size))
                    if self._on_progress is not None:
                        self._on_progress(progress)

                self._pass = transcriber.start(source.blocks(), self._wishes, tell)
                with closing(iter(self._pass)) as segments:
                    yield from segments
        finally:
            self._recordings.give_back(transcriber)

    def finish(self) -> Transcription:
        """All of it.

        Raises:
            BrokenOff: something went wrong when there was a part of it already.
        """
        try:
            for _ in self:
                pass
        except (AudioError, EngineFailure) as error:
            so_far = self.result()
            if not so_far.segments:
                raise
            reached = clock(so_far.segments[-1].end_ms)
            raise BrokenOff(f"{error}; what was said until {reached} is transcribed", so_far) from error
        return self._recordings.improved(self.result())

    def result(self) -> Transcription:
        """What there is so far; everything, after the last segment."""
        if self._pass is None:
            return Transcription((), 0.0, self._wishes.language or self._recordings.config.stt.language)
        return self._pass.result(metadata=self._metadata, warnings=[str(self._damage)])


def default_workers() -> int:
    """One for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores))
