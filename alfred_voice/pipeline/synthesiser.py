"""Text to speech for many askers: one thread, sentence by sentence, each piece as soon as it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor

from alfred_voice.errors import AlfredVoiceError, Draining, EngineFailure, UnusableText
from alfred_voice.models.engine import Int16
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.models.sentences import split_sentences
from alfred_voice.pipeline.options import TtsOptions


class _Sentence:
    """One sentence on its way through the synthesis thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.pieces: asyncio.Queue[Int16 | None] = asyncio.Queue()
        self.error: AlfredVoiceError | None = None
        self.cancelled = False
        self._loop = loop

    def deliver(self, piece: Int16 | None) -> bool:
        """Take a piece in the synthesis thread; None is the end. False stops the engine."""
        if not self.cancelled:
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, piece)
        return not self.cancelled

    def finish(self, made: Future[None]) -> None:
        """The engine is done with it, or will never begin because the daemon closes."""
        if made.cancelled():
            self.error = Draining("the daemon is shutting down")
        self.deliver(None)


class Synthesiser:
    """The daemon's voice; pieces are int16 at :attr:`sample_rate`."""

    def __init__(self, engine: PhraseCache, options: TtsOptions) -> None:
        self._engine = engine
        self._options = options
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lane-tts")
        self.sample_rate = engine.sample_rate

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
        loop = asyncio.get_running_loop()
        sentences = split_sentences(text)
        made: list[_Sentence] = []
        try:
            for index in range(len(sentences)):
                ahead = sentences[len(made) : index + 2]
                made.extend(self._start(_Sentence(loop), following, voice, speed) for following in ahead)
                while (piece := await made[index].pieces.get()) is not None:
                    yield piece
                error = made[index].error
                if error is not None:
                    raise error
        finally:
            for sentence in made:
                sentence.cancelled = True

    def _start(self, sentence: _Sentence, text: str, voice: str, speed: float) -> _Sentence:
        made = self._thread.submit(self._run, sentence, text, voice, speed)
        made.add_done_callback(sentence.finish)
        return sentence

    def _run(self, sentence: _Sentence, text: str, voice: str, speed: float) -> None:
        try:
            if not sentence.cancelled:
                self._engine.synthesise(text, voice, speed, sentence.deliver)
        except AlfredVoiceError as error:
            sentence.error = error
        except Exception as error:  # noqa: BLE001  the border to the engine: whatever it raises ends this speech only
            sentence.error = EngineFailure(f"tts: {type(error).__name__}: {error}")

    def clear_cache(self) -> int:
        """Forget recent phrases; returns the bytes freed."""
        return self._engine.clear()

    def close(self) -> None:
        """Take no more sentences."""
        self._thread.shutdown(wait=False, cancel_futures=True)
