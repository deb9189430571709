"""Several recognisers as one: who gets which clip, whose tokens are whose, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from alfred_voice.errors import EngineFailure, OutOfMemory
from alfred_voice.models.engine import Clip, SttEngine
from alfred_voice.models.scripted import ScriptedStt
from alfred_voice.models.tiers import Tier, TieredStt
from alfred_voice.results import Piece, Transcript


SECOND = np.full(16_000, 0.1, np.float32)
FINAL = Clip(SECOND)
PARTIAL = Clip(SECOND, is_final=False)


class Letters:
    """Says its own name; a token is a letter, shifted by its key, so that no other engine reads it by chance."""

    def __init__(self, name: str, key: int = 0, *, can_write: bool = True) -> None:
        self.name = name
        self.key = key
        self.can_write = can_write
        self.clips: list[Clip] = []
        self.batches: list[int] = []
        self.most = 100
        self.closed = False

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        self.batches.append(len(clips))
        if len(clips) > self.most:
            raise OutOfMemory(f"{self.name}: {len(clips)} clips are too many")
        self.clips += clips
        return [self._transcript(clip) for clip in clips]

    def _transcript(self, clip: Clip) -> Transcript:
        text = self.text_of(clip.prefix) or f" {self.name}"
        return Transcript(text.strip(), (Piece(text, self._written(text)),))

    def text_of(self, tokens: Sequence[int]) -> str:
        return "".join(chr(token - self.key) for token in tokens)

    def tokens_of(self, text: str) -> tuple[int, ...] | None:
        return self._written(text) if self.can_write else None

    def _written(self, text: str) -> tuple[int, ...]:
        return tuple(ord(letter) + self.key for letter in text)

    def close(self) -> None:
        self.closed = True


def tiered(*engines: SttEngine, spare: Callable[[], SttEngine] | None = None) -> TieredStt:
    return TieredStt([Tier(engine.name, engine) for engine in engines], spare)


def said(stt: TieredStt, *clips: Clip) -> list[str]:
    return [transcript.text for transcript in stt.transcribe(clips)]


def tokens(transcript: Transcript) -> tuple[int, ...]:
    return tuple(token for piece in transcript.pieces for token in piece.tokens)


class TestChoice:
    def test_finals_go_to_the_best_and_partials_to_the_quickest_in_their_order(self) -> None:
        stt = tiered(Letters("best"), Letters("middling"), Letters("quick"))
        assert said(stt, PARTIAL, FINAL, FINAL, PARTIAL) == ["quick", "best", "best", "quick"]

    def test_who_recognised_it_is_told(self) -> None:
        stt = tiered(Letters("best"), Letters("quick"))
        assert [one.engine for one in stt.transcribe([FINAL, PARTIAL])] == ["best", "quick"]
        assert stt.name == "best + quick"

    def test_at_reduced_quality_finals_go_one_down_and_come_back(self) -> None:
        stt = tiered(Letters("best"), Letters("quick"))
        stt.is_reduced = True
        assert said(stt, FINAL, PARTIAL) == ["quick", "quick"]
        stt.is_reduced = False
        assert said(stt, FINAL) == ["best"]

    def test_a_single_tier_has_nothing_to_reduce(self) -> None:
        stt = tiered(Letters("only"))
        stt.is_reduced = True
        assert said(stt, FINAL, PARTIAL) == ["only", "only"]

    def test_each_tier_is_called_once_for_a_batch(self) -> None:
        best, quick = Letters("best"), Letters("quick")
        said(tiered(best, quick), FINAL, PARTIAL, FINAL, PARTIAL, PARTIAL)
        assert (best.batches, quick.batches) == ([2], [3])

    def test_nothing_is_asked_about_nothing(self) -> None:
        best = Letters("best")
        assert tiered(best).transcribe([]) == []
        assert best.batches == []

    def test_no_tier_at_all_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            TieredStt([])


class TestTokens:
    def test_a_prefix_comes_back_to_the_tier_that_spelt_it(self) -> None:
        best, quick = Letters("best", 7), Letters("quick", 1000)
        stt = tiered(best, quick)
        (partial,) = stt.transcribe([PARTIAL])
        stt.transcribe([Clip(SECOND, prefix=tokens(partial), draft=tokens(partial), is_final=False)])
        assert quick.text_of(quick.clips[-1].prefix) == " quick"
        assert quick.clips[-1].draft == quick.clips[-1].prefix

    def test_a_prefix_of_another_tier_is_spelt_again_and_its_draft_is_no_use(self) -> None:
        best, quick = Letters("best", 7), Letters("quick", 1000)
        stt = tiered(best, quick)
        (partial,) = stt.transcribe([PARTIAL])
        (final,) = stt.transcribe([Clip(SECOND, prefix=tokens(partial), draft=tokens(partial))])
        assert final.text == "quick"
        assert best.text_of(best.clips[-1].prefix) == " quick"
        assert best.clips[-1].draft == ()

    def test_a_prefix_that_several_tiers_spelt_is_put_together(self) -> None:
        best, quick = Letters("best", 7), Letters("quick", 1000)
        stt = tiered(best, quick)
        final, partial = stt.transcribe([FINAL, PARTIAL])
        stt.transcribe([Clip(SECOND, prefix=tokens(final) + tokens(partial))])
        assert best.text_of(best.clips[-1].prefix) == " best quick"

    def test_who_cannot_write_recognises_freely(self) -> None:
        best, quick = Letters("best", can_write=False), Letters("quick", 1000)
        stt = tiered(best, quick)
        (partial,) = stt.transcribe([PARTIAL])
        assert said(stt, Clip(SECOND, prefix=tokens(partial))) == ["best"]
        assert best.clips[-1].prefix == ()

    def test_tokens_of_an_engine_that_nobody_can_read_are_left_out(self) -> None:
        best, quick = Letters("best"), ScriptedStt(("hello world",))
        stt = tiered(best, quick)
        (partial,) = stt.transcribe([PARTIAL])
        assert said(stt, Clip(SECOND, prefix=tokens(partial))) == ["best"]


class TestHearings:
    def test_is_made_by_the_tier_of_partials_and_given_to_it_alone(self) -> None:
        class Growing(Letters):
            def new_hearing(self) -> object:
                return "a hearing"

        best, quick = Letters("best"), Growing("quick")
        stt = tiered(best, quick)
        hearing = stt.new_hearing()
        stt.transcribe([Clip(SECOND, is_final=False, hearing=hearing), Clip(SECOND, hearing=hearing)])
        assert quick.clips[-1].hearing == "a hearing"
        assert best.clips[-1].hearing is None

    def test_of_a_tier_that_makes_no_use_of_it_takes_no_memory_and_is_not_passed_on(self) -> None:
        quick = Letters("quick")
        stt = tiered(Letters("best"), quick)
        hearing = stt.new_hearing()
        stt.transcribe([Clip(SECOND, is_final=False, hearing=hearing)])
        assert hearing.nbytes == 0
        assert quick.clips[-1].hearing is None


class TestMemory:
    def test_a_batch_that_is_too_large_is_halved_until_it_fits_and_stays_in_order(self) -> None:
        best = Letters("best")
        best.most = 2
        clips = [Clip(SECOND[: 1000 + at]) for at in range(7)]
        assert said(tiered(best), *clips) == ["best"] * 7
        assert [len(clip.samples) for clip in best.clips] == [1000 + at for at in range(7)]
        assert best.batches[0] == 7

    def test_a_clip_alone_goes_one_tier_down(self) -> None:
        best, quick = Letters("best"), Letters("quick")
        best.most = 0
        (final,) = tiered(best, quick).transcribe([FINAL])
        assert (final.text, final.engine) == ("quick", "quick")

    def test_at_last_the_spare_is_made_once(self) -> None:
        best, spare = Letters("best"), Letters("spare", 50)
        best.most = 0
        made: list[SttEngine] = []

        def make() -> SttEngine:
            made.append(spare)
            return spare

        stt = tiered(best, spare=make)
        assert said(stt, FINAL, FINAL) == ["spare", "spare"]
        assert len(made) == 1

    def test_a_prefix_that_the_spare_spelt_is_read_again(self) -> None:
        best, spare = Letters("best", 3), Letters("spare", 50)
        best.most = 0
        stt = tiered(best, spare=lambda: spare)
        (told,) = stt.transcribe([FINAL])
        best.most = 9
        assert said(stt, Clip(SECOND, prefix=tokens(told))) == ["spare"]
        assert best.text_of(best.clips[-1].prefix) == " spare"

    def test_where_nothing_is_left_the_error_comes_through(self) -> None:
        only = Letters("only")
        only.most = 0
        with pytest.raises(OutOfMemory, match="only"):
            said(tiered(only), FINAL)

    def test_other_failures_are_not_tried_again(self) -> None:
        scripted = ScriptedStt()
        scripted.failure = EngineFailure("broken")
        quick = Letters("quick")
        with pytest.raises(EngineFailure, match="broken"):
            said(tiered(scripted, quick), FINAL)
        assert quick.batches == []


def test_closing_closes_whatever_holds_something() -> None:
    held = Letters("held")
    tiered(ScriptedStt(), held).close()
    assert held.closed
