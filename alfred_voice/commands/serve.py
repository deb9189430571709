"""``alfred-voice serve``: run the daemon in the foreground."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from alfred_voice import app, config, workshop
from alfred_voice.errors import ConfigError
from alfred_voice.log import configure


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  compared with, not listened on


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "serve",
        help="run the daemon",
        description="Run the daemon in the foreground until it gets SIGTERM or Ctrl-C.",
        epilog="example: alfred-voice serve --port 9000 --preset low_latency --set tts.voice=en-gb",
    )
    parser.add_argument("--host", help="address to listen on (server.host)")
    parser.add_argument("--port", type=int, help="port to listen on (server.port); 0 for any free one")
    parser.add_argument("--insecure", action="store_true", help="let other machines in without a key (server.insecure)")
    parser.add_argument("--log-file", metavar="FILE", help="log there, too (log.file)")


def run(args: argparse.Namespace) -> int:
    """Run it; 0 after a clean shutdown, 1 when it could not start."""
    loaded = _overridden(args.loaded, args)
    workshop.check_engines(loaded.config)
    running = configure(loaded.config.log, stream=sys.stderr)
    try:
        sources = app.Sources(loaded, lambda: _overridden(_read_again(args), args), running.set_level)
        return app.serve(loaded.config, partial(_announce, host=loaded.config.server.host), sources=sources)
    finally:
        running.close()


def _read_again(args: argparse.Namespace) -> config.Loaded:
    """The configuration as its files are now."""
    return config.load(preset=args.preset, file=args.config, environ=os.environ, sets=args.set or [])


def _overridden(loaded: config.Loaded, args: argparse.Namespace) -> config.Loaded:
    """The configuration with what this command's own options say."""
    tree, origins = loaded.config, dict(loaded.origins)
    server, logging = tree.server, tree.log
    if args.host is not None:
        if not args.host.strip():
            raise ConfigError("--host: expected an address, not empty, such as 127.0.0.1")
        server = replace(server, host=args.host)
        origins["server.host"] = "--host"
    if args.port is not None:
        if not 0 <= args.port <= 65535:
            raise ConfigError(f"--port: expected 0 to 65535, got {args.port}")
        server = replace(server, port=args.port)
        origins["server.port"] = "--port"
    if args.insecure:
        server = replace(server, insecure=True)
        origins["server.insecure"] = "--insecure"
    if args.log_file is not None:
        logging = replace(logging, file=args.log_file)
        origins["log.file"] = "--log-file"
    return config.Loaded(replace(tree, server=server, log=logging), origins)


def _announce(address: str, *, host: str) -> None:
    beside = " and at all other addresses of this machine" if host in _EVERYWHERE else ""
    print(f"Alfred Voice is ready at {address}{beside}; watch it at {address}/monitor", flush=True)
