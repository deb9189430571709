"""``alfred-voice bench whisper``: Whisper here, by its makers and by faster-whisper, with the same weights."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alfred_voice import workshop
from alfred_voice.audio.pcm import to_float
from alfred_voice.bench import whisper_probe
from alfred_voice.bench.arguments import whole
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.peer_environment import PeerEnvironment, PeerFailed, peer_environment
from alfred_voice.bench.random_whisper import SIZES, random_checkpoint
from alfred_voice.bench.recordings import load_recordings
from alfred_voice.bench.report import Axis, Check, Column, Curve, Report, Table
from alfred_voice.bench.stopwatch import Stopwatch
from alfred_voice.config import Config
from alfred_voice.models.engine import SAMPLE_RATE, Float32, Int16
from alfred_voice.models.onnx import open_session
from alfred_voice.models.whisper import Whisper
from alfred_voice.models.whisper_checkpoint import Checkpoint
from alfred_voice.models.whisper_files import WhisperFiles, decoder_name, encoder_name
from alfred_voice.models.whisper_graphs import write_decoder, write_encoder
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_vocabulary import Vocabulary


HELP = (
    "Whole transcriptions at batch 1 of recordings of several lengths, with as many tokens as speech of that length "
    "has: by this package, and side by side in an environment of their own by openai-whisper (float32) and "
    "faster-whisper (int8), where pip can install them (see bench peers). The weights are drawn at random, in the "
    "dimensions of the published sizes, and the same for all: speed does not depend on them, and none need be fetched."
)

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "openai": ("torch==2.13.0", "openai-whisper==20250625"),
    "faster": ("faster-whisper==1.2.1",),
}
NAMES = {"openai": "openai-whisper, float32", "faster": "faster-whisper, int8"}
TIMES_OPENAI, TIMES_FASTER = 2.0, 1.0
_TOKENS_A_SECOND = 4.0
_VOCABULARY_TOKENS = {False: 50256, True: 50257}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument(
        "--sizes", nargs="+", choices=tuple(SIZES), default=["tiny", "base", "small"], metavar="SIZE",
        help=f"of {', '.join(SIZES)} (default: tiny base small)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", nargs="+", type=float, default=[5.0, 10.0, 30.0], metavar="S", help="lengths of the recordings"
    )
    parser.add_argument("--runs", type=whole(1), default=3, metavar="N", help="runs of each (default: 3)")
    parser.add_argument(
        "--threads", type=whole(1), default=os.cpu_count() or 1, metavar="N", help="of each (default: all cores)"
    )
    parser.add_argument(
        "--precision", choices=[one.value for one in Precision], default=Precision.INT8.value, help="of this package"
    )
    parser.add_argument(
        "--environment", type=Path, metavar="FOLDER", help="keep the others' environment there and use it again"
    )
    parser.add_argument("--alone", action="store_true", help="do not measure other packages")


@dataclass(frozen=True, slots=True)
class _Job:
    """What everybody is to do with one size."""

    size: str
    checkpoint: Checkpoint
    clips: tuple[Int16, ...]
    tokens: tuple[int, ...]
    threads: int
    runs: int
    folder: Path

    def for_peers(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """The same as files and numbers."""
        weights = self.folder / "weights.npz"
        np.savez(weights, allow_pickle=False, **self.checkpoint.weights)
        recordings = []
        for number, (clip, tokens) in enumerate(zip(self.clips, self.tokens, strict=True)):
            file = self.folder / f"{number}.s16"
            clip.tofile(file)
            recordings.append({"file": str(file), "tokens": tokens})
        sizes = self.checkpoint.dimensions
        return {
            "weights": str(weights),
            "dims": asdict(sizes),
            "recordings": recordings,
            "threads": self.threads,
            "runs": self.runs,
            "opening": vocabulary.opening("en" if sizes.is_multilingual else None),
            "end": vocabulary.end,
            "unspoken": _unspoken(vocabulary),
            "commands": _commands(vocabulary),
            "languages": sorted(vocabulary.languages.values()),
        }


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure."""
    if not all(1.0 <= seconds <= 30.0 for seconds in args.seconds):
        raise BenchmarkFailed("--seconds: expected lengths from 1 to 30 s")
    store = workshop.open_store(config)
    speech = np.concatenate([one.samples for one in load_recordings(store, args.audio) if one.text])
    clips = tuple(np.resize(speech, round(seconds * SAMPLE_RATE)) for seconds in args.seconds)
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alfred-voice-bench-")))
        environment = None if args.alone else stack.enter_context(peer_environment(args.environment))
        names = [] if environment is None else _installed(environment, missing)
        for size in args.sizes:
            _tell(size)
            tokens = tuple(round(seconds * _TOKENS_A_SECOND) for seconds in args.seconds)
            job = _Job(size, random_checkpoint(SIZES[size], 0), clips, tokens, args.threads, args.runs, scratch)
            rows += _measured(job, Precision(args.precision), environment, names, missing)
    return _report(args, rows, missing)


def _installed(environment: PeerEnvironment, missing: dict[str, str]) -> list[str]:
    names = []
    for name, packages in PACKAGES.items():
        _tell(f"installing {' '.join(packages)}")
        try:
            environment.install(packages)
        except PeerFailed as error:
            missing[name] = str(error)
            _tell(f"left out: {error}")
        else:
            names.append(name)
    return names


def _measured(
    job: _Job,
    precision: Precision,
    environment: PeerEnvironment | None,
    names: Sequence[str],
    missing: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """A row for each recording of one size."""
    vocabulary = _vocabulary(job.checkpoint)
    took = {"ours": _ours(job, precision, vocabulary)}
    memory: dict[str, float] = {}
    if environment is not None and names:
        work = job.for_peers(vocabulary)
        for name in names:
            try:
                found = environment.probe(name, work, whisper_probe)
            except PeerFailed as error:
                missing[name] = str(error)
                _tell(f"left out: {error}")
                continue
            took[name] = [float(np.median(seconds)) for seconds in found["seconds"]]
            memory[name] = float(found["rss_mb"])
        took["ours"] = [min(pair) for pair in zip(took["ours"], _ours(job, precision, vocabulary), strict=True)]
    for at, (clip, tokens) in enumerate(zip(job.clips, job.tokens, strict=True)):
        seconds = len(clip) / SAMPLE_RATE
        ours = took["ours"][at]
        row: dict[str, Any] = {"size": job.size, "seconds": seconds, "tokens": tokens}
        row |= {f"{name}_ms": values[at] * 1000 for name, values in took.items()}
        row |= {f"{name}_rtf": values[at] / seconds for name, values in took.items()}
        yield row | {f"times_{name}": took[name][at] / ours for name in took if name != "ours"}


def _ours(job: _Job, precision: Precision, vocabulary: Vocabulary) -> list[float]:
    """Median seconds of each recording, on graphs that are written for it."""
    encoder, decoder = job.folder / encoder_name(precision), job.folder / decoder_name(precision)
    write_encoder(job.checkpoint, encoder, precision)
    sizes = job.checkpoint.dimensions
    heads = [(sizes.n_text_layer - 1, head) for head in range(sizes.n_text_head)]
    write_decoder(job.checkpoint, decoder, precision, heads)
    files = WhisperFiles(
        folder=job.folder, name=job.size, dimensions=sizes, unspoken=(*_unspoken(vocabulary), vocabulary.end),
        blank=(220,), source="", files={}, parity={},
    )  # fmt: skip
    sessions = [open_session(path, threads=job.threads) for path in (encoder, decoder)]
    engine = Whisper(files, sessions[0], sessions[1], vocabulary=vocabulary)
    watch = Stopwatch()
    return [
        watch.median(partial(_transcribe, engine, to_float(clip), tokens), job.runs).wall_s
        for clip, tokens in zip(job.clips, job.tokens, strict=True)
    ]


def _transcribe(engine: Whisper, samples: Float32, tokens: int) -> None:
    """Features, encoder and so many tokens, as for any clip."""
    row = engine.spell(samples, tokens)
    if len(row.tokens) != tokens:
        raise BenchmarkFailed(f"expected {tokens} tokens, got {len(row.tokens)}")


def _vocabulary(checkpoint: Checkpoint) -> Vocabulary:
    """As many tokens as the published one has; what they spell does not matter."""
    sizes = checkpoint.dimensions
    return Vocabulary([b" word"] * _VOCABULARY_TOKENS[sizes.is_multilingual], sizes.languages)


def _unspoken(vocabulary: Vocabulary) -> list[int]:
    return [vocabulary.start, vocabulary.transcribe, vocabulary.translate, vocabulary.earlier, vocabulary.no_speech]


def _commands(vocabulary: Vocabulary) -> dict[str, int]:
    """The names that CTranslate2 knows tokens by."""
    return {
        "<|endoftext|>": vocabulary.end,
        "<|startoftranscript|>": vocabulary.start,
        "<|translate|>": vocabulary.translate,
        "<|transcribe|>": vocabulary.transcribe,
        "<|startofprev|>": vocabulary.earlier,
        "<|nospeech|>": vocabulary.no_speech,
        "<|notimestamps|>": vocabulary.no_timestamps,
        "<|0.00|>": vocabulary.first_timestamp,
    }


def _report(args: argparse.Namespace, rows: Sequence[Mapping[str, Any]], missing: Mapping[str, str]) -> Report:
    peers = [name for name in PACKAGES if any(f"{name}_ms" in row for row in rows)]
    titles = {"ours": f"this package, {args.precision}"} | {name: NAMES[name] for name in peers}
    columns = [
        Column("size", "size"),
        Column("seconds", "recording", "s", digits=0),
        Column("tokens", "tokens", digits=0),
        *(Column(f"{name}_ms", title, "ms", digits=0) for name, title in titles.items()),
        *(
            Column(f"{name}_rtf", f"real-time factor of {title.split(',')[0]}", digits=3)
            for name, title in titles.items()
        ),
        *(Column(f"times_{name}", f"times as fast as {NAMES[name].split(',')[0]}", digits=2) for name in peers),
    ]
    note = (
        f"Wall time at batch 1 with {args.threads} threads each, medians of {args.runs} runs (ours: the better of two "
        "medians, before and after the others). The others hear 30 s whatever the length; this package hears the "
        "recording and 2.6 s of silence."
    )
    for name, reason in missing.items():
        note += f" {NAMES[name]} is missing: {reason.splitlines()[0]}"
    limits = {"openai": TIMES_OPENAI, "faster": TIMES_FASTER}
    checks = [
        Check(
            f"{row['size']}, {row['seconds']:g} s, against {NAMES[name].split(',')[0]}",
            float(row[f"times_{name}"]),
            limits[name],
            "times as fast",
            at_most=False,
        )
        for row in rows
        for name in peers
        if f"times_{name}" in row
    ]
    curve = Curve(
        f"{args.sizes[0]}: a transcription",
        Axis("recording", "s"),
        Axis("time", "ms"),
        {
            title: tuple(
                (float(row["seconds"]), float(row[f"{name}_ms"]))
                for row in rows
                if row["size"] == args.sizes[0] and f"{name}_ms" in row
            )
            for name, title in titles.items()
        },
    )
    table = Table("Whisper with random weights", tuple(columns), tuple(rows), note)
    return Report("whisper", args.command_line, describe_machine(), (table,), (curve,), tuple(checks))


def _tell(what: str) -> None:
    sys.stderr.write(f"{what} ...\n")
    sys.stderr.flush()
