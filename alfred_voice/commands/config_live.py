"""``alfred-voice config show`` and ``set`` for a daemon that runs."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from itertools import groupby
from typing import Any

from alfred_voice.commands.daemon_options import key_advice, key_of
from alfred_voice.config import DEFAULT_ORIGIN, reference, report
from alfred_voice.config_file import as_yaml
from alfred_voice.errors import ConfigError
from alfred_voice.keys import shown


DEFAULT_DAEMON = "http://127.0.0.1:8015"


def show_daemon(args: argparse.Namespace) -> str:
    """The settings in force in the daemon, as ``config show`` prints those of this machine."""

    async def read() -> dict[str, Any]:
        from alfred_voice.client import Settings

        async with Settings.connect(args.daemon, key_of(args)) as settings:
            return await settings.read()

    told = _asked(args, read())
    keys = {path: key for path, key in told["keys"].items() if not args.changed or key["origin"] != DEFAULT_ORIGIN}
    return json.dumps({**told, "keys": keys}, indent=2, ensure_ascii=False) if args.json else _as_yaml(keys)


def set_daemon(args: argparse.Namespace) -> str:
    """Change settings of the daemon; says what has changed."""
    changes = read_settings(args.settings)

    async def change() -> dict[str, Any]:
        from alfred_voice.client import Settings

        async with Settings.connect(args.daemon, key_of(args)) as settings:
            return await settings.change(changes)

    answer = _asked(args, change())
    changed = answer["changes"]
    lines = [
        f"{path}: {as_yaml(news['from'])} -> {as_yaml(news['to'])} ({news['applies_to']})"
        for path, news in changed.items()
    ]
    lines += [f"warning: {warning}" for warning in answer.get("warnings", [])]
    return "\n".join(lines or ["nothing has changed: these were the values already"])


def _asked(args: argparse.Namespace, question: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The daemon's answer; a refusal for the key's sake says what to do."""
    from alfred_voice.client import SettingsRefused

    try:
        return asyncio.run(question)
    except SettingsRefused as refusal:
        if advice := key_advice(refusal.problem, args):
            raise SettingsRefused(f"{refusal}{advice}", refusal.status, refusal.problem) from refusal
        raise


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``room.key=value`` as the daemon takes it; a key that is not known here is left to the daemon, as a text.

    Raises:
        ConfigError: naming all values that are not what their keys take, and then the unknown keys, too.
    """
    keys = {key.path: key for key in reference()}
    changes: dict[str, Any] = {}
    problems: list[str] = []
    unknown: list[str] = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        key = keys.get(path)
        if not equals or "." not in path:
            problems.append(f"expected room.key=value, got {shown(setting)}")
        elif key is None:
            changes[path] = text
            unknown.append(f"{path}: unknown key")
        else:
            try:
                changes[path] = key.read(text)
            except ValueError as error:
                problems.append(f"{path}: expected {key.expected}, got {error}")
    if problems:
        raise ConfigError(report([*problems, *unknown]))
    return changes


def _as_yaml(keys: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for room, paths in groupby(keys, key=lambda path: path.partition(".")[0]):
        entries = [(f"  {path.partition('.')[2]}: {as_yaml(keys[path]['value'])}", keys[path]) for path in paths]
        width = max(len(entry) for entry, _ in entries)
        lines += [f"{room}:", *(f"{entry:<{width}}  # {key['origin']}; {key['applies_to']}" for entry, key in entries)]
    return "\n".join(lines or ["# nothing is set: every value is the default"])
