"""The composition root: where a daemon is put together, runs and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from alfred_voice import __version__
from alfred_voice.clock import Clock, SystemClock
from alfred_voice.config import DEFAULT_ORIGIN, Config, Loaded, reference
from alfred_voice.errors import ConfigError, ModelError
from alfred_voice.log import unwritten
from alfred_voice.models.engine import Engines
from alfred_voice.models.store import Store
from alfred_voice.workshop import build_engines, engine_builders, open_store


if TYPE_CHECKING:
    from alfred_voice.live_config import LiveConfig
    from alfred_voice.pipeline.coordinator import Coordinator
    from alfred_voice.pipeline.options import CoordinatorOptions
    from alfred_voice.pipeline.otel import OtelTracing
    from alfred_voice.server.guard.security import Security
    from alfred_voice.server.http.recordings import RecordingWorker

log = logging.getLogger(__name__)

E = TypeVar("E")

EXIT_OK, EXIT_FAILED = 0, 1
SIGNALS = (signal.SIGTERM, signal.SIGINT)
RELOAD_SIGNALS = () if sys.platform == "win32" else (signal.SIGHUP,)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a daemon's configuration came from."""

    loaded: Loaded
    reread: Callable[[], Loaded]
    """Reads files and environment again, as they are now."""
    set_log_level: Callable[[str], None]


def build_coordinator(config: Config, load_engines: Callable[[], Engines], clock: Clock) -> Coordinator:
    """The pipeline; the engines are loaded when it is started."""
    from alfred_voice.pipeline.coordinator import Coordinator
    from alfred_voice.pipeline.metrics import Metrics

    coordinator = Coordinator(load_engines, coordinator_options(config), clock, Metrics(__version__))
    coordinator.watch_log(unwritten)
    return coordinator


def coordinator_options(config: Config) -> CoordinatorOptions:
    """What of the configuration is the pipeline's."""
    from alfred_voice.pipeline.options import CoordinatorOptions
    from alfred_voice.session.options import SessionOptions

    return CoordinatorOptions(
        sessions=config.sessions,
        pipeline=config.pipeline,
        backpressure=config.backpressure,
        memory=config.memory,
        alerts=config.alerts,
        tts=config.tts,
        recording=config.recording,
        session=SessionOptions(config.vad, config.stt, config.turn, config.interruption),
    )


def open_tracing(config: Config) -> OtelTracing | None:
    """What takes the spans of turns; None where none are wanted.

    Raises:
        ConfigError: the packages for it are not installed.
    """
    if not config.tracing.enabled:
        return None
    from alfred_voice.pipeline.otel import OtelTracing

    return OtelTracing(config.tracing, __version__, SystemClock())


def serve(
    config: Config,
    on_ready: Callable[[str], None],
    load_engines: Callable[[Config, Store], Engines] = build_engines,
    sources: Sources | None = None,
) -> int:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP makes it read its configuration and its keys again.

    Args:
        config: what to run.
        on_ready: called with the daemon's address when it takes sessions.
        load_engines: builds the engines, in a thread.
        sources: where the configuration came from; None for nowhere.

    Returns:
        The process's exit code.

    Raises:
        ConfigError: keys, certificate or the folder of recordings cannot be used, or the daemon would be open to
            everybody.
    """
    # The pipeline and the door take a third of a second to import: commands that only want an engine do without.
    from alfred_voice.pipeline.memory import Memory
    from alfred_voice.pipeline.recording_folder import RecordingFolder
    from alfred_voice.server.guard.security import open_security

    security = open_security(config.server, config.security, os.environ)
    if config.recording.enabled:
        RecordingFolder(config.recording.folder).check()
    Memory().tune()
    try:
        return _run(_serve(config, security, on_ready, load_engines, sources or _no_sources(config)))
    finally:
        for number in (*SIGNALS, *RELOAD_SIGNALS):
            # The process is about to end by itself, with its own exit code.
            signal.signal(number, signal.SIG_IGN)


class RunningDaemon:
    """What the settings are applied to while the daemon runs: every part gets those that are its own.

    Args:
        coordinator: the pipeline.
        application: the door.
        store: where engines find their models.
        set_log_level: takes the name of a level.
    """

    def __init__(
        self, coordinator: Coordinator, application: Any, store: Store, set_log_level: Callable[[str], None]
    ) -> None:
        self._coordinator = coordinator
        self._application = application
        self._store = store
        self._set_log_level = set_log_level
        self.check_voice = coordinator.check_voice
        self.language_warning = coordinator.language_warning
        self.replace_engine = coordinator.replace_engine

    @property
    def is_ready(self) -> bool:
        """Whether the engines are there."""
        return self._coordinator.is_ready

    def apply(self, tree: Config) -> None:
        """Go by these settings from now on, as far as they can change."""
        from alfred_voice.server.application import RECORDINGS, RESUMPTION

        self._coordinator.reconfigure(coordinator_options(tree))
        self._application[RESUMPTION].reconfigure(tree.sessions.resume_grace_s)
        self._application[RECORDINGS].reconfigure(_recording_worker(tree))
        self._set_log_level(tree.log.level)

    def check_recording(self, tree: Config) -> None:
        """Raise :exc:`ConfigError` when sessions could not be recorded as ``tree`` says."""
        from alfred_voice.pipeline.recording_folder import RecordingFolder

        RecordingFolder(tree.recording.folder).check()

    def builders(self, tree: Config) -> Mapping[str, Callable[[], Any]]:
        """What makes each engine, by its lane."""
        return engine_builders(tree, self._store, self._coordinator.more_engines)


async def _serve(
    config: Config,
    security: Security,
    on_ready: Callable[[str], None],
    load_engines: Callable[[Config, Store], Engines],
    sources: Sources,
) -> int:
    from alfred_voice.live_config import LiveConfig
    from alfred_voice.server.application import Server, make_application, open_settings

    store, clock = open_store(config), SystemClock()
    tracing = open_tracing(config)
    coordinator = build_coordinator(config, lambda: load_engines(config, store), clock)
    coordinator.tracing = tracing
    application = make_application(coordinator, config.server, _recording_worker(config), security, config.webrtc)
    running = RunningDaemon(coordinator, application, store, sources.set_log_level)
    live = LiveConfig(sources.loaded, sources.reread, running, clock)
    open_settings(application, live)
    server = Server(application)
    stop, hangup = asyncio.Event(), asyncio.Event()
    _set_on_signals(stop, SIGNALS)
    _set_on_signals(hangup, RELOAD_SIGNALS)
    if RELOAD_SIGNALS:
        # The console script has let them wait from its beginning.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, RELOAD_SIGNALS)
    reloading = asyncio.create_task(_reload_on(hangup, live, security), name="reload")
    try:
        port = await server.start()
    except OSError as error:
        where = f"{config.server.host}:{config.server.port}"
        log.error("cannot_listen", extra={"address": where, "reason": error.strerror or str(error)})
        return EXIT_FAILED
    try:
        await coordinator.start()
        on_ready(f"{security.scheme}://{_shown_host(config.server.host)}:{port}")
        await stop.wait()
        log.info("stopping")
        await coordinator.drain(config.server.grace_s)
    except (ModelError, ConfigError) as error:
        log.error("cannot_start", extra={"reason": str(error)})
        return EXIT_FAILED
    finally:
        reloading.cancel()
        await live.close()
        await server.stop_accepting()
        await server.close()
        await coordinator.close()
        if tracing is not None:
            tracing.close()
    log.info("stopped")
    return EXIT_OK


def _recording_worker(config: Config) -> RecordingWorker:
    """A process for each recording, with the daemon's own settings."""
    import msgspec

    from alfred_voice.server.http.recordings import RecordingWorker

    command = (sys.executable, "-m", "alfred_voice.commands.transcribe_worker")
    return RecordingWorker(command, msgspec.to_builtins(config))


async def _reload_on(hangup: asyncio.Event, live: LiveConfig, security: Security) -> None:
    """Read keys and configuration again whenever asked to, for ever."""
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            await live.reload()
        except Exception:  # the top of a task that nobody waits for; the next file may be better
            log.exception("config_not_reloaded")
        security.keys.reload()  # last, so that what is wrong with them is the last word


def _no_sources(config: Config) -> Sources:
    loaded = Loaded(config, dict.fromkeys((key.path for key in reference()), DEFAULT_ORIGIN))
    return Sources(loaded, lambda: loaded, lambda _level: None)


def _set_on_signals(event: asyncio.Event, numbers: Sequence[signal.Signals]) -> None:
    loop = asyncio.get_running_loop()

    def receive(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    # Not through the loop, which would give a signal back its deadly meaning while the process is still cleaning up.
    for number in numbers:
        signal.signal(number, receive)


def _shown_host(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104  only shown: what a browser on this machine can open
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _run(main: Coroutine[Any, Any, int]) -> int:
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)
