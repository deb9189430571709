"""``alfred-voice bench turn``: what one judgement of the end of a turn takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from alfred_voice import workshop
from alfred_voice.audio.pcm import to_float
from alfred_voice.bench.arguments import whole
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.passages import Passage, passages
from alfred_voice.bench.recordings import load_recordings
from alfred_voice.bench.report import Axis, Cell, Column, Curve, Report, Table
from alfred_voice.bench.stopwatch import Stopwatch
from alfred_voice.config import Config
from alfred_voice.models.engine import SAMPLE_RATE, Int16, TurnEngine
from alfred_voice.models.store import Store


HELP = (
    "Time of one judgement of the turn model, on one thread and on as many as the configuration gives it, by the "
    "length of the turn; and what it says of passages of speech at the pause that ends them."
)

SECONDS = (1, 4, 8)
_CONFIGURED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--runs", type=whole(1), default=20, metavar="N", help="judgements of each kind (default: 20)")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure."""
    store = workshop.open_store(config)
    recordings = [recording for recording in load_recordings(store, args.audio) if recording.text != ""]
    vad = workshop.build_vad(config, store)
    spoken = [passage for recording in recordings for passage in passages(recording, (), vad, config.vad)]
    samples = max((recording.samples for recording in recordings), key=len)
    rows = [row for threads in (1, _CONFIGURED) for row in _times(_engine(config, store, threads), samples, args.runs)]
    for row, threads in zip(rows, ["1"] * len(SECONDS) + ["configured"] * len(SECONDS), strict=True):
        row["threads"] = threads
    judged = _judgements(_engine(config, store, _CONFIGURED), spoken, config)
    curve = Curve(
        "One judgement of the turn model",
        Axis("turn", "s"),
        Axis("time", "ms"),
        {
            name: tuple(
                (float(row["seconds"] or 0), float(row["wall_ms"] or 0)) for row in rows if row["threads"] == name
            )
            for name in ("1", "configured")
        },
    )
    return Report("turn", args.command_line, describe_machine(), (_time_table(rows, args.runs), judged), (curve,))


def _engine(config: Config, store: Store, threads: int) -> TurnEngine:
    if threads == _CONFIGURED:
        return workshop.build_turn(config, store)
    return workshop.build_turn(replace(config, pipeline=replace(config.pipeline, engine_threads=threads)), store)


def _times(engine: TurnEngine, samples: Int16, runs: int) -> Iterator[dict[str, Cell]]:
    watch = Stopwatch()
    for seconds in SECONDS:
        turn = to_float(np.resize(samples, seconds * SAMPLE_RATE))
        effort = watch.median(partial(engine.judge, [turn]), runs)
        yield {"seconds": seconds, "cpu_ms": effort.cpu_s * 1000, "wall_ms": effort.wall_s * 1000}


def _time_table(rows: Sequence[dict[str, Cell]], runs: int) -> Table:
    columns = (
        Column("threads", "threads"),
        Column("seconds", "turn", "s"),
        Column("wall_ms", "time", "ms"),
        Column("cpu_ms", "CPU", "ms"),
    )
    note = f"Medians of {runs} judgements. The model always looks at 8 s, filled up with silence in front."
    return Table("One judgement", columns, tuple(rows), note)


def _judgements(engine: TurnEngine, spoken: Sequence[Passage], config: Config) -> Table:
    """What the model says of each passage, after the silence at which the daemon asks first."""
    silence = np.zeros(config.turn.silence_ms * SAMPLE_RATE // 1000, np.int16)
    ends = [to_float(np.concatenate([passage.samples[: passage.end_of_speech], silence])) for passage in spoken]
    middles = [to_float(passage.samples[: _middle(passage)]) for passage in spoken]
    threshold = config.turn.threshold
    rows: list[dict[str, Cell]] = []
    for what, turns in (("at the pause behind them", ends), ("in the middle of their speech", middles)):
        said = [judgement.probability for turn in turns for judgement in engine.judge([turn])]
        rows.append(
            {
                "asked": what,
                "passages": len(said),
                "complete": sum(probability >= threshold for probability in said),
                "mean": float(np.mean(said)) if said else None,
            }
        )
    columns = (
        Column("asked", "asked"),
        Column("passages", "passages"),
        Column("complete", "said to be complete"),
        Column("mean", "mean probability", digits=2),
    )
    note = (
        "A pause behind a passage need not be the end of what its speaker wants to say; in the middle it is not, and "
        "the model is not asked there by the daemon."
    )
    return Table("Passages of speech", columns, tuple(rows), note)


def _middle(passage: Passage) -> int:
    return (passage.first_speech + passage.end_of_speech) // 2
