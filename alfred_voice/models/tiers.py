"""Several recognisers as one: a quick one for partials, a better one for finals, and a way down when there is need."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from alfred_voice.errors import EngineFailure, OutOfMemory
from alfred_voice.models.engine import Clip, GrowingStt, SttEngine, TokenStt
from alfred_voice.models.spoken import KnowsLanguages
from alfred_voice.results import Piece, Transcript


log = logging.getLogger(__name__)

_TIER_BITS = 24
"""Above these bits a token says whose it is; no vocabulary is as large."""
_TOKEN = (1 << _TIER_BITS) - 1


@dataclass(frozen=True, slots=True)
class Tier:
    """A recogniser at its place between the best and the quickest."""

    name: str
    engine: SttEngine


class TieredStt:
    """Recognises each clip with the model that it is worth.

    Finals go to the first tier and partials to the last. While :attr:`is_reduced`, finals go one tier down. Where
    memory does not suffice a batch is halved, a clip alone goes one tier down, and at last to a spare.

    The tokens of tiers are told apart by their upper bits. A prefix that another tier has spelt is spelt again by
    the one that needs it, if it can; otherwise the clip is recognised freely, which the session knows how to take.
    """

    def __init__(self, tiers: Sequence[Tier], spare: Callable[[], SttEngine] | None = None) -> None:
        """Take the tiers.

        Args:
            tiers: the best first.
            spare: makes what is used when not even the last one has memory enough; called once.
        """
        if not tiers:
            raise ValueError("Expected at least one tier")
        self.tiers = tuple(tiers)
        self.name = " + ".join(dict.fromkeys(tier.name for tier in tiers))
        first = tiers[0].engine
        if isinstance(first, KnowsLanguages):
            self.languages = first.languages
        self.is_reduced = False
        self._make_spare = spare
        self._spare: Tier | None = None

    def new_hearing(self) -> Any:
        """For the partials of one utterance, if their tier makes use of it."""
        engine = self.tiers[-1].engine
        return engine.new_hearing() if isinstance(engine, GrowingStt) else _Deaf()

    def close(self) -> None:
        """Close the tiers that hold something."""
        for tier in self.tiers:
            close = getattr(tier.engine, "close", None)
            if close is not None:
                close()

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """One transcript for each clip, in their order."""
        places = sorted(range(len(clips)), key=lambda at: self._tier(clips[at]))
        answers: dict[int, Transcript] = {}
        for tier, group in groupby(places, key=lambda at: self._tier(clips[at])):
            chosen = list(group)
            answers.update(zip(chosen, self._recognise(tier, [clips[at] for at in chosen]), strict=True))
        return [answers[at] for at in range(len(clips))]

    def _tier(self, clip: Clip) -> int:
        last = len(self.tiers) - 1
        return min(1 if self.is_reduced else 0, last) if clip.is_final else last

    def _recognise(self, tier: int, clips: Sequence[Clip]) -> list[Transcript]:
        """The clips by this tier, or what is left of it."""
        try:
            answers = self._at(tier).engine.transcribe([self._for_tier(clip, tier) for clip in clips])
        except OutOfMemory as error:
            return self._with_less(tier, clips, error)
        return [self._from_tier(answer, tier) for answer in answers]

    def _with_less(self, tier: int, clips: Sequence[Clip], error: OutOfMemory) -> list[Transcript]:
        """Half as many at a time; one alone by what needs less."""
        if len(clips) > 1:
            half = len(clips) // 2
            log.warning("batch_halved", extra={"engine": self._at(tier).name, "batch": len(clips), "error": str(error)})
            return self._recognise(tier, clips[:half]) + self._recognise(tier, clips[half:])
        if tier > len(self.tiers) - 1 or (tier == len(self.tiers) - 1 and self._make_spare is None):
            raise error
        log.warning("tier_lowered", extra={"engine": self._at(tier).name, "error": str(error)})
        return self._recognise(tier + 1, clips)

    def _at(self, tier: int) -> Tier:
        if tier < len(self.tiers):
            return self.tiers[tier]
        if self._spare is None:
            if self._make_spare is None:
                raise EngineFailure("There is no recogniser left")
            engine = self._make_spare()
            self._spare = Tier(engine.name, engine)
        return self._spare

    def _for_tier(self, clip: Clip, tier: int) -> Clip:
        hearing = clip.hearing if tier == len(self.tiers) - 1 and not isinstance(clip.hearing, _Deaf) else None
        return replace(clip, prefix=self._spelt(clip.prefix, tier), draft=self._own(clip.draft, tier), hearing=hearing)

    def _from_tier(self, transcript: Transcript, tier: int) -> Transcript:
        pieces = tuple(_marked(piece, tier) for piece in transcript.pieces)
        return replace(transcript, pieces=pieces, engine=transcript.engine or self._at(tier).name)

    def _own(self, tokens: Sequence[int], tier: int) -> tuple[int, ...]:
        """A draft as far as it is this tier's."""
        if any(token >> _TIER_BITS != tier for token in tokens):
            return ()
        return tuple(token & _TOKEN for token in tokens)

    def _spelt(self, tokens: Sequence[int], tier: int) -> tuple[int, ...]:
        """A prefix in this tier's tokens; nothing where it cannot be told."""
        own = self._own(tokens, tier)
        engine = self._at(tier).engine
        if own or not tokens or not isinstance(engine, TokenStt):
            return own
        text = ""
        for writer, run in groupby(tokens, key=lambda token: token >> _TIER_BITS):
            reader = self._at(writer).engine
            if not isinstance(reader, TokenStt):
                return ()
            text += reader.text_of([token & _TOKEN for token in run])
        return engine.tokens_of(text) or ()


@dataclass(slots=True)
class _Deaf:
    """A hearing that nobody makes use of."""

    nbytes: int = 0


def _marked(piece: Piece, tier: int) -> Piece:
    return replace(piece, tokens=tuple(token | tier << _TIER_BITS for token in piece.tokens)) if tier else piece
