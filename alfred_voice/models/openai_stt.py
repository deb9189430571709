"""Speech to text by a server that speaks OpenAI's protocol: OpenAI's own, or one on a machine of one's choice.

Such servers are speaches, vLLM, LocalAI and whisper.cpp's. They differ in how much they tell: the fullest answer is
asked for first, and a plainer one from a server that refuses it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from alfred_voice.audio.pcm import encode, from_float
from alfred_voice.audio.wav import wav_header
from alfred_voice.clock import Clock
from alfred_voice.errors import EngineFailure
from alfred_voice.models.engine import SAMPLE_RATE, Clip
from alfred_voice.models.openai_answers import read_transcription
from alfred_voice.models.openai_options import OpenAiOptions, find_api_key
from alfred_voice.models.openai_transport import LeftAlone, OpenAiTransport, Refused, Remote, sendable
from alfred_voice.models.spoken import AUTO, primary
from alfred_voice.results import Transcript


log = logging.getLogger(__name__)

MIN_SAMPLES = SAMPLE_RATE // 10
"""100 ms: OpenAI's server refuses less."""

_FORMATS: tuple[Mapping[str, str | list[str]], ...] = (
    {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]},
    {"response_format": "verbose_json"},
    {"response_format": "json"},
)
"""From the fullest answer to the plainest."""
_WITHOUT_WORDS = 1
_PLAINEST = len(_FORMATS) - 1
_REFUSES_FORMAT = frozenset({400, 415, 422})
_SPARE_S = 1.0
"""Beyond all time limits of a batch: then its threads are not waited for any longer."""
_PARTIAL_S = 2.0
"""A partial that takes longer is old when it comes, and holds up the finals behind it."""
_KEPT_S = 60.0
"""How long the answers of a batch that failed are kept: who divides it asks again at once."""


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked about one clip."""

    path: str
    fields: Mapping[str, str]
    """All but the format of the answer."""
    wav: bytes
    clip_ms: float
    language: str
    """Told where the server names none."""
    wants_words: bool
    is_final: bool

    @property
    def digest(self) -> bytes:
        """The same for the same question, and for no other."""
        told = repr((self.path, sorted(self.fields.items()), self.wants_words)).encode()
        return blake2b(self.wav, digest_size=16, person=blake2b(told, digest_size=16).digest()).digest()


class OpenAiStt:
    """The recogniser behind a server's address; called from one thread at a time.

    The clips of a batch are with the server side by side. When one of them fails, the batch fails, but what came of
    each is kept: the caller, who asks again one by one, has it at once, and nobody pays or waits for it twice.

    Nothing can be forced on such a server: a clip's prefix and draft are left aside, and its pieces have no tokens. A
    session goes by the words instead: what it has told as stable stands, and a hypothesis that contradicts it is no
    news. To a partial the answer is empty unless the options ask for partials, which to a session is no news either:
    it keeps the hypothesis that it has, and the final is as good without. So is a partial that fails or takes more
    than 2 s: it is asked for once, and only finals tell whether the server is well.

    Args:
        options: which server, and how patient to be with it.
        clock: for time limits and waits.
        api_key: instead of the one in the environment; empty for none.

    Raises:
        ConfigError: the key cannot stand in a header.
    """

    name = "openai"

    def __init__(self, options: OpenAiOptions, clock: Clock, *, api_key: str | None = None) -> None:
        self._options = options
        self._clock = clock
        key = find_api_key(options.api_key_env, os.environ) if api_key is None else api_key
        self._transport = OpenAiTransport(_remote(options, key), clock)
        self._threads = ThreadPoolExecutor(options.max_parallel, thread_name_prefix="stt-openai")
        self._plainness: dict[str, int] = {}
        self._kept: dict[bytes, Transcript | EngineFailure] = {}
        self._kept_until = 0.0
        self._is_closed = False

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """One transcript for each clip, in their order; empty for clips under 100 ms.

        Raises:
            EngineFailure: at least one of them could not be had.
        """
        if self._is_closed:
            raise EngineFailure(f"{self._options.base_url}: the connections have been closed")
        questions = [self._question(clip) for clip in clips]
        if len(clips) > 1 or self._clock.now() > self._kept_until:
            self._kept = {}
        futures = [None if question is None else self._threads.submit(self._answer, question) for question in questions]
        deadline = self._clock.now() + self.longest_s(len(clips))
        answers = [
            Transcript("", language=clip.language or "en") if future is None else self._outcome(future, deadline)
            for clip, future in zip(clips, futures, strict=True)
        ]
        transcripts = [answer for answer in answers if isinstance(answer, Transcript)]
        failures = [answer for answer in answers if isinstance(answer, EngineFailure)]
        if failures:
            if len(clips) > 1:
                self._keep(questions, answers)
            raise failures[0]
        return transcripts

    def longest_s(self, clips: int) -> float:
        """Nobody has to wait longer than for all of them one group after the other, whatever the server does."""
        return -(-clips // self._options.max_parallel) * self._options.timeout_s + _SPARE_S

    def close(self) -> None:
        """End all connections; what waits for an answer fails at once."""
        self._is_closed = True
        self._transport.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _question(self, clip: Clip) -> _Question | None:
        """What is asked about a clip; None when nothing is."""
        samples = clip.samples
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise EngineFailure(f"Expected float32 samples of one channel, but got {samples.dtype} {samples.shape}")
        if not np.isfinite(samples).all():
            raise EngineFailure("The clip holds samples that are not numbers")
        if len(samples) < MIN_SAMPLES or not (clip.is_final or self._options.partials):
            return None
        wav = wav_header(SAMPLE_RATE, samples=len(samples)) + encode(from_float(samples), "pcm_s16le")
        return _Question(
            path="audio/translations" if clip.translates else "audio/transcriptions",
            fields=_fields(clip, self._options.model),
            wav=wav,
            clip_ms=1000 * len(samples) / SAMPLE_RATE,
            language="en" if clip.translates else clip.language or "en",
            wants_words=clip.wants_words,
            is_final=clip.is_final,
        )

    def _outcome(self, future: Future[Transcript], deadline: float) -> Transcript | EngineFailure:
        try:
            return future.result(timeout=max(0.0, deadline - self._clock.now()))
        except EngineFailure as failure:
            return failure
        except (TimeoutError, CancelledError):
            future.cancel()
            return EngineFailure(f"{self._options.base_url}: no end of the answer in time")

    def _keep(self, questions: Sequence[_Question | None], answers: Sequence[Transcript | EngineFailure]) -> None:
        """Keep what came of a batch that failed, but for those that the server was not asked: it may be well again."""
        self._kept_until = self._clock.now() + _KEPT_S
        self._kept = {
            question.digest: answer
            for question, answer in zip(questions, answers, strict=True)
            if question is not None and not isinstance(answer, LeftAlone)
        }

    # In a thread of its own

    def _answer(self, question: _Question) -> Transcript:
        """The answer to one question: the one that is kept, or the server's."""
        kept = self._kept.pop(question.digest, None) if self._kept else None
        if isinstance(kept, Transcript):
            return kept
        if kept is not None:
            raise EngineFailure(str(kept))
        try:
            return self._fullest(question)
        except EngineFailure as failure:
            if question.is_final:
                raise
            if not isinstance(failure, LeftAlone):
                log.info("partial_missed", extra={"server": self._options.base_url, "error": str(failure)})
            return Transcript("", language=question.language)

    def _fullest(self, question: _Question) -> Transcript:
        """The fullest answer that the server gives."""
        limit_s = self._options.timeout_s
        deadline = self._clock.now() + (limit_s if question.is_final else min(limit_s, _PARTIAL_S))
        plainest = self._plainness.get(question.path, 0)
        first = max(plainest, 0 if question.wants_words else _WITHOUT_WORDS)
        for plainness in range(first, _PLAINEST):
            try:
                return self._ask(question, plainness, first, deadline)
            except Refused as refusal:
                if refusal.status not in _REFUSES_FORMAT:
                    raise
        return self._ask(question, _PLAINEST, first, deadline)

    def _ask(self, question: _Question, plainness: int, first: int, deadline: float) -> Transcript:
        """The answer in one format; one that came after fuller ones were refused is asked for from now on."""
        content = {
            "data": {**question.fields, **_FORMATS[plainness]},
            "files": {"file": ("speech.wav", question.wav, "audio/wav")},
        }

        def read(body: bytes) -> Transcript:
            return read_transcription(body, question.clip_ms, question.language, wants_words=question.wants_words)

        left_s = deadline - self._clock.now()
        transcript = self._transport.post(question.path, content, read, left_s, is_vital=question.is_final)
        if plainness > first:
            self._plainness[question.path] = plainness
            log.info("plainer_answers", extra={"server": self._options.base_url, "format": dict(_FORMATS[plainness])})
        return transcript


def _fields(clip: Clip, model: str) -> dict[str, str]:
    """The form's fields that do not depend on the format of the answer."""
    fields = {"model": model}
    # Servers know languages, not their regions, and find the language themselves when none is given.
    language = primary(clip.language or AUTO)
    if language != AUTO and not clip.translates:
        fields["language"] = language
    if clip.prompt:
        fields["prompt"] = sendable(clip.prompt)
    return fields


def _remote(options: OpenAiOptions, api_key: str) -> Remote:
    return Remote(
        base_url=options.base_url,
        api_key=api_key,
        timeout_s=options.timeout_s,
        connect_timeout_s=options.connect_timeout_s,
        max_retries=options.max_retries,
        max_parallel=options.max_parallel,
        breaker_failures=options.breaker_failures,
        breaker_reset_s=options.breaker_reset_s,
    )
