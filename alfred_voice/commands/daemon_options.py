"""Where the daemon is, and which key opens it: the options of all commands that talk to one."""

from __future__ import annotations

import argparse
import os

from alfred_voice.errors import ConfigError


KEY_VARIABLE = "ALFRED_API_KEY"


def add_daemon_options(parser: argparse.ArgumentParser, default: str | None, whose_key: str) -> None:
    """Add the daemon's address, under both of its names, and the variable of the key."""
    said = "" if default is None else " (default: %(default)s)"
    parser.add_argument("--url", "--daemon", dest="daemon", metavar="URL", default=default, help=f"the daemon{said}")
    parser.add_argument(
        "--key-env",
        metavar="NAME",
        help=f"the environment variable that holds {whose_key} (default: {KEY_VARIABLE})",
    )


def key_of(args: argparse.Namespace) -> str | None:
    """The key that the environment holds; None where it holds none and none was asked for by name.

    Raises:
        ConfigError: the variable that ``--key-env`` names is not set.
    """
    key = os.environ.get(args.key_env or KEY_VARIABLE)
    if args.key_env is not None and not key:
        raise ConfigError(f"--key-env: the environment variable {args.key_env} is not set")
    return key or None


def key_advice(problem: str, args: argparse.Namespace) -> str:
    """What to do about a refusal with this code, as the end of a sentence; empty where it was not for the key."""
    name = args.key_env or KEY_VARIABLE
    advice = {
        "key_needed": f"set {name} to a key of the daemon's",
        "key_refused": f"{name} holds another key",
        "not_allowed": f"{name} holds a key that may not do this",
    }
    return f"; {advice[problem]}" if problem in advice else ""
