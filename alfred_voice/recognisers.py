"""Which recognisers the configuration asks for, and how they are put together; part of the composition root."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from alfred_voice.clock import SystemClock
from alfred_voice.config import Config
from alfred_voice.errors import ConfigError, ModelMissing
from alfred_voice.models.engine import SttEngine
from alfred_voice.models.store import Store


if TYPE_CHECKING:
    from alfred_voice.models.devices import Device

E = TypeVar("E")

WHISPER_MODEL = "whisper-base"
"""Where whisper is asked for, and no size."""
MOONSHINE_MODEL = "moonshine-tiny-en"
MOONSHINE, WHISPER, OPENAI, SCRIPTED = "moonshine", "whisper", "openai", "scripted"
ENGINES = (MOONSHINE, WHISPER, OPENAI, SCRIPTED)
_LONGEST_WHISPER_MS = 28_000
"""Of a clip; Whisper hears 30 s at once, and a clip may have its tail beyond the configured length."""


def engine_threads(config: Config) -> int:
    """Threads inside one engine: as configured, or one for every two cores, at most four.

    Three lanes compute side by side, so that on a small machine more threads would only wait for each other.
    """
    return config.pipeline.engine_threads or max(1, min(4, (os.cpu_count() or 1) // 2))


def chosen(key: str, name: str, engines: dict[str, Callable[[], E]]) -> E:
    """The engine of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in engines:
        raise ConfigError(f"{key}: expected one of {', '.join(engines)}, got {name!r}")
    return engines[name]()


def build_stt(config: Config, store: Store, engine: str | None = None, key: str = "stt.engine") -> SttEngine:
    """A recogniser: the configured one, or the one that is named.

    Raises:
        ConfigError: as :func:`check_stt`.
        ModelError: its model is missing or unusable.
    """
    check_stt(config)
    engines: dict[str, Callable[[], SttEngine]] = {
        MOONSHINE: partial(_moonshine, config, store),
        WHISPER: partial(_tiered_whisper, config, store),
        OPENAI: partial(_openai, config),
        SCRIPTED: _scripted,
    }
    return chosen(key, engine or config.stt.engine, engines)


def build_more_stt(config: Config, store: Store) -> dict[str, SttEngine]:
    """The recognisers that a client may ask for beside the configured one."""
    return {
        name: build_stt(config, store, name, "stt.more_engines")
        for name in dict.fromkeys(more_engines(config))
        if name != config.stt.engine
    }


def more_engines(config: Config) -> list[str]:
    """The recognisers that are asked for beside the configured one, by name."""
    names = [name.strip() for name in config.stt.more_engines.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def check_stt(config: Config) -> None:
    """What can be told without loading a model.

    Raises:
        ConfigError: a recogniser that does not exist, or settings of one that do not go together.
    """
    stt, more = config.stt, more_engines(config)
    for key, names in (("stt.engine", [stt.engine]), ("stt.more_engines", more)):
        unknown = next((name for name in names if name not in ENGINES), None)
        if unknown is not None:
            raise ConfigError(f"{key}: expected one of {', '.join(ENGINES)}, got {unknown!r}")
    if WHISPER not in (stt.engine, *more):
        for key, model in (("stt.final_model", stt.final_model), ("stt.partial_model", stt.partial_model)):
            if model not in (None, stt.engine):
                raise ConfigError(
                    f"{key}: {model} goes with whisper, which is neither stt.engine nor among stt.more_engines"
                )
    elif stt.max_window_ms > _LONGEST_WHISPER_MS:
        raise ConfigError(
            f"stt.max_window_ms: Whisper hears at most 30 s at once, expected at most {_LONGEST_WHISPER_MS}, "
            f"got {stt.max_window_ms}"
        )


def device_warning(config: Config) -> str:
    """Why Whisper does not compute on the device that is configured, in a sentence; empty where it does."""
    from alfred_voice.models.devices import AUTO, CPU, choose_device

    if config.whisper.device in (AUTO, CPU) or WHISPER not in (config.stt.engine, *more_engines(config)):
        return ""
    return choose_device(config.whisper.device, devices_here())[1]


def origin_of(config: Config, store: Store) -> tuple[object, ...]:
    """What a recogniser's texts depend on beside the audio and the room ``stt``: its settings, its models' hashes.

    Raises:
        ModelError: a model is missing.
    """
    match config.stt.engine:
        case "whisper":
            return (config.whisper, *(_whisper_origin(store, name) for name in _whisper_names(config)))
        case "openai":
            return (config.openai.base_url, config.openai.model)
        case _:
            return (_moonshine_origin(store),)


def _whisper_origin(store: Store, name: str) -> object:
    """The hashes of the files that were made of a checkpoint."""
    from alfred_voice.models.whisper_catalog import ALIASES, PREFIX
    from alfred_voice.models.whisper_files import find_whisper

    if name == MOONSHINE:
        return _moonshine_origin(store)
    own = name.removeprefix(PREFIX)
    return name, sorted(find_whisper(store.root, ALIASES.get(own, own)).files.items())


def _moonshine_origin(store: Store) -> object:
    """Its files may not differ from the catalogue's."""
    return [(file.name, file.sha256) for file in store.catalogue.model(MOONSHINE_MODEL).files]


def _whisper_names(config: Config) -> list[str]:
    """The model for finals, then the one for partials if it is another."""
    finals = config.stt.final_model or WHISPER_MODEL
    return list(dict.fromkeys([finals, config.stt.partial_model or finals]))


def _moonshine(config: Config, store: Store) -> SttEngine:
    from alfred_voice.models.moonshine import Moonshine

    folder = store.path(MOONSHINE_MODEL, "encoder_model.ort").parent
    return Moonshine(folder, threads=engine_threads(config))


def _scripted() -> SttEngine:
    from alfred_voice.models.scripted import ScriptedStt

    return ScriptedStt()


def _openai(config: Config) -> SttEngine:
    from alfred_voice.models.openai_stt import OpenAiStt

    return OpenAiStt(config.openai, SystemClock())


def _tiered_whisper(config: Config, store: Store) -> SttEngine:
    """Whisper for finals, and the same or a quicker model for partials."""
    from alfred_voice.models.devices import Kind, choose_device
    from alfred_voice.models.tiers import Tier, TieredStt

    device, _ = choose_device(config.whisper.device, devices_here())
    names = _whisper_names(config)
    finals, partials = names[0], names[-1]
    build = partial(_whisper, config, store)
    tiers = [Tier(name, _moonshine(config, store) if name == MOONSHINE else build(name, device.id)) for name in names]
    spare = None if device.kind is Kind.CPU else partial(build, partials if partials != MOONSHINE else finals, "cpu")
    if len(tiers) == 1 and spare is None:
        return tiers[0].engine
    return TieredStt(tiers, spare)


def _whisper(config: Config, store: Store, name: str, device_id: str) -> SttEngine:
    """One size of Whisper on one device."""
    from alfred_voice.models.devices import choose_device
    from alfred_voice.models.whisper_loading import load_whisper

    device, _ = choose_device(device_id, devices_here())
    try:
        return load_whisper(store.root, name, device, config.whisper, engine_threads(config))
    except ModelMissing as error:
        raise ModelMissing(f"{error} Or name a model that is here with stt.final_model.") from error


def devices_here() -> list[Device]:
    """What this machine can compute on."""
    import psutil

    from alfred_voice.models.devices import ask_nvidia, find_devices
    from alfred_voice.models.onnx import available_providers, openvino_devices

    memory = psutil.virtual_memory()
    megabyte = 1_000_000
    return find_devices(
        available_providers(), openvino_devices(), ask_nvidia, memory.available // megabyte, memory.total // megabyte
    )
