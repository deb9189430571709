"""``alfred-voice bench``: measure the engines on this machine."""

from __future__ import annotations

import argparse
import json
from statistics import median
from typing import TYPE_CHECKING

from alfred_voice.clock import SystemClock


if TYPE_CHECKING:
    from alfred_voice.config import Config

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

RUNS = 50


def add_parser(subparsers: Subparsers) -> None:
    """Add the command and its benchmarks."""
    parser = subparsers.add_parser("bench", help="measure the engines on this machine")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    vad = benchmarks.add_parser(
        "vad", help="time of the voice activity detector for one window, by sessions in a batch"
    )
    vad.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64], metavar="N", help="sessions in one call")
    vad.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run one benchmark and print its table."""
    rows = [{"batch": size, **_time_windows(args.loaded.config, size)} for size in args.batch if size > 0]
    if args.json:
        print(json.dumps(rows))
        return 0
    print("sessions in a batch   us per window, median   fastest")
    for row in rows:
        print(f"{row['batch']:19}   {row['median_us']:23.1f}   {row['fastest_us']:7.1f}")
    return 0


def _time_windows(config: Config, size: int) -> dict[str, float]:
    import numpy as np

    from alfred_voice import app

    engine, clock = app.build_vad(config, app.open_store(config)), SystemClock()
    states = engine.new_states(size)
    windows = np.random.default_rng(0).normal(0, 0.01, (size, 512)).astype(np.float32)
    took: list[float] = []
    for _ in range(RUNS + 5):
        started = clock.now()
        engine.step(states, range(size), windows)
        took.append((clock.now() - started) * 1e6 / size)
    counted = took[5:]  # the first calls warm up
    return {"median_us": median(counted), "fastest_us": min(counted)}
