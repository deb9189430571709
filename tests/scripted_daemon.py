"""The real daemon with scripted engines that do not keep what they were given, so that its memory is its own.

Usage: ``python scripted_daemon.py --port PORT [--says TEXT] [--set KEY=VALUE ...]``.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from dataclasses import replace
from typing import Any

from alfred_voice import app, config
from alfred_voice.log import configure
from alfred_voice.models.engine import Engines
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts, ScriptedTurn, ScriptedVad


_KEPT = ("batches", "clips", "turns", "texts")
"""What scripted engines keep for tests to look at."""


def forgetful(engine: Any) -> Any:
    """The same engine, with no more than what it was given last."""
    for name in _KEPT:
        if hasattr(engine, name):
            setattr(engine, name, deque(maxlen=1))
    return engine


def engines(says: str) -> Engines:
    """All of them; the recogniser hears always the same."""
    return Engines(
        vad=forgetful(ScriptedVad()),
        stt=forgetful(ScriptedStt((says,))),
        turn=forgetful(ScriptedTurn()),
        tts=forgetful(ScriptedTts(ms_per_character=10.0)),
    )


def main() -> int:
    """Run it until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--says", default="turn on the lamp")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    tree = config.load(sets=args.set).config
    tree = replace(tree, server=replace(tree.server, port=args.port))
    running = configure(tree.log, stream=sys.stderr)
    try:
        return app.serve(tree, lambda _: None, lambda _options, _store: engines(args.says))
    finally:
        running.close()


if __name__ == "__main__":
    sys.exit(main())
