"""Moonshine's decoder at work: rows of different lengths, drafts and all, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure, EngineFault
from alfred_voice.models.decoder_batch import DecoderBatch, Heard
from alfred_voice.models.onnx import Session
from alfred_voice.models.repetition import loop_end


Float32 = NDArray[np.float32]

START = 1
END = 2

_MIN_FRESH = 2
"""A single position is multiplied by other routines, which differ in the last bit; a row has to come out the same
whether its tokens were fed one by one or all at once, so one is never fed alone."""
_MAX_FRESH = 32
"""Positions that a row may have in one call."""
_MAX_POSITIONS = 96
"""Of all rows in one call: 32,768 logits of each take 12 MB in all."""
_LOOKAHEAD = 1
"""Tokens of a draft that are tried once it has been wrong, until one is right: as many as cost nothing. Measured: four
cost as much as they save."""
_REALIGN = 6
"""How far around its place in the draft the token is looked for that came instead of the one there."""


@dataclass(slots=True, eq=False)
class Row:
    """One clip on its way through the decoder."""

    prefix: tuple[int, ...]
    max_tokens: int
    """Of the whole text, the prefix included."""
    draft: tuple[int, ...] = ()
    """What the text is expected to be."""
    stop: int | None = None
    """The token that is likelier than any other to come next where nothing is known: a full stop."""
    tokens: list[int] = field(default_factory=list)
    """The prefix and what was decoded after it."""
    log_probabilities: list[float] = field(default_factory=list)
    """Natural logarithms, of each token after the prefix, and of the end where it was reached."""
    done: bool = False
    _fed: int = 0
    """Positions that the decoder has read; the first is the start."""
    _fresh: int = 0
    """Positions that were given to it last."""
    _guesses: tuple[int, ...] = ()
    """Those among them that are not sure."""
    _follows_draft: bool = True
    """Whether they are from the draft."""
    _draft_at: int = 0
    """Place in the draft of the next token to be tried."""
    _trusts: bool = True
    """Whether the draft was right so far."""

    def __post_init__(self) -> None:
        self.tokens = list(self.prefix)
        self._draft_at = len(self.prefix)

    @property
    def position(self) -> int:
        """Where the first of what :meth:`feed` gives belongs."""
        return self._fed

    def feed(self, most: int) -> list[int]:
        """Up to ``most`` tokens to be read: those not read yet, and what the draft says would follow."""
        known = [START, *self.tokens][self._fed :]
        spare = min(most - len(known), self.max_tokens - len(self.tokens) - 1)
        if not self._trusts:
            spare = min(spare, _LOOKAHEAD)
        self._guesses = self.draft[self._draft_at : self._draft_at + max(spare, 0)]
        self._follows_draft = bool(self._guesses)
        if not self._guesses and spare > 0 and len(known) < _MIN_FRESH and self.stop is not None:
            self._guesses = (self.stop,)  # the place would go empty otherwise
        fresh = [*known, *self._guesses][:most]
        self._fresh = len(fresh)
        return fresh

    def asked(self) -> range:
        """Behind which of the tokens that :meth:`feed` gave the decoder's choice is wanted."""
        return range(len(self.tokens) - self._fed, self._fresh)

    def receive(self, tokens: Sequence[int], log_probabilities: Sequence[float], starts: Callable[[int], bool]) -> None:
        """Take the decoder's choices behind the tokens asked for, as far as what was fed turned out true."""
        if not tokens:  # the prefix is longer than what one call reads
            self._fed += self._fresh
            return
        for at, (token, log_probability) in enumerate(zip(tokens, log_probabilities, strict=True)):
            if not self.choose(token, log_probability, starts):
                self.done = True
                return
            if at >= len(self._guesses) or token != self._guesses[at]:
                break
        if self._follows_draft:
            self._realign(self._draft_at + at, token)
        self._fed = len(self.tokens)

    def choose(self, token: int, log_probability: float, starts: Callable[[int], bool]) -> bool:
        """Take the decoder's choice; False when the text is complete."""
        self.log_probabilities.append(log_probability)
        if token == END:
            return False
        self.tokens.append(token)
        cut = loop_end(self.tokens, starts, len(self.prefix))
        if cut is not None:
            del self.tokens[cut:]
            del self.log_probabilities[cut - len(self.prefix) :]
            return False
        return len(self.tokens) < self.max_tokens

    def _realign(self, at: int, token: int) -> None:
        """Go on in the draft behind ``token``, which came where the draft has what is at ``at``."""
        near = range(max(at - _REALIGN, len(self.prefix)), min(at + _REALIGN, len(self.draft)))
        same = [place for place in near if self.draft[place] == token]
        if same:
            self._draft_at = min(same, key=lambda place: abs(place - at)) + 1
        else:
            # A token for a token at first; if that was wrong, too, then two of them for one.
            self._draft_at = at + 1 if self._trusts else at
        self._trusts = self._draft_at == at + 1 and bool(same)


class GreedyDecoder:
    """Takes the most probable token at each position, for several rows in one batch; keeps nothing between calls.

    What a row comes to depends neither on its company nor on its draft, to the last bit.
    """

    def __init__(self, session: Session, begins_word: Callable[[int], bool]) -> None:
        self._session = session
        self._begins_word = begins_word
        self._past = tuple(name for name in session.input_names if name.startswith("past_"))
        self._cross = tuple(name for name in session.input_names if name.startswith(("key_", "value_")))
        present = (name for name in session.output_names if name.startswith("present_"))
        self._outputs = ("best", "log_probability", *present)
        if not self._past or len(self._past) != len(self._cross):
            raise EngineFailure(f"{session!r} is no decoder of this engine: its inputs are {session.input_names}")

    def decode(self, rows: Sequence[Row], heard: Sequence[Heard]) -> None:
        """Fill the rows' tokens; ``heard`` is what each of them is about."""
        batch = _Batch(list(rows), heard, len(self._past))
        while batch.rows:
            most = max(_MIN_FRESH, min(_MAX_FRESH, _MAX_POSITIONS // len(batch.rows)))
            self._step(batch, [[] if row.done else row.feed(most) for row in batch.rows])
            batch.leave()

    def read(self, tokens: Sequence[int], heard: Heard, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """These outputs of the graph when a text that is known already is read in one call, the start before it."""
        text = [START, *tokens]
        batch = _Batch([Row((), 0)], [heard], len(self._past))
        return self._session.run(self._feeds(batch, [text], len(text), [0]), outputs)

    def _step(self, batch: _Batch, fresh: Sequence[Sequence[int]]) -> None:
        """Let every row of the batch read its ``fresh`` tokens, and take the choices behind them."""
        wide = max(_MIN_FRESH, *(len(tokens) for tokens in fresh))
        asked = [row.asked() if tokens else range(0) for row, tokens in zip(batch.rows, fresh, strict=True)]
        wanted = [at * wide + place for at, places in enumerate(asked) for place in places]
        feeds = self._feeds(batch, fresh, wide, wanted or [0])
        best, log_probabilities, *batch.past = self._session.run(feeds, self._outputs)
        if not np.isfinite(log_probabilities).all():
            raise EngineFault("The decoder answered logits that are not numbers")
        tokens, sure = best.tolist(), log_probabilities.tolist()
        at = 0
        for row, places in zip(batch.rows, asked, strict=True):
            if not row.done:
                end = at + len(places)
                row.receive(tokens[at:end], sure[at:end], self._begins_word)
                at = end

    def _feeds(
        self, batch: _Batch, fresh: Sequence[Sequence[int]], wide: int, wanted: Sequence[int]
    ) -> dict[str, NDArray[Any]]:
        """All that the graph is given."""
        feeds = batch.feeds(fresh, [row.position for row in batch.rows], wide, START)
        feeds["wanted"] = np.array(wanted, np.int64)
        feeds |= zip(self._cross, batch.cross, strict=True)
        feeds |= zip(self._past, batch.past, strict=True)
        return feeds


class _Batch(DecoderBatch):
    """Rows that are decoded together."""

    def __init__(self, rows: list[Row], heard: Sequence[Heard], caches: int) -> None:
        _, heads, _, width = heard[0].cross[0].shape
        super().__init__(heard, caches, heads * width)
        self.rows = rows

    def leave(self) -> None:
        """Let the rows go that are done, as soon as it saves more than it costs to move the others."""
        kept = [at for at, row in enumerate(self.rows) if not row.done]
        if 2 * len(kept) > len(self.rows):
            return
        self.rows = [self.rows[at] for at in kept]
        if kept:
            self.keep(kept)
