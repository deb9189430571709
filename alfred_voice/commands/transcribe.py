"""``alfred-voice transcribe``: the text of recordings in any format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alfred_voice.commands.transcribe_progress import Meter, total
from alfred_voice.commands.transcribe_tasks import STDIN, Task, make_folder, tasks_of
from alfred_voice.errors import ConfigError
from alfred_voice.files.formats import FORMATS, JSON, TEXT
from alfred_voice.files.subtitles import SUBTITLES
from alfred_voice.models.spoken import SHAPE, is_language


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

EXIT_OK, EXIT_FAILED = 0, 1

_EXAMPLES = """examples:
  alfred-voice transcribe meeting.m4a --timestamps
  alfred-voice transcribe film.mkv --format srt > film.srt
  alfred-voice transcribe *.mp3 --format vtt --output-dir subtitles
  alfred-voice transcribe archive/ --output-dir texts --save-intermediates --resume
  ffmpeg -i rtsp://camera -t 60 -f wav - | alfred-voice transcribe -
Exit codes: 0 all done, 1 a file could not be transcribed (the others were), 2 options that make no sense,
130 interrupted with Ctrl-C: what is complete is kept; Ctrl-C again ends at once."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to ``alfred-voice``."""
    parser = subparsers.add_parser(
        "transcribe",
        help="print the text of recordings in any format",
        description="Print what is said in recordings, or in the sound of films, of any common format: one line for "
        "each stretch of speech. Runs here, on all cores; no daemon is needed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a recording, a folder of recordings, or - for standard input"
    )
    _add_output(parser)
    _add_work(parser)
    parser.set_defaults(run=run)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timestamps", action="store_true", help="put the time of each stretch before its text")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="text (the default); json, one object for each file, on one line; subtitles as srt or vtt, two lines of "
        "42 characters at a time; tsv, a table of times and texts",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--words",
        action=argparse.BooleanOptionalAction,
        help="tell the times of words in json, and show subtitles by them; so by default",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="write a file for each recording there, named after it, instead of printing",
    )


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--language", help="what is spoken, such as en, de-CH or auto; as configured when absent")
    parser.add_argument("--workers", type=int, metavar="N", help="how many cores recognise; all of them by default")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="refuse longer recordings")
    parser.add_argument(
        "--resume", action="store_true", help="leave out recordings whose text is complete in --output-dir"
    )
    parser.add_argument(
        "--save-intermediates",
        action="store_true",
        help="note each segment in --output-dir as it comes (.segments.jsonl), with times; with --resume a recording "
        "that was interrupted goes on from there",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when all files were transcribed, 1 when one could not be.

    Raises:
        AlfredVoiceError: the engines cannot be had, or the options make no sense.
    """
    kind = _format(args)
    tasks = tasks_of(args.files, args.output_dir, kind)
    if kind in SUBTITLES and len(tasks) > 1 and args.output_dir is None:
        raise ConfigError(f"--format {kind}: expected --output-dir for several files, as each has times of its own")
    if args.output_dir is not None:
        make_folder(args.output_dir)
    left = [task for task in tasks if not (args.resume and task.is_complete())]
    skipped = len(tasks) - len(left)
    failed, meter = _work(args, kind, left, skipped) if left else (0, None)
    if len(tasks) > 1 and not args.interrupts.pressed.is_set():
        heard_s, elapsed_s = (meter.heard_s, meter.elapsed_s) if meter else (0.0, 0.0)
        print(total(len(tasks), failed, skipped, heard_s, elapsed_s), file=sys.stderr)
    return EXIT_FAILED if failed else EXIT_OK


def _work(args: argparse.Namespace, kind: str, tasks: list[Task], skipped: int) -> tuple[int, Meter]:
    """How many failed, and what was heard."""
    # These load NumPy, which the parser can do without.
    from alfred_voice.clock import SystemClock
    from alfred_voice.commands.transcribe_work import Batch, Orders
    from alfred_voice.pipeline.memory import Memory
    from alfred_voice.recordings import Recordings, Wishes

    Memory().tune()
    words = args.words if args.words is not None else kind not in (TEXT, "tsv")
    longest_s = None if args.max_minutes is None else args.max_minutes * 60
    orders = Orders(
        kind,
        Wishes(args.language, words, max_duration_s=longest_s),
        timestamps=args.timestamps,
        has_notes=args.save_intermediates,
        resumes=args.resume,
        has_titles=len(tasks) > 1,
        is_verbose=args.verbose,
    )
    with Recordings(args.loaded.config, workers=args.workers) as recordings:
        if recordings.warning:
            print(f"warning: whisper.device: {recordings.warning}", file=sys.stderr)
        whole = sum(task.size for task in tasks)
        meter = Meter(len(tasks), whole, sys.stderr, SystemClock(), is_shown=sys.stderr.isatty())
        batch = Batch(recordings, orders, meter, args.interrupts.pressed)

        def told() -> str:
            meter.clear()
            return kept(args, len(tasks) + skipped, batch.tally.complete + skipped)

        args.interrupts.begin(told)
        batch.run(tasks)
    return batch.tally.failed, meter


def kept(args: argparse.Namespace, files: int, complete: int) -> str:
    """What there is of an interrupted batch."""
    if args.output_dir is None:
        return "what was printed is all there is"
    text = f"{complete} of {files} texts are complete in {args.output_dir}"
    if complete:
        text += ", --resume leaves them out"
    if args.save_intermediates:
        text += "; the segments so far are noted there, --resume goes on behind them"
    return text


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
    if args.output_dir is None and (args.resume or args.save_intermediates):
        option = "--resume" if args.resume else "--save-intermediates"
        raise ConfigError(f"{option}: expected --output-dir, where there is something to keep")
    if args.resume and STDIN in args.files:
        raise ConfigError("--resume: standard input cannot be read again")
    if args.workers is not None and args.workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {args.workers}")
    if args.language is not None and not is_language(args.language):
        raise ConfigError(f"--language: expected a code {SHAPE}, got {args.language[:64]!r}")
    if args.max_minutes is not None and args.max_minutes <= 0:
        raise ConfigError(f"--max-minutes: expected more than 0, got {args.max_minutes:g}")
    return kind
