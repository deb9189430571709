"""What other people's packages came to, beside ours, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from alfred_voice.bench.report import Cell, Check, Column, Table


TIMES_LESS = 5.0
"""Than moonshine-voice, for the same audio."""

TRANSCRIBERS = ("moonshine", "moonshine_text", "our moonshine")
"""Those whose texts are compared."""

Found = Mapping[str, Any]
"""The figures of one of them, from one round."""


@dataclass(slots=True)
class PeerResults:
    """What each of them came to, round by round, and why some could not be measured.

    Ours have the name of the package that they are compared with, and ``our`` in front.
    """

    found: dict[str, list[Found]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, found: Found) -> None:
        """One round's figures."""
        self.found.setdefault(name, []).append(found)

    def median(self, name: str, key: str) -> float:
        """Over the rounds; NaN when it was not measured."""
        return median([float(found[key]) for found in self.found[name]]) if name in self.found else float("nan")

    def note(self, *names: str) -> str:
        """Why those are missing that are."""
        return " ".join(f"{name} is left out: {self.missing[name]}" for name in names if name in self.missing)


def vad_table(results: PeerResults, streams: int, listeners: int) -> Table:
    """Processor time for 20 ms of one stream."""
    daemon = results.median("our pipecat_vad", "us_per_frame")
    kinds = (
        (f"pipecat's analyser, {streams} streams", "pipecat_vad", "us_per_frame", "kb_per_stream"),
        ("silero-vad's wrapper, one stream", "silero_vad", "us_per_frame", None),
        ("our detector, one session in a call", "our silero_vad", "us_1", None),
        ("our detector, 64 sessions in a call", "our silero_vad", "us_64", None),
        (
            f"our whole daemon with its network, {listeners} listeners",
            "our pipecat_vad",
            "us_per_frame",
            "kb_per_stream",
        ),
    )
    rows: list[dict[str, Cell]] = []
    for who, name, us, kb in kinds:
        cost = results.median(name, us)
        rows.append({"who": who, "us": cost, "kb": results.median(name, kb) if kb else None, "times": cost / daemon})
    columns = (
        Column("who", "who"),
        Column("us", "CPU for 20 ms of one stream", "us"),
        Column("kb", "memory for one more", "KB", 0),
        Column("times", "times our whole daemon", digits=2),
    )
    note = "They hear speech, our daemon quiet noise: with speech its recogniser would join in."
    return Table("Voice activity", columns, tuple(rows), f"{note} {results.note('pipecat_vad', 'silero_vad')}".rstrip())


def turn_table(results: PeerResults) -> Table:
    """One judgement of the turn model."""
    rows: list[dict[str, Cell]] = [
        {"who": who, "wall": results.median(name, "wall_ms"), "cpu": results.median(name, "cpu_ms")}
        for who, name in (("pipecat's analyser", "pipecat_turn"), ("our turn model, one thread", "our pipecat_turn"))
    ]
    columns = (Column("who", "who"), Column("wall", "one judgement", "ms"), Column("cpu", "CPU", "ms"))
    return Table("End of turn", columns, tuple(rows), results.note("pipecat_turn"))


def stt_table(results: PeerResults, audio_s: float, wrong: Mapping[str, tuple[int, int]], setting: str) -> Table:
    """Live transcription.

    Args:
        results: what was found.
        audio_s: how long the audio was, with its pauses.
        wrong: for each of the names, wrong words and words.
        setting: how it was done, for the note.
    """
    daemon = ("our pipecat_vad", "rss_mb")
    kinds = (
        ("moonshine-voice as it comes", "moonshine", "cpu_s", "blocked_p95_ms", ("moonshine", "rss_mb")),
        ("moonshine-voice, text alone", "moonshine_text", "cpu_s", "blocked_p95_ms", ("moonshine_text", "rss_mb")),
        ("our session: detector and recogniser", "our moonshine", "cpu_s", "partial_p95_ms", daemon),
        ("our session with its turn model", "our moonshine", "all_cpu_s", "partial_p95_ms", daemon),
    )
    own = results.median("our moonshine", "cpu_s")
    rows: list[dict[str, Cell]] = [
        {
            "who": who,
            "cpu": results.median(name, cpu) / audio_s,
            "times": results.median(name, cpu) / own,
            "p95": results.median(name, waits),
            "rss": results.median(*rss),
            "errors": wrong[name][0],
            "words": wrong[name][1],
        }
        for who, name, cpu, waits, rss in kinds
        if name in wrong
    ]
    columns = (
        Column("who", "who"),
        Column("cpu", "CPU per second of audio", "s", 3),
        Column("times", "times ours"),
        Column("p95", "update p95", "ms"),
        Column("rss", "memory", "MB", 0),
        Column("errors", "wrong words"),
        Column("words", "of"),
    )
    return Table(
        "Live transcription", columns, tuple(rows), f"{setting} {results.note('moonshine', 'moonshine_text')}".rstrip()
    )


def checks_of(results: PeerResults, wrong: Mapping[str, tuple[int, int]]) -> Sequence[Check]:
    """Whether recognition costs several times less, and hears no worse."""
    times = results.median("moonshine", "cpu_s") / results.median("our moonshine", "cpu_s")
    checks = [Check("times less CPU than moonshine-voice as it comes", times, TIMES_LESS, "", at_most=False)]
    if {"moonshine", "our moonshine"} <= wrong.keys():
        more = wrong["our moonshine"][0] - wrong["moonshine"][0]
        checks.append(Check("wrong words more than moonshine-voice", float(more), 0.0, "words"))
    return checks
