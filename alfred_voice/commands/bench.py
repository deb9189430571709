"""``alfred-voice bench``: measure the engines and the daemon on this machine."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from alfred_voice.errors import AlfredVoiceError


if TYPE_CHECKING:
    from alfred_voice.bench.report import Report
    from alfred_voice.config import Config

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

EXIT_OK, EXIT_FAILED = 0, 1
ALL = "all"
_STDOUT = "-"
_EPILOG = """\
examples:
  alfred-voice bench sessions --mix listen --sessions 500 --seconds 60
  alfred-voice bench vad --json vad.json --plot vad.svg
Exit codes: 0 the figures were taken, 1 they could not be, or --check was given and a target was missed, 2 the command
line makes no sense. --verbose and other options of all commands stand before "bench"."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How a benchmark is named on the command line; its module is only imported when it runs."""

    summary: str
    hears: bool = False
    """Whether it takes recordings."""
    draws: bool = True
    """Whether it has curves."""


BENCHMARKS: Mapping[str, Benchmark] = {
    "vad": Benchmark("voice activity detector: time of one window, by sessions in a batch"),
    "stt": Benchmark("recogniser: processor time for a second of speech, and words that come out wrong", hears=True),
    "turn": Benchmark("turn model: time of one judgement, and how often it is right", hears=True),
    "tts": Benchmark("synthesiser: time to the first audio, and for a second of speech", draws=False),
    "sessions": Benchmark("the daemon under many clients: delays, losses, processor time, memory", hears=True),
    "overload": Benchmark("the daemon under several times the load that it can serve, and afterwards", hears=True),
    "monitor": Benchmark("what it costs the daemon that somebody looks at its monitor", hears=True),
    "latency": Benchmark(
        "one speaker: from the last sample of speech to the text and the end of the turn", hears=True, draws=False
    ),
    "memory": Benchmark("the daemon's resident memory, by sessions and over time", hears=True),
    "webrtc": Benchmark("what a listener costs the daemon by WebRTC, beside one by WebSocket", draws=False),
    "start": Benchmark("from the command to a daemon that takes sessions, and where that time goes", draws=False),
    "whisper": Benchmark("Whisper of several sizes, beside openai-whisper and faster-whisper", hears=True),
    "peers": Benchmark("other people's packages for the same work, side by side", hears=True, draws=False),
}
"""Name -> what it is; the module is ``alfred_voice.bench.<name>``."""


class BenchmarkModule(Protocol):
    """What each module of a benchmark has."""

    HELP: str
    """A sentence or a paragraph, for its own ``--help``."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that are its own."""

    def run(self, args: argparse.Namespace, config: Config) -> Report:
        """Measure. ``args.command_line`` is what the report should name as its command."""


class _LazyParser(argparse.ArgumentParser):
    """The parser of one benchmark, which imports its module when it is first used."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_complete = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ever, with the benchmark's own options."""
        if not self.is_complete:
            self.is_complete = True
            _complete(self, self.prog.split()[-1])
        return super().parse_known_args(args, namespace)


def add_parser(subparsers: Subparsers) -> None:
    """Add the command and its benchmarks."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the engines and the daemon on this machine",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benchmarks = parser.add_subparsers(
        dest="benchmark", required=True, metavar="BENCHMARK", parser_class=cast(Any, _LazyParser)
    )
    for name, benchmark in BENCHMARKS.items():
        benchmarks.add_parser(name, help=benchmark.summary, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks.add_parser(ALL, help="each of these in turn, with its default settings")


def run(args: argparse.Namespace) -> int:
    """Run one benchmark, or all of them, and print what was found."""
    _check_targets(args)
    if args.benchmark == ALL:
        return _run_all(args)
    args.command_line = shlex.join(["alfred-voice", *sys.argv[1:]])
    report = _module(args.benchmark).run(args, args.loaded.config)
    print(report.text(), file=_text_stream(args))
    _write_json(args, report.to_json())
    _draw(args, report, args.plot)
    return EXIT_FAILED if args.check and not report.holds else EXIT_OK


def defaults_of(name: str) -> argparse.Namespace:
    """The arguments of a benchmark when none is given."""
    parser = argparse.ArgumentParser(prog=name)
    _complete(parser, name)
    args = parser.parse_args([])
    args.benchmark = name
    return args


def _complete(parser: argparse.ArgumentParser, name: str) -> None:
    """Add what a benchmark takes: options of its own, then those that all have."""
    if name == ALL:
        parser.description = (
            "Run each benchmark with its default settings, a quarter of an hour in all; one that fails does not keep "
            "the others. 'peers' is among them, which fetches packages."
        )
    else:
        module = _module(name)
        parser.description = module.HELP
        module.add_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write the figures there as JSON; - for standard output")
    if name == ALL or BENCHMARKS[name].draws:
        output.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves into this .svg or .png file")
    else:
        parser.set_defaults(plot=None)
    output.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    if name == ALL or BENCHMARKS[name].hears:
        parser.add_argument(
            "--audio",
            type=Path,
            metavar="FOLDER",
            help="recordings to use: a folder with a manifest.json of the form "
            '{"files": [{"file": "a.wav", "text": "what is said"}]} (default: those that lie beside the recogniser)',
        )


def _module(name: str) -> BenchmarkModule:
    return cast(BenchmarkModule, import_module(f"alfred_voice.bench.{name}"))


def _run_all(args: argparse.Namespace) -> int:
    """Run one after the other; a failure is told and kept in the figures."""
    reports: list[Report] = []
    failures: dict[str, str] = {}
    for name in BENCHMARKS:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        try:
            own = argparse.Namespace(**{**vars(args), **vars(_of_all(args, name))})
            report = _module(name).run(own, args.loaded.config)
        except (AlfredVoiceError, ImportError, OSError) as error:
            failures[name] = str(error)
            print(f"error: {name}: {error}", file=sys.stderr)
            continue
        reports.append(report)
        print(report.text(), file=_text_stream(args), flush=True)
        if args.plot is not None and report.curves:
            _draw(args, report, args.plot.with_stem(f"{args.plot.stem}-{name}"))
    holds = not failures and all(report.holds for report in reports)
    found = [report.to_json() for report in reports]
    _write_json(args, {"benchmark": ALL, "reports": found, "failures": failures, "holds": holds})
    return EXIT_FAILED if failures or (args.check and not holds) else EXIT_OK


def _of_all(args: argparse.Namespace, name: str) -> argparse.Namespace:
    """The arguments of one of all benchmarks: its defaults, and what they have in common."""
    own = defaults_of(name)
    shared = ["--audio", str(args.audio)] if args.audio is not None and BENCHMARKS[name].hears else []
    own.audio = args.audio
    own.command_line = shlex.join(["alfred-voice", "bench", name, *shared, *_configuration_words(args)])
    # What is written and drawn is this command's business.
    own.json, own.plot, own.check = None, None, args.check
    return own


def _configuration_words(args: argparse.Namespace) -> Sequence[str]:
    from alfred_voice.bench.daemon import daemon_arguments

    return daemon_arguments(args)


def _check_targets(args: argparse.Namespace) -> None:
    """Refuse files that cannot be written before anything is measured."""
    from alfred_voice.bench.errors import BenchmarkFailed
    from alfred_voice.bench.plot import check_target

    if args.plot is not None:
        check_target(args.plot)
    if args.json in (None, _STDOUT):
        return
    if not Path(args.json).absolute().parent.is_dir():
        raise BenchmarkFailed(f"{args.json}: the folder does not exist")
    if Path(args.json).is_dir():
        raise BenchmarkFailed(f"{args.json}: expected a file, but it is a folder")


def _text_stream(args: argparse.Namespace) -> Any:
    """Where people read; not standard output when a program reads that."""
    return sys.stderr if args.json == _STDOUT else sys.stdout


def _write_json(args: argparse.Namespace, found: Mapping[str, Any]) -> None:
    if args.json is None:
        return
    text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if args.json == _STDOUT:
        sys.stdout.write(text)
        return
    try:
        Path(args.json).write_text(text, "utf-8")
    except OSError as exc:
        from alfred_voice.bench.errors import BenchmarkFailed

        raise BenchmarkFailed(f"{args.json}: cannot be written: {exc.strerror or exc}") from exc


def _draw(args: argparse.Namespace, report: Report, path: Path | None) -> None:
    if path is not None:
        from alfred_voice.bench.plot import draw

        draw(report.curves, path)
        print(f"drawn: {path}", file=_text_stream(args))
