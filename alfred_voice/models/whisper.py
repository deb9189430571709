"""Whisper: speech to text in a hundred languages, in sizes from 39 million to 1.5 billion parameters.

The encoder hears up to 30 s at once; here it is given no more than a clip needs, as most of what
it would hear of a short one is silence. Shortened too much, it sends the decoder into loops: so a clip
keeps a margin of silence, and whatever is doubtful is heard again in full (measured by
others: ggerganov/whisper.cpp pull request 1855, futo-org/whisper-acft).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure
from alfred_voice.models.decoder_batch import Heard, plan_batches
from alfred_voice.models.engine import SAMPLE_RATE, Clip
from alfred_voice.models.hallucination import HallucinationGuard
from alfred_voice.models.mel import HOP_SAMPLES
from alfred_voice.models.onnx import Session
from alfred_voice.models.spoken import AUTO, only_language, primary
from alfred_voice.models.whisper_decoder import Row, WhisperDecoder
from alfred_voice.models.whisper_files import WhisperFiles
from alfred_voice.models.whisper_mel import WhisperMel
from alfred_voice.models.whisper_options import WhisperOptions
from alfred_voice.models.whisper_rules import LogitRules, compression
from alfred_voice.models.whisper_vocabulary import Vocabulary
from alfred_voice.models.whisper_words import aligned_words, placed_words
from alfred_voice.results import Transcript, Word


Float32 = NDArray[np.float32]

MAX_SECONDS = 30

_STATE_SAMPLES = 2 * HOP_SAMPLES
"""20 ms, what one state of the encoder stands for."""
_MARGIN_STATES = 128
_STEP_STATES = 64
_LEAST_STATES = 256
"""A clip's own states and 2.56 s of silence, in steps so that clips share shapes, and never less than 5.12 s: with a
margin of 8 states the published weights loop (word error rate 226 % instead of 5), with 128 nobody found a loss."""
_MIN_SAMPLES = SAMPLE_RATE // 20
"""50 ms; a shorter clip has no words."""
_TOKENS_PER_SECOND = 8.0
"""Half as many again as the fastest readers reach in English; other languages take up to twice as many."""
_SPARE_TOKENS = 10
_PROMPT_TOKENS = 223
"""Half of the decoder's places but for the mark before it; openai/whisper, decoding.py."""
_MAX_ROWS = 16
_MAX_STATES = 1536
"""Of a batch, 30 s of sound, padding counted: the base model wants 24 kB about each, 37 MB in all."""
_MAX_COMMANDS = 4
_GUESS_PLACES = 26
"""Places at the end of the decoder that are kept free for drafts."""


@dataclass(slots=True, eq=False)
class _Try:
    """One clip and how it is heard this time."""

    clip: Clip
    features_states: int
    attempt: int = 0
    row: Row | None = None
    heard: Heard | None = None
    language: str | None = None
    transcript: Transcript | None = None


class Whisper:
    """A Whisper of any size. One object serves all sessions, from one thread at a time.

    Args:
        files: the graphs and what belongs to them.
        encoder: the loaded graph.
        decoder: the loaded graph.
        options: how it decodes.
        guard: knows what is invented out of noise, in English.
        vocabulary: in place of the one that lies with the files.
    """

    name = "whisper"

    def __init__(
        self,
        files: WhisperFiles,
        encoder: Session,
        decoder: Session,
        options: WhisperOptions | None = None,
        *,
        guard: HallucinationGuard | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.name = f"whisper-{files.name}"
        self.vocabulary = vocabulary or files.vocabulary()
        known = self.vocabulary.languages if files.dimensions.is_multilingual else ("en",)
        self.languages = frozenset(known)
        self._files = files
        self._encoder = encoder
        self._options = options or WhisperOptions()
        self._guard = guard or HallucinationGuard()
        self._rules = LogitRules(self.vocabulary, files.unspoken, files.blank)
        self._decoder = WhisperDecoder(decoder, self.vocabulary, self._rules)
        self._mel = WhisperMel(files.dimensions.n_mels)
        self._begins = np.array([self.vocabulary.begins_word(token) for token in range(self.vocabulary.end)])
        self._prompts: dict[str, tuple[int, ...]] = {}

    def text_of(self, tokens: Sequence[int]) -> str:
        """What the tokens spell, untrimmed."""
        return self.vocabulary.text(tokens)

    def tokens_of(self, text: str) -> tuple[int, ...] | None:
        """The tokens of a text."""
        return tuple(self.vocabulary.encode(text))

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """One transcript for each clip, in their order; empty where nobody speaks and for clips under 50 ms.

        Where a clip has a prefix its text begins with it, whatever the clip sounds like.

        Raises:
            EngineFailure: a clip is longer than 30 s, or not of samples.
        """
        tries = [_Try(clip, self._states(len(clip.samples))) for clip in clips]
        left = [one for one in tries if self._is_usable(one.clip) and self._room(one.clip) > 0]
        while left:
            for batch in plan_batches([one.features_states for one in left], _MAX_ROWS, _MAX_STATES):
                self._attempt([left[at] for at in batch])
            left = [one for one in left if one.transcript is None]
        found = [self._only_prefix(one.clip) if one.transcript is None else one.transcript for one in tries]
        return [replace(transcript, engine=self.name) for transcript in found]

    def spell(self, samples: Float32, tokens: int, *, states: int | None = None) -> Row:
        """So many tokens of one clip, in English, whatever is in it: for measurements.

        Args:
            samples: float32, shape (n,), 16 kHz.
            tokens: how many.
            states: what the encoder is given; by default as for any clip.
        """
        one = _Try(Clip(samples), states or self._states(len(samples)), language="en")
        row = Row(self._opening(one), tokens)
        self._decoder.decode([row], [self._hear(one)])
        return row

    def hear(self, samples: Float32) -> Float32:
        """What the encoder makes of a clip: float32, shape (states, width); for measurements."""
        states = self._states(len(samples))
        (found,) = self._encoder.run({"mel": self._mel.features(samples, 2 * states)[np.newaxis]}, ["states"])
        heard: Float32 = found[0]
        return heard

    def _states(self, samples: int) -> int:
        """How many states of the encoder a clip is given."""
        own = -(-samples // _STATE_SAMPLES)
        stepped = -(-(own + _MARGIN_STATES) // _STEP_STATES) * _STEP_STATES
        return min(max(stepped, _LEAST_STATES), self._files.dimensions.n_audio_ctx)

    def _is_usable(self, clip: Clip) -> bool:
        """Whether the clip is long enough to be recognised."""
        samples = clip.samples
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise EngineFailure(f"Expected float32 samples of one channel, but got {samples.dtype} {samples.shape}")
        if not np.isfinite(samples).all():
            raise EngineFailure("The clip holds samples that are not numbers")
        if len(samples) > MAX_SECONDS * SAMPLE_RATE:
            raise EngineFailure(f"Expected at most {MAX_SECONDS} s, but got {len(samples) / SAMPLE_RATE:.1f} s")
        return len(samples) >= _MIN_SAMPLES

    def _attempt(self, tries: Sequence[_Try]) -> None:
        """Hear and spell these; those that cannot be believed are left without a transcript, for another attempt."""
        for one in tries:
            if one.heard is None:
                one.heard = self._hear(one)
        self._find_languages([one for one in tries if one.language is None])
        for one in tries:
            one.row = self._row(one)
        self._decoder.decode([one.row for one in tries if one.row], [one.heard for one in tries if one.heard])
        for one in tries:
            self._judge(one)

    def _hear(self, one: _Try) -> Heard:
        """What the encoder makes of the clip."""
        mel = self._mel.features(one.clip.samples, 2 * one.features_states)
        names = [f"{part}_{layer}" for layer in range(self._files.dimensions.n_text_layer) for part in ("key", "value")]
        cross = self._encoder.run({"mel": mel[np.newaxis]}, names)
        return Heard(one.features_states, tuple(cross))

    def _find_languages(self, tries: Sequence[_Try]) -> None:
        """Whose language is not known is asked first."""
        unknown = []
        for one in tries:
            asked = primary(one.clip.language or AUTO)
            if not self._files.dimensions.is_multilingual:
                one.language = "en"
            elif asked in self.vocabulary.languages:
                one.language = asked
            else:
                unknown.append(one)
        if unknown:
            found = self._decoder.languages([one.heard for one in unknown if one.heard])
            for one, (language, _) in zip(unknown, found, strict=True):
                one.language = language

    def _row(self, one: _Try) -> Row:
        """The clip as the decoder takes it."""
        clip = one.clip
        opening = self._opening(one)
        seconds = len(clip.samples) / SAMPLE_RATE
        speed = _TOKENS_PER_SECOND * (1 if one.language == "en" else 2)
        most = max(int(seconds * speed), len(clip.prefix)) + _SPARE_TOKENS
        temperature = self._options.temperatures[one.attempt]
        end = self.vocabulary.end
        draft = clip.draft if all(0 <= token < end for token in clip.draft) else ()
        return Row(
            opening=opening,
            max_tokens=min(most, self._files.dimensions.n_text_ctx - len(opening) - _GUESS_PLACES),
            prefix=clip.prefix,
            draft=draft,
            temperature=temperature,
            with_timestamps=self._has_timestamps(clip),
            random=np.random.default_rng(one.attempt) if temperature else None,
            begins_word=self._begins,
        )

    def _has_timestamps(self, clip: Clip) -> bool:
        return self._options.with_timestamps and clip.is_final and not clip.prefix

    def _opening(self, one: _Try) -> tuple[int, ...]:
        """What came earlier, and the commands."""
        language = one.language if self._files.dimensions.is_multilingual else None
        translates = one.clip.translates or self._options.task == "translate"
        commands = self.vocabulary.opening(
            language, translates=translates, with_timestamps=self._has_timestamps(one.clip)
        )
        earlier = self._earlier(one.clip.prompt or self._options.prompt)
        spare = len(earlier) - self._room(one.clip)
        if spare > 0:
            earlier = (*earlier[:1], *earlier[spare + 1 :])
        return (*earlier, *commands)

    def _room(self, clip: Clip) -> int:
        """Places of the decoder for what came earlier, beside the commands, the prefix and a token more."""
        return self._files.dimensions.n_text_ctx - _GUESS_PLACES - _MAX_COMMANDS - len(clip.prefix) - 1

    def _earlier(self, prompt: str) -> tuple[int, ...]:
        """A prompt in tokens; the last few are kept, as sessions give the same one again and again."""
        if not prompt.strip():
            return ()
        if prompt not in self._prompts:
            if len(self._prompts) >= 64:
                self._prompts.clear()
            tokens = self.vocabulary.encode(f" {prompt.strip()}")[-_PROMPT_TOKENS:]
            self._prompts[prompt] = (self.vocabulary.earlier, *tokens)
        return self._prompts[prompt]

    def _judge(self, one: _Try) -> None:
        """Take the text, or prepare another attempt."""
        row, options = one.row, self._options
        if row is None:
            raise AssertionError("what has not been decoded cannot be judged")
        text = self.vocabulary.text(row.tokens).strip()
        mean = sum(row.log_probabilities) / max(len(row.log_probabilities), 1)
        is_unlikely = mean < options.min_log_probability
        if is_unlikely and row.no_speech > options.max_no_speech and not one.clip.prefix:
            one.transcript = Transcript("", language=one.language or "")
            return
        is_doubtful = is_unlikely or row.is_cut or compression(text) > options.max_compression
        if is_doubtful and one.clip.is_final and self._has_another(one):
            return
        one.transcript = self._transcript(one, row, text, mean)

    def _has_another(self, one: _Try) -> bool:
        """Make ready for the next attempt, if there is one: all that can be heard first, then looser choices."""
        full = self._files.dimensions.n_audio_ctx
        if one.features_states < full:
            one.features_states, one.heard = full, None
            return True
        one.attempt += 1
        return one.attempt < len(self._options.temperatures)

    def _transcript(self, one: _Try, row: Row, text: str, mean: float) -> Transcript:
        clip, language = one.clip, one.language or "en"
        if not clip.prefix and language == "en" and self._is_invented(text, row, clip):
            return Transcript("", language=language)
        certain = [0.0] * len(row.prefix)
        probabilities = [*certain, *row.log_probabilities]
        spoken = [(token, at) for at, token in enumerate(row.tokens) if token < self.vocabulary.end]
        tokens = [token for token, _ in spoken]
        pieces = self.vocabulary.pieces(tokens, [probabilities[at] for _, at in spoken])
        words = self._words(one, tokens, language) if clip.wants_words else ()
        return Transcript(text, pieces=pieces, words=words, confidence=exp(mean), language=language)

    def _is_invented(self, text: str, row: Row, clip: Clip) -> bool:
        voiced_ms = 1000 * len(clip.samples) / SAMPLE_RATE if clip.voiced_ms is None else clip.voiced_ms
        return self._guard.rejects(text, row.log_probabilities, voiced_ms)

    def _words(self, one: _Try, tokens: Sequence[int], language: str) -> tuple[Word, ...]:
        if one.heard is None or not tokens:
            return ()
        spoken = language if self._files.dimensions.is_multilingual else None
        opening = self.vocabulary.opening(spoken)
        own = min(one.heard.states, len(one.clip.samples) // HOP_SAMPLES // 2)
        fit, chances = self._decoder.fits(one.heard, opening, tokens)
        words = aligned_words(fit[:, :, :own], chances, tokens, len(opening), self.vocabulary, language)
        return placed_words(words, one.clip.samples)

    def _only_prefix(self, clip: Clip) -> Transcript:
        """The transcript of a clip in which nothing can be recognised."""
        text = self.vocabulary.text(clip.prefix).strip()
        asked = primary(clip.language or AUTO)
        language = only_language(self) or (asked if asked in self.languages else "")
        return Transcript(text, pieces=self.vocabulary.pieces(clip.prefix), language=language)
