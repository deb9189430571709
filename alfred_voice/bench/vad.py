"""``alfred-voice bench vad``: what one window of one session costs the voice activity detector."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice import workshop
from alfred_voice.bench.arguments import whole
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.report import Axis, Check, Column, Curve, Report, Table
from alfred_voice.bench.stopwatch import Stopwatch
from alfred_voice.config import Config
from alfred_voice.models.engine import WINDOW_SAMPLES, Float32, VadEngine
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.silero import CONTEXT_SAMPLES
from alfred_voice.models.silero_weights import HIDDEN
from alfred_voice.models.store import Store


HELP = (
    "Processor time for one window of 32 ms, by how many sessions share a call: the daemon's detector, the stock graph "
    "with the same batch, and the stock graph called once for each session, as most frameworks do."
)

BATCHES = (1, 4, 16, 64, 256)
TARGET_BATCH, TARGET_US = 64, 20.0
_WINDOWS_A_RUN = 640
"""So many in each run, that a run is long against the clock's steps."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES), metavar="N", help="sessions in one call")
    parser.add_argument("--runs", type=whole(1), default=15, metavar="N", help="runs of each kind (default: 15)")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure."""
    if min(args.batch) < 1:
        raise BenchmarkFailed(f"--batch: expected at least one session, got {min(args.batch)}")
    store = workshop.open_store(config)
    rows = list(_rows(workshop.build_vad(config, store), _stock(store), args.batch, args.runs))
    columns = (
        Column("batch", "sessions in a call", digits=0),
        Column("ours", "this detector", "us"),
        Column("stock", "stock graph, one call for all", "us"),
        Column("alone", "stock graph, a call for each", "us"),
        Column("times_stock", "times cheaper than the stock graph", digits=1),
        Column("times_alone", "than a call for each", digits=1),
    )
    note = (
        f"CPU for a window, medians of {args.runs} runs of {_WINDOWS_A_RUN} windows, on one thread (NumPy's too), one "
        "kind after the other in each run. A session has 31.25 windows a second."
    )
    names = {"ours": "this detector", "stock": "stock graph, one call", "alone": "stock graph, a call for each"}
    curve = Curve(
        "One window of the voice activity detector",
        Axis("sessions in a call"),
        Axis("CPU", "us"),
        {name: tuple((float(row["batch"]), float(row[key])) for row in rows) for key, name in names.items()},
        limit=TARGET_US,
    )
    checks = [
        Check(f"CPU for a window at {TARGET_BATCH} sessions", float(row["ours"]), TARGET_US, "us")
        for row in rows
        if row["batch"] == TARGET_BATCH
    ]
    table = Table("One window", columns, tuple(rows), note)
    return Report("vad", args.command_line, describe_machine(), (table,), (curve,), tuple(checks))


def _stock(store: Store) -> Session:
    return open_session(store.path("silero-vad", "silero_vad_op18_ifless.onnx"))


def _rows(engine: VadEngine, stock: Session, batches: Sequence[int], runs: int) -> Iterator[dict[str, float]]:
    watch = Stopwatch()
    for batch in batches:
        kinds = {"ours": _ours(engine, batch), "stock": _batched(stock, batch), "alone": _one_by_one(stock)}
        took: dict[str, list[float]] = {name: [] for name in kinds}
        # In turns, so that a moment in which the machine is slow falls on all of them.
        for number in range(runs + 1):
            for name, (windows, call) in kinds.items():
                repeats = max(1, _WINDOWS_A_RUN // windows)
                effort = watch.time(partial(_repeat, call, repeats))[1]
                if number:
                    took[name].append(effort.cpu_s / repeats / windows * 1e6)
        row = {name: float(np.median(values)) for name, values in took.items()}
        yield {
            "batch": batch,
            **row,
            "times_stock": row["stock"] / row["ours"],
            "times_alone": row["alone"] / row["ours"],
        }


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


Kind = tuple[int, Callable[[], object]]
"""Windows in one call, and the call."""


def _noise(batch: int, samples: int) -> Float32:
    return np.random.default_rng(batch).normal(0, 0.01, (batch, samples)).astype(np.float32)


def _ours(engine: VadEngine, batch: int) -> Kind:
    states, rows, windows = engine.new_states(batch), range(batch), _noise(batch, WINDOW_SAMPLES)
    return batch, lambda: engine.step(states, rows, windows)


def _batched(stock: Session, batch: int) -> Kind:
    feeds: dict[str, NDArray[Any]] = {
        "input": _noise(batch, CONTEXT_SAMPLES + WINDOW_SAMPLES),
        "state": np.zeros((2, batch, HIDDEN), np.float32),
        "sr": np.array(16_000, np.int64),
    }
    return batch, lambda: stock.run(feeds, ["output", "stateN"])


def _one_by_one(stock: Session) -> Kind:
    return _batched(stock, 1)
