"""Whisper's decoder at work: rows of different lengths, each with its own opening, draft and rules, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure, EngineFault
from alfred_voice.models.decoder_batch import DecoderBatch, Heard
from alfred_voice.models.onnx import Session
from alfred_voice.models.repetition import loop_end
from alfred_voice.models.whisper_rules import LogitRules, choose
from alfred_voice.models.whisper_vocabulary import Vocabulary


Float32 = NDArray[np.float32]

_MAX_GUESSES = 24
"""Tokens of a draft that are tried in one call."""


@dataclass(slots=True, eq=False)
class Row:
    """One clip on its way through the decoder."""

    opening: tuple[int, ...]
    """What came earlier and the commands, ending where the text begins."""
    max_tokens: int
    """Of the whole text, the prefix included."""
    prefix: tuple[int, ...] = ()
    """What the text has to begin with."""
    draft: tuple[int, ...] = ()
    """What the text is expected to be."""
    temperature: float = 0.0
    with_timestamps: bool = False
    random: np.random.Generator | None = None
    begins_word: NDArray[np.bool_] | None = None
    """For each text token, whether a word begins with it: lets loops be cut. None: they are not looked for."""
    tokens: list[int] = field(default_factory=list)
    """The prefix and what was decoded after it."""
    log_probabilities: list[float] = field(default_factory=list)
    """Natural logarithms, of each token after the prefix, and of the end where it was reached."""
    no_speech: float = nan
    """Probability that nobody speaks, once the opening has been read."""
    is_cut: bool = False
    """It did not end of itself: it went round in a loop, or became too long."""
    done: bool = False
    _fed: int = 0
    _fresh: int = 0
    _guesses: tuple[int, ...] = ()
    _trusts: bool = True

    def __post_init__(self) -> None:
        self.tokens = list(self.prefix)
        self._trusts = self.draft[: len(self.prefix)] == self.prefix

    @property
    def position(self) -> int:
        """Where the first of what :meth:`feed` gives belongs; a row that is done leaves whatever it likes behind."""
        return 0 if self.done else self._fed

    def feed(self) -> list[int]:
        """What is to be read next: what has not been read, and what the draft says would follow."""
        known = [*self.opening, *self.tokens][self._fed :]
        at = len(self.tokens)
        spare = min(_MAX_GUESSES, self.max_tokens - at - 1) if self._trusts else 0
        self._guesses = self.draft[at : at + max(spare, 0)]
        fresh = [*known, *self._guesses]
        self._fresh = len(fresh)
        return fresh

    def asked(self, start: int) -> list[int]:
        """Behind which of the tokens that :meth:`feed` gave logits are wanted; ``start`` begins every text."""
        last = self._fresh - len(self._guesses) - 1
        wanted = list(range(last, self._fresh))
        if self._fed == 0:
            return [self.opening.index(start), *wanted]
        return wanted

    def receive(self, logits: Float32, rules: LogitRules, end: int) -> None:
        """Take the logits asked for (float32, shape (asked, vocabulary); changed), as far as the draft held."""
        if self._fed == 0:
            self.no_speech = rules.no_speech(logits[0])
            logits = logits[1:]
        for at, row in enumerate(logits):
            # Behind a prefix the text may end at once, or go on with a space: it has begun.
            rules.apply(row, self.tokens, with_timestamps=self.with_timestamps)
            token, log_probability = choose(row, self.temperature, self.random)
            if not self._take(token, log_probability, end):
                self.done = True
                return
            if at < len(self._guesses) and token != self._guesses[at]:
                self._trusts = False
                break
        self._fed = len(self.opening) + len(self.tokens) - 1

    def _take(self, token: int, log_probability: float, end: int) -> bool:
        """Add a token; False when the text is complete."""
        self.log_probabilities.append(log_probability)
        if token == end:
            return False
        self.tokens.append(token)
        cut = self._loop_end()
        if cut is not None:
            del self.tokens[cut:]
            del self.log_probabilities[cut - len(self.prefix) :]
            self.is_cut = True
        elif len(self.tokens) >= self.max_tokens:
            self.is_cut = True
        return not self.is_cut

    def _loop_end(self) -> int | None:
        if self.begins_word is None:
            return None
        begins = self.begins_word
        return loop_end(self.tokens, lambda token: token < len(begins) and bool(begins[token]), len(self.prefix))


class WhisperDecoder:
    """Spells the texts of several rows in one batch; keeps nothing between calls."""

    def __init__(self, session: Session, vocabulary: Vocabulary, rules: LogitRules) -> None:
        self._session = session
        self._vocabulary = vocabulary
        self._rules = rules
        self._past = tuple(name for name in session.input_names if name.startswith("past_"))
        self._cross = tuple(name for name in session.input_names if name.startswith(("key_", "value_")))
        self._present = tuple(name for name in session.output_names if name.startswith("present_"))
        if not self._past or len(self._past) != len(self._cross) or "logits" not in session.output_names:
            raise EngineFailure(f"{session!r} is no decoder of this engine: its inputs are {session.input_names}")

    def decode(self, rows: Sequence[Row], heard: Sequence[Heard]) -> None:
        """Fill the rows' tokens; ``heard`` is what each of them is about."""
        active = list(rows)
        batch = self._batch(heard)
        while active:
            fresh = [[] if row.done else row.feed() for row in active]
            self._step(batch, active, fresh)
            kept = [at for at, row in enumerate(active) if not row.done]
            # To move the others costs something, too.
            if 2 * len(kept) <= len(active):
                active = [active[at] for at in kept]
                if kept:
                    batch.keep(kept)

    def languages(self, heard: Sequence[Heard], allowed: Sequence[str] = ()) -> list[tuple[str, dict[str, float]]]:
        """The likeliest language of each clip, and how likely each is."""
        batch = self._batch(heard)
        start = self._vocabulary.start
        logits, _ = self._run(batch, [[start]] * len(heard), [0] * len(heard), list(range(len(heard))))
        return [self._rules.language(row, allowed) for row in logits]

    def fits(self, heard: Heard, opening: Sequence[int], tokens: Sequence[int]) -> tuple[Float32, Float32]:
        """How a text fits what was heard.

        Args:
            heard: one clip.
            opening: the commands before the text.
            tokens: the text.

        Returns:
            How well each token's question, those of the opening and of the end included, fits each state: float32,
            shape (alignment heads, tokens, states), before the softmax; and each text token's probability.
        """
        fresh = [*opening, *tokens, self._vocabulary.end]
        first = len(opening) - 1
        wanted = list(range(first, first + len(tokens)))
        logits, fit = self._run(self._batch([heard]), [fresh], [0], wanted or [0], with_fit=True)
        if fit is None:
            raise EngineFailure("The decoder did not tell what it looked at")
        words = logits[:, : self._vocabulary.end].astype(np.float64)
        words = np.exp(words - words.max(axis=-1, keepdims=True))
        words /= words.sum(axis=-1, keepdims=True)
        chances = words[np.arange(len(tokens)), np.array(tokens, np.int64)].astype(np.float32)
        return fit[0, :, :, : heard.states], chances

    def _batch(self, heard: Sequence[Heard]) -> DecoderBatch:
        _, heads, _, width = heard[0].cross[0].shape
        return DecoderBatch(heard, len(self._past), heads * width)

    def _step(self, batch: DecoderBatch, rows: Sequence[Row], fresh: Sequence[list[int]]) -> None:
        """Let every row read its ``fresh`` tokens, and take what is chosen behind them."""
        wide = max(map(len, fresh))
        asked = [row.asked(self._vocabulary.start) if tokens else [] for row, tokens in zip(rows, fresh, strict=True)]
        wanted = [at * wide + place for at, places in enumerate(asked) for place in places]
        logits, _ = self._run(batch, fresh, [row.position for row in rows], wanted)
        at = 0
        for row, places in zip(rows, asked, strict=True):
            if places:
                row.receive(logits[at : at + len(places)], self._rules, self._vocabulary.end)
                at += len(places)

    def _run(
        self,
        batch: DecoderBatch,
        fresh: Sequence[Sequence[int]],
        starts: Sequence[int],
        wanted: Sequence[int],
        *,
        with_fit: bool = False,
    ) -> tuple[Float32, Float32 | None]:
        """One call: the logits that are wanted, and what was looked at."""
        wide = max(map(len, fresh))
        feeds = batch.feeds(fresh, starts, wide, self._vocabulary.end)
        feeds["wanted"] = np.array(wanted, np.int64)
        feeds |= zip(self._cross, batch.cross, strict=True)
        feeds |= zip(self._past, batch.past, strict=True)
        outputs = ("logits", *self._present, *(("fit",) if with_fit else ()))
        logits, *answers = self._session.run(feeds, outputs)
        if not np.isfinite(logits).all():
            raise EngineFault("The decoder answered logits that are not numbers")
        batch.past = answers[: len(self._present)]
        return logits, answers[-1] if with_fit else None
