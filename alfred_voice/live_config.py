"""The configuration while the daemon runs: what holds, what is asked for in its place, and what comes of it.

Everything is checked before anything is applied. Engines are loaded aside, and the settings that came with them hold
when they are there: a change is made as a whole or not at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from alfred_voice import config
from alfred_voice.clock import Clock
from alfred_voice.config import Config, Loaded
from alfred_voice.errors import AlfredVoiceError, ConfigError, RestartNeeded, SpeechError, StillLoading, SwapRunning
from alfred_voice.live_keys import Reach, reach_of
from alfred_voice.models.engine import STT_LANE_PREFIX
from alfred_voice.pipeline.engine_call import close_aside
from alfred_voice.pipeline.swap import load_aside
from alfred_voice.recognisers import SCRIPTED, WHISPER, check_stt


log = logging.getLogger(__name__)

ORIGIN = "PATCH /config"
"""Of a value that was changed over HTTP."""


class Daemon(Protocol):
    """What the settings are applied to."""

    @property
    def is_ready(self) -> bool:
        """Whether the engines are there."""
        ...

    def apply(self, tree: Config) -> None:
        """Go by these settings from now on; each takes what it can take while it runs."""
        ...

    def check_voice(self, voice: str, speed: float) -> None:
        """Raise :exc:`SpeechError` when this voice or speed cannot be had."""
        ...

    def language_warning(self, language: str) -> str:
        """What becomes of a ``stt.language`` that the recogniser does not know; empty where it does."""
        ...

    def check_recording(self, tree: Config) -> None:
        """Raise :exc:`ConfigError` when sessions could not be recorded as ``tree`` says."""
        ...

    def builders(self, tree: Config) -> Mapping[str, Callable[[], Any]]:
        """What makes each engine, by its lane."""
        ...

    def replace_engine(self, lane: str, engine: Any, build: Callable[[], Any]) -> None:
        """Put another engine behind a lane."""
        ...


@dataclass(frozen=True, slots=True)
class SwapState:
    """How the newest change of engines stands."""

    state: str
    """``loading``, ``done`` or ``failed``."""
    lanes: tuple[str, ...]
    since: float
    """Clock seconds: when it began."""
    seconds: float | None = None
    """How long it took; None while it loads."""
    error: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Values to be had in place of others, and where each comes from."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def over(self, loaded: Loaded) -> Loaded:
        """The configuration with these values; :exc:`ConfigError` where they do not go together with the rest."""
        wanted = config.changed(loaded, self.values, "changed")
        return Loaded(wanted.config, {**wanted.origins, **self.origins})


class LiveConfig:
    """The settings in force, and the one place where they change. Lives on the event loop.

    Args:
        loaded: what the daemon was started with.
        reread: reads files and environment again; called in a thread.
        daemon: what goes by the settings.
        clock: says how long loading takes.
    """

    def __init__(self, loaded: Loaded, reread: Callable[[], Loaded], daemon: Daemon, clock: Clock) -> None:
        self._loaded = loaded
        self._reread = reread
        self._daemon = daemon
        self._clock = clock
        self._keys = {key.path: key for key in config.reference()}
        self._paths = tuple(self._keys)
        self._swap: asyncio.Task[None] | None = None
        self._state: SwapState | None = None
        self.version = 0
        """Counts the changes; who shows the settings reads them again when it is another one."""

    def describe(self) -> dict[str, Any]:
        """The body of ``GET /config``; a secret that is set is not shown."""
        keys = {
            path: {
                "value": self._keys[path].presentable(self._loaded.value(path)),
                "origin": self._loaded.origins[path],
                "applies_to": reach_of(path).value,
            }
            for path in self._paths
        }
        return {"keys": keys, "version": self.version, "swap": self._describe_swap()}

    def _describe_swap(self) -> dict[str, Any] | None:
        state = self._state
        if state is None:
            return None
        took_s = self._clock.now() - state.since if state.seconds is None else state.seconds
        told = {"state": state.state, "lanes": list(state.lanes), "seconds": round(took_s, 1)}
        return {**told, "error": state.error} if state.error else told

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Apply what is asked for, or begin to load the models that it needs; the body of the answer.

        Args:
            changes: ``room.key``, or a room with its keys, and the values.

        Raises:
            ConfigError: naming every setting that is wrong.
            RestartNeeded: naming those that cannot change now; nothing is applied.
            SwapRunning: a model is being loaded, and this needs another one.
        """
        wanted = config.changed(self._loaded, changes, ORIGIN)
        differing = self._differing(wanted)
        if fixed := [path for path in differing if reach_of(path) is Reach.RESTART]:
            raise RestartNeeded(f"{', '.join(fixed)}: cannot change while the daemon runs; nothing was changed")
        lanes = self._check(wanted, differing)
        answer: dict[str, Any] = {"changes": {path: self._told(path, wanted) for path in differing}}
        if lanes:
            values = {path: wanted.value(path) for path in differing}
            self._begin_swap(lanes, wanted.config, Wish(values, dict.fromkeys(values, ORIGIN)))
            return {**answer, "state": "loading", "lanes": list(lanes)}
        language = wanted.config.stt.language
        if "stt.language" in differing and (warning := self._daemon.language_warning(language)):
            answer["warnings"] = [f"stt.language: {warning}"]
        self._settle(wanted)
        return {**answer, "state": "done"}

    async def reload(self) -> None:
        """Read files and environment again, and apply what has changed and can; the rest is logged.

        Values that were changed over HTTP go back to what stands in the files. What cannot be read changes nothing.
        """
        try:
            read = await asyncio.to_thread(self._reread)
            differing = self._differing(read)
            fixed = [path for path in differing if reach_of(path) is Reach.RESTART]
            values = {path: read.value(path) for path in differing if path not in fixed}
            wish = Wish(values, {path: origin for path, origin in read.origins.items() if path not in fixed})
            wanted = wish.over(self._loaded)
            lanes = self._check(wanted, list(values))
            if lanes:
                self._begin_swap(lanes, wanted.config, wish)
        except AlfredVoiceError as error:
            log.error("config_not_reloaded", extra={"reason": str(error)})
            return
        if fixed:
            log.warning("restart_needed", extra={"keys": fixed})
        if not lanes:
            self._settle(wanted)
        log.info("config_reloaded", extra={"changed": len(values), "loading": list(lanes)})

    async def close(self) -> None:
        """Wait for no model any more."""
        if self._swap is not None:
            self._swap.cancel()
            await asyncio.wait((self._swap,))

    def _differing(self, wanted: Loaded) -> list[str]:
        return [path for path in self._paths if wanted.value(path) != self._loaded.value(path)]

    def _told(self, path: str, wanted: Loaded) -> dict[str, Any]:
        show = self._keys[path].presentable
        from_, to = show(self._loaded.value(path)), show(wanted.value(path))
        return {"from": from_, "to": to, "applies_to": reach_of(path).value}

    def _check(self, wanted: Loaded, differing: list[str]) -> tuple[str, ...]:
        """What one key alone cannot tell; returns the lanes that need another engine."""
        tree = wanted.config
        check_stt(tree)
        self._check_scripted(tree, differing)
        try:
            self._daemon.check_voice(tree.tts.voice, tree.tts.speed)
        except SpeechError as error:
            raise ConfigError(f"tts.voice, tts.speed: {error}") from error
        if "recording.enabled" in differing and tree.recording.enabled:
            self._daemon.check_recording(tree)
        lanes = lanes_to_swap(tree, differing, self._daemon.builders(tree))
        if lanes and self._swap is not None:
            raise SwapRunning("another model is being loaded; GET /config tells when it is done")
        if lanes and not self._daemon.is_ready:
            raise StillLoading("the models are being loaded", retry_after_s=2)
        return lanes

    def _check_scripted(self, tree: Config, differing: Sequence[str]) -> None:
        """What stands in for an engine in tests must not come into a daemon by a slip."""
        engines = ("vad.engine", "stt.engine", "turn.engine", "tts.engine")
        if any(self._loaded.value(path) == SCRIPTED for path in engines):
            return
        wanted = Loaded(tree, {})
        if meant := [path for path in engines if path in differing and wanted.value(path) == SCRIPTED]:
            raise ConfigError(f"{', '.join(meant)}: {SCRIPTED} is for tests; only a daemon started with it takes it")

    def _settle(self, wanted: Loaded) -> None:
        """Let it hold, and note what has changed."""
        differing = self._differing(wanted)
        before, self._loaded = self._loaded, wanted
        self.version += bool(differing)
        self._daemon.apply(wanted.config)
        for path in differing:
            show, origin = self._keys[path].presentable, wanted.origins[path]
            news = {"key": path, "old": show(before.value(path)), "new": show(wanted.value(path)), "origin": origin}
            log.info("setting_changed", extra=news)

    # Models

    def _begin_swap(self, lanes: tuple[str, ...], tree: Config, wish: Wish) -> None:
        self._state = SwapState("loading", lanes, self._clock.now())
        log.info("models_loading", extra={"lanes": list(lanes)})
        load = self._load(self._state, tree, wish)
        self._swap = asyncio.get_running_loop().create_task(load, name="model-swap")

    async def _load(self, state: SwapState, tree: Config, wish: Wish) -> None:
        engines: dict[str, Any] = {}
        try:
            builders = self._daemon.builders(tree)
            for lane in state.lanes:
                engines[lane] = await load_aside(lane, builders[lane])
            # Other settings may have changed meanwhile: these come on top of them.
            wanted = wish.over(self._loaded)
            for lane in state.lanes:
                self._daemon.replace_engine(lane, engines.pop(lane), builders[lane])
            self._settle(wanted)
        except AlfredVoiceError as error:
            self._end_swap(state, "failed", str(error))
            log.error("models_not_replaced", extra={"lanes": list(state.lanes), "reason": str(error)})
        except asyncio.CancelledError:
            self._end_swap(state, "failed", "the daemon stops")
            raise
        except Exception as error:
            self._end_swap(state, "failed", f"{type(error).__name__}: {error}")
            log.exception("models_not_replaced", extra={"lanes": list(state.lanes)})
        else:
            self._end_swap(state, "done")
        finally:
            for lane, engine in engines.items():
                close_aside(lane, engine)

    def _end_swap(self, state: SwapState, word: str, error: str = "") -> None:
        self._swap = None
        self._state = SwapState(word, state.lanes, state.since, self._clock.now() - state.since, error)


def lanes_to_swap(tree: Config, differing: Sequence[str], lanes: Iterable[str]) -> tuple[str, ...]:
    """The lanes, of those there are, whose engine is another one when these keys have changed to what ``tree`` says."""
    has_models = "stt.final_model" in differing or "stt.partial_model" in differing
    has_whisper = has_models or any(path.startswith("whisper.") for path in differing)
    found = []
    for lane in lanes:
        engine = tree.stt.engine if lane == "stt" else lane.removeprefix(STT_LANE_PREFIX)
        is_other = lane == "stt" and (has_models or "stt.engine" in differing)
        if is_other or (has_whisper and engine == WHISPER) or (lane == "turn" and "turn.engine" in differing):
            found.append(lane)
    return tuple(sorted(found))
