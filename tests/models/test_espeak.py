from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import EngineFailure, SpeechError, UnknownVoice
from alfred_voice.models import espeak
from alfred_voice.models.engine import VariantVoices
from alfred_voice.models.espeak import EspeakTts, pace, speakable


SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody was surprised by it."
Speak = Callable[..., NDArray[np.int16]]


@pytest.fixture(scope="module")
def engine() -> EspeakTts:
    return EspeakTts()


@pytest.fixture(scope="module")
def speak(engine: EspeakTts) -> Speak:
    def samples(text: str, voice: str = "en-us", speed: float = 1.0, by: EspeakTts | None = None) -> NDArray[np.int16]:
        pieces: list[NDArray[np.int16]] = [np.zeros(0, np.int16)]

        def keep(piece: NDArray[np.int16]) -> bool:
            pieces.append(piece)
            return True

        (by or engine).synthesise(text, voice, speed, keep)
        return np.concatenate(pieces)

    return samples


def pitch_hz(samples: NDArray[np.int16], rate: int) -> float:
    """The commonest period of the loud parts, by autocorrelation between 60 and 400 Hz."""
    shortest, longest, size = rate // 400, rate // 60, rate // 20
    summed = np.zeros(longest)
    for start in range(0, len(samples) - size - longest, size):
        part = samples[start : start + size + longest].astype(np.float64)
        head = part[:size]
        if np.abs(head).max() > 3000:
            summed += [np.dot(head, part[lag : lag + size]) for lag in range(longest)] / np.dot(head, head)
    return rate / (shortest + int(np.argmax(summed[shortest:])))


class TestVoices:
    def test_over_a_hundred_are_offered_sorted_and_each_once(self, engine: EspeakTts) -> None:
        names = [voice.name for voice in engine.voices()]
        assert len(names) > 100
        assert names == sorted(names)
        assert len(names) == len(set(names))

    def test_the_names_people_use_are_among_them(self, engine: EspeakTts) -> None:
        voices = {voice.name: voice for voice in engine.voices()}
        assert {"en-us", "en-gb", "de", "fr-fr", "es", "cmn"} <= voices.keys()
        assert voices["de"].description == "German"
        assert voices["de"].language == "de"

    def test_every_offered_name_is_accepted_and_leads_to_another_voice(self, engine: EspeakTts) -> None:
        identifiers = {engine._index.resolve(voice.name) for voice in engine.voices()}
        assert len(identifiers) == len(engine.voices())

    def test_every_offered_voice_is_known_to_the_library(self, engine: EspeakTts) -> None:
        with espeak._LIBRARY_LOCK:
            refused = [
                voice.name
                for voice in engine.voices()
                if engine._library.espeak_SetVoiceByName(engine._index.resolve(voice.name).encode()) != 0
            ]
        assert refused == []

    def test_every_variant_can_be_put_after_a_voice(self, engine: EspeakTts) -> None:
        variants = engine.variants()
        assert {"+f3", "+m1", "+whisper"} <= {variant.name for variant in variants}
        for variant in variants:
            engine.check("en-us" + variant.name, 1.0)

    def test_variants_are_offered_by_the_protocol(self, engine: EspeakTts) -> None:
        assert isinstance(engine, VariantVoices)
        assert {variant.gender for variant in engine.variants()} == {"male", "female"}

    def test_a_female_variant_speaks_higher(self, speak: Speak) -> None:
        low, high = speak(SENTENCE, "en-us"), speak(SENTENCE, "en-us+f3")
        assert pitch_hz(high, 22_050) > 1.3 * pitch_hz(low, 22_050)

    def test_languages_read_the_same_digits_differently(self, speak: Speak) -> None:
        lengths = {voice: len(speak("1 2 3 4 5 6 7", voice)) for voice in ("en-us", "de", "fr-fr", "cmn")}
        assert len(set(lengths.values())) == 4

    @pytest.mark.parametrize("voice", ["en-us+nonsense", "en-us+", "en-us+f3+f4", "nonsense", "", "+f3", "en-us\0"])
    def test_what_is_not_there_is_refused_and_nothing_is_spoken(self, voice: str, speak: Speak) -> None:
        # The library itself takes an unknown variant for none.
        with pytest.raises(UnknownVoice):
            speak("hello", voice)


class TestSynthesis:
    def test_a_sentence_becomes_speech_of_a_natural_length(self, engine: EspeakTts, speak: Speak) -> None:
        samples = speak(SENTENCE)
        assert samples.dtype == np.int16
        assert 3.0 < len(samples) / engine.sample_rate < 7.0
        assert np.abs(samples).max() > 5000
        assert engine.sample_rate == 22_050

    def test_it_comes_in_pieces_of_its_own_memory(self, engine: EspeakTts) -> None:
        pieces: list[NDArray[np.int16]] = []
        copies: list[NDArray[np.int16]] = []

        def keep(piece: NDArray[np.int16]) -> bool:
            pieces.append(piece)
            copies.append(piece.copy())
            return True

        engine.synthesise(SENTENCE, "en-us", 1.0, keep)
        assert len(pieces) > 20
        assert max(map(len, pieces)) <= engine.sample_rate // 10
        for piece, copy in zip(pieces, copies, strict=True):  # the library has used its buffer again since
            np.testing.assert_array_equal(piece, copy)

    def test_a_sink_that_refuses_stops_it_at_once(self, engine: EspeakTts) -> None:
        taken: list[int] = []

        def refuse_third(piece: NDArray[np.int16]) -> bool:
            taken.append(len(piece))
            return len(taken) < 3

        engine.synthesise(SENTENCE * 10, "en-us", 1.0, refuse_third)
        assert len(taken) == 3

    def test_it_speaks_well_after_it_was_stopped(self, engine: EspeakTts, speak: Speak) -> None:
        whole = len(speak(SENTENCE))
        engine.synthesise(SENTENCE, "de", 2.0, lambda _: False)
        assert len(speak(SENTENCE)) == pytest.approx(whole, rel=0.02)

    def test_an_error_of_the_sink_stops_it_and_comes_out_unchanged(self, engine: EspeakTts, speak: Speak) -> None:
        calls: list[int] = []

        def fail(piece: NDArray[np.int16]) -> bool:
            calls.append(len(piece))
            raise ZeroDivisionError("from the sink")

        with pytest.raises(ZeroDivisionError, match="from the sink"):
            engine.synthesise(SENTENCE, "en-us", 1.0, fail)
        assert len(calls) == 1
        assert len(speak("hello")) > 0

    def test_sentences_one_by_one_are_as_long_as_the_whole_text(self, speak: Speak) -> None:
        first, second = "It was late.", "Nobody came to the door."
        apart = len(speak(first)) + len(speak(second))
        assert apart == pytest.approx(len(speak(f"{first} {second}")), rel=0.06)

    @pytest.mark.parametrize("text", ["", " ", "\n\t\n", "\0", "\x01\x02\x1b", "\ud800"])
    def test_nothing_to_say_gives_no_audio(self, text: str, speak: Speak) -> None:
        assert len(speak(text)) == 0

    @pytest.mark.parametrize("text", ["...", "!?", "😀", "\u200b", "你好", "&amp;", "<", "[[", "%s%n", "a" * 5000])
    def test_odd_texts_do_no_harm(self, text: str, speak: Speak) -> None:
        speak(text)
        assert len(speak("hello")) > 5000

    def test_markup_is_read_and_not_obeyed(self, speak: Speak) -> None:
        # As SSML this would be three seconds of pause more, and no word.
        read = speak("x <break time='30s'/> y")
        assert len(speak("x y")) < len(read) < 10 * 22_050

    def test_phoneme_names_are_read_and_not_obeyed(self, speak: Speak) -> None:
        # As phonemes this is "hello", one short word.
        assert len(speak("[[h@l'oU]]")) > 1.5 * len(speak("hello"))

    def test_control_characters_are_no_commands(self, speak: Speak) -> None:
        # U+0001 and a number and S would set the library's speed.
        assert len(speak("\x01400S" + SENTENCE)) > len(speak(SENTENCE))

    def test_an_inner_nul_does_not_end_the_text(self, speak: Speak) -> None:
        assert len(speak("one\0two three four five")) > 3 * len(speak("one")) / 2

    def test_a_refusal_of_the_library_is_an_engine_failure(
        self, engine: EspeakTts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine._library, "espeak_Synth", lambda *_: -1)
        with pytest.raises(EngineFailure, match="status -1"):
            engine.synthesise("hello", "en-us", 1.0, lambda _: True)

    def test_a_closed_engine_speaks_no_more_and_disturbs_no_other(self, speak: Speak) -> None:
        other = EspeakTts()
        other.close()
        with pytest.raises(EngineFailure, match="closed"):
            other.synthesise("hello", "en-us", 1.0, lambda _: True)
        assert len(speak("hello")) > 5000


class TestSpeed:
    @pytest.mark.parametrize("speed", [0.25, 0.3, 0.5, 0.75, 1.5, 2.0, 3.0, 4.0])
    def test_it_is_kept_over_the_whole_range(self, speed: float, speak: Speak) -> None:
        assert len(speak(SENTENCE)) / len(speak(SENTENCE, speed=speed)) == pytest.approx(speed, rel=0.12)

    def test_it_does_not_stay_for_the_next_text(self, speak: Speak) -> None:
        before = len(speak(SENTENCE))
        speak(SENTENCE, speed=0.25)
        assert len(speak(SENTENCE)) == pytest.approx(before, rel=0.02)

    @pytest.mark.parametrize(
        ("speed", "expected"), [(1.0, (175, 0)), (2.0, (350, 0)), (4.0, (700, 0)), (0.5, (88, 0)), (80 / 175, (80, 0))]
    )
    def test_words_per_minute_are_scaled(self, speed: float, expected: tuple[int, int]) -> None:
        assert pace(speed) == expected

    def test_below_the_librarys_slowest_pace_gaps_grow(self) -> None:
        gaps = [pace(speed)[1] for speed in (0.45, 0.4, 0.35, 0.3, 0.25)]
        assert gaps == sorted(gaps)
        assert gaps[0] < gaps[-1]
        assert {pace(speed)[0] for speed in (0.45, 0.3, 0.25)} == {80}

    @pytest.mark.parametrize("speed", [0.0, -1.0, 0.2499, 4.0001, float("nan"), float("inf")])
    def test_other_speeds_are_refused(self, speed: float, engine: EspeakTts) -> None:
        with pytest.raises(SpeechError, match=r"0\.25 to 4\.0"):
            engine.check("en-us", speed)


class TestProcess:
    def test_two_engines_in_two_threads_do_not_mix(self, speak: Speak) -> None:
        alone = {"en-us": len(speak(SENTENCE, "en-us")), "de": len(speak(SENTENCE, "de", 2.0))}
        found: dict[str, list[int]] = {"en-us": [], "de": []}

        def work(voice: str, speed: float) -> None:
            mine = EspeakTts()
            for _ in range(10):
                found[voice].append(len(speak(SENTENCE, voice, speed, by=mine)))
            mine.close()

        threads = [threading.Thread(target=work, args=args) for args in (("en-us", 1.0), ("de", 2.0))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for voice, lengths in found.items():
            assert lengths == pytest.approx([alone[voice]] * 10, rel=0.02)

    def test_the_library_tells_that_it_has_been_initialised(self, engine: EspeakTts) -> None:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        assert library.espeak_ng_GetSampleRate() == engine.sample_rate

    @pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
    def test_data_under_a_path_too_long_for_the_library_is_found(self, tmp_path: Path) -> None:
        deep = tmp_path / ("x" * 100) / ("y" * 100)
        deep.mkdir(parents=True)
        data = deep / "espeak-ng-data"
        data.symlink_to(espeakng_loader.get_data_path())
        assert self._first_samples(data) > 5000

    def test_missing_data_is_an_engine_failure_and_does_not_end_the_process(self, tmp_path: Path) -> None:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            self._first_samples(tmp_path / "none")
        assert "EngineFailure: espeak-ng cannot read its data" in caught.value.stderr

    def _first_samples(self, data: Path) -> int:
        """How many samples a fresh process makes of a word, with its data there."""
        program = (
            "import sys, espeakng_loader\n"
            "espeakng_loader.get_data_path = lambda: sys.argv[1]\n"
            "from alfred_voice.models.espeak import EspeakTts\n"
            "lengths = []\n"
            "EspeakTts().synthesise('hello', 'en-us', 1.0, lambda piece: lengths.append(len(piece)) is None)\n"
            "print(sum(lengths))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(data)], capture_output=True, text=True, check=True, timeout=60
        )
        return int(done.stdout)

    def test_a_library_that_is_none_is_an_engine_failure(self, tmp_path: Path) -> None:
        broken = tmp_path / "libespeak-ng.so"
        broken.write_bytes(b"no library")
        with pytest.raises(EngineFailure, match="cannot be loaded"):
            espeak._open(str(broken))


class TestSpeakable:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("plain", "plain"),
            ("  trimmed \n", "trimmed"),
            ("a\0b", "a b"),
            ("a\x01b\x7fc\x9fd", "a b c d"),
            ("a\nb\tc", "a\nb\tc"),
            ("\ud83d", ""),
            ("नमस्ते\u200d", "नमस्ते\u200d"),
        ],
    )
    def test_only_what_is_no_text_goes(self, text: str, expected: str) -> None:
        assert speakable(text) == expected
