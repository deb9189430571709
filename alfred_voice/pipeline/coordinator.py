"""The one who knows the whole: opens sessions, measures load, degrades and recovers, cleans up, shuts down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from enum import Enum
from typing import Any

from alfred_voice.audio.pcm import FRAME_MS
from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, DaemonFailed, Draining, InvalidSettings, Overloaded, StillLoading
from alfred_voice.events import ResumeOffer, SessionStarted, WarningRaised
from alfred_voice.models.engine import Engines, Int16
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.spoken import only_language, unknown_language
from alfred_voice.pipeline.alerts import AlertChange
from alfred_voice.pipeline.assembly import Assembly, Traced
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.health import status_of
from alfred_voice.pipeline.history import History
from alfred_voice.pipeline.memory import MEGABYTE
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import CoordinatorOptions
from alfred_voice.pipeline.owner import NOBODY, Owner
from alfred_voice.pipeline.recorder import Recorder
from alfred_voice.pipeline.roster import Roster
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.synthesiser import Synthesiser
from alfred_voice.pipeline.turn_trace import RemoteParent, Tracing
from alfred_voice.pipeline.upkeep import Upkeep
from alfred_voice.session.settings import SessionSettings


log = logging.getLogger(__name__)


class Phase(Enum):
    """Where the daemon is in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Coordinator:
    """The pipeline of one daemon. Lives on the event loop.

    Args:
        load_engines: called once, in a thread, by :meth:`start`.
    """

    def __init__(
        self,
        load_engines: Callable[[], Engines],
        options: CoordinatorOptions,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.options = options
        self.metrics = metrics
        self.roster = Roster(options.sessions)
        self.phase = Phase.LOADING
        self._load_engines = load_engines
        self._clock = clock
        self._upkeep = Upkeep(options, clock, metrics, self.roster)
        self._dispatch: Dispatch | None = None
        self._synthesiser: Synthesiser | None = None
        self._assembly: Assembly | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failure = ""
        self.tracing: Tracing | None = None
        """Takes the spans of turns; None where they are not traced."""

    # Life

    async def start(self) -> None:
        """Load the engines and begin to work.

        Raises:
            AlfredVoiceError: an engine cannot be loaded; the daemon stays up as ``failed``.
        """
        try:
            engines = await asyncio.get_running_loop().run_in_executor(None, self._load_engines)
            self._begin(engines)
        except Exception as error:
            self.phase, self._failure = Phase.FAILED, str(error)
            raise
        if self.phase is Phase.LOADING:
            self.phase = Phase.READY
        self._warn_of_language()
        memory_mb, limit_mb = round(self._upkeep.figures().memory_mb), self.options.memory.limit_mb
        log.info("ready", extra={"engines": engines.names, "memory_mb": memory_mb})
        if memory_mb > self.options.memory.gc_trigger_mb:
            advice = "larger models need larger limits: raise memory.limit_mb and memory.gc_trigger_mb"
            log.warning("memory_tight", extra={"memory_mb": memory_mb, "limit_mb": limit_mb, "advice": advice})

    def _begin(self, engines: Engines) -> None:
        options = self.options
        cache = PhraseCache(engines.tts, int(options.tts.cache_mb * MEGABYTE))
        self._dispatch = Dispatch(engines, options.pipeline, self._clock, self.metrics, self._on_end)
        self._synthesiser = Synthesiser(
            cache, options.tts, self._clock, LaneMetrics("tts", self.metrics),
            options.pipeline.engine_timeout_s, engines.builders.get("tts"),
        )  # fmt: skip
        synthesiser = self._synthesiser
        self._assembly = Assembly(self._dispatch, synthesiser, Recorder(options.recording), self._clock, self.metrics)
        self._upkeep.watch(self._dispatch, synthesiser.figures, synthesiser.clear_cache, lambda: self._engine_states)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._upkeep.run(), name="upkeep"),
            loop.create_task(self._upkeep.clean_up(), name="upkeep-cleanup"),
        ]

    async def drain(self, grace_s: float) -> None:
        """Take no new sessions; end those that are open, with their finals, within ``grace_s`` seconds."""
        if self.phase is not Phase.FAILED:
            self.phase = Phase.DRAINING
        streams = self.roster.all()
        for stream in streams:
            stream.stop("shutdown")
        try:
            async with asyncio.timeout(grace_s):
                for stream in streams:
                    await stream.finished()
        except TimeoutError:
            for stream in self.roster.all():
                log.warning("session_cut_off", extra={"session": stream.session_id})
                stream.end_now("shutdown")
        log.info("drained", extra={"sessions": len(streams)})

    async def close(self) -> None:
        """Free everything; sessions that are still open are over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self.roster.all():
            stream.abandon()
            self._on_end(stream)
        if self._dispatch is not None:
            await self._dispatch.close()
        if self._synthesiser is not None:
            self._synthesiser.close()
        if self._assembly is not None:
            await self._assembly.close()

    # While it runs

    def reconfigure(self, options: CoordinatorOptions) -> None:
        """Go by other limits from now on, and open sessions with other settings; open ones keep theirs."""
        before, self.options = self.options.session.stt.language, options
        if options.session.stt.language != before:
            self._warn_of_language()
        self.roster.reconfigure(options.sessions)
        self._upkeep.reconfigure(options)
        if self._dispatch is not None:
            self._dispatch.reconfigure(options.pipeline)
        if self._synthesiser is not None:
            self._synthesiser.reconfigure(options.tts, options.pipeline.engine_timeout_s)

    def language_warning(self, language: str) -> str:
        """What becomes of a ``stt.language`` that the recogniser does not know; empty where it does or may."""
        if self._dispatch is None:
            return ""
        roll = self._dispatch.roll
        return unknown_language(language, roll.languages_of(None), roll.stt)

    def _warn_of_language(self) -> None:
        if reason := self.language_warning(self.options.session.stt.language):
            log.warning("language_unknown", extra={"setting": "stt.language", "reason": reason})

    @property
    def is_ready(self) -> bool:
        """Whether the engines are there and sessions may be opened."""
        return self.phase is Phase.READY

    @property
    def more_engines(self) -> tuple[str, ...]:
        """The recognisers beside the configured one that have a lane; none while the engines are loaded."""
        return () if self._dispatch is None else tuple(self._dispatch.roll.more_stt)

    def check_voice(self, voice: str, speed: float) -> None:
        """Raise :exc:`~alfred_voice.errors.SpeechError` when the daemon, ready, cannot speak like that."""
        if self._synthesiser is not None:
            self._synthesiser.check_voice(voice, speed)

    def replace_engine(self, lane: str, engine: Any, build: Callable[[], Any]) -> None:
        """Put another engine behind a lane; no session and no job is lost. See :meth:`Dispatch.replace_engine`.

        Raises:
            Overloaded: the daemon is not ready.
        """
        self._ready_dispatch.replace_engine(lane, engine, build)

    # Sessions

    def admit(self) -> None:
        """Raise :exc:`Overloaded` unless a session can be opened now."""
        if self.phase is Phase.LOADING:
            raise StillLoading("the models are being loaded", retry_after_s=2)
        if self.phase is Phase.FAILED:
            raise DaemonFailed(f"the daemon cannot work: {self._failure}", retry_after_s=60)
        if self.phase is Phase.DRAINING:
            raise Draining("the daemon is shutting down", retry_after_s=10)
        if not self._upkeep.admits():
            retry_after_s = self._upkeep.retry_after_s()
            raise Overloaded(self._upkeep.refusal(), retry_after_s)
        self.roster.check_room(self._clock.now())

    def open(
        self,
        settings: SessionSettings,
        transport: str,
        *,
        max_message_bytes: int,
        first_seq: int = 0,
        resume: ResumeOffer | None = None,
        owner: Owner = NOBODY,
        parent: RemoteParent | None = None,
    ) -> Stream:
        """Open a session; its first event is ``sessionStarted``.

        Args:
            settings: what the client asked for.
            transport: ``websocket`` or ``http``, for the figures.
            max_message_bytes: told to the client.
            first_seq: the number of its first event, when errors were told before the session was there.
            resume: told to a client that may come back.
            owner: whose it is; sessions are counted by that.
            parent: the client's own span, for traces.

        Raises:
            Overloaded: not now.
            SessionBusy: a session of that name is open.
        """
        try:
            self.admit()
            self._check_engine(settings)
            self.roster.check_share(owner)
            self.roster.check_free(settings.session_id)
        except AlfredVoiceError as error:
            self.metrics.note_refusal(error)
            raise
        roll = self._ready_dispatch.roll
        spoken = roll.languages_of(settings.engine)
        language = settings.language or self.options.session.stt.language
        # Of a recogniser with one language every final is in that, also one that nobody was asked about.
        settings = replace(settings, language=only_language(spoken) or settings.language)
        stream = self._ready_assembly.assemble(
            settings, self.options, transport, first_seq, None if self.tracing is None else Traced(self.tracing, parent)
        )
        self.roster.add(stream, owner)
        self.metrics.sessions_active.labels(transport).inc()
        self._upkeep.degradation.apply(stream)
        limits = {
            "max_session_s": self.options.sessions.max_duration_s,
            "max_message_bytes": max_message_bytes,
            "queue_ms": self.options.pipeline.queue_frames * FRAME_MS,
        }
        names = roll.names_for(settings.engine)
        is_recorded = self._ready_assembly.is_recorded(stream) or None
        stream.tell(SessionStarted(settings.sample_rate, settings.encoding, names, limits, resume, is_recorded))
        if unknown := unknown_language(language, spoken, names["stt"]):
            stream.tell(WarningRaised("language_unknown", unknown))
        log.info("session_opened", extra={"session": settings.session_id, "transport": transport})
        return stream

    def _check_engine(self, settings: SessionSettings) -> None:
        """Raise :exc:`InvalidSettings` unless the session may have the recogniser that it asks for."""
        known = (self.options.session.stt.engine, *self._ready_dispatch.roll.more_stt)
        if settings.engine is not None and settings.engine not in known:
            raise InvalidSettings(f"engine: expected one of {', '.join(known)}, got {settings.engine[:64]!r}")

    def _on_end(self, stream: Stream) -> None:
        if not self.roster.remove(stream, self._clock.now()):
            return
        self._ready_assembly.dissolve(stream)
        stats = stream.session.stats
        reason = stream.end_reason or "error"
        self.metrics.sessions_active.labels(stream.transport).dec()
        self.metrics.sessions.labels(stream.transport, reason).inc()
        log.info(
            "session_ended",
            extra={
                "session": stream.session_id,
                "reason": reason,
                "frames": stats.frames_received,
                "dropped": stats.frames_dropped,
                "utterances": stats.utterances,
            },
        )

    # Synthesis

    def synthesise(self, text: str, voice: str | None, speed: float | None) -> AsyncGenerator[Int16, None]:
        """The audio of ``text``, int16 at :attr:`tts_sample_rate`.

        Raises:
            SpeechError: at once, when it cannot be said as asked.
            Overloaded: the daemon is not ready.
        """
        if self._synthesiser is None or self.phase is not Phase.READY:
            self.admit()
        chosen_voice, chosen_speed = self._ready_synthesiser.check(text, voice, speed)
        return self._ready_synthesiser.speak(text, chosen_voice, chosen_speed)

    @property
    def tts_sample_rate(self) -> int:
        """Hz."""
        return self._ready_synthesiser.sample_rate

    # State

    def on_alert(self, listener: Callable[[AlertChange], None] | None) -> None:
        """Tell ``listener`` of each alert that is raised or cleared from now on; it must not wait. None for nobody."""
        self._upkeep.on_alert = listener

    def watch_log(self, failures: Callable[[], int]) -> None:
        """Raise an alert when log records cannot be written; ``failures`` says how many could not be up to now."""
        self._upkeep.log_failures = failures

    def status(self) -> dict[str, Any]:
        """The body of ``GET /pipeline/status``."""
        return status_of(self._upkeep.figures(has_failed=self.phase is Phase.FAILED), self.options)

    def describe(self) -> dict[str, Any]:
        """The body of ``GET /metrics`` in JSON: the status, and the figures behind it."""
        metrics, options = self.metrics, self.options
        return {
            **self.status(),
            **self._upkeep.vitals.describe(),
            "load": self._upkeep.meter.describe(len(self.roster)),
            "latency_ms": {
                "frame": metrics.frame_ms.summary(),
                "final": metrics.final_ms.summary(),
                "turn": metrics.turn_ms.summary(),
            },
            "admission": self._upkeep.describe_admission(self.admit),
            "partials": self._upkeep.degradation.pace.describe(),
            "limits": {
                "memory_mb": options.memory.limit_mb,
                "gc_trigger_mb": options.memory.gc_trigger_mb,
                "frame_target_ms": options.pipeline.frame_target_ms,
                "threshold": options.backpressure.threshold,
                "recovery": options.backpressure.recovery,
                "sessions": options.sessions.max_concurrent,
            },
            "uptime_s": round(self._clock.now() - self._upkeep.meter.started_at, 1),
        }

    @property
    def history(self) -> History:
        """The last minutes, a row each second."""
        return self._upkeep.vitals.history

    def end_idle(self, idle_s: float, may_end: Callable[[Stream], bool]) -> int:
        """End the sessions that have been idle for so many seconds and that ``may_end`` allows; returns how many."""
        return self._upkeep.end_idle(idle_s, may_end)

    def readiness(self) -> tuple[bool, dict[str, str]]:
        """Whether sessions can be opened, and each engine's state or the reason why not."""
        if self.phase is Phase.READY:
            states = self._engine_states
            checks = {kind: "pass" if states[kind] == "up" else states[kind] for kind in ("vad", "stt", "turn", "tts")}
            # Without a voice it can still listen.
            return "down" not in (checks["vad"], checks["stt"], checks["turn"]), checks
        return False, {self.phase.value: self._failure or f"the daemon is {self.phase.value}"}

    @property
    def _engine_states(self) -> dict[str, str]:
        """Each lane's engine: ``up``, ``restarting``, or ``down``."""
        return {**self._ready_dispatch.states, "tts": self._ready_synthesiser.figures.state}

    def optimise(self, *, trigger_gc: bool, cleanup_sessions: bool, optimise_buffers: bool) -> dict[str, Any]:
        """Give back what can be given back; says what was done, and the memory before and after."""
        return self._upkeep.optimise(
            trigger_gc=trigger_gc, cleanup_sessions=cleanup_sessions, optimise_buffers=optimise_buffers
        )

    @property
    def _ready_dispatch(self) -> Dispatch:
        if self._dispatch is None:
            raise StillLoading("the models are being loaded", retry_after_s=2)
        return self._dispatch

    @property
    def _ready_synthesiser(self) -> Synthesiser:
        if self._synthesiser is None:
            raise StillLoading("the models are being loaded", retry_after_s=2)
        return self._synthesiser

    @property
    def _ready_assembly(self) -> Assembly:
        if self._assembly is None:
            raise StillLoading("the models are being loaded", retry_after_s=2)
        return self._assembly
