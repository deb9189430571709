"""``alfred-voice transcribe``: the text of recordings in any format."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from alfred_voice.audio.decode import decode_blocks
from alfred_voice.errors import AudioError, ConfigError, EngineFailure
from alfred_voice.files.subtitles import SUBTITLES
from alfred_voice.files.transcriber import Segment, Transcriber
from alfred_voice.models.engine import Int16


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

EXIT_OK, EXIT_FAILED = 0, 1
TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON, *SUBTITLES)
_ENDINGS = {TEXT: "txt"}
"""Of files, where it is not the format's name."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to ``alfred-voice``."""
    parser = subparsers.add_parser(
        "transcribe",
        help="print the text of recordings in any format",
        description="Print what is said in recordings, or in the sound of films, of any common format: one line for "
        "each stretch of speech. Runs here; no daemon is needed.",
        epilog="examples:\n"
        "  alfred-voice transcribe meeting.m4a --timestamps\n"
        "  alfred-voice transcribe film.mkv --format srt > film.srt\n"
        "  alfred-voice transcribe *.mp3 --format vtt --output-dir subtitles\n"
        "Exit codes: 0 all done, 1 a file could not be transcribed (the others were).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording")
    parser.add_argument("--timestamps", action="store_true", help="put the time of each stretch before its text")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="text (the default); json, one object for each file, on one line; subtitles as srt or vtt, two lines of "
        "42 characters at a time; tsv, a table of times and texts",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="write a file for each recording there, named after it, instead of printing",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when all files were transcribed, 1 when one could not be.

    Raises:
        AlfredVoiceError: the engines cannot be had.
    """
    from alfred_voice import app  # loads NumPy, which the parser can do without

    kind = _format(args)
    targets = _targets(args, kind)
    config = args.loaded.config
    store = app.open_store(config)
    vad, stt = app.build_vad(config, store), app.build_stt(config, store)
    transcriber = Transcriber(vad, stt, config.vad, config.stt, config.pipeline.stt_max_batch)
    progress = _Progress(is_shown=sys.stderr.isatty())
    failed = 0
    for file, target in zip(args.files, targets, strict=True):
        with contextlib.ExitStack() as stack:
            output = sys.stdout if target is None else stack.enter_context(_opened(target))
            printer = _printer(file, kind, args, output)
            failed += not _transcribe(file, transcriber, printer, progress)
    if failed and len(args.files) > 1:
        print(f"{failed} of {len(args.files)} files could not be transcribed", file=sys.stderr)
    return EXIT_FAILED if failed else EXIT_OK


def _format(args: argparse.Namespace) -> str:
    """What to write.

    Raises:
        ConfigError: the options contradict each other.
    """
    if args.json and args.format not in (None, JSON):
        raise ConfigError(f"--json and --format {args.format}: expected one of the two")
    kind: str = JSON if args.json else args.format or TEXT
    if args.timestamps and kind != TEXT:
        raise ConfigError(f"--timestamps is for text; {kind} has its times")
    if kind in SUBTITLES and len(args.files) > 1 and args.output_dir is None:
        raise ConfigError(f"--format {kind}: expected --output-dir for several files, as each has times of its own")
    return kind


def _targets(args: argparse.Namespace, kind: str) -> list[Path | None]:
    """For each recording the file to write, None for standard output.

    Raises:
        ConfigError: the folder cannot be made, or two recordings would be written to the same file.
    """
    folder: Path | None = args.output_dir
    if folder is None:
        return [None for _ in args.files]
    targets = [folder / f"{Path(file).stem}.{_ENDINGS.get(kind, kind)}" for file in args.files]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice is not None:
        raise ConfigError(f"--output-dir: several of the recordings would be written to {twice}")
    for file, target in zip(args.files, targets, strict=True):
        if Path(file).absolute() == target.absolute():
            raise ConfigError(f"--output-dir: {target} would be written over the recording itself")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output-dir: {folder} cannot be made: {error.strerror or error}") from error
    return list(targets)


def _opened(target: Path) -> TextIO:
    try:
        return target.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}") from error


def _transcribe(file: str, transcriber: Transcriber, printer: Printer, progress: _Progress) -> bool:
    """One file; whether it went well."""
    progress.file = file
    try:
        recording = transcriber.listen(_blocks(file), lambda ms: progress.show(f"listening {_time(ms)}"))
        for segment in transcriber.recognise(recording, lambda done: progress.show(f"recognising {done:.0%}")):
            progress.clear()
            printer.segment(segment)
    except (AudioError, EngineFailure) as error:
        progress.clear()
        printer.fail(str(error))
        return False
    progress.clear()
    printer.finish(recording.duration_ms)
    return True


def _blocks(file: str) -> Iterator[Int16]:
    """The samples of a file; what the system says against it is an :exc:`AudioError` too."""
    try:
        yield from decode_blocks(file)
    except OSError as error:
        raise AudioError(error.strerror or str(error)) from error


def _printer(file: str, kind: str, args: argparse.Namespace, output: TextIO) -> Printer:
    if kind == JSON:
        return _Json(file, output)
    if kind in SUBTITLES:
        return _Subtitles(file, SUBTITLES[kind], output)
    has_title = len(args.files) > 1 and args.output_dir is None
    return _Lines(file, args.timestamps, has_title, output)


class Printer(Protocol):
    """Writes the transcript of one recording."""

    def segment(self, segment: Segment) -> None:
        """Take the next segment."""
        ...

    def finish(self, duration_ms: float) -> None:
        """All segments have come."""
        ...

    def fail(self, message: str) -> None:
        """No more will come."""
        ...


class _Subtitles:
    """All cues, when the file is done: they are numbered through."""

    def __init__(self, file: str, write: Callable[[Iterable[Segment]], Iterator[str]], output: TextIO) -> None:
        self._file = file
        self._write = write
        self._output = output
        self._segments: list[Segment] = []

    def segment(self, segment: Segment) -> None:
        """Keep it."""
        self._segments.append(segment)

    def finish(self, _duration_ms: float) -> None:
        """Write all of it."""
        self._output.writelines(self._write(self._segments))
        self._output.flush()

    def fail(self, message: str) -> None:
        """Write what there is, and say why there is no more."""
        self.finish(0.0)
        print(f"error: {self._file}: {message}", file=sys.stderr)


class _Lines:
    """Text for people: a line for each segment, under the file's name where there are several."""

    def __init__(self, file: str, has_times: bool, has_title: bool, output: TextIO) -> None:
        self._file = file
        self._output = output
        self._has_times = has_times
        self._has_title = has_title

    def segment(self, segment: Segment) -> None:
        """Print it at once."""
        self._print_title()
        times = f"[{_time(segment.start_ms)} - {_time(segment.end_ms)}] " if self._has_times else ""
        print(f"{times}{segment.text}", file=self._output, flush=True)

    def finish(self, _duration_ms: float) -> None:
        """Without any segment there is still the title."""
        self._print_title()

    def fail(self, message: str) -> None:
        """Say why there is no more."""
        print(f"error: {self._file}: {message}", file=sys.stderr)

    def _print_title(self) -> None:
        if self._has_title:
            print(f"== {self._file}", file=self._output)
            self._has_title = False


class _Json:
    """One object, when the file is done."""

    def __init__(self, file: str, output: TextIO) -> None:
        self._file = file
        self._output = output
        self._segments: list[Segment] = []

    def segment(self, segment: Segment) -> None:
        """Keep it."""
        self._segments.append(segment)

    def finish(self, duration_ms: float) -> None:
        """Print all of it."""
        text = " ".join(segment.text for segment in self._segments)
        found = [
            {
                "start_ms": round(segment.start_ms, 1),
                "end_ms": round(segment.end_ms, 1),
                "text": segment.text,
                "confidence": round(segment.confidence, 4),
            }
            for segment in self._segments
        ]
        self._print({"duration_ms": round(duration_ms, 1), "text": text, "segments": found})

    def fail(self, message: str) -> None:
        """An object with the reason instead of the text."""
        self._print({"error": message})
        print(f"error: {self._file}: {message}", file=sys.stderr)

    def _print(self, fields: dict[str, Any]) -> None:
        print(json.dumps({"file": self._file, **fields}, ensure_ascii=False), file=self._output, flush=True)


class _Progress:
    """One line on a terminal's stderr, drawn over itself; nothing elsewhere."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._drawn = ""
        self.file = ""

    def show(self, what: str) -> None:
        """Draw, if there is anything new."""
        line = f"{self.file}: {what}"[: shutil.get_terminal_size().columns - 1]
        if self._is_shown and line != self._drawn:
            print("\r" + line.ljust(len(self._drawn)), end="", file=sys.stderr, flush=True)
            self._drawn = line

    def clear(self) -> None:
        """Leave an empty line for what is printed next."""
        if self._drawn:
            print("\r" + " " * len(self._drawn) + "\r", end="", file=sys.stderr, flush=True)
            self._drawn = ""


def _time(ms: float) -> str:
    """``0:01:02.345``."""
    seconds, thousandths = divmod(round(ms), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}.{thousandths:03d}"
