"""``alfred-voice bench latency``: how long one speaker waits for the daemon."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from alfred_voice import workshop
from alfred_voice.bench.alignment import align, synthesised
from alfred_voice.bench.arguments import whole
from alfred_voice.bench.daemon import RunningDaemon, daemon_arguments, running_daemon
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.load import run_event_loop
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.passages import Passage, passages
from alfred_voice.bench.recordings import Recording, SpokenWord, load_recordings
from alfred_voice.bench.report import Cell, Check, Column, Report, Table
from alfred_voice.bench.speaker import Heard, Part, play
from alfred_voice.bench.stopwatch import percentile
from alfred_voice.bench.words import matching, words_of
from alfred_voice.clock import SystemClock
from alfred_voice.config import Config
from alfred_voice.models.engine import SAMPLE_RATE, Int16


HELP = (
    "A daemon of its own, and speakers who send passages of recordings in real time, 20 ms after 20 ms, followed by "
    "silence. Every delay is counted from the moment at which the audio it is about was to be sent: the last sample "
    "of speech to the final text and to the end of the turn, the end of a word to the first partial that holds it, "
    "and from speech over the daemon's own (its first loud sample, and the first window that the detector calls "
    "speech) to the interruption."
)

MOST_FINAL_MS, MOST_TURN_MS, MOST_INTERRUPTION_MS, MOST_WORD_MS = 350.0, 350.0, 150.0, 450.0
LEAD_S = 0.5
"""Silence before a passage."""
FOLLOWED_BY_S = 4.0
"""Silence behind it, at most: it ends with the turn, which takes ``turn.max_silence_ms`` at the longest."""
SPEECH = (
    "I will go on speaking until somebody interrupts me, and I have prepared quite a lot to say. Once upon a time "
    "there was a lighthouse on a small island, far from the coast, where a keeper lived with her two brothers and a "
    "dog that was afraid of the sea. Every evening they climbed the stairs together and lit the lamp, and every "
    "morning they put it out again and looked for ships that might have passed them in the night."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--speakers", type=whole(1), default=1, metavar="N", help="who speak at once (default: 1)")
    parser.add_argument("--repeats", type=whole(1), default=1, metavar="N", help="times that each passage is spoken")
    parser.add_argument("--interruptions", type=whole(0), default=20, metavar="N", help="trials of it (default: 20)")
    parser.add_argument("--passages", type=whole(1), metavar="N", help="the first so many passages only")


@dataclass(slots=True)
class Delays:
    """Milliseconds, one for each time that something was waited for."""

    finals: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    by_model: list[float] = field(default_factory=list)
    """Of the turns those that the turn model ended; the others took the longest silence there is."""
    detected_turns: list[float] = field(default_factory=list)
    """The same turns, counted from where the detector hears the last speech."""
    words: list[float] = field(default_factory=list)
    words_in_final: int = 0
    """Words among those that no partial held, so that the final is what counted."""
    words_missed: int = 0
    """Words that the final did not have either: not counted."""
    interruptions: list[float] = field(default_factory=list)
    """From where the detector hears the first speech."""
    loud_interruptions: list[float] = field(default_factory=list)
    """The same, counted from the first loud sample."""
    missing: int = 0
    """What did not come at all."""


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure in real time: about a minute and a half with the default recordings."""
    store = workshop.open_store(config)
    recordings = [recording for recording in load_recordings(store, args.audio) if recording.text != ""]
    vad = workshop.build_vad(config, store)
    spoken = [
        passage
        for recording in recordings
        for passage in passages(recording, _word_times(recording, config), vad, config.vad)
    ][: args.passages]
    if not spoken:
        raise BenchmarkFailed("expected recordings of speech, but nothing in them stands out as speech")
    delays = run_event_loop(_measure(args, spoken))
    command, machine = args.command_line, describe_machine()
    return Report("latency", command, machine, _tables(delays, len(spoken), args.speakers), (), tuple(_checks(delays)))


def _word_times(recording: Recording, config: Config) -> Iterable[SpokenWord]:
    """As the recording's makers have them, or from laying it along what the synthesiser says."""
    if recording.words or not recording.text:
        return recording.words
    return align(recording.samples, words_of(recording.text), synthesised(workshop.build_tts(config), config.tts.voice))


async def _measure(args: argparse.Namespace, spoken: Sequence[Passage]) -> Delays:
    delays = Delays()
    async with running_daemon(arguments=daemon_arguments(args)) as daemon:
        # What a model takes only for its first call is no delay that a speaker meets.
        await play(daemon.ws_url, _utterance(spoken[0]), SystemClock())
        firsts = [speaker % len(spoken) for speaker in range(args.speakers)]
        orders = [[*spoken[first:], *spoken[:first]] * args.repeats for first in firsts]
        await asyncio.gather(*(_speak(daemon, order, delays) for order in orders))
        for trial in range(args.interruptions):
            await _interrupt(daemon, spoken[trial % len(spoken)], delays)
    return delays


async def _speak(daemon: RunningDaemon, order: Sequence[Passage], delays: Delays) -> None:
    """One speaker's passages, one after the other."""
    for passage in order:
        heard = await play(daemon.ws_url, _utterance(passage), SystemClock())
        _note(passage, heard, delays)


def _utterance(passage: Passage) -> Part:
    return Part(_between_silences(passage.samples, FOLLOWED_BY_S), until="turnComplete")


async def _interrupt(daemon: RunningDaemon, passage: Passage, delays: Delays) -> None:
    """Speak over the daemon's own speech."""
    part = Part(_between_silences(passage.samples, 0.0), until="interruption", interrupts=SPEECH)
    heard = await play(daemon.ws_url, part, SystemClock())
    came = heard.last("interruption")
    if came is None:
        delays.missing += 1
        return
    for first, found in (
        (passage.first_detected, delays.interruptions),
        (passage.first_speech, delays.loud_interruptions),
    ):
        found.append((came[0] - heard.due_s(_lead_samples() + first + 1)) * 1000)


def _between_silences(samples: Int16, behind_s: float) -> Int16:
    return np.concatenate([_silence(LEAD_S), samples, _silence(behind_s)])


def _silence(seconds: float) -> Int16:
    return np.zeros(round(seconds * SAMPLE_RATE), np.int16)


def _lead_samples() -> int:
    return round(LEAD_S * SAMPLE_RATE)


# What was waited for


def _note(passage: Passage, heard: Heard, delays: Delays) -> None:
    """The delays of one passage."""
    due = heard.due_s(_lead_samples() + passage.end_of_speech)
    final, turn = heard.last("finalTranscription"), heard.last("turnComplete")
    if final is None or turn is None:
        delays.missing += 1
        return
    delays.finals.append((final[0] - due) * 1000)
    delays.turns.append((turn[0] - due) * 1000)
    delays.detected_turns.append((turn[0] - heard.due_s(_lead_samples() + passage.end_detected)) * 1000)
    if turn[1]["reason"] == "model":
        delays.by_model.append(delays.turns[-1])
    arrivals = word_arrivals(passage.words, heard.events)
    for word, (at, was_partial) in arrivals.items():
        delays.words.append((at - heard.due_s(_lead_samples() + _sample(passage.words[word].end_s))) * 1000)
        delays.words_in_final += not was_partial
    delays.words_missed += len(passage.words) - len(arrivals)


def _sample(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def word_arrivals(
    words: Sequence[SpokenWord], events: Iterable[tuple[float, Mapping[str, object]]]
) -> dict[int, tuple[float, bool]]:
    """When each word was first shown in its place, among those that are right in the final text.

    Args:
        words: what was said.
        events: arrival and event, in order.

    Returns:
        The word's number -> the arrival, and whether that was a partial's.
    """
    said = [word for spoken in words for word in words_of(spoken.word)]
    shown: dict[int, tuple[float, bool]] = {}
    final: set[int] = set()
    for at, event in events:
        if event["type"] not in ("partialTranscription", "finalTranscription"):
            continue
        is_partial = event["type"] == "partialTranscription"
        right = {place for place, _ in matching(said, words_of(str(event["text"])))}
        for place in right:
            shown.setdefault(place, (at, is_partial))
        if not is_partial:
            final |= right
    return {place: shown[place] for place in sorted(final)}


# Tables


def _tables(delays: Delays, count: int, speakers: int) -> tuple[Table, ...]:
    columns = (
        Column("what", "from the last sample of speech to"),
        Column("count", "times"),
        Column("p50", "p50", "ms", 0),
        Column("p95", "p95", "ms", 0),
        Column("worst", "worst", "ms", 0),
    )
    rows = (
        _row("the final text", delays.finals),
        _row("the end of the turn", delays.turns),
        _row("... where the turn model told it", delays.by_model),
        _row("the end of the turn, from the last window that is speech to the detector", delays.detected_turns),
    )
    note = (
        f"{count} passages, {speakers} at once. Speech ends where it is last loud for 30 ms, less than 30 dB below the "
        "loudest of its recording and 6 dB above the quietest; to the detector, which is run over the recordings "
        f"beforehand, it goes on for a few windows. Did not come at all: {delays.missing}."
    )
    turns = Table("At the end of speech", columns, rows, note)
    return turns, _word_table(delays, columns), _interruption_table(delays, columns)


def _word_table(delays: Delays, columns: Sequence[Column]) -> Table:
    first = Column("what", "from the end of a word to")
    note = (
        "Where words end is known from the recording's own word times, or from laying it along the synthesiser's "
        "reading of its text, word by word; not from the recogniser. A word counts from the first partial that has it "
        f"in its place; {delays.words_in_final} were in the final only, {delays.words_missed} were not recognised and "
        "are not counted."
    )
    return Table("Words", (first, *columns[1:]), (_row("a partial that holds it", delays.words),), note)


def _interruption_table(delays: Delays, columns: Sequence[Column]) -> Table:
    first = Column("what", "to the interruption, from")
    note = (
        "Spoken over the daemon's own speech, half a second after its audio has begun to come. Loudness alone cannot "
        "tell a breath before a word from the word: the target is for the detector's count."
    )
    rows = (
        _row("the first window that is speech to the detector", delays.interruptions),
        _row("the first loud sample", delays.loud_interruptions),
    )
    return Table("Interruption", (first, *columns[1:]), rows, note)


def _row(what: str, values: Sequence[float]) -> dict[str, Cell]:
    return {
        "what": what,
        "count": len(values),
        "p50": percentile(values, 50),
        "p95": percentile(values, 95),
        "worst": percentile(values, 100),
    }


def _checks(delays: Delays) -> Iterator[Check]:
    yield Check("final text p50", percentile(delays.finals, 50), MOST_FINAL_MS, "ms")
    yield Check("end of turn p50", percentile(delays.turns, 50), MOST_TURN_MS, "ms")
    yield Check("word in a partial p50", percentile(delays.words, 50), MOST_WORD_MS, "ms")
    yield Check("interruption p95", percentile(delays.interruptions, 95), MOST_INTERRUPTION_MS, "ms")
