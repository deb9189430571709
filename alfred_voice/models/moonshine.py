"""Moonshine: English speech to text, small enough for a processor.

The encoder turns raw samples into one state for every 24 ms; the decoder spells the text token by
token, looking at those states. The graphs and their sizes: github.com/moonshine-ai/moonshine.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from pathlib import Path

import numpy as np

from alfred_voice.errors import EngineFailure
from alfred_voice.models.catalog import LEAN_GRAPHS
from alfred_voice.models.decoder_batch import Heard, plan_batches
from alfred_voice.models.engine import SAMPLE_RATE, Clip
from alfred_voice.models.hallucination import HallucinationGuard
from alfred_voice.models.moonshine_decoder import GreedyDecoder, Row
from alfred_voice.models.moonshine_encoder import MIN_SAMPLES, ClipEncoder, Hearing, count_states
from alfred_voice.models.moonshine_graphs import MAX_POSITIONS
from alfred_voice.models.moonshine_tokens import Vocabulary
from alfred_voice.models.moonshine_words import WordFinder
from alfred_voice.models.onnx import open_session
from alfred_voice.results import Transcript


TOKENS_PER_SECOND = 6.5
"""The makers' limit for English; recordings of fast readers reach 5."""
SPARE_TOKENS = 4
"""Added to that: a short "I don't know." of half a second has six tokens, the sentence's end among them."""

_FINAL_SILENCE = SAMPLE_RATE // 5
"""200 ms of silence behind a final: the recogniser expects an utterance to die away. Measured on 13 recordings of
sentences: 1 word error in 116 instead of 3, and 6 instead of 8 in noise at 13 dB; short ones are no longer doubled."""
_MAX_ROWS = 16
_MAX_STATES = 2048
"""Of a batch, 49 s of speech, padding counted: the decoder wants 13.8 kB about each, 28 MB in all."""


class Moonshine:
    """The recogniser for English. One object serves all sessions, from one thread at a time.

    What a clip says depends neither on who else speaks nor on its draft. The encoder normalises over
    its whole window and scales by the largest value in it, so it gets each clip alone and unpadded; the
    decoder scales each row by itself, and takes rows of all lengths together: in a batch of eight
    a row costs a third.
    """

    name = "moonshine"
    languages = frozenset({"en"})

    def __init__(self, folder: Path, *, threads: int = 1, guard: HallucinationGuard | None = None) -> None:
        with LEAN_GRAPHS.opened(folder) as lean:
            self._encoder = ClipEncoder(open_session(lean / "encoder.lean.onnx", threads=threads))
            decoder = open_session(lean / "decoder.lean.onnx", threads=threads)
        self._guard = guard or HallucinationGuard()
        self.vocabulary = Vocabulary.load(folder / "tokenizer.bin")
        self._stop = self.vocabulary.find(b".")
        self._decoder = GreedyDecoder(decoder, self.vocabulary.begins_word)
        self._words = WordFinder(self._decoder, self.vocabulary)

    def new_hearing(self) -> Hearing:
        """For the partials of one utterance: what is made of its beginning need not be made again."""
        return Hearing()

    def text_of(self, tokens: Sequence[int]) -> str:
        """What the tokens spell, untrimmed."""
        return self.vocabulary.text(tokens)

    def tokens_of(self, text: str) -> tuple[int, ...] | None:
        """None: which of the many ways to spell a text the decoder would choose is not known."""
        return None

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """One transcript for each clip, in their order; empty for noise and for clips under 56 ms.

        Where a clip has a prefix its text begins with it, whatever the clip sounds like.
        """
        rows = {at: self._row(clip) for at, clip in enumerate(clips) if self._is_usable(clip)}
        places = list(rows)
        told: dict[int, Transcript] = {}
        for batch in plan_batches([count_states(_length(clips[at])) for at in places], _MAX_ROWS, _MAX_STATES):
            chosen = [places[at] for at in batch]
            heard = [self._hear(clips[at]) for at in chosen]
            self._decoder.decode([rows[at] for at in chosen], heard)
            told |= {at: self._transcript(clips[at], rows[at], one) for at, one in zip(chosen, heard, strict=True)}
        return [told[at] if at in told else self._only_prefix(clip) for at, clip in enumerate(clips)]

    def _is_usable(self, clip: Clip) -> bool:
        """Whether the clip is long enough to be recognised."""
        samples = clip.samples
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise EngineFailure(f"Expected float32 samples of one channel, but got {samples.dtype} {samples.shape}")
        if not np.isfinite(samples).all():
            raise EngineFailure("The clip holds samples that are not numbers")
        return len(samples) >= MIN_SAMPLES

    def _row(self, clip: Clip) -> Row:
        """The clip as the decoder takes it."""
        longest = int(len(clip.samples) * TOKENS_PER_SECOND / SAMPLE_RATE)
        most = max(longest, len(clip.prefix)) + SPARE_TOKENS
        known = next((at for at, token in enumerate(clip.draft) if not 0 <= token < len(self.vocabulary)), None)
        return Row(clip.prefix, min(most, MAX_POSITIONS - 64), clip.draft[:known], self._stop)

    def _hear(self, clip: Clip) -> Heard:
        """What the encoder makes of the clip."""
        if clip.is_final:
            return self._encoder.encode(np.concatenate([clip.samples, np.zeros(_FINAL_SILENCE, np.float32)]))
        if isinstance(clip.hearing, Hearing):
            return self._encoder.follow(clip.samples, clip.hearing)
        return self._encoder.encode(clip.samples)

    def _transcript(self, clip: Clip, row: Row, heard: Heard) -> Transcript:
        """What ``row`` came to, unless it is an invention."""
        text = self.vocabulary.text(row.tokens).strip()
        if not clip.prefix:
            clip_ms = 1000 * len(clip.samples) / SAMPLE_RATE
            voiced_ms = clip_ms if clip.voiced_ms is None else clip.voiced_ms
            if self._guard.rejects(text, row.log_probabilities, voiced_ms):
                return Transcript("")
        confidence = exp(sum(row.log_probabilities) / len(row.log_probabilities))
        certain = [0.0] * len(row.prefix)
        pieces = self.vocabulary.pieces(row.tokens, [*certain, *row.log_probabilities])
        words = self._words.find(pieces, heard, clip.samples) if clip.wants_words else ()
        return Transcript(text, pieces=pieces, words=words, confidence=confidence)

    def _only_prefix(self, clip: Clip) -> Transcript:
        """The transcript of a clip in which nothing can be recognised."""
        text = self.vocabulary.text(clip.prefix).strip()
        return Transcript(text, pieces=self.vocabulary.pieces(clip.prefix))


def _length(clip: Clip) -> int:
    """Samples that the encoder is given."""
    return len(clip.samples) + (_FINAL_SILENCE if clip.is_final else 0)
