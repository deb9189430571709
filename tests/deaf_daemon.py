"""The real daemon, whose WebRTC connections go deaf and dumb at SIGUSR1, as if their network had gone.

Usage: ``python deaf_daemon.py --port PORT [--set KEY=VALUE ...]``. Connections that come later are well.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from dataclasses import replace
from types import FrameType

from aioice.ice import StunProtocol

from alfred_voice import app, config, workshop
from alfred_voice.log import configure


def strike_deaf(_signal: int, _frame: FrameType | None) -> None:
    """Cut every way that media takes now."""
    for protocol in [each for each in gc.get_objects() if isinstance(each, StunProtocol)]:
        protocol.datagram_received = lambda *_: None  # type: ignore[method-assign]
        protocol.transport.sendto = lambda *_: None  # type: ignore[method-assign]


def main() -> int:
    """Run it until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    tree = config.load(sets=args.set).config
    tree = replace(tree, server=replace(tree.server, port=args.port))
    signal.signal(signal.SIGUSR1, strike_deaf)
    running = configure(tree.log, stream=sys.stderr)
    try:
        return app.serve(tree, lambda _: None, workshop.build_engines)
    finally:
        running.close()


if __name__ == "__main__":
    sys.exit(main())
