from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure, UnknownVoice
from alfred_voice.models.engine import TtsEngine, VariantVoices
from alfred_voice.models.phrase_cache import PhraseCache
from alfred_voice.results import Voice


Int16 = NDArray[np.int16]
PIECES = 3
PIECE_SAMPLES = 500


class CountingTts:
    """Speaks any text as three pieces of numbers that follow from it, and counts how often."""

    name = "counting"
    sample_rate = 8000

    def __init__(self) -> None:
        self.spoken: list[str] = []

    def voices(self) -> list[Voice]:
        return [Voice("one", "en"), Voice("two", "de")]

    def check(self, voice: str, speed: float) -> None:
        if voice not in ("one", "two"):
            raise UnknownVoice(f"{voice} at {speed}")

    def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
        self.spoken.append(text)
        if text == "broken":
            sink(np.zeros(10, np.int16))
            raise EngineFailure("broken")
        if text == "silent":
            return
        for piece in expected(text, voice, speed).reshape(PIECES, PIECE_SAMPLES):
            if not sink(piece):
                return


class VaryingTts(CountingTts):
    def variants(self) -> list[Voice]:
        return [Voice("+f3", "")]


def expected(text: str, voice: str = "one", speed: float = 1.0) -> Int16:
    """What the engine says."""
    seed = sum(map(ord, text + voice)) + int(100 * speed)
    return np.random.default_rng(seed).integers(-32768, 32768, PIECES * PIECE_SAMPLES).astype(np.int16)


def say(cache: PhraseCache, text: str, voice: str = "one", speed: float = 1.0) -> Int16:
    pieces: list[Int16] = [np.zeros(0, np.int16)]

    def keep(piece: Int16) -> bool:
        pieces.append(piece.copy())
        return True

    cache.synthesise(text, voice, speed, keep)
    return np.concatenate(pieces)


@pytest.fixture
def engine() -> CountingTts:
    return CountingTts()


def test_it_is_a_synthesiser_like_the_one_it_wraps(engine: CountingTts) -> None:
    cache: TtsEngine = PhraseCache(engine, 10_000)
    assert (cache.name, cache.sample_rate) == ("counting", 8000)
    assert cache.voices() == engine.voices()
    cache.check("two", 1.0)
    with pytest.raises(UnknownVoice):
        cache.check("three", 1.0)


def test_variants_are_those_of_the_engine_or_none(engine: CountingTts) -> None:
    assert PhraseCache(engine, 0).variants() == []
    varying = PhraseCache(VaryingTts(), 0)
    assert isinstance(varying, VariantVoices)
    assert varying.variants() == [Voice("+f3", "")]


def test_a_phrase_is_made_once_and_sounds_the_same_again(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    first, second = say(cache, "hello"), say(cache, "hello")
    np.testing.assert_array_equal(first, expected("hello"))
    np.testing.assert_array_equal(second, expected("hello"))
    assert engine.spoken == ["hello"]
    assert (cache.hits, cache.misses, len(cache)) == (1, 1, 1)


def test_text_voice_and_speed_all_make_a_phrase(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    for text, voice, speed in (("a", "one", 1.0), ("b", "one", 1.0), ("a", "two", 1.0), ("a", "one", 2.0)):
        np.testing.assert_array_equal(say(cache, text, voice, speed), expected(text, voice, speed))
        np.testing.assert_array_equal(say(cache, text, voice, speed), expected(text, voice, speed))
    assert (cache.hits, cache.misses) == (4, 4)


def test_what_is_remembered_comes_in_pieces_of_a_tenth_of_a_second(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    say(cache, "hello")
    lengths: list[int] = []

    def count(piece: Int16) -> bool:
        lengths.append(len(piece))
        return True

    cache.synthesise("hello", "one", 1.0, count)
    assert lengths == [800, 700]


def test_a_sink_stops_what_is_remembered_as_well(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    say(cache, "hello")
    lengths: list[int] = []

    def refuse(piece: Int16) -> bool:
        lengths.append(len(piece))
        return False

    cache.synthesise("hello", "one", 1.0, refuse)
    assert lengths == [800]


@pytest.mark.parametrize("taken", range(1, PIECES + 1))
def test_a_cancelled_phrase_is_not_remembered(taken: int, engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    count = 0

    def refuse(_: Int16) -> bool:
        nonlocal count
        count += 1
        return count < taken

    cache.synthesise("hello", "one", 1.0, refuse)
    assert (len(cache), cache.bytes_used) == (0, 0)
    np.testing.assert_array_equal(say(cache, "hello"), expected("hello"))
    assert engine.spoken == ["hello", "hello"]


def test_a_phrase_that_failed_is_not_remembered(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    for _ in range(2):
        with pytest.raises(EngineFailure):
            say(cache, "broken")
    assert (len(cache), cache.misses) == (0, 2)


def test_a_phrase_whose_sink_failed_is_not_remembered(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)

    def fail(_: Int16) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.synthesise("hello", "one", 1.0, fail)
    assert len(cache) == 0


def test_a_silent_phrase_is_remembered_and_counted_by_its_text(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    assert len(say(cache, "silent")) == len(say(cache, "silent")) == 0
    assert engine.spoken == ["silent"]
    assert cache.bytes_used > 0


def test_what_the_sink_does_with_its_samples_does_not_reach_the_memory(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)

    def overwrite(piece: Int16) -> bool:
        piece.flags.writeable = True
        piece[:] = 0
        return True

    cache.synthesise("hello", "one", 1.0, overwrite)
    np.testing.assert_array_equal(say(cache, "hello"), expected("hello"))

    def write(piece: Int16) -> bool:
        piece[:] = 0
        return True

    with pytest.raises(ValueError, match="read-only"):
        cache.synthesise("hello", "one", 1.0, write)


def cost_of_one(engine: CountingTts) -> int:
    cache = PhraseCache(engine, 1_000_000)
    say(cache, "a")
    engine.spoken.clear()
    return cache.bytes_used


def test_the_cost_is_that_of_samples_and_text(engine: CountingTts) -> None:
    samples_bytes = 2 * PIECES * PIECE_SAMPLES
    assert samples_bytes < cost_of_one(engine) < samples_bytes + 200


def test_a_phrase_of_exactly_the_bound_is_kept_and_one_larger_is_not(engine: CountingTts) -> None:
    cost = cost_of_one(engine)
    exact, short = PhraseCache(engine, cost), PhraseCache(engine, cost - 1)
    say(exact, "a")
    np.testing.assert_array_equal(say(short, "a"), expected("a"))
    assert (len(exact), exact.bytes_used) == (1, cost)
    assert (len(short), short.bytes_used) == (0, 0)


def test_the_longest_unused_is_forgotten_first(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 3 * cost_of_one(engine))
    for text in ("a", "b", "c"):
        say(cache, text)
    say(cache, "a")  # now b is the longest unused
    say(cache, "d")
    engine.spoken.clear()
    for text in ("a", "c", "d"):
        say(cache, text)
    assert engine.spoken == []
    say(cache, "b")
    assert engine.spoken == ["b"]


def test_no_memory_at_all_remembers_nothing(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 0)
    for _ in range(2):
        np.testing.assert_array_equal(say(cache, "a"), expected("a"))
        say(cache, "silent")
    assert (len(cache), cache.bytes_used, cache.hits) == (0, 0, 0)
    assert engine.spoken == ["a", "silent", "a", "silent"]


def test_clear_forgets_and_tells_the_bytes(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)
    say(cache, "a")
    say(cache, "b")
    used = cache.bytes_used
    assert used > 0
    assert cache.clear() == used
    assert (len(cache), cache.bytes_used, cache.clear()) == (0, 0, 0)
    say(cache, "a")
    assert engine.spoken == ["a", "b", "a"]


def test_a_negative_bound_is_refused(engine: CountingTts) -> None:
    with pytest.raises(ValueError, match="-1"):
        PhraseCache(engine, -1)


@given(texts=st.lists(st.sampled_from("abcdefgh"), max_size=40), rooms=st.integers(0, 5))
def test_it_remembers_what_a_simple_list_of_the_latest_would(texts: list[str], rooms: int) -> None:
    engine = CountingTts()
    cache = PhraseCache(engine, rooms * cost_of_one(engine))
    latest: list[str] = []
    made: list[str] = []
    for text in texts:
        np.testing.assert_array_equal(say(cache, text), expected(text))
        if text in latest:
            latest.remove(text)
        else:
            made.append(text)
        latest = [*latest, text][-rooms:] if rooms else []
        assert cache.bytes_used <= cache.max_bytes
        assert len(cache) == len(latest)
    assert engine.spoken == made


def test_many_threads_get_their_phrases_right_and_the_bytes_add_up(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 4 * cost_of_one(engine))
    wrong: list[str] = []

    def work(offset: int) -> None:
        for turn in range(100):
            text = "abcdefgh"[(turn * 3 + offset) % 8]
            if not np.array_equal(say(cache, text), expected(text)):
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.hits + cache.misses == 400
    assert cache.bytes_used == len(cache) * cost_of_one(CountingTts()) <= cache.max_bytes
    cache.clear()
    assert cache.bytes_used == 0


def test_the_same_phrase_made_twice_at_once_counts_once(engine: CountingTts) -> None:
    cache = PhraseCache(engine, 100_000)

    def again(_: Int16) -> bool:
        if len(engine.spoken) == 1:
            say(cache, "a")  # another caller, while this one is still at it
        return True

    cache.synthesise("a", "one", 1.0, again)
    assert engine.spoken == ["a", "a"]
    assert (len(cache), cache.bytes_used) == (1, cost_of_one(CountingTts()))
