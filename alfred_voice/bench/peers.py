"""``alfred-voice bench peers``: other people's packages for the same work, on the same audio, in the same minutes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alfred_voice import recognisers, workshop
from alfred_voice.audio.pcm import FRAME_SAMPLES, to_float
from alfred_voice.bench.daemon import daemon_arguments, running_daemon
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.level import Level, run_level
from alfred_voice.bench.load import Crowd, run_event_loop
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.peer_environment import PeerEnvironment, PeerFailed, peer_environment
from alfred_voice.bench.peer_results import (
    TRANSCRIBERS,
    Found,
    PeerResults,
    checks_of,
    stt_table,
    turn_table,
    vad_table,
)
from alfred_voice.bench.recordings import Recording, load_recordings, word_errors
from alfred_voice.bench.replay import Replay, Replayed
from alfred_voice.bench.report import Report
from alfred_voice.bench.script import Mix, ScriptOptions
from alfred_voice.bench.stopwatch import Stopwatch, percentile
from alfred_voice.config import Config
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES, Float32, Int16, SttEngine, TurnEngine, VadEngine
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.requests import Urgency


HELP = (
    "Installs other packages into an environment of their own (by pip, from where its settings say) and measures each "
    "of them beside this one, in turns: pipecat's voice activity analyser and turn analyser, the wrapper of Silero's "
    "makers, and the streaming transcriber of Moonshine's makers with the weights that the daemon uses. What cannot be "
    "installed is left out and named. Silero's wrapper needs torch, of which pip takes a build of several gigabytes "
    "where it is not told of an index with builds for CPUs (PIP_EXTRA_INDEX_URL)."
)

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "pipecat_vad": ("pipecat-ai==1.14.0",),
    "pipecat_turn": ("pipecat-ai==1.14.0",),
    "silero_vad": ("torch==2.13.0", "silero-vad==6.2.3"),
    "moonshine": ("moonshine-voice==0.0.55",),
    "moonshine_text": ("moonshine-voice==0.0.55",),
}
"""Probe -> what it needs; versions whose weights are those of the daemon's default models."""
_STREAMS = 16
_LISTENERS = 100
_LISTEN_S = 10.0
_TURN_S = 8
_PAUSE_S = 2.5
_INTERVAL_MS = 200

Measure = Callable[[], Found]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument(
        "--environment", type=Path, metavar="FOLDER", help="keep the environment there and use it again"
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="rounds, of which medians count (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=90.0, metavar="S", help="most speech that is transcribed in a round"
    )


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure all that can be installed."""
    if args.runs < 1:
        raise BenchmarkFailed(f"--runs: expected at least one round, got {args.runs}")
    with tempfile.TemporaryDirectory(prefix="alfred-voice-bench-") as folder:
        ours = _Ours.made(args, config, Path(folder))
        results = PeerResults()
        with peer_environment(args.environment) as environment:
            names = [name for name in PACKAGES if _is_installed(environment, name, results)]
            if not names:
                raise BenchmarkFailed("none of the packages could be installed: " + "; ".join(results.missing.values()))
            for number in range(args.runs):
                _tell(f"round {number + 1} of {args.runs}")
                _round(names, ours, environment, results)
    wrong = {name: ours.wrong_words(results.found[name][-1]["texts"]) for name in TRANSCRIBERS if name in results.found}
    setting = (
        f"{ours.audio_s:.0f} s of audio with pauses of {_PAUSE_S:g} s, an update every {_INTERVAL_MS} ms, the same "
        f"weights. Memory: of their process; of our daemon with all models and {_LISTENERS} listeners."
    )
    tables = (
        vad_table(results, _STREAMS, _LISTENERS),
        turn_table(results),
        stt_table(results, ours.audio_s, wrong, setting),
    )
    return Report("peers", args.command_line, describe_machine(), tables, (), tuple(checks_of(results, wrong)))


def _is_installed(environment: PeerEnvironment, name: str, results: PeerResults) -> bool:
    _tell(f"installing {' '.join(PACKAGES[name])}")
    try:
        environment.install(PACKAGES[name])
    except PeerFailed as error:
        results.missing[name] = str(error)
        _tell(f"left out: {error}")
        return False
    return True


def _round(names: Sequence[str], ours: _Ours, environment: PeerEnvironment, results: PeerResults) -> None:
    """Each peer right before what it is compared with, so that a slow minute of the machine falls on both."""
    own: Mapping[str, Measure] = {
        "pipecat_vad": ours.daemon,
        "silero_vad": ours.vad,
        "pipecat_turn": ours.turn,
        "moonshine": ours.stt,
    }
    for name in PACKAGES:
        if name in names:
            try:
                results.add(name, environment.probe(name, ours.job(name)))
            except PeerFailed as error:
                results.missing[name] = str(error)
                _tell(f"left out: {error}")
        if name in own:
            results.add(f"our {name}", own[name]())


def _tell(what: str) -> None:
    sys.stderr.write(f"{what} ...\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class _Ours:
    """The same work by this package."""

    config: Config
    arguments: Sequence[str]
    """Of the daemon."""
    recordings: tuple[Recording, ...]
    files: tuple[Path, ...]
    """The recordings, each with a pause behind it, as the probes read them."""

    @classmethod
    def made(cls, args: argparse.Namespace, config: Config, folder: Path) -> _Ours:
        """With the recordings written down for the probes."""
        config = replace(
            config,
            pipeline=replace(config.pipeline, engine_threads=1),
            stt=replace(config.stt, partial_interval_ms=_INTERVAL_MS),
        )
        recordings: list[Recording] = []
        seconds = 0.0
        for recording in load_recordings(workshop.open_store(config), args.audio):
            if recording.text and (not recordings or seconds + recording.seconds <= args.seconds):
                recordings.append(recording)
                seconds += recording.seconds
        if not recordings:
            raise BenchmarkFailed("expected a recording in which somebody speaks and whose text is known, got none")
        files = []
        for number, recording in enumerate(recordings):
            files.append(folder / f"{number}.s16")
            _with_pause(recording).tofile(files[-1])
        return cls(config, daemon_arguments(args), tuple(recordings), tuple(files))

    @property
    def audio_s(self) -> float:
        """All recordings with their pauses."""
        return sum(recording.seconds + _PAUSE_S for recording in self.recordings)

    def job(self, name: str) -> dict[str, Any]:
        """What a probe is to do: of the cheap things the first recording, which is enough."""
        files = self.files if name in TRANSCRIBERS else self.files[:1]
        audio = [str(file) for file in files]
        return {"audio": audio, "streams": _STREAMS, "runs": 5, "interval_s": _INTERVAL_MS / 1000}

    def vad(self) -> Found:
        """The detector by itself, one session in a call and 64 of them: CPU for 20 ms of each."""
        engine, watch = workshop.build_vad(self.config, workshop.open_store(self.config)), Stopwatch()
        samples = to_float(_with_pause(self.recordings[0]))
        windows = samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)
        found = {}
        for batch in (1, 64):
            states = engine.new_states(batch)
            batches = [np.repeat(window[None], batch, axis=0) for window in windows[: max(20, 640 // batch)]]
            effort = watch.median(partial(_step_through, engine, states, batches), 5)
            found[f"us_{batch}"] = effort.cpu_s * 1e6 / len(batches) / batch * FRAME_SAMPLES / WINDOW_SAMPLES
        return found

    def daemon(self) -> Found:
        """The daemon with its network, everything included, while many listen: CPU and memory of its process."""
        level = run_event_loop(self._listen())
        return {"us_per_frame": level.us_per_frame, "kb_per_stream": level.kb_per_session, "rss_mb": level.peak_mb}

    async def _listen(self) -> Level:
        overrides = [f"sessions.max_concurrent={_LISTENERS + 16}"]
        async with running_daemon(overrides, arguments=self.arguments) as daemon:
            crowd = Crowd(_LISTENERS, 1, 0, 2.0)
            return await run_level(daemon, crowd, ScriptOptions(Mix.LISTEN, round(_LISTEN_S / FRAME_S), 1.0, False))

    def turn(self) -> Found:
        """One judgement of 8 s on one thread."""
        engine = workshop.build_turn(self.config, workshop.open_store(self.config))
        samples = to_float(np.resize(_with_pause(self.recordings[0]), _TURN_S * SAMPLE_RATE))
        effort = Stopwatch().median(partial(engine.judge, [samples]), 5)
        return {"wall_ms": effort.wall_s * 1000, "cpu_ms": effort.cpu_s * 1000}

    def stt(self) -> Found:
        """A session for each recording: all that it asks for, as in the daemon, on this one process."""
        config, store = self.config, workshop.open_store(self.config)
        engines = (
            workshop.build_vad(config, store),
            recognisers.build_stt(config, store),
            workshop.build_turn(config, store),
        )
        options = SessionOptions(config.vad, config.stt, config.turn, config.interruption)
        self._replay(engines, options, self.recordings[0].samples[: 2 * SAMPLE_RATE])
        texts, cpu_s, judging_cpu_s = [], 0.0, 0.0
        waits: list[float] = []
        for recording in self.recordings:
            watch = Stopwatch()
            replayed, effort = watch.time(partial(self._replay, engines, options, _with_pause(recording)))
            cpu_s += effort.cpu_s
            judging_cpu_s += replayed.judging_cpu_s
            waits += [call.effort.wall_s * 1000 for call in replayed.calls if call.urgency is Urgency.PARTIAL]
            texts.append(" ".join(final.text for final in replayed.speakers[0].finals))
        return {
            "cpu_s": cpu_s - judging_cpu_s,
            "all_cpu_s": cpu_s,
            "texts": texts,
            "partial_p95_ms": percentile(waits, 95),
        }

    def _replay(
        self, engines: tuple[VadEngine, SttEngine, TurnEngine], options: SessionOptions, samples: Int16
    ) -> Replayed:
        replay = Replay(*engines, options, self.config.pipeline.stt_max_batch, Stopwatch())
        replay.add(samples)
        return replay.run()

    def wrong_words(self, texts: Sequence[str]) -> tuple[int, int]:
        """Wrong words of all recordings, and how many words there are."""
        counts = [
            word_errors(recording.text or "", text) for recording, text in zip(self.recordings, texts, strict=True)
        ]
        return sum(errors for errors, _ in counts), sum(words for _, words in counts)


def _with_pause(recording: Recording) -> Int16:
    return np.concatenate([recording.samples, np.zeros(round(_PAUSE_S * SAMPLE_RATE), np.int16)])


def _step_through(engine: VadEngine, states: Any, batches: Sequence[Float32]) -> None:
    for windows in batches:
        engine.step(states, range(len(windows)), windows)
