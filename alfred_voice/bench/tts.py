"""``alfred-voice bench tts``: how soon the daemon's voice can be heard, and what a second of it costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from alfred_voice import workshop
from alfred_voice.bench.arguments import whole
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.report import Cell, Column, Report, Table
from alfred_voice.bench.stopwatch import own_cpu_s, percentile
from alfred_voice.clock import SystemClock
from alfred_voice.config import Config
from alfred_voice.models.engine import Int16, TtsEngine
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.sentences import split_sentences


HELP = (
    "Time from the text to the first audio, and computing time for a second of speech (real-time factor), for a short "
    "and a long text in the configured voice: made anew, and remembered as a phrase that was spoken before."
)

SHORT = "Yes, I can hear you."
LONG = (
    "The lamp in the living room is on now, and so is the one above the stairs. The heating will go down at eleven, "
    "as it does on every weekday, unless you tell me otherwise before that. Tomorrow begins with light rain, which "
    "should be over by noon; in the afternoon it may become rather windy. There are two appointments in your "
    "calendar, one at half past nine and one at four o'clock. Shall I read them to you?"
)
_CACHE_BYTES = 32_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--runs", type=whole(1), default=10, metavar="N", help="times for each text (default: 10)")
    parser.add_argument("--text", action="append", metavar="TEXT", help="speak this instead; may be repeated")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure."""
    engine = workshop.build_tts(config)
    texts = {f"own {number}": text for number, text in enumerate(args.text or (), start=1)} or {
        "short": SHORT,
        "long": LONG,
    }
    rows = [row for name, text in texts.items() for row in _rows(engine, config, name, text, args.runs)]
    return Report("tts", args.command_line, describe_machine(), (_table(rows, config, args.runs),))


def _rows(engine: TtsEngine, config: Config, name: str, text: str, runs: int) -> Iterator[dict[str, Cell]]:
    """The text made anew, and remembered."""
    speak = _Speaker(config.tts.voice, config.tts.speed)
    speak(engine, text)
    yield {"text": name, "characters": len(text), "made": "anew", **_cells([speak(engine, text) for _ in range(runs)])}
    cache = PhraseCache(engine, _CACHE_BYTES)
    speak(cache, text)
    remembered = [speak(cache, text) for _ in range(runs)]
    yield {"text": name, "characters": len(text), "made": "remembered", **_cells(remembered)}


class _Speaker:
    """Speaks a text as the daemon does, sentence by sentence, and notes when what came."""

    def __init__(self, voice: str, speed: float) -> None:
        self._voice = voice
        self._speed = speed
        self._clock = SystemClock()

    def __call__(self, engine: TtsEngine | PhraseCache, text: str) -> dict[str, float]:
        first: list[float] = []
        samples = 0

        def take(piece: Int16) -> bool:
            nonlocal samples
            samples += len(piece)
            first.append(self._clock.now())
            return True

        began, cpu = self._clock.now(), own_cpu_s()
        for sentence in split_sentences(text):
            engine.synthesise(sentence, self._voice, self._speed, take)
        ended = self._clock.now()
        seconds = samples / engine.sample_rate
        return {
            "first_ms": (first[0] - began) * 1000 if first else float("nan"),
            "audio_s": seconds,
            "factor": (ended - began) / seconds if seconds else float("nan"),
            "cpu_ms": (own_cpu_s() - cpu) * 1000 / seconds if seconds else float("nan"),
        }


def _cells(runs: Sequence[dict[str, float]]) -> dict[str, Cell]:
    """Medians, and the slowest beginnings."""
    middle: dict[str, Cell] = {key: percentile([run[key] for run in runs], 50) for key in runs[0]}
    return {**middle, "first_p95": percentile([run["first_ms"] for run in runs], 95)}


def _table(rows: Sequence[dict[str, Cell]], config: Config, runs: int) -> Table:
    columns = (
        Column("text", "text"),
        Column("characters", "characters"),
        Column("made", "made"),
        Column("first_ms", "first audio p50", "ms", 2),
        Column("first_p95", "p95", "ms", 2),
        Column("audio_s", "audio", "s"),
        Column("factor", "real-time factor", digits=4),
        Column("cpu_ms", "CPU per second of audio", "ms", 2),
    )
    note = f"Engine {config.tts.engine}, voice {config.tts.voice}; each {runs} times, after once that does not count."
    return Table("Synthesis", columns, tuple(rows), note)
