"""``alfred-voice config``: what is set and by whom, every key there is, and the presets."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from alfred_voice.commands.config_live import DEFAULT_DAEMON, set_daemon, show_daemon
from alfred_voice.commands.daemon_options import add_daemon_options
from alfred_voice.config import Loaded, presets, reference, room_titles
from alfred_voice.config_file import as_yaml
from alfred_voice.errors import ConfigError
from alfred_voice.keys import Key
from alfred_voice.live_keys import Reach, reach_of


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name

TABLE_BEGIN = "<!-- From here on: alfred-voice config reference -->"
_ENV_HEADER = """\
# Every setting of the daemon with its default, one line each: remove the # in front of those that you change.
# The daemon reads its environment only, not this file. In a shell:  set -a; . ./.env; set +a
# Made by: alfred-voice config reference --env
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add ``config`` with its actions ``show``, ``set``, ``reference`` and ``presets``."""
    parser = subparsers.add_parser("config", help="show the configuration, its keys and its presets")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print every value in force and where it came from")
    show.add_argument("--json", action="store_true", help="print one JSON object instead of YAML")
    show.add_argument("--changed", action="store_true", help="print only what some layer has set")
    add_daemon_options(show, None, "an administrator's key")
    change = actions.add_parser("set", help="change settings of a daemon that runs")
    change.add_argument("settings", nargs="+", metavar="ROOM.KEY=VALUE", help="a setting and its new value")
    add_daemon_options(change, DEFAULT_DAEMON, "an administrator's key")
    keys = actions.add_parser("reference", help="print a Markdown table of all keys")
    target = keys.add_mutually_exclusive_group()
    target.add_argument("--env", action="store_true", help="print the text of .env.example instead")
    target.add_argument("--into", type=Path, metavar="FILE", help="replace the table at the end of this document")
    actions.add_parser("presets", help="list the presets that --preset takes")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; ``args.loaded`` is the configuration in force."""
    if args.action == "set":
        text = set_daemon(args)
    elif args.action == "show" and args.daemon is not None:
        text = show_daemon(args)
    elif args.action == "show":
        from alfred_voice.workshop import check_engines  # loads NumPy, which the other actions can do without

        check_engines(args.loaded.config)
        text = show_json(args.loaded, args.changed) if args.json else show_yaml(args.loaded, args.changed)
    elif args.action == "presets":
        text = "\n".join(f"{name:<16} {line}" for name, line in presets().items())
    elif args.into is not None:
        text = _replace_table(args.into)
    else:
        text = reference_env() if args.env else reference_markdown()
    print(text.rstrip("\n"))
    return 0


def show_yaml(loaded: Loaded, changed_only: bool = False) -> str:
    """The tree as a YAML file that gives the same configuration but for secrets, each value with its origin."""
    lines = []
    for room, keys in _shown_rooms(loaded, changed_only):
        entries = [
            (f"  {key.name}: {as_yaml(key.presentable(loaded.value(key.path)))}", loaded.origins[key.path])
            for key in keys
        ]
        width = max(len(entry) for entry, _ in entries)
        lines += [f"{room}:", *(f"{entry:<{width}}  # {origin}" for entry, origin in entries)]
    return "\n".join(lines or ["# nothing is set: every value is the default"]) + "\n"


def show_json(loaded: Loaded, changed_only: bool = False) -> str:
    """An object with ``config``, the tree, and ``origins``, from ``room.key`` to the layer that set it."""
    rooms = [(room, list(keys)) for room, keys in _shown_rooms(loaded, changed_only)]
    config = {room: {key.name: key.presentable(loaded.value(key.path)) for key in keys} for room, keys in rooms}
    origins = {key.path: loaded.origins[key.path] for _, keys in rooms for key in keys}
    return json.dumps({"config": config, "origins": origins}, indent=2, ensure_ascii=False) + "\n"


def reference_markdown() -> str:
    """All keys as one Markdown table for each room."""
    titles = room_titles()
    lines = []
    for room, keys in groupby(reference(), key=lambda key: key.room):
        lines += [f"### {room}", "", titles[room], "", "| key | type | default | range | live | meaning |"]
        lines += ["|---|---|---|---|---|---|", *(_row(key) for key in keys), ""]
    return "\n".join(lines)


def reference_env() -> str:
    """All keys as commented lines of the environment."""
    lines = [_ENV_HEADER.rstrip("\n")]
    for room, keys in groupby(reference(), key=lambda key: key.room):
        lines += ["", f"# {room}: {room_titles()[room]}"]
        for key in keys:
            lines += [f"# {key.description}: {key.expected}", f"#{key.variable}={_for_shell(key.default)}"]
    return "\n".join(lines) + "\n"


def _shown_rooms(loaded: Loaded, changed_only: bool) -> Iterator[tuple[str, list[Key]]]:
    wanted = set(loaded.changed()) if changed_only else loaded.origins
    shown = [key for key in reference() if key.path in wanted]
    for room, keys in groupby(shown, key=lambda key: key.room):
        yield room, list(keys)


def _row(key: Key) -> str:
    reach = reach_of(key.path)
    live = "" if reach is Reach.RESTART else reach.value
    cells = [f"`{key.path}`", key.type, f"`{as_yaml(key.default)}`", key.range, live, key.description]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _for_shell(value: object) -> str:
    if value in (None, ""):
        return ""  # quotes would be taken for part of the text by what reads such files without a shell
    return shlex.quote(str(value).lower() if isinstance(value, bool) else str(value))


def _replace_table(path: Path) -> str:
    try:
        before, marker, _ = path.read_text("utf-8").partition(TABLE_BEGIN)
        if not marker:
            raise ConfigError(f"{path}: expected the line {TABLE_BEGIN}, got a document without it")
        path.write_text(f"{before}{TABLE_BEGIN}\n\n{reference_markdown()}", "utf-8")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be rewritten: {exc.strerror or exc}") from exc
    return f"{path}: {len(reference())} keys"
