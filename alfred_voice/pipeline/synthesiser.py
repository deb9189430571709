"""Text to speech for many askers: one thread, sentence by sentence, each piece as soon as it is made."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, Draining, EngineDown, EngineFailure, RowFailure, UnusableText
from alfred_voice.models.engine import Int16
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.sentences import split_sentences
from alfred_voice.pipeline.engine_call import close_aside, given
from alfred_voice.pipeline.engine_thread import EngineThread
from alfred_voice.pipeline.lane_options import DOWN_PATIENCE_S, EXPIRY_TICK_S, FAILURES_IN_A_ROW
from alfred_voice.pipeline.memory import MEGABYTE
from alfred_voice.pipeline.metrics import LaneMetrics
from alfred_voice.pipeline.options import TtsOptions
from alfred_voice.pipeline.rebuild import Rebuild
from alfred_voice.pipeline.trial import is_fault


log = logging.getLogger(__name__)

NAME = "tts"
MOST_TRIES = 2
"""Of a sentence of which nothing has been heard yet; what has begun cannot be begun again."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What is to be said, and how."""

    text: str
    voice: str
    speed: float


class _Sentence:
    """One sentence on its way through the synthesis thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, said: _Said, queued_at: float) -> None:
        self.pieces: asyncio.Queue[Int16 | None] = asyncio.Queue()
        self.said = said
        self.queued_at = queued_at
        self.error: AlfredVoiceError | None = None
        self.cancelled = False
        self.tries = 0
        self.attempt: object = None
        """The one that counts; what another one says is nothing any more."""
        self.has_begun = False
        self._loop = loop

    def deliver(self, piece: Int16, attempt: object) -> bool:
        """Take a piece in the synthesis thread. False stops the engine."""
        goes_on = not self.cancelled and attempt is self.attempt
        if goes_on:
            self.has_begun = True
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, piece)
        return goes_on

    def finish(self, error: AlfredVoiceError | None = None) -> None:
        """Nothing more comes of it."""
        self.attempt = None
        self.error = error
        self.pieces.put_nowait(None)


class Synthesiser:
    """The daemon's voice; pieces are int16 at :attr:`sample_rate`.

    A sentence that hangs, or an engine that keeps failing, costs the others a moment: the engine is made anew, in a
    fresh thread, as a :class:`~alfred_voice.pipeline.lane.Lane` does it.

    Args:
        engine: says it, and remembers.
        options: the voice and the limits.
        clock: tells how long a sentence has waited.
        figures: what operators are told.
        timeout_s: after this a sentence is given up.
        build: makes the engine anew; None for one that is used again as it is.
    """

    def __init__(
        self,
        engine: PhraseCache,
        options: TtsOptions,
        clock: Clock,
        figures: LaneMetrics,
        timeout_s: float = 30.0,
        build: Callable[[], Any] | None = None,
    ) -> None:
        self._engine = engine
        self._options = options
        self._clock = clock
        self.figures = figures
        self._timeout_s = timeout_s
        self._build = build
        self._thread = EngineThread(f"lane-{NAME}")
        self._waiting: deque[_Sentence] = deque()
        self._current: _Sentence | None = None
        self._started_at = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._failures = self._restarts = 0
        self._rebuild: Rebuild[Any] | None = None
        self._failed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.sample_rate = engine.sample_rate

    def reconfigure(self, options: TtsOptions, timeout_s: float) -> None:
        """Go by another voice and other limits from now on."""
        self._options, self._timeout_s = options, timeout_s
        self._engine.resize(int(options.cache_mb * MEGABYTE))

    def check_voice(self, voice: str, speed: float) -> None:
        """Raise :exc:`~alfred_voice.errors.SpeechError` unless this voice and speed can be had."""
        self._engine.check(voice, speed)

    def check(self, text: str, voice: str | None, speed: float | None) -> tuple[str, float]:
        """Say which voice and speed will be used.

        Raises:
            UnusableText: nothing to say, or more than ``tts.max_chars``.
            SpeechError: the engine does not have this voice or speed.
        """
        if not text.strip():
            raise UnusableText("text: expected something to say, got nothing but white space")
        if len(text) > self._options.max_chars:
            raise UnusableText(f"text: expected at most {self._options.max_chars} characters, got {len(text)}")
        voice = voice or self._options.voice
        speed = self._options.speed if speed is None else speed
        self._engine.check(voice, speed)
        return voice, speed

    async def speak(self, text: str, voice: str, speed: float) -> AsyncGenerator[Int16, None]:
        """The audio of ``text``; close the iterator to stop. The next sentence is made while one is taken.

        Raises:
            EngineFailure: the engine could not go on.
        """
        sentences = split_sentences(text)
        asked_at: float | None = self._clock.now()
        made: list[_Sentence] = []
        try:
            for index in range(len(sentences)):
                ahead = sentences[len(made) : index + 2]
                made.extend(self._start(_Said(following, voice, speed)) for following in ahead)
                while (piece := await made[index].pieces.get()) is not None:
                    if asked_at is not None:
                        self.figures.record_first_audio(self._engine.name, self._clock.now() - asked_at)
                        asked_at = None
                    yield piece
                error = made[index].error
                if error is not None:
                    raise error
        finally:
            for sentence in made:
                sentence.cancelled = True

    def _start(self, said: _Said) -> _Sentence:
        sentence = _Sentence(asyncio.get_running_loop(), said, self._clock.now())
        if self._closed:
            sentence.finish(Draining("the daemon is shutting down"))
        else:
            self._waiting.append(sentence)
            self._next()
        return sentence

    def _next(self) -> None:
        """Give the thread a sentence, if it is free and there is one."""
        while self._current is None and self._rebuild is None and self._waiting:
            sentence = self._waiting.popleft()
            if sentence.cancelled:
                sentence.finish()
                continue
            self._current = sentence
            sentence.tries += 1
            sentence.attempt = object()
            self._started_at = self._clock.now()
            loop = asyncio.get_running_loop()
            self._thread.put(partial(self._run, loop, self._engine, sentence, sentence.attempt))
            self._watchdog = loop.call_later(self._timeout_s, self._on_hang)

    def _run(self, loop: asyncio.AbstractEventLoop, engine: PhraseCache, sentence: _Sentence, attempt: object) -> None:
        """In the synthesis thread."""
        said, error = sentence.said, None
        try:
            if not sentence.cancelled:
                engine.synthesise(said.text, said.voice, said.speed, lambda piece: sentence.deliver(piece, attempt))
        except Exception as raised:  # noqa: BLE001  the border to the engine: whatever it raises ends this speech only
            error = raised
        # What was given up is waited for by nobody; nor is anything when the loop has gone.
        if sentence.attempt is attempt and not loop.is_closed():
            loop.call_soon_threadsafe(self._done, sentence, attempt, error)

    def _done(self, sentence: _Sentence, attempt: object, error: Exception | None) -> None:
        if self._current is not sentence or sentence.attempt is not attempt:
            return
        self._current = None
        self._stop_watching()
        now = self._clock.now()
        self.figures.record_batch(1, now - self._started_at, max(0.0, self._started_at - sentence.queued_at))
        if error is None:
            self._failures = self._restarts = 0
            sentence.finish()
        elif not is_fault(error):
            sentence.finish(_as_ours(error))
        else:
            self._receive_fault(sentence, error)
        self._next()

    # When the engine fails

    def _receive_fault(self, sentence: _Sentence, error: Exception) -> None:
        self.figures.record_failures(1)
        self._failures += 1
        is_broken = self._failures >= FAILURES_IN_A_ROW
        self._try_again(sentence, error, most=MOST_TRIES + is_broken)
        if is_broken:
            self._restart(error)

    def _try_again(self, sentence: _Sentence, error: Exception, most: int = MOST_TRIES) -> None:
        if not sentence.has_begun and not sentence.cancelled and sentence.tries < most and not self._closed:
            self._waiting.appendleft(sentence)
            return
        log.error("row_failed", exc_info=error, extra={"lane": NAME})
        self.figures.record_rows_failed(1)
        sentence.finish(_as_ours(error))

    def _on_hang(self) -> None:
        """Give up a sentence that takes too long, and with it the thread and the engine that are in it."""
        sentence, self._current, self._watchdog = self._current, None, None
        self.figures.record_timeout()
        log.error("engine_timeout", extra={"lane": NAME, "batch": 1, "after_s": self._timeout_s})
        self._thread.end()
        self._thread = EngineThread(f"lane-{NAME}")
        error = RowFailure(f"{NAME}: no end of the sentence within {self._timeout_s:g} s")
        if sentence is not None:
            sentence.attempt = None
            self._try_again(sentence, error)
        self._restart(error)

    def _restart(self, error: Exception) -> None:
        """Make the engine anew while the sentences wait."""
        log.error("engine_restarting", exc_info=error, extra={"lane": NAME, "waiting": len(self._waiting)})
        self.figures.state = "restarting"
        self._failed_at = self._clock.now()
        self._failures = 0
        build = self._build or given(self._engine.engine)
        if self._build is not None:
            close_aside(NAME, self._engine.engine)
        self._rebuild = Rebuild(NAME, build, self._on_built, self._on_not_built, self._restarts)
        self._restarts += 1
        self._timer = asyncio.get_running_loop().call_later(EXPIRY_TICK_S, self._expire)

    def _on_built(self, engine: Any) -> None:
        self._rebuild = None
        if self._timer is not None:
            self._timer.cancel()
        self._engine = self._engine.over(engine)
        self.figures.record_restart()
        log.warning("engine_restarted", extra={"lane": NAME, "waiting": len(self._waiting)})
        self._next()

    def _on_not_built(self) -> None:
        if self.figures.state != "down":
            self.figures.state = "down"
            log.error("engine_down", extra={"lane": NAME})

    def _expire(self) -> None:
        """Let those go with an error that have waited long enough for the engine."""
        before = self._clock.now() - DOWN_PATIENCE_S
        if self._failed_at <= before:
            for sentence in [sentence for sentence in self._waiting if sentence.queued_at <= before]:
                self._waiting.remove(sentence)
                sentence.finish(EngineDown(f"{NAME}: the engine could not be started again"))
        self._timer = asyncio.get_running_loop().call_later(EXPIRY_TICK_S, self._expire)

    def _stop_watching(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def clear_cache(self) -> int:
        """Forget recent phrases; returns the bytes freed."""
        return self._engine.clear()

    def close(self) -> None:
        """Take no more sentences; the one that is being made may end."""
        self._closed = True
        self._thread.end()
        if self._rebuild is not None:
            self._rebuild.cancel()
        for timer in (self._timer, self._watchdog):
            if timer is not None:
                timer.cancel()
        while self._waiting:
            self._waiting.popleft().finish(Draining("the daemon is shutting down"))


def _as_ours(error: Exception) -> AlfredVoiceError:
    return error if isinstance(error, AlfredVoiceError) else EngineFailure(f"{NAME}: {type(error).__name__}: {error}")
