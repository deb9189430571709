"""The console script ``alfred-voice``: global options, and one sub-command per file of ``commands``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from alfred_voice import __version__, config
from alfred_voice.errors import AlfredVoiceError


COMMANDS = ("serve", "talk", "transcribe", "replay", "say", "check", "bench", "models", "keys", "config")
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the process's exit code."""
    # Before NumPy is loaded: lanes compute side by side, so a matrix product must not start threads of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = make_parser([word for word in words if word in COMMANDS]).parse_args(words)
    try:
        args.loaded = config.load(preset=args.preset, file=args.config, environ=os.environ, sets=args.set or [])
        return int(args.run(args))
    except AlfredVoiceError as error:
        if args.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if error.fault.value == "client" else EXIT_FAILED
    except BrokenPipeError:
        # The reader of our output has left; nothing can be told it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def make_parser(commands: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of these commands, or of all when none is named: what is not called need not be imported."""
    parser = argparse.ArgumentParser(
        prog="alfred-voice",
        description="A self-hosted, real-time voice daemon.",
        epilog="Start the daemon with 'alfred-voice serve', then talk to it with 'alfred-voice talk FILE'.",
    )
    parser.add_argument("--version", action="version", version=f"alfred-voice {__version__}")
    _add_global_options(parser)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in dict.fromkeys(commands or COMMANDS):
        module = import_module(f"alfred_voice.commands.{name}")
        module.add_parser(subparsers)
        command = subparsers.choices[name]
        command.set_defaults(run=module.run)
        _add_global_options(command)
    return parser


def _add_global_options(parser: argparse.ArgumentParser) -> None:
    # The same options are taken before and after the command; what is absent must not overwrite what was given.
    is_root = parser.prog == "alfred-voice"
    missing = None if is_root else argparse.SUPPRESS
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", type=Path, metavar="FILE", default=missing, help="a YAML file with settings")
    group.add_argument(
        "--preset", metavar="NAME", default=missing, help="a set of settings that comes with the package"
    )
    group.add_argument(
        "--set", action="append", metavar="ROOM.KEY=VALUE", default=missing, help="one setting; may be repeated"
    )
    group.add_argument(
        "--verbose",
        action="store_true",
        default=False if is_root else argparse.SUPPRESS,
        help="show where errors arise",
    )


if __name__ == "__main__":
    sys.exit(main())
