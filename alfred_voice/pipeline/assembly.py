"""A session put together: its logic, its voice, its outbox, and where wanted its trace and its tape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alfred_voice import __version__
from alfred_voice.clock import Clock
from alfred_voice.events import Event
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions
from alfred_voice.pipeline.outbox import Outbox
from alfred_voice.pipeline.recorder import Recorder, Tape
from alfred_voice.pipeline.recording_folder import AUDIO
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.stream_parts import StreamParts
from alfred_voice.pipeline.synthesiser import Synthesiser
from alfred_voice.pipeline.turn_trace import RemoteParent, Tracing, TurnTrace
from alfred_voice.pipeline.voice import Voice
from alfred_voice.session.playout import Playout
from alfred_voice.session.recorded import Heading, RecordedPlayout, RecordedSession
from alfred_voice.session.session import Session
from alfred_voice.session.settings import SessionSettings


@dataclass(frozen=True, slots=True)
class Traced:
    """Where the spans of a session go, and what they belong to."""

    tracing: Tracing
    parent: RemoteParent | None
    """The client's own span."""


class Assembly:
    """Makes the sessions of one pipeline, and lets go of what it has given them.

    Args:
        dispatch: whom a stream asks for its turn.
        synthesiser: every voice's.
        recorder: writes the tapes; closed with the assembly.
    """

    def __init__(
        self, dispatch: Dispatch, synthesiser: Synthesiser, recorder: Recorder, clock: Clock, metrics: Metrics
    ) -> None:
        self._dispatch = dispatch
        self._synthesiser = synthesiser
        self._recorder = recorder
        self._clock = clock
        self._metrics = metrics
        self._tapes: dict[Session, Tape] = {}

    def assemble(
        self,
        settings: SessionSettings,
        options: CoordinatorOptions,
        transport: str,
        first_seq: int,
        traced: Traced | None,
    ) -> Stream:
        """A session as it is before anything has happened in it.

        Args:
            settings: its client's.
            options: in force now; it keeps them.
            transport: ``websocket`` or ``http``, for the figures.
            first_seq: the number of its first event.
            traced: None where its turns are not traced.
        """
        session = self._make_session(settings, options)
        retained = options.sessions.resume_events if settings.resumable else 0
        outbox = Outbox(options.pipeline.outbox_events, first_seq, retained=retained)
        return Stream(
            StreamParts(
                session=session,
                outbox=outbox,
                voice=lambda tell: Voice(
                    settings, self._synthesiser, session.playout, outbox, tell, self._clock, options.tts.max_queued
                ),
                clock=self._clock,
                metrics=self._metrics,
                wake=self._dispatch.wake,
                transport=transport,
                queue_frames=options.pipeline.queue_frames,
                trace=None if traced is None else self._trace_of(settings, traced),
            )
        )

    def is_recorded(self, stream: Stream) -> bool:
        """Whether there is a tape of a session that is open."""
        return stream.session in self._tapes

    def dissolve(self, stream: Stream) -> None:
        """The session is over: let its tape be closed, if it has one."""
        tape = self._tapes.pop(stream.session, None)
        if tape is not None:
            tape.close()

    async def close(self) -> None:
        """Write what waits of the tapes, for a few seconds at most."""
        await self._recorder.close()

    def _trace_of(self, settings: SessionSettings, traced: Traced) -> Callable[[Event], None]:
        """What makes spans of a session's events."""
        turns = TurnTrace(has_turns=settings.turns)

        def note(event: Event) -> None:
            for span in turns.note(event, self._clock.now()):
                traced.tracing.export(span, settings.session_id, traced.parent)

        return note

    def _make_session(self, settings: SessionSettings, options: CoordinatorOptions) -> Session:
        if not options.recording.enabled:
            return Session(settings, options.session, Playout(options.tts.lead_ms))
        wall, lead_ms = self._clock.wall(), options.tts.lead_ms
        tape = self._recorder.new_tape(settings.session_id, wall, options.recording)
        heading = Heading(
            session_id=settings.session_id,
            settings=settings,
            options=options.session,
            lead_ms=lead_ms,
            engines=self._dispatch.roll.names_for(settings.engine),
            began_at=wall,
            program=__version__,
            audio=f"{tape.name}{AUDIO}",
        )
        tape.begin(heading)
        session = RecordedSession(settings, options.session, RecordedPlayout(lead_ms, tape.note), tape.note)
        self._tapes[session] = tape
        return session
