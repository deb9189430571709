"""Moonshine: English speech to text, small enough for a processor.

The encoder turns raw samples into one state for every 24 ms; the decoder spells the text token by
token, looking at those states. The graphs and their sizes: github.com/moonshine-ai/moonshine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure
from alfred_voice.models.engine import SAMPLE_RATE, Clip, Float32
from alfred_voice.models.hallucination import HallucinationGuard
from alfred_voice.models.moonshine_tokens import Vocabulary
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.repetition import loop_end
from alfred_voice.results import Transcript


MIN_SAMPLES = 895
"""56 ms, the shortest clip that the encoder takes: it gives one state. Measured, and by the graph's own formula."""
STATE_SAMPLES = 384
"""24 ms, from one state to the next: the strides 64, 3 and 2 of the encoder's convolutions."""
TOKENS_PER_SECOND = 6.5
"""The makers' limit for English; recordings of fast readers reach 5."""
SPARE_TOKENS = 4
"""Added to that: a short "I don't know." of half a second has six tokens, the sentence's end among them."""

_START = 1
_END = 2
_FINAL_SILENCE = SAMPLE_RATE // 5
"""200 ms of silence behind a final: the recogniser expects an utterance to die away. Measured on 13 recordings of
sentences: 1 word error in 116 instead of 3, and 6 instead of 8 in noise at 13 dB; short ones are no longer doubled."""
_MAX_ROWS = 16
_MAX_POSITIONS = 128
"""Of a batch's first pass: the graph answers 32,768 float32 logits for each, so this many take 16 MiB."""
_MAX_SAMPLES = 48 * SAMPLE_RATE
"""Of a batch, padding counted: the graph keeps and copies 13.8 kB for each of the encoder's states, 28 MB in all."""
_MAX_FORCED_STEPS = 4
"""A longer prefix than its company's is fed token by token; beyond this a batch of its own is cheaper."""

Int64 = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Row:
    """One clip on its way through the decoder."""

    states: Float32
    """float32, shape (states, width): what the encoder said."""
    prefix: tuple[int, ...]
    max_tokens: int
    """Of the whole text, the prefix included."""
    tokens: list[int] = field(default_factory=list)
    """The prefix and what was decoded after it."""
    log_probabilities: list[float] = field(default_factory=list)
    """Natural logarithms, of each token after the prefix, and of the end where it was reached."""

    def receive(self, token: int, log_probability: float, begins_word: Callable[[int], bool]) -> bool:
        """Take the decoder's choice, or the prefix's next token; False when the text is complete."""
        if len(self.tokens) < len(self.prefix):
            self.tokens.append(self.prefix[len(self.tokens)])
            return True
        self.log_probabilities.append(log_probability)
        if token == _END:
            return False
        self.tokens.append(token)
        cut = loop_end(self.tokens, begins_word, len(self.prefix))
        if cut is not None:
            del self.tokens[cut:]
            del self.log_probabilities[cut - len(self.prefix) :]
            return False
        return len(self.tokens) < self.max_tokens


class GreedyDecoder:
    """Takes the most probable token at each step, for several rows in one batch; keeps nothing between calls.

    The graph has two branches: without a cache it reads any number of tokens and also computes the
    keys and values of the encoder's states; with one it reads a single token. It numbers positions
    by the length of the cache, so all rows of a batch have to stand at the same token.
    """

    def __init__(self, session: Session, begins_word: Callable[[int], bool]) -> None:
        self._session = session
        self._begins_word = begins_word
        self._all_past = tuple(name for name in session.input_names if name.startswith("past_key_values."))
        self._own_past = tuple(name for name in self._all_past if ".decoder." in name)
        if not self._all_past:
            raise EngineFailure(f"{session!r} is no decoder with a cache: its inputs are {session.input_names}")

    def decode(self, rows: Sequence[Row]) -> None:
        """Fill the rows' tokens; what their company is changes them a little (see :class:`Moonshine`)."""
        alive = list(rows)
        shared = min(len(row.prefix) for row in alive)
        for row in alive:
            row.tokens = list(row.prefix[:shared])
        states, mask = _pad([row.states for row in alive])
        ids: Int64 = np.array([[_START, *row.tokens] for row in alive], np.int64)
        past: dict[str, Float32] = {}
        while True:
            logits, past = self._step(ids, states, mask, past)
            kept = self._choose(alive, logits)
            if not kept:
                return
            if len(kept) < len(alive):
                alive = [alive[at] for at in kept]
                states, mask = states[kept], mask[kept]
                past = {name: values[kept] for name, values in past.items()}
            ids = np.array([[row.tokens[-1]] for row in alive], np.int64)

    def _step(
        self, ids: Int64, states: Float32, mask: Int64, past: dict[str, Float32]
    ) -> tuple[Float32, dict[str, Float32]]:
        """Logits of the last position, shape (rows, vocabulary), and the longer cache; none in ``past`` at first."""
        changing = self._own_past if past else self._all_past
        feeds: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
            "use_cache_branch": np.array([bool(past)]),
            **(past or self._empty_past(len(ids))),
        }
        outputs = ["logits", *(name.replace("past_key_values", "present") for name in changing)]
        logits, *present = self._session.run(feeds, outputs)
        return logits[:, -1], {**past, **dict(zip(changing, present, strict=True))}

    def _choose(self, rows: Sequence[Row], logits: Float32) -> list[int]:
        """Give each row its most probable token; the places of the rows that go on.

        Args:
            rows: in the batch's order.
            logits: float32, shape (rows, vocabulary).
        """
        tokens = logits.argmax(axis=1)
        tops = logits.max(axis=1, keepdims=True)
        if not np.isfinite(tops).all():
            raise EngineFailure("The decoder answered logits that are not numbers")
        log_probabilities = -np.log(np.exp(logits - tops).sum(axis=1))
        return [
            at
            for at, row in enumerate(rows)
            if row.receive(int(tokens[at]), float(log_probabilities[at]), self._begins_word)
        ]

    def _empty_past(self, rows: int) -> dict[str, Float32]:
        """The cache of no token yet: 8 heads of 36."""
        return {name: np.zeros((rows, 8, 0, 36), np.float32) for name in self._all_past}


class Moonshine:
    """The recogniser for English. One object serves all sessions, from one thread at a time.

    What a clip says must not depend on who else speaks. The encoder normalises over its whole
    window, so it gets each clip alone and unpadded. The decoder's weights are int8, and its
    activations are scaled by the largest of the whole batch: of 684 rows decoded with random
    company (2 to 16 rows, read speech and a meeting), 99 came out with other tokens than alone,
    88 with other words; of 150 rows among copies of themselves none did. So finals are decoded
    one by one, and only partials, which are superseded anyway, share batches: a row costs a third
    in a batch of eight.
    """

    name = "moonshine"

    def __init__(self, folder: Path, *, threads: int = 1, guard: HallucinationGuard | None = None) -> None:
        self._encoder = open_session(folder / "encoder_model.ort", threads=threads)
        self._guard = guard or HallucinationGuard()
        self.vocabulary = Vocabulary.load(folder / "tokenizer.bin")
        decoder = open_session(folder / "decoder_model_merged.ort", threads=threads)
        self._decoder = GreedyDecoder(decoder, self.vocabulary.begins_word)

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """One transcript for each clip, in their order; empty for noise and for clips under 56 ms.

        Where a clip has a prefix its text begins with it, whatever the clip sounds like.
        """
        rows = [self._encode(clip) for clip in clips]
        for batch in plan_batches(clips):
            self._decoder.decode([row for at in batch if (row := rows[at]) is not None])
        return [self._transcript(clip, row) for clip, row in zip(clips, rows, strict=True)]

    def _encode(self, clip: Clip) -> Row | None:
        """The clip as the decoder takes it; None when it is too short."""
        samples = clip.samples
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise EngineFailure(f"Expected float32 samples of one channel, but got {samples.dtype} {samples.shape}")
        if len(samples) < MIN_SAMPLES:
            return None
        if not np.isfinite(samples).all():
            raise EngineFailure("The clip holds samples that are not numbers")
        heard = np.concatenate([samples, np.zeros(_FINAL_SILENCE, np.float32)]) if clip.is_final else samples
        everything = np.ones((1, len(heard)), np.int64)
        (states,) = self._encoder.run({"input_values": heard[np.newaxis], "attention_mask": everything})
        longest = int(len(samples) * TOKENS_PER_SECOND / SAMPLE_RATE)
        return Row(states[0], clip.prefix, max(longest, len(clip.prefix)) + SPARE_TOKENS)

    def _transcript(self, clip: Clip, row: Row | None) -> Transcript:
        """What ``row`` came to, unless it is an invention."""
        if row is None:
            return self._only_prefix(clip)
        text = self.vocabulary.text(row.tokens).strip()
        if not clip.prefix:
            clip_ms = 1000 * len(clip.samples) / SAMPLE_RATE
            voiced_ms = clip_ms if clip.voiced_ms is None else clip.voiced_ms
            if self._guard.rejects(text, row.log_probabilities, voiced_ms):
                return Transcript("")
        confidence = exp(sum(row.log_probabilities) / len(row.log_probabilities))
        certain = [0.0] * len(row.prefix)
        pieces = self.vocabulary.pieces(row.tokens, [*certain, *row.log_probabilities])
        return Transcript(text, pieces=pieces, confidence=confidence)

    def _only_prefix(self, clip: Clip) -> Transcript:
        """The transcript of a clip in which nothing can be recognised."""
        text = self.vocabulary.text(clip.prefix).strip()
        return Transcript(text, pieces=self.vocabulary.pieces(clip.prefix))


def plan_batches(clips: Sequence[Clip]) -> Iterator[list[int]]:
    """Which clips are decoded together, by their places in ``clips``; those too short to be decoded are in none.

    Finals stand alone. Partials come in order of their prefixes' lengths, so that little of any
    prefix has to be fed token by token.
    """
    usable = [at for at, clip in enumerate(clips) if len(clip.samples) >= MIN_SAMPLES]
    yield from ([at] for at in usable if clips[at].is_final)
    batch: list[int] = []
    for at in sorted((at for at in usable if not clips[at].is_final), key=lambda at: len(clips[at].prefix)):
        if batch and not _fits(clips[at], [clips[other] for other in batch]):
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


def _fits(clip: Clip, batch: Sequence[Clip]) -> bool:
    """Whether ``clip`` may join ``batch``, the first of which has the shortest prefix."""
    rows = len(batch) + 1
    shared = len(batch[0].prefix)
    longest = max(len(clip.samples), *(len(other.samples) for other in batch))
    return (
        rows <= _MAX_ROWS
        and len(clip.prefix) - shared <= _MAX_FORCED_STEPS
        and rows * (shared + 1) <= _MAX_POSITIONS
        and rows * longest <= _MAX_SAMPLES
    )


def _pad(states: Sequence[Float32]) -> tuple[Float32, Int64]:
    """Encoder states of several clips in one array, and the mask that tells the decoder which are real.

    The decoder wants a mask over samples and looks at every 384th of it.
    """
    longest = max(len(row) for row in states)
    padded = np.zeros((len(states), longest, states[0].shape[1]), np.float32)
    mask = np.zeros((len(states), longest * STATE_SAMPLES), np.int64)
    for at, row in enumerate(states):
        padded[at, : len(row)] = row
        mask[at, : len(row) * STATE_SAMPLES] = 1
    return padded, mask
