"""Where engines are made as the configuration says; with recognisers the only module that names concrete ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from alfred_voice.clock import SystemClock
from alfred_voice.config import Config, report
from alfred_voice.errors import ConfigError
from alfred_voice.models.engine import STT_LANE_PREFIX, Engines, TtsEngine, TurnEngine, VadEngine
from alfred_voice.models.store import Store, models_folder
from alfred_voice.recognisers import build_more_stt, build_stt, check_stt, chosen, device_warning


if TYPE_CHECKING:
    from alfred_voice.files.crew import Crew
    from alfred_voice.files.detect import RecordingVad
    from alfred_voice.models.post_processing import PostProcessor

log = logging.getLogger(__name__)

_ENGINES = {"vad": ("silero", "scripted"), "turn": ("smart_turn", "scripted"), "tts": ("espeak", "scripted")}
"""Those that there are; of recognisers :mod:`alfred_voice.recognisers` knows."""


def open_store(config: Config) -> Store:
    """The model store that the configuration names."""
    return Store(models_folder(config.models.cache_dir))


def build_vad(config: Config, store: Store) -> VadEngine:
    """The voice activity detector."""

    def silero() -> VadEngine:
        from alfred_voice.models.silero import SileroVad

        return SileroVad.load(store.path("silero-vad", "silero_vad_op18_ifless.onnx"))

    def scripted() -> VadEngine:
        from alfred_voice.models.scripted import ScriptedVad

        return ScriptedVad()

    return chosen("vad.engine", config.vad.engine, {"silero": silero, "scripted": scripted})


def build_crew(config: Config, store: Store, workers: int) -> Crew:
    """Recognisers for whole recordings, side by side; each computes in one thread.

    Args:
        config: which recogniser.
        store: its model's files.
        workers: how many there are.
    """
    from alfred_voice.files.crew import Crew

    alone = replace(config, pipeline=replace(config.pipeline, engine_threads=1))
    return Crew([build_stt(alone, store) for _ in range(workers)], SystemClock())


def open_processor(config: Config) -> PostProcessor | None:
    """What improves on finished transcripts; None where nothing is asked for."""
    if not config.post_processing.is_on:
        return None
    from alfred_voice.models.post_processing import PostProcessor

    return PostProcessor.open(config.post_processing, SystemClock())


def build_recording_vad(config: Config, store: Store) -> VadEngine | RecordingVad:
    """The detector for whole recordings: Silero in its quicker way, where that is configured."""
    if config.vad.engine != "silero":
        return build_vad(config, store)
    from alfred_voice.models.silero_run import RecordingSilero

    return RecordingSilero.load(store.path("silero-vad", "silero_vad_op18_ifless.onnx"))


def build_turn(config: Config, store: Store) -> TurnEngine:
    """The end-of-turn model."""

    def smart_turn() -> TurnEngine:
        from alfred_voice.models.smart_turn import SmartTurn

        # A speaker waits for its answer, and it computes but a moment in each pause: it may use a second core.
        threads = config.pipeline.engine_threads or min(2, os.cpu_count() or 1)
        return SmartTurn(store.path("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx"), threads=threads)

    def scripted() -> TurnEngine:
        from alfred_voice.models.scripted import ScriptedTurn

        return ScriptedTurn()

    return chosen("turn.engine", config.turn.engine, {"smart_turn": smart_turn, "scripted": scripted})


def build_tts(config: Config) -> TtsEngine:
    """The synthesiser."""

    def espeak() -> TtsEngine:
        from alfred_voice.models.espeak import EspeakTts

        return EspeakTts()

    def scripted() -> TtsEngine:
        from alfred_voice.models.scripted import ScriptedTts

        return ScriptedTts()

    return chosen("tts.engine", config.tts.engine, {"espeak": espeak, "scripted": scripted})


def check_engines(config: Config) -> None:
    """What can be told of the engines by their names.

    Raises:
        ConfigError: naming every engine that does not exist, or settings of one that do not go together.
    """
    problems = [
        f"{lane}.engine: expected one of {', '.join(names)}, got {name!r}"
        for lane, names in _ENGINES.items()
        if (name := getattr(config, lane).engine) not in names
    ]
    try:
        check_stt(config)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError(report(problems))


def build_engines(config: Config, store: Store) -> Engines:
    """All engines, loaded side by side.

    Raises:
        ModelError: a model is missing or unusable.
        ConfigError: an engine is named that does not exist.
    """
    from alfred_voice.pipeline.priority import give_way

    check_engines(config)
    if reason := device_warning(config):
        log.warning("device_missing", extra={"setting": "whisper.device", "reason": reason})
    # The threads that an engine makes for itself are like the one that builds it.
    with ThreadPoolExecutor(max_workers=5, thread_name_prefix="load", initializer=give_way) as pool:
        vad = pool.submit(build_vad, config, store)
        stt = pool.submit(build_stt, config, store)
        more_stt = pool.submit(build_more_stt, config, store)
        turn = pool.submit(build_turn, config, store)
        tts = pool.submit(build_tts, config)
        more = more_stt.result()
        builders = engine_builders(config, store, tuple(more))
        engines = Engines(vad.result(), stt.result(), turn.result(), tts.result(), more, builders)
    engines.tts.check(config.tts.voice, config.tts.speed)
    return engines


def engine_builders(config: Config, store: Store, more_stt: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """What makes each engine anew after it has failed, by its lane; ``more_stt`` are names of further recognisers."""
    more = {
        f"{STT_LANE_PREFIX}{name}": partial(build_stt, config, store, name, "stt.more_engines") for name in more_stt
    }
    return {
        "vad": partial(build_vad, config, store),
        "stt": partial(build_stt, config, store),
        "turn": partial(build_turn, config, store),
        "tts": partial(build_tts, config),
        **more,
    }
