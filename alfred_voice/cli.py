"""The console script ``alfred-voice``: global options, and one sub-command per file of ``commands``."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from alfred_voice import __version__
from alfred_voice.commands.interrupts import EXIT_INTERRUPTED, Interrupts


COMMANDS = ("serve", "talk", "transcribe", "replay", "say", "check", "bench", "models", "keys", "config")
INTERRUPTIBLE = frozenset({"transcribe"})
"""Those that hear of Ctrl-C by :class:`Interrupts`; to the others it is a KeyboardInterrupt."""
EXIT_FAILED, EXIT_USAGE = 1, 2
_FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""What writing says, to a disk that is full or fails."""
_DEPTHS = 3
"""Places of the global options: before the command, behind it, and behind its action."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the process's exit code."""
    # Before NumPy is loaded: lanes compute side by side, so a matrix product must not start threads of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = sys.argv[1:] if arguments is None else list(arguments)
    if "serve" in words:
        _hold_hangups()
    with Interrupts() as interrupts:
        try:
            code = _run(words, interrupts)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of our output has left; nothing can be told it any more.
            _drop_output()
            code = EXIT_FAILED
        except OSError as error:
            if error.errno not in _FULL or error.filename is not None:
                raise
            _drop_output()
            print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
            code = EXIT_FAILED
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        return EXIT_INTERRUPTED if interrupts.pressed.is_set() else code


def _hold_hangups() -> None:
    """Let a SIGHUP wait until the daemon takes it: one that comes before would end the process."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))


def _drop_output() -> None:
    """What is left in the buffer of standard output goes nowhere, without another error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: Sequence[str], interrupts: Interrupts) -> int:
    from alfred_voice import config  # only now: what takes a moment to load can be interrupted
    from alfred_voice.errors import AlfredVoiceError

    args = make_parser([word for word in words if word in COMMANDS]).parse_args(words)
    args.interrupts = interrupts
    if args.command not in INTERRUPTIBLE:
        interrupts.close()
    try:
        sets = [setting for depth in range(_DEPTHS) for setting in getattr(args, f"set_{depth}", None) or ()]
        args.set = sets
        for sentence in config.misnamed(os.environ):
            print(f"warning: {sentence}", file=sys.stderr)
        args.loaded = config.load(preset=args.preset, file=args.config, environ=os.environ, sets=sets)
        return int(args.run(args))
    except AlfredVoiceError as error:
        if args.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if error.fault.value == "client" else EXIT_FAILED


def make_parser(commands: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of these commands, or of all when none is named: what is not called need not be imported."""
    parser = argparse.ArgumentParser(
        prog="alfred-voice",
        description="A self-hosted, real-time voice daemon.",
        epilog="Start the daemon with 'alfred-voice serve', then talk to it with 'alfred-voice talk FILE'.",
    )
    parser.add_argument("--version", action="version", version=f"alfred-voice {__version__}")
    _add_global_options(parser, 0)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in dict.fromkeys(commands or COMMANDS):
        module = import_module(f"alfred_voice.commands.{name}")
        module.add_parser(subparsers)
        command = subparsers.choices[name]
        command.set_defaults(run=module.run)
        _add_global_options(command, 1)
        for action in command._actions:  # noqa: SLF001  argparse has no public way to a command's own actions
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
                for below in action.choices.values():
                    _add_global_options(below, 2)
    return parser


def _add_global_options(parser: argparse.ArgumentParser, depth: int) -> None:
    # The same options are taken before and after the command, and after its action; what is absent must not overwrite
    # what was given, nor the settings behind it those before it: each depth has a list of its own.
    is_root = depth == 0
    missing = None if is_root else argparse.SUPPRESS
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", type=Path, metavar="FILE", default=missing, help="a YAML file with settings")
    group.add_argument(
        "--preset", metavar="NAME", default=missing, help="a set of settings that comes with the package"
    )
    group.add_argument(
        "--set",
        action="append",
        dest=f"set_{depth}",
        metavar="ROOM.KEY=VALUE",
        default=missing,
        help="one setting; may be repeated",
    )
    group.add_argument(
        "--verbose",
        action="store_true",
        default=False if is_root else argparse.SUPPRESS,
        help="show where errors arise",
    )


if __name__ == "__main__":
    sys.exit(main())
