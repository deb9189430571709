"""``alfred-voice check``: whether this installation hears, understands and speaks."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import psutil

import alfred_voice
from alfred_voice.audio.pcm import to_float
from alfred_voice.audio.resample import Resampler
from alfred_voice.clock import Clock, SystemClock
from alfred_voice.errors import AlfredVoiceError, ModelCorrupt, SpeechError
from alfred_voice.files.transcriber import Recording, Transcriber
from alfred_voice.models.engine import SAMPLE_RATE, Int16, SttEngine, TtsEngine, TurnEngine, VadEngine
from alfred_voice.models.store import FileState, Store


if TYPE_CHECKING:
    from alfred_voice.config import Config

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

Thing = TypeVar("Thing")

EXIT_OK, EXIT_FAILED = 0, 1

# Spoken by this voice, a dozen times over, the recogniser got every word of the sentence, and the turn model gave
# it 0.97 or more and the beginning of one 0.01 or less (measured). Many other sentences come out worse: the voice is a
# robot's.
SENTENCE = "The children are playing in the garden."
BEGINNING = "What I wanted to say is that, um"
MAX_WORD_ERROR_RATE = 0.3
VOICE = "en-us+f3"

_LEAD_S, _PAUSE_S, _REST_S = 0.3, 0.2, 1.0
"""Silence before the speech, after it when the turn model is asked, and after it altogether."""
_QUIET = 100
"""Samples below that, of 32768, are silence in synthesised speech."""
_RUNTIMES = ("onnxruntime-openvino", "onnxruntime")
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the report."""

    step: str
    result: Literal["ok", "FAILED", "skipped"]
    ms: float
    detail: str


@dataclass(frozen=True, slots=True)
class Builders:
    """How each engine is had."""

    tts: Callable[[], TtsEngine]
    vad: Callable[[], VadEngine]
    stt: Callable[[], SttEngine]
    turn: Callable[[], TurnEngine]


class Unmet(AlfredVoiceError):
    """A step ran and did not give what it should; the message says what came."""

    code = "check_failed"


class Unready(AlfredVoiceError):
    """A step cannot run, because one before it failed."""

    code = "check_skipped"


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to ``alfred-voice``."""
    parser = subparsers.add_parser(
        "check",
        help="test the installation: models, speech, recognition, turns",
        description="Verify the models, synthesise a sentence, find the speech in it, recognise it and judge its turn.",
        epilog="example: alfred-voice check --json\nExit codes: 0 all well, 1 a step failed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when every step went well, else 1."""
    from alfred_voice import recognisers, workshop  # loads NumPy, which the parser can do without

    config = args.loaded.config
    store = workshop.open_store(config)
    engines = Builders(
        tts=partial(workshop.build_tts, config),
        vad=partial(workshop.build_vad, config, store),
        stt=partial(recognisers.build_stt, config, store),
        turn=partial(workshop.build_turn, config, store),
    )
    steps = SelfTest(config, store, engines, SystemClock()).run()
    is_ok = all(step.result == "ok" for step in steps)
    system = describe_system()
    if args.json:
        print(json.dumps({"ok": is_ok, "steps": [asdict(step) for step in steps], "system": system}, indent=2))
    else:
        _print_report(steps, system)
    return EXIT_OK if is_ok else EXIT_FAILED


class SelfTest:
    """The steps, each of which goes on with what the one before has left."""

    def __init__(self, config: Config, store: Store, engines: Builders, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._engines = engines
        self._clock = clock
        self._tts: TtsEngine | None = None
        self._vad: VadEngine | None = None
        self._stt: SttEngine | None = None
        self._turn: TurnEngine | None = None
        self._sentence: Int16 | None = None
        self._transcriber: Transcriber | None = None
        self._recording: Recording | None = None

    def run(self) -> list[Step]:
        """All steps; a failed one ends none but those that need it."""
        models = self._store.catalogue.defaults()
        steps = [self._step(f"verify {model}", partial(self._verify, model)) for model in models]
        steps += [
            self._step("load tts", self._load_tts),
            self._step("load vad", self._load_vad),
            self._step("load stt", self._load_stt),
            self._step("load turn", self._load_turn),
            self._step("synthesise a sentence", self._synthesise),
            self._step("find the speech", self._find),
            self._step("recognise it", self._recognise),
            self._step("judge a whole turn", self._judge_sentence),
            self._step("judge half a turn", self._judge_beginning),
        ]
        return steps

    def _step(self, name: str, action: Callable[[], str]) -> Step:
        begun = self._clock.now()
        result: Literal["ok", "FAILED", "skipped"] = "ok"
        try:
            detail = action()
        except Unready as error:
            result, detail = "skipped", str(error)
        except AlfredVoiceError as error:
            result, detail = "FAILED", str(error)
        return Step(name, result, round(1000 * (self._clock.now() - begun), 1), detail)

    def _verify(self, model: str) -> str:
        report = self._store.verify(model)
        bad = [f"{found.file.name} is {found.state.value}" for found in report.files if found.state is not FileState.OK]
        if bad:
            raise ModelCorrupt(f"{', '.join(bad)}; mend it with: alfred-voice models pull {model}")
        return f"{len(report.files)} files, {report.model.size / _MB:.1f} MB"

    def _load_tts(self) -> str:
        tts = self._engines.tts()
        tts.check(self._config.tts.voice, self._config.tts.speed)
        self._tts = tts
        return f"{tts.name}: {len(tts.voices())} voices; the daemon's is {self._config.tts.voice}"

    def _load_vad(self) -> str:
        self._vad = self._engines.vad()
        return self._vad.name

    def _load_stt(self) -> str:
        self._stt = self._engines.stt()
        return self._stt.name

    def _load_turn(self) -> str:
        self._turn = self._engines.turn()
        return self._turn.name

    def _synthesise(self) -> str:
        tts = _made(self._tts, "tts is not loaded")
        voice = self._voice(tts)
        sentence = _spoken(tts, SENTENCE, voice)
        length_s = len(sentence) / SAMPLE_RATE
        if np.abs(sentence.astype(np.int32)).max(initial=0) < _QUIET:
            raise Unmet(f"{tts.name} made {length_s:.2f} s of silence")
        self._sentence = sentence
        return f"{tts.name}, voice {voice}: {length_s:.2f} s of speech"

    def _find(self) -> str:
        sentence = _made(self._sentence, "there is no speech")
        vad = _made(self._vad, "vad is not loaded")
        stt = _made(self._stt, "stt is not loaded")
        config = self._config
        self._transcriber = Transcriber(vad, stt, config.vad, config.stt, config.pipeline.stt_max_batch)
        recording = self._transcriber.listen([_between_silences(sentence, _REST_S)])
        found = self._transcriber.spans(recording)
        if len(found) != 1:
            raise Unmet(f"expected one stretch of speech, but {vad.name} found {len(found)}")
        self._recording = recording
        start, end = found[0]
        return f"{vad.name}: {start / SAMPLE_RATE:.2f} to {end / SAMPLE_RATE:.2f} s"

    def _recognise(self) -> str:
        recording = _made(self._recording, "no speech was found")
        transcriber = _made(self._transcriber, "no speech was found")
        heard = " ".join(segment.text for segment in transcriber.recognise(recording))
        rate = word_error_rate(SENTENCE, heard)
        detail = f"{self._config.stt.engine}: {heard!r}, word error rate {rate:.0%}"
        if rate > MAX_WORD_ERROR_RATE:
            raise Unmet(f"{detail}; expected {SENTENCE!r}")
        return detail

    def _judge_sentence(self) -> str:
        sentence = _made(self._sentence, "there is no speech")
        turn = _made(self._turn, "turn is not loaded")
        return self._judge(turn, sentence, is_complete=True)

    def _judge_beginning(self) -> str:
        turn = _made(self._turn, "turn is not loaded")
        tts = _made(self._tts, "tts is not loaded")
        return self._judge(turn, _spoken(tts, BEGINNING, self._voice(tts)), is_complete=False)

    def _judge(self, turn: TurnEngine, speech: Int16, *, is_complete: bool) -> str:
        heard = _between_silences(speech, _PAUSE_S)
        probability = turn.judge([to_float(heard)])[0].probability
        detail = f"{turn.name}: complete with a probability of {probability:.2f}"
        if (probability >= self._config.turn.threshold) is not is_complete:
            side = "at least" if is_complete else "below"
            raise Unmet(f"{detail}; expected {side} {self._config.turn.threshold}")
        return detail

    def _voice(self, tts: TtsEngine) -> str:
        """The one that is known to be understood, or else the configured one."""
        try:
            tts.check(VOICE, 1.0)
        except SpeechError:
            return self._config.tts.voice
        return VOICE


def describe_system() -> dict[str, str]:
    """Versions, cores and memory."""
    memory = psutil.virtual_memory()
    runtimes = [f"{name} {version}" for name in _RUNTIMES if (version := _version(name))]
    return {
        "alfred-voice": alfred_voice.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "runtime": ", ".join(runtimes) or "none",
        "numpy": np.__version__,
        "cores": f"{_usable_cores()} of {os.cpu_count()}",
        "memory": f"{memory.available / _MB:.0f} of {memory.total / _MB:.0f} MB free",
        "resident": f"{psutil.Process().memory_info().rss / _MB:.0f} MB",
    }


def word_error_rate(expected: str, heard: str) -> float:
    """Words that would have to be changed, dropped or put in, for each word expected; case and punctuation aside."""
    wanted, got = _words(expected), _words(heard)
    distances = list(range(len(got) + 1))  # from the words wanted so far to each beginning of those we got
    for row, word in enumerate(wanted, start=1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(got, start=1):
            cost = min(distances[column] + 1, distances[column - 1] + 1, diagonal + (word != other))
            diagonal, distances[column] = distances[column], cost
    return distances[-1] / max(len(wanted), 1)


def _words(text: str) -> list[str]:
    kept = "".join(char if char.isalnum() or char == "'" else " " for char in text.lower())
    return kept.split()


def _spoken(tts: TtsEngine, text: str, voice: str) -> Int16:
    """The text as speech: int16, shape (n,), 16 kHz, without the silence at its end."""
    pieces: list[Int16] = [np.zeros(0, np.int16)]

    def keep(piece: Int16) -> bool:
        pieces.append(piece)
        return True

    tts.synthesise(text, voice, 1.0, keep)
    samples = Resampler(tts.sample_rate, SAMPLE_RATE).feed(np.concatenate(pieces), last=True)
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= _QUIET)
    return samples[: loud[-1] + 1] if len(loud) else samples


def _between_silences(speech: Int16, after_s: float) -> Int16:
    lead, rest = (np.zeros(round(seconds * SAMPLE_RATE), np.int16) for seconds in (_LEAD_S, after_s))
    return np.concatenate((lead, speech, rest))


def _made(thing: Thing | None, reason: str) -> Thing:
    """What an earlier step should have made."""
    if thing is None:
        raise Unready(reason)
    return thing


def _usable_cores() -> int:
    """Those that this process may run on, which a container may make fewer than there are."""
    return len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _print_report(steps: Sequence[Step], system: dict[str, str]) -> None:
    rows = [("STEP", "RESULT", "TIME", "DETAIL")]
    rows += [(step.step, step.result, f"{step.ms:.0f} ms", step.detail) for step in steps]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, result, time, detail in rows:
        print(f"{name:{widths[0]}}  {result:{widths[1]}}  {time:>{widths[2]}}  {detail}")
    print()
    width = max(map(len, system))
    for name, value in system.items():
        print(f"{name:{width}}  {value}")
    bad = sum(step.result != "ok" for step in steps)
    print(f"\n{f'{bad} of {len(steps)} steps did not go well.' if bad else 'All is well.'}")
