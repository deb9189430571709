"""Which recognisers the configuration asks for, and how they are put together; part of the composition root."""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)

E = TypeVar("E")

WHISPER_MODEL = "whisper-base"
"""Where whisper is asked for, and no size."""
MOONSHINE, WHISPER, OPENAI, SCRIPTED = "moonshine", "whisper", "openai", "scripted"
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
    """A recogniser: the configured one, or the one that is named."""
    engines: dict[str, Callable[[], SttEngine]] = {
        MOONSHINE: partial(_moonshine_first, config, store),
        WHISPER: partial(_tiered_whisper, config, store),
        OPENAI: partial(_openai, config),
        SCRIPTED: _scripted,
    }
    return chosen(key, engine or config.stt.engine, engines)


def build_more_stt(config: Config, store: Store) -> dict[str, SttEngine]:
    """The recognisers that a client may ask for beside the configured one."""
    return {
        name: build_stt(config, store, name, "stt.more_engines")
        for name in dict.fromkeys(more_names(config))
        if name != config.stt.engine
    }


def _moonshine_first(config: Config, store: Store) -> SttEngine:
    """Moonshine for everything; or for finals, where another model is named for partials."""
    named = config.stt.final_model
    if config.stt.engine == MOONSHINE and named not in (None, MOONSHINE):
        raise ConfigError(f"stt.final_model: {named} goes with stt.engine whisper; moonshine has one model")
    return _moonshine(config, store)


def _moonshine(config: Config, store: Store) -> SttEngine:
    from alfred_voice.models.moonshine import Moonshine

    folder = store.path("moonshine-tiny-en", "encoder_model.ort").parent
    return Moonshine(folder, threads=engine_threads(config))


def _scripted() -> SttEngine:
    from alfred_voice.models.scripted import ScriptedStt

    return ScriptedStt()


def _openai(config: Config) -> SttEngine:
    from alfred_voice.models.openai_stt import OpenAiStt

    return OpenAiStt(config.openai, SystemClock())


def check_window(config: Config) -> None:
    """Raise :exc:`ConfigError` when utterances may grow longer than the configured recogniser hears."""
    if config.stt.max_window_ms > _LONGEST_WHISPER_MS:
        raise ConfigError(
            f"stt.max_window_ms: Whisper hears at most 30 s at once, expected at most {_LONGEST_WHISPER_MS}, "
            f"got {config.stt.max_window_ms}"
        )


def uses_whisper(config: Config) -> bool:
    """Whether the configured recogniser, or a further one, is Whisper."""
    return WHISPER in (config.stt.engine, *more_names(config))


def more_names(config: Config) -> list[str]:
    """The names of the recognisers that a client may ask for beside the configured one."""
    return [name for word in config.stt.more_engines.split(",") if (name := word.strip())]


def _tiered_whisper(config: Config, store: Store) -> SttEngine:
    """Whisper for finals, and the same or a quicker model for partials."""
    from alfred_voice.models.devices import Kind, choose_device
    from alfred_voice.models.tiers import Tier, TieredStt

    check_window(config)
    device, warning = choose_device(config.whisper.device, devices_here())
    if warning:
        log.warning("device_missing", extra={"setting": "whisper.device", "reason": warning})
    finals = config.stt.final_model or WHISPER_MODEL
    partials = config.stt.partial_model or finals
    names = list(dict.fromkeys([finals, partials]))
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
