"""``alfred-voice keys``: make keys for the daemon's door."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.keyring import MOST, entry_of, is_key_name, new_key


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

EXIT_OK = 0


def add_parser(subparsers: Subparsers) -> None:
    """Add the command and its action."""
    parser = subparsers.add_parser("keys", help="make keys that clients need")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="print a fresh key, and what the keys file needs",
        description="Print a fresh random key, which is shown this once, and the lines for the file that "
        "security.keys_file names; these hold its hash only.",
        epilog="example: alfred-voice keys new tablet >> keys.toml",
    )
    new.add_argument("name", metavar="NAME", help="letters, digits, '.', '_' and '-'; stands in logs")
    new.add_argument("--max-sessions", type=_count(0), metavar="N", help="sessions that it may have open at a time")
    new.add_argument("--requests-per-minute", type=_count(1), metavar="N", help="how often it may ask")
    new.add_argument("--admin", action="store_true", help="it may see and end everybody's sessions")


def run(args: argparse.Namespace) -> int:
    """Print a key for a person to see, and its entry to standard output, so that it can go straight into the file."""
    if not is_key_name(args.name):
        raise ConfigError("NAME: expected 1 to 64 letters, digits, '.', '_' and '-'")
    key = new_key()
    print(f"The key, shown this once; give it to the client:\n\n    {key}\n", file=sys.stderr)
    print("For the file that security.keys_file names:\n", file=sys.stderr, flush=True)
    lines = [entry_of(args.name, key)]
    lines += ["admin = true\n"] if args.admin else []
    for name in ("max_sessions", "requests_per_minute"):
        lines += [] if getattr(args, name) is None else [f"{name} = {getattr(args, name)}\n"]
    print("".join(lines), end="")
    return EXIT_OK


def _count(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= MOST):
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return read
