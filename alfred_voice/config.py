"""The configuration: one frozen tree of options, and the layers that it is read from.

Later layers win: defaults, a preset, a YAML file, the environment (``ALFRED_STT__ENGINE=...``), then ``--set
stt.engine=...``. The options' own annotations say each key's type, range and meaning; nothing is written down twice.
A text is read by the type of its key, never by what YAML guesses: ``language: no`` is an error and not ``False``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from alfred_voice.config_file import Entry, Fault, entries_of, value_of
from alfred_voice.errors import ConfigError
from alfred_voice.keys import ENVIRONMENT_PREFIX, ROOM_SEPARATOR, Key, keys_of, shown
from alfred_voice.log import LogOptions
from alfred_voice.models.openai_options import OpenAiOptions
from alfred_voice.models.post_options import PostProcessingOptions
from alfred_voice.models.whisper_options import WhisperOptions
from alfred_voice.pipeline.options import (
    AlertOptions,
    BackpressureOptions,
    MemoryOptions,
    PipelineOptions,
    RecordingOptions,
    SessionsOptions,
    TtsOptions,
)
from alfred_voice.pipeline.tracing_options import TracingOptions
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.webrtc.options import WebRtcOptions
from alfred_voice.session.options import InterruptionOptions, SttOptions, TurnOptions, VadOptions


DEFAULT_ORIGIN = "default"


@dataclass(frozen=True, slots=True)
class ModelsOptions:
    """Where the model files are."""

    cache_dir: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="folder of the model files; null for ALFRED_MODELS, or else the user's cache folder"),
    ] = None


@dataclass(frozen=True, slots=True)
class Config:
    """Every option of the daemon, by room."""

    server: ServerOptions = field(default_factory=ServerOptions)
    security: SecurityOptions = field(default_factory=SecurityOptions)
    webrtc: WebRtcOptions = field(default_factory=WebRtcOptions)
    sessions: SessionsOptions = field(default_factory=SessionsOptions)
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    backpressure: BackpressureOptions = field(default_factory=BackpressureOptions)
    memory: MemoryOptions = field(default_factory=MemoryOptions)
    alerts: AlertOptions = field(default_factory=AlertOptions)
    vad: VadOptions = field(default_factory=VadOptions)
    stt: SttOptions = field(default_factory=SttOptions)
    turn: TurnOptions = field(default_factory=TurnOptions)
    tts: TtsOptions = field(default_factory=TtsOptions)
    interruption: InterruptionOptions = field(default_factory=InterruptionOptions)
    recording: RecordingOptions = field(default_factory=RecordingOptions)
    log: LogOptions = field(default_factory=LogOptions)
    tracing: TracingOptions = field(default_factory=TracingOptions)
    models: ModelsOptions = field(default_factory=ModelsOptions)
    whisper: WhisperOptions = field(default_factory=WhisperOptions)
    openai: OpenAiOptions = field(default_factory=OpenAiOptions)
    post_processing: PostProcessingOptions = field(default_factory=PostProcessingOptions)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and for every ``room.key`` the layer that its value came from."""

    config: Config
    origins: dict[str, str]

    def changed(self) -> list[str]:
        """The keys that some layer has set, in the order of the tree."""
        return [path for path, origin in self.origins.items() if origin != DEFAULT_ORIGIN]

    def value(self, path: str) -> Any:
        """The value of one ``room.key``."""
        room, _, name = path.partition(".")
        return getattr(getattr(self.config, room), name)


def reference() -> list[Key]:
    """Every key there is, in the order of the tree."""
    return keys_of(Config())


def room_titles() -> dict[str, str]:
    """What each room is about, from the first line of its options' docstring."""
    defaults = Config()
    return {room.name: (getattr(defaults, room.name).__doc__ or "").strip().splitlines()[0] for room in fields(Config)}


def presets() -> dict[str, str]:
    """The presets that come with the package, with the first line of each, which says what it is for."""
    texts = {file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in _preset_files()}
    return {name: texts[name].partition("\n")[0].lstrip("# ").strip() for name in sorted(texts)}


def load(
    *,
    preset: str | None = None,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    sets: Sequence[str] = (),
) -> Loaded:
    """The configuration that the layers give, each checked in full.

    Raises:
        ConfigError: naming every setting that is wrong, where it came from, what was expected and what came.
    """
    layers = _Layers()
    if preset is not None:
        layers.read_preset(preset)
    if file is not None:
        layers.read_file(file)
    layers.read_environment(environ or {})
    layers.read_sets(sets)
    return layers.settle()


def misnamed(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that is not read, but all but bears the name of a key."""
    meant = {key.variable.replace(ROOM_SEPARATOR, "_", 1): key.variable for key in reference()}
    return [
        f"the environment variable {name} is not read; did you mean {meant[name.upper()]}?"
        for name in sorted(environ)
        if name.upper() in meant
    ]


def changed(loaded: Loaded, changes: Mapping[str, Any], origin: str) -> Loaded:
    """The configuration with other values, checked as :func:`load` does it.

    Args:
        loaded: what holds now.
        changes: ``room.key`` or a room with its keys -> value, as JSON has it.
        origin: where they come from, for messages and for :attr:`Loaded.origins`.

    Raises:
        ConfigError: naming every setting that is wrong, what was expected and what came.
    """
    layers = _Layers(loaded)
    layers.read_values(changes, origin)
    return layers.settle()


class _Layers:
    """The values read so far and all that was wrong with them; one per load."""

    def __init__(self, below: Loaded | None = None) -> None:
        self._keys = {key.path: key for key in reference()}
        self._values = {path: below.value(path) if below else key.default for path, key in self._keys.items()}
        self._origins = dict(below.origins) if below else dict.fromkeys(self._keys, DEFAULT_ORIGIN)
        self._problems: list[str] = []
        self._broken_rooms: set[str] = set()

    def read_preset(self, name: str) -> None:
        """Take a preset of the package."""
        available = {file.name.removesuffix(".yaml"): file for file in _preset_files()}
        if name not in available:
            known = ", ".join(sorted(available))
            self._problem("preset", f"unknown preset {shown(name)}{_did_you_mean(name, available)}; there are {known}")
            return
        self._read_yaml(available[name].read_text("utf-8"), f"preset {name}")

    def read_file(self, path: Path) -> None:
        """Take a YAML file."""
        origin = f"file {path}"
        try:
            self._read_yaml(path.read_bytes().decode("utf-8-sig"), origin)
        except OSError as exc:
            self._problem(origin, f"cannot be read: {exc.strerror or exc}")
        except UnicodeDecodeError as exc:
            line = exc.object[: exc.start].count(b"\n") + 1
            self._problem(origin, f"expected UTF-8 text, got byte 0x{exc.object[exc.start]:02x} in line {line}")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Take the variables that start with ``ALFRED_`` and name a room and a key."""
        for variable in sorted(environ):
            room, separator, name = variable.removeprefix(ENVIRONMENT_PREFIX).partition(ROOM_SEPARATOR)
            if variable.startswith(ENVIRONMENT_PREFIX) and separator:
                self._read_text(f"{room}.{name}".lower(), environ[variable], f"environment {variable}")

    def read_sets(self, sets: Iterable[str]) -> None:
        """Take ``room.key=value`` from the command line; the last of several wins."""
        for setting in sets:
            path, equals, text = setting.partition("=")
            if equals and "." in path:
                self._read_text(path.strip(), text, "--set")
            else:
                self._problem("--set", f"expected room.key=value, got {shown(setting)}")

    def read_values(self, values: Mapping[str, Any], origin: str) -> None:
        """Take values that have types already, by ``room.key`` or in rooms."""
        given: set[str] = set()
        for path, value in _flat(values):
            key = self._known(path, origin)
            if key is None:
                continue
            if path in given:
                self._problem(path, "given twice", origin)
            given.add(path)
            try:
                self._take(key, key.accept(value), origin)
            except ValueError as exc:
                self._refuse(key, str(exc), origin)

    def settle(self) -> Loaded:
        """The tree, when nothing was wrong."""
        rooms: dict[str, Any] = {}
        for room in fields(Config):
            if room.name in self._broken_rooms:
                continue
            values = {key.name: self._values[path] for path, key in self._keys.items() if key.room == room.name}
            try:
                rooms[room.name] = type(getattr(Config(), room.name))(**values)
            except ValueError as exc:
                self._problem(room.name, str(exc), self._origins_in(room.name, str(exc)))
        if self._problems:
            raise ConfigError(report(self._problems))
        return Loaded(Config(**rooms), self._origins)

    def _origins_in(self, room: str, message: str) -> str:
        named = [key.name for key in self._keys.values() if key.room == room and re.search(rf"\b{key.name}\b", message)]
        return ", ".join(f"{name}: {self._origins[f'{room}.{name}']}" for name in named)

    def _problem(self, path: str, message: str, where: str = "") -> None:
        self._problems.append(f"{path}: {message} ({where})" if where else f"{path}: {message}")

    def _read_text(self, path: str, text: str, origin: str) -> None:
        key = self._known(path, origin)
        if key is None:
            return
        try:
            self._take(key, key.read(text), origin)
        except ValueError as exc:
            self._refuse(key, str(exc), origin)

    def _read_yaml(self, text: str, origin: str) -> None:
        for found in entries_of(text, origin, room_titles()):
            if isinstance(found, Fault):
                self._problem(found.path, found.message, found.where)
                self._broken_rooms.add(found.broken_room)
            else:
                self._read_entry(found, origin)

    def _read_entry(self, entry: Entry, origin: str) -> None:
        key = self._known(entry.path, entry.where)
        if key is None:
            return
        if entry.node is None:
            self._problem(
                entry.path, f"expected the key inside its room, as in {key.room}: {{{key.name}: ...}}", entry.where
            )
            return
        try:
            self._take(key, value_of(key, entry.node), origin)
        except ValueError as exc:
            self._refuse(key, str(exc), entry.where)

    def _known(self, path: str, where: str) -> Key | None:
        if path not in self._keys:
            if path in room_titles():
                self._problem(path, f"expected a key of this room and its value: {path}.KEY", where)
                return None
            kind = "key" if "." in path else "room"
            self._problem(path, f"unknown {kind}{self._suggestion(path)}", where)
        return self._keys.get(path)

    def _suggestion(self, path: str) -> str:
        """The nearest known key: of the same name elsewhere, then alike in the same room, then alike as a whole."""
        room, dot, name = path.partition(".")
        rooms = {key.room for key in self._keys.values()}
        if not dot and (near := difflib.get_close_matches(path, rooms, n=1)):
            return f"; did you mean {near[0]}?"
        if elsewhere := [key.path for key in self._keys.values() if key.name == (name or path)]:
            return f"; did you mean {' or '.join(elsewhere)}?"
        siblings = {key.name: key.path for key in self._keys.values() if key.room == room}
        if near := difflib.get_close_matches(name, siblings, n=1):
            return f"; did you mean {siblings[near[0]]}?"
        if suggestion := _did_you_mean(path, self._keys):
            return suggestion
        return f"; {room} has {', '.join(siblings)}" if siblings else f"; there are {', '.join(sorted(rooms))}"

    def _take(self, key: Key, value: Any, origin: str) -> None:
        self._values[key.path] = value
        self._origins[key.path] = origin

    def _refuse(self, key: Key, came: str, where: str) -> None:
        self._broken_rooms.add(key.room)
        self._problem(key.path, f"expected {key.expected}, got {came}", where)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each ``room.key`` and its value, rooms taken apart."""
    for name, value in values.items():
        if isinstance(value, Mapping) and "." not in name:
            yield from ((f"{name}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            yield name, value


def _preset_files() -> list[Traversable]:
    return [file for file in files("alfred_voice").joinpath("presets").iterdir() if file.name.endswith(".yaml")]


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def report(problems: Sequence[str]) -> str:
    """All that is wrong, as one message."""
    if len(problems) == 1:
        return problems[0]
    return "\n".join([f"{len(problems)} settings are wrong:", *(f"- {problem}" for problem in problems)])
