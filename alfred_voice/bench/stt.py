"""``alfred-voice bench stt``: what the recogniser costs while people speak, and whether it hears less for it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from alfred_voice import recognisers, workshop
from alfred_voice.audio.pcm import to_float
from alfred_voice.bench.arguments import positive, whole
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.recordings import Recording, load_recordings, word_errors
from alfred_voice.bench.replay import Replay
from alfred_voice.bench.report import Axis, Cell, Check, Column, Curve, Report, Table
from alfred_voice.bench.stopwatch import Effort, Stopwatch, percentile
from alfred_voice.bench.windows import GrowingWindows
from alfred_voice.config import Config
from alfred_voice.events import FinalTranscription
from alfred_voice.files.transcriber import Transcriber
from alfred_voice.models.engine import SAMPLE_RATE, Clip, Int16, SttEngine, TurnEngine, VadEngine
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.requests import Urgency


HELP = (
    "Processor time of the recogniser for each second of speech, alone and on one thread, with a partial every 200 ms "
    "and a final for each utterance. 'daemon' asks what the daemon's sessions ask, committed words, superseded "
    "partials and finals ahead of the endpoint included; 'windows' asks about each utterance as it grows. Then the "
    "words that come out wrong, compared with decoding each utterance whole, and the time of single clips and batches."
)

DAEMON, WINDOWS = "daemon", "windows"
MOST_CPU = 0.12
"""CPU seconds for a second of speech."""
MOST_PARTIAL_MS = 80.0
CLIP_SECONDS = (1, 2, 4, 8, 12)
BATCH_ROWS = (1, 2, 4, 8)
_BATCH_CLIP_S = 4
_STAGGER_S = 0.137
"""Between the beginnings of two streams: people do not speak in step."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument(
        "--streams", type=whole(1), nargs="+", default=[1, 8], metavar="N", help="speakers at once (default: 1 8)"
    )
    parser.add_argument(
        "--interval", type=whole(20), default=200, metavar="MS", help="speech between partials (default: 200)"
    )
    parser.add_argument("--threads", type=whole(1), default=1, metavar="N", help="of the recogniser (default: 1)")
    parser.add_argument(
        "--seconds",
        type=positive,
        default=60.0,
        metavar="S",
        help="audio of each stream: whole recordings that fit, one at least (default: 60)",
    )
    parser.add_argument("--runs", type=whole(1), default=5, metavar="N", help="calls for each single clip and batch")
    parser.add_argument(
        "--drive", nargs="+", choices=(DAEMON, WINDOWS), default=[DAEMON, WINDOWS], help="who asks (default: both)"
    )


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all parts use."""

    vad: VadEngine
    stt: SttEngine
    turn: TurnEngine
    config: Config
    watch: Stopwatch
    recordings: tuple[Recording, ...]

    @property
    def transcriber(self) -> Transcriber:
        """The way of whole recordings."""
        config = self.config
        return Transcriber(self.vad, self.stt, config.vad, config.stt, config.pipeline.stt_max_batch)

    def streams(self, count: int, seconds: float) -> list[list[Recording]]:
        """For each speaker the recordings, each time beginning with another one, up to ``seconds``."""
        chosen = []
        for number in range(count):
            first = number % len(self.recordings)
            chosen.append(list(_up_to(self.recordings[first:] + self.recordings[:first], seconds)))
        return chosen


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure everything; a second or two for each second of audio and stream."""
    config = replace(
        config,
        pipeline=replace(config.pipeline, engine_threads=args.threads),
        stt=replace(config.stt, partial_interval_ms=args.interval),
    )
    store = workshop.open_store(config)
    speech = [recording for recording in load_recordings(store, args.audio) if recording.text != ""]
    bench = _Bench(
        workshop.build_vad(config, store),
        recognisers.build_stt(config, store),
        workshop.build_turn(config, store),
        config,
        Stopwatch(),
        tuple(speech),
    )
    # The first call of a graph is not like the others.
    bench.stt.transcribe([Clip(np.zeros(SAMPLE_RATE, np.float32))])
    drives = {DAEMON: _by_daemon, WINDOWS: _by_windows}
    rows = [
        {"drive": name, "streams": count, **drives[name](bench, bench.streams(count, args.seconds), args.interval)}
        for name in args.drive
        for count in args.streams
    ]
    return Report(
        "stt",
        args.command_line,
        describe_machine(),
        (
            _cost_table(rows, args.interval),
            _accuracy_table(rows),
            _clip_table(bench, args.runs),
            _batch_table(bench, args.runs),
        ),
        (_curve(rows),),
        tuple(_checks(rows)),
    )


def _by_daemon(bench: _Bench, streams: Sequence[Sequence[Recording]], _interval_ms: int) -> dict[str, Cell]:
    """The daemon's own questions."""
    config = bench.config
    options = SessionOptions(config.vad, config.stt, config.turn, config.interruption)
    replay = Replay(bench.vad, bench.stt, bench.turn, options, config.pipeline.stt_max_batch, bench.watch)
    for number, recordings in enumerate(streams):
        replay.add(np.concatenate([_with_pause(recording) for recording in recordings]), number * _STAGGER_S)
    replayed = replay.run()
    partials = [call for call in replayed.calls if call.urgency is Urgency.PARTIAL]
    cells = _effort_cells(
        replayed.cpu_s,
        replayed.speech_s,
        [(call.rows, call.effort) for call in partials],
        [call.effort for call in replayed.calls if call.urgency is not Urgency.PARTIAL],
    )
    told, whole = _finals_by_recording(bench, streams[0], replayed.speakers[0].finals)
    return {**cells, "superseded": replayed.superseded, **_accuracy_cells(streams[0], told, whole)}


def _by_windows(bench: _Bench, streams: Sequence[Sequence[Recording]], interval_ms: int) -> dict[str, Cell]:
    """Growing windows over utterances that have been found before."""
    utterances = [[_utterances(bench, recording) for recording in recordings] for recordings in streams]
    flat = [[samples for recording in recordings for samples in recording] for recordings in utterances]
    grown = GrowingWindows(bench.stt, interval_ms / 1000, bench.watch).run(flat)
    finals = iter(grown.texts[0])
    told = [" ".join(next(finals) for _ in recording) for recording in utterances[0]]
    whole = [" ".join(_decoded_whole(bench, samples) for samples in recording) for recording in utterances[0]]
    cells = _effort_cells(grown.cpu_s, grown.speech_s, grown.partials, grown.finals)
    return {**cells, "superseded": None, **_accuracy_cells(streams[0], told, whole)}


# Audio


def _up_to(recordings: Sequence[Recording], seconds: float) -> Iterator[Recording]:
    """As many as fit, the first at least."""
    total = 0.0
    for recording in recordings:
        if total and total + recording.seconds > seconds:
            return
        total += recording.seconds
        yield recording


def _with_pause(recording: Recording) -> Int16:
    """With silence behind it, in which its last utterance ends."""
    return np.concatenate([recording.samples, np.zeros(5 * SAMPLE_RATE // 2, np.int16)])


def _utterances(bench: _Bench, recording: Recording) -> list[Int16]:
    """What the recogniser is asked about as one piece."""
    heard = bench.transcriber.listen([recording.samples])
    return [recording.samples[start:end] for start, end in bench.transcriber.spans(heard)]


# Accuracy


def _finals_by_recording(
    bench: _Bench, recordings: Sequence[Recording], finals: Sequence[FinalTranscription]
) -> tuple[list[str], list[str]]:
    """What was told of each recording of a stream, and what the same utterances are when decoded in one piece."""
    told, whole = [], []
    begins = 0.0
    for recording in recordings:
        samples = _with_pause(recording)
        ends = begins + 1000 * len(samples) / SAMPLE_RATE
        # An utterance begins with what was heard before its first sound, which may lie in the pause before.
        own = [final for final in finals if begins <= (final.start_ms + final.end_ms) / 2 < ends]
        told.append(" ".join(final.text for final in own))
        tail_ms = bench.config.stt.tail_ms
        spans = [(max(0.0, final.start_ms - begins), final.end_ms - begins + tail_ms) for final in own]
        whole.append(" ".join(_decoded_whole(bench, samples[_sample(start) : _sample(end)]) for start, end in spans))
        begins = ends
    return told, whole


def _sample(ms: float) -> int:
    return round(ms * SAMPLE_RATE / 1000)


def _decoded_whole(bench: _Bench, samples: Int16) -> str:
    return bench.stt.transcribe([Clip(to_float(samples))])[0].text


def _accuracy_cells(recordings: Sequence[Recording], told: Sequence[str], whole: Sequence[str]) -> dict[str, Cell]:
    """Wrong words among the finals, and among the same utterances decoded whole, where the text is known."""
    other = [word_errors(one, another) for one, another in zip(whole, told, strict=True)]
    known = [
        (word_errors(recording.text, heard), word_errors(recording.text, better))
        for recording, heard, better in zip(recordings, told, whole, strict=True)
        if recording.text is not None
    ]
    return {
        "words": sum(words for (_, words), _ in known),
        "errors": sum(errors for (errors, _), _ in known),
        "whole_errors": sum(errors for _, (errors, _) in known),
        "unlike_whole": sum(errors for errors, _ in other),
    }


# Tables


def _effort_cells(
    cpu_s: float, speech_s: float, partials: Sequence[tuple[int, Effort]], finals: Sequence[Effort]
) -> dict[str, Cell]:
    wall_ms = [effort.wall_s * 1000 for _, effort in partials]
    final_ms = [effort.wall_s * 1000 for effort in finals]
    rows = sum(count for count, _ in partials)
    return {
        "speech_s": speech_s,
        "cpu_per_s": cpu_s / speech_s if speech_s else float("nan"),
        "partials": rows,
        "rows": rows / len(partials) if partials else float("nan"),
        "partial_p50": percentile(wall_ms, 50),
        "partial_p95": percentile(wall_ms, 95),
        "partial_cpu_p95": percentile([effort.cpu_s * 1000 for _, effort in partials], 95),
        "final_p50": percentile(final_ms, 50),
        "final_p95": percentile(final_ms, 95),
    }


def _cost_table(rows: Sequence[Mapping[str, Cell]], interval_ms: int) -> Table:
    columns = (
        Column("drive", "asked by"),
        Column("streams", "streams"),
        Column("speech_s", "speech", "s"),
        Column("cpu_per_s", "CPU per second of speech", "s", 3),
        Column("partials", "partials"),
        Column("superseded", "superseded"),
        Column("rows", "rows a call"),
        Column("partial_p50", "partial p50", "ms"),
        Column("partial_p95", "p95", "ms"),
        Column("partial_cpu_p95", "CPU p95", "ms"),
        Column("final_p50", "final p50", "ms"),
        Column("final_p95", "p95", "ms"),
    )
    note = (
        f"A partial every {interval_ms} ms of speech. Speech is the length of the utterances, from the first sound to "
        "the last. Times are of one call, on the clock unless it says CPU. 'windows' lets nothing be superseded."
    )
    return Table("Cost while people speak", columns, tuple(rows), note)


def _accuracy_table(rows: Sequence[Mapping[str, Cell]]) -> Table:
    columns = (
        Column("drive", "asked by"),
        Column("streams", "streams"),
        Column("words", "words"),
        Column("errors", "wrong in finals"),
        Column("whole_errors", "wrong decoded whole"),
        Column("unlike_whole", "unlike decoded whole"),
    )
    note = "Of the first stream; words that are replaced, missing or too many. The last column needs no known text."
    return Table("Words", columns, tuple(rows), note)


def _clip_table(bench: _Bench, runs: int) -> Table:
    longest = _longest(bench)
    rows = []
    for seconds in CLIP_SECONDS:
        samples = to_float(longest[: seconds * SAMPLE_RATE])
        cells: dict[str, Cell] = {"seconds": len(samples) / SAMPLE_RATE}
        for key, is_final in (("partial", False), ("final", True)):
            clip = Clip(samples, is_final=is_final)
            effort = bench.watch.median(partial(bench.stt.transcribe, [clip]), runs)
            cells[f"{key}_cpu"], cells[f"{key}_wall"] = effort.cpu_s * 1000, effort.wall_s * 1000
        rows.append(cells)
    columns = (
        Column("seconds", "clip", "s"),
        Column("partial_cpu", "partial CPU", "ms"),
        Column("partial_wall", "partial", "ms"),
        Column("final_cpu", "final CPU", "ms"),
        Column("final_wall", "final", "ms"),
    )
    return Table("One clip, nothing known of it before", columns, tuple(rows), f"Medians of {runs} calls.")


def _batch_table(bench: _Bench, runs: int) -> Table:
    longest = _longest(bench)
    length = min(_BATCH_CLIP_S * SAMPLE_RATE, len(longest))
    rows: list[dict[str, Cell]] = []
    for count in BATCH_ROWS:
        starts = [number * (len(longest) - length) // max(1, count - 1) for number in range(count)]
        clips = [Clip(to_float(longest[start : start + length]), is_final=False) for start in starts]
        effort = bench.watch.median(partial(bench.stt.transcribe, clips), runs)
        rows.append({"rows": count, "cpu": effort.cpu_s * 1000 / count, "wall": effort.wall_s * 1000 / count})
    columns = (Column("rows", "rows"), Column("cpu", "CPU a row", "ms"), Column("wall", "time a row", "ms"))
    return Table(f"Partials of {length / SAMPLE_RATE:g} s in one call", columns, tuple(rows))


def _longest(bench: _Bench) -> Int16:
    return max((recording.samples for recording in bench.recordings), key=len)


def _curve(rows: Sequence[Mapping[str, Cell]]) -> Curve:
    series: dict[str, tuple[tuple[float, float], ...]] = {}
    for row in rows:
        name = str(row["drive"])
        series[name] = (*series.get(name, ()), (_number(row["streams"]), _number(row["cpu_per_s"])))
    x, y = Axis("speakers at once"), Axis("recogniser per second of speech", "CPU s")
    return Curve("Cost of recognition", x, y, series, MOST_CPU)


def _checks(rows: Sequence[Mapping[str, Cell]]) -> Iterator[Check]:
    for row in rows:
        if row["drive"] != DAEMON:
            continue  # what a recogniser costs that is only asked again and again, to compare with
        who = f"{row['streams']} streams"
        yield Check(f"CPU for a second of speech, {who}", _number(row["cpu_per_s"]), MOST_CPU, "s")
        if row["streams"] == 1:
            yield Check(f"partial p95, {who}", _number(row["partial_p95"]), MOST_PARTIAL_MS, "ms")
        more = _number(row["errors"]) - _number(row["whole_errors"])
        yield Check(f"wrong words more than decoded whole, {who}", more, 0.0, "words")


def _number(value: Cell) -> float:
    return float("nan") if value is None else float(value)
