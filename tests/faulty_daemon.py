"""The real daemon with engines that do wrong when a test says so.

Usage: ``python faulty_daemon.py SWITCH --port PORT [--set KEY=VALUE ...]``; ``SWITCH`` is the file of a
:class:`tests.faults.Switch`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from alfred_voice import app, config, workshop
from alfred_voice.log import configure
from tests.faults import Switch, faulty


def main() -> int:
    """Run it until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("switch", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    tree = config.load(sets=args.set).config
    tree = replace(tree, server=replace(tree.server, port=args.port))
    switch = Switch(args.switch)
    running = configure(tree.log, stream=sys.stderr)
    try:
        return app.serve(
            tree, lambda _: None, lambda asked, store: faulty(workshop.build_engines(asked, store), switch)
        )
    finally:
        running.close()


if __name__ == "__main__":
    sys.exit(main())
