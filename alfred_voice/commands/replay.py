"""``alfred-voice replay``: live through a recorded session again, and say whether it comes out the same."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from alfred_voice.config import Config
    from alfred_voice.session.replaying import Answer, Plain, Recording

EXIT_SAME, EXIT_DIFFERENT = 0, 1


def add_parser(subparsers: Any) -> None:
    """Add the command to ``alfred-voice``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "replay",
        help="live through a recorded session again",
        description="Run a recorded session (recording.enabled) through the session's logic again.",
        epilog="Exit codes: 0 the same events, or --engines real; 1 other events; 2 the recording cannot be read.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the recording's .jsonl file; its audio lies beside it")
    parser.add_argument(
        "--engines",
        choices=("recorded", "real"),
        default="recorded",
        help="whose answers: those that were recorded, or those of this machine's models (default: %(default)s)",
    )
    parser.add_argument("--events", action="store_true", help="print the events")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; the result is its exit code."""
    from alfred_voice.files.tape import read_tape
    from alfred_voice.session.replaying import Replay, without_times

    recording = read_tape(args.file)
    is_real = args.engines == "real"
    then = recording.told()
    if is_real:
        now = Replay(recording).with_answers_of(_models(args.loaded.config, recording))
        then, now = list(without_times(then)), list(without_times(now))
    else:
        now = Replay(recording).with_recorded_answers()
    differences = list(differences_of(then, now))
    if args.json:
        print(json.dumps({"same": not differences, "events": now, "differences": differences}, ensure_ascii=False))
    else:
        _print(then, now, differences, with_events=args.events or is_real)
    return EXIT_DIFFERENT if differences and not is_real else EXIT_SAME


def differences_of(then: Sequence[Plain], now: Sequence[Plain]) -> Iterator[str]:
    """What to take away (-) and to add (+) to make of one list of events the other."""
    for line in difflib.unified_diff(_lines(then), _lines(now), "recorded", "replayed", n=0, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield line


def _lines(events: Sequence[Plain]) -> list[str]:
    return [json.dumps(event, ensure_ascii=False, sort_keys=True) for event in events]


def _print(then: Sequence[Plain], now: Sequence[Plain], differences: Sequence[str], *, with_events: bool) -> None:
    if with_events:
        print(*_lines(now), sep="\n")
    if differences:
        print(f"{len(then)} events were recorded, {len(now)} came this time; what differs:", *differences, sep="\n")
    else:
        print(f"the same {len(now)} events")


def _models(config: Config, recording: Recording) -> Answer:
    """Asks the models of this machine, each question alone and at once."""
    from dataclasses import dataclass

    from alfred_voice import workshop
    from alfred_voice.clock import ManualClock
    from alfred_voice.pipeline.engine_work import DetectWork, JudgeWork, TranscribeWork
    from alfred_voice.pipeline.work import Job
    from alfred_voice.recognisers import build_stt
    from alfred_voice.session.requests import DetectRequest, TranscribeRequest

    @dataclass(eq=False)
    class Speaker:
        row: int = 0
        ended: bool = False
        session_id: str = recording.heading.session_id

    store, speaker = workshop.open_store(config), Speaker()
    detect = DetectWork(workshop.build_vad(config, store))
    judge = JudgeWork(workshop.build_turn(config, store))
    transcribe = TranscribeWork(build_stt(config, store), ManualClock())

    def answer(request: Any, now: float) -> Any:
        work: Any = judge
        if isinstance(request, DetectRequest):
            work = detect
        elif isinstance(request, TranscribeRequest):
            work = transcribe
        return work([Job(speaker, request, now)])[0]  # type: ignore[arg-type]

    return answer
