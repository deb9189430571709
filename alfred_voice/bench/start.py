"""``alfred-voice bench start``: from the command to a daemon that takes sessions, and where that time goes."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from alfred_voice import recognisers, workshop
from alfred_voice.bench.arguments import whole
from alfred_voice.bench.daemon import daemon_arguments, running_daemon
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.footprint import MB, footprint_of
from alfred_voice.bench.load import run_event_loop
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.report import Cell, Check, Column, Report, Table
from alfred_voice.bench.stopwatch import Stopwatch, percentile
from alfred_voice.clock import SystemClock
from alfred_voice.config import Config


HELP = (
    "Time from starting the process of 'alfred-voice serve' until it takes sessions, with the models in the store; "
    "then the parts of it, each by itself, and what the imports cost by package (python -X importtime)."
)

MOST_S = 2.0
SHOWN_PACKAGES = 12
_IMPORTS = {
    "alfred-voice": "alfred_voice.cli",
    "alfred-voice serve": "alfred_voice.commands.serve, alfred_voice.server.application",
}
_PROGRAM_WITHIN_S = 60.0
_IMPORT_LINE = re.compile(r"^import time:\s*(\d+) \|\s*(\d+) \| +(\S+)$", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--runs", type=whole(1), default=5, metavar="N", help="starts (default: 5)")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure."""
    starts = run_event_loop(_starts(args))
    parts = _parts(config) + run_event_loop(_programs(args.runs))
    imports = [run_event_loop(_import_table(command, module)) for command, module in _IMPORTS.items()]
    check = Check("ready, median", percentile([start["ready_s"] for start in starts], 50), MOST_S, "s")
    tables = (_start_table(starts), _part_table(parts), *imports)
    return Report("start", args.command_line, describe_machine(), tables, (), (check,))


# Whole starts


async def _starts(args: argparse.Namespace) -> list[dict[str, float]]:
    found = []
    for _ in range(args.runs + 1):
        async with running_daemon(arguments=daemon_arguments(args)) as daemon:
            figures = {"ready_s": daemon.ready_s, "cpu_s": daemon.cpu_s(), "rss_mb": footprint_of(daemon.pid).rss / MB}
            found.append(figures)
    return found[1:]  # the first one may have had to read files from the disk


def _start_table(starts: Sequence[dict[str, float]]) -> Table:
    columns = (
        Column("what", "of all starts"),
        Column("ready_s", "ready after", "s", 2),
        Column("cpu_s", "CPU", "s", 2),
        Column("rss_mb", "resident then", "MB"),
    )
    rows: list[dict[str, Cell]] = [
        {"what": what, **{key: percentile([start[key] for start in starts], percent) for key in starts[0]}}
        for what, percent in (("fastest", 0), ("median", 50), ("slowest", 100))
    ]
    note = f"{len(starts)} starts, after one that does not count: the files are in the system's cache."
    return Table("From the command to a daemon that takes sessions", columns, tuple(rows), note)


# Parts


def _parts(config: Config) -> list[dict[str, Cell]]:
    """The engines, each loaded by itself in this process, which has the runtimes' code already."""
    store, watch = workshop.open_store(config), Stopwatch()
    loads: dict[str, Callable[[], object]] = {
        "detector": partial(workshop.build_vad, config, store),
        "recogniser": partial(recognisers.build_stt, config, store),
        "turn model": partial(workshop.build_turn, config, store),
        "synthesiser": partial(workshop.build_tts, config),
        "all four side by side": partial(workshop.build_engines, config, store),
    }
    rows: list[dict[str, Cell]] = []
    for what, load in loads.items():
        effort = watch.median(load, 3)
        rows.append({"part": f"load the {what}" if " side" not in what else f"load {what}", "s": effort.wall_s})
    return rows


async def _programs(runs: int) -> list[dict[str, Cell]]:
    """What Python alone takes, and with the imports of a command."""
    programs = {"Python itself": "pass"} | {
        f"Python with the imports of {command}": f"import {module}" for command, module in _IMPORTS.items()
    }
    programs["Python with ONNX Runtime"] = "import onnxruntime"
    clock = SystemClock()
    rows: list[dict[str, Cell]] = []
    for what, program in programs.items():
        took = []
        for _ in range(runs):
            began = clock.now()
            await _python("-c", program)
            took.append(clock.now() - began)
        rows.append({"part": what, "s": percentile(took, 50)})
    return rows


def _part_table(rows: Sequence[dict[str, Cell]]) -> Table:
    note = "Medians. The daemon does some of it at the same time, so these do not add up to its start."
    return Table("Parts", (Column("part", "part"), Column("s", "time", "s", 3)), tuple(rows), note)


# Imports


async def _import_table(command: str, module: str) -> Table:
    costs = import_costs(await _python("-X", "importtime", "-c", f"import {module}"))
    total = sum(ms for ms, _ in costs.values())
    dearest = sorted(costs.items(), key=lambda item: -item[1][0])
    rows: list[dict[str, Cell]] = [
        {"package": package, "ms": ms, "modules": modules} for package, (ms, modules) in dearest[:SHOWN_PACKAGES]
    ]
    rest = dearest[SHOWN_PACKAGES:]
    rows.append(
        {"package": "the rest", "ms": sum(ms for _, (ms, _) in rest), "modules": sum(count for _, (_, count) in rest)}
    )
    rows.append({"package": "all", "ms": total, "modules": sum(count for _, count in costs.values())})
    columns = (Column("package", "package"), Column("ms", "time in it", "ms"), Column("modules", "modules"))
    note = "Time inside the package's own modules, without what they import. Measuring makes it a third slower."
    return Table(f"Imports of {command}", columns, tuple(rows), note)


def import_costs(report: str) -> dict[str, tuple[float, int]]:
    """Package -> milliseconds in its own modules and their number, from what ``-X importtime`` writes."""
    costs: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for line in _IMPORT_LINE.finditer(report):
        package = line[3].partition(".")[0]
        ms, modules = costs[package]
        costs[package] = ms + int(line[1]) / 1000, modules + 1
    return dict(costs)


async def _python(*arguments: str) -> str:
    """What a fresh Python writes to its error stream.

    Raises:
        BenchmarkFailed: it failed, or took too long.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, errors = await asyncio.wait_for(process.communicate(), _PROGRAM_WITHIN_S)
    except TimeoutError as exc:
        process.kill()
        raise BenchmarkFailed(f"python {' '.join(arguments)} did not end") from exc
    text = errors.decode("utf-8", "replace")
    if process.returncode:
        raise BenchmarkFailed(f"python {' '.join(arguments)} failed: {text.strip().splitlines()[-1:]}")
    return text
