"""What every engine of a kind must do, real or scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alfred_voice.clock import SystemClock
from alfred_voice.errors import SpeechError, UnknownVoice
from alfred_voice.models.engine import Clip, Float32, Int16, SttEngine, TtsEngine, TurnEngine, VadEngine
from alfred_voice.models.espeak import EspeakTts
from alfred_voice.models.hallucination import HallucinationGuard, HallucinationOptions
from alfred_voice.models.moonshine import Moonshine
from alfred_voice.models.onnx import open_session
from alfred_voice.models.openai_options import OpenAiOptions
from alfred_voice.models.openai_stt import OpenAiStt
from alfred_voice.models.progress import Silent
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts, ScriptedTurn, ScriptedVad
from alfred_voice.models.silero import SileroVad
from alfred_voice.models.smart_turn import SmartTurn
from alfred_voice.models.tiers import Tier, TieredStt
from alfred_voice.models.whisper import Whisper
from alfred_voice.models.whisper_export import export_whisper
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_options import WhisperOptions
from tests.models.openai_server import OpenAiServer, Reply
from tests.models.whisper_models import ENGLISH, checkpoint_of, write_vocabularies


WINDOW = 512
SAMPLE_RATE = 16_000


def noise(samples: int, level: float = 0.1, seed: int = 0) -> Float32:
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def kinds(*real: str) -> list[Any]:
    """The names of real engines, which need their models, and the scripted one."""
    return [pytest.param(name, marks=pytest.mark.models) for name in real] + ["scripted"]


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Callable[[str, str], Path]:
    """Where a model's file lies; the models are only asked for when it is called."""
    return lambda model, file: request.getfixturevalue("models").path(model, file)


def word_a_second(samples: int) -> str:
    return " ".join(["word"] * round(samples / SAMPLE_RATE))


@pytest.fixture(scope="module")
def random_whisper(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    """A small one that has learnt nothing, and believes all that it makes up."""
    folder = tmp_path_factory.mktemp("whisper")
    files = export_whisper(
        checkpoint_of(ENGLISH, 2), "", folder, "random", write_vocabularies(folder), [Precision.INT8], Silent()
    )
    encoder, decoder = files.graphs(Precision.INT8)
    trusting = WhisperOptions(min_log_probability=-1e9, max_compression=1e9, max_temperature=0.0)
    guard = HallucinationGuard(HallucinationOptions(0.0, 0.0, 0.0, 0, 0.0, 0.0, 1e9))
    return Whisper(files, open_session(encoder), open_session(decoder), trusting, guard=guard)


class TestVad:
    @pytest.fixture(params=kinds("silero"))
    def vad(self, request: pytest.FixtureRequest, store: Callable[[str, str], Path]) -> VadEngine:
        if request.param == "silero":
            return SileroVad.load(store("silero-vad", "silero_vad_op18_ifless.onnx"))
        return ScriptedVad([0.1, 0.9, 0.5, 0.3, 0.7])

    def test_has_a_name(self, vad: VadEngine) -> None:
        assert vad.name

    @pytest.mark.parametrize("sessions", [0, 1, 2, 33])
    def test_gives_one_probability_for_each_window(self, vad: VadEngine, sessions: int) -> None:
        windows = noise(sessions * WINDOW).reshape(sessions, WINDOW)
        answers = vad.step(vad.new_states(33), range(sessions), windows)
        assert answers.shape == (sessions,)
        assert answers.dtype == np.float32
        assert ((answers >= 0) & (answers <= 1)).all()

    def test_judges_a_batch_as_one_by_one(self, vad: VadEngine) -> None:
        steps = noise(4 * 5 * WINDOW).reshape(4, 5, WINDOW)
        together, alone = vad.new_states(5), vad.new_states(5)
        for windows in steps:
            answers = vad.step(together, [4, 2, 0, 1, 3], windows)
            singly = [
                vad.step(alone, [row], window[None])[0] for row, window in zip([4, 2, 0, 1, 3], windows, strict=True)
            ]
            np.testing.assert_allclose(answers, singly, rtol=0, atol=1e-5)

    def test_sessions_do_not_hear_each_other(self, vad: VadEngine) -> None:
        windows = noise(3 * WINDOW).reshape(3, 1, WINDOW)
        busy, quiet = vad.new_states(2), vad.new_states(2)
        for window in windows:
            vad.step(busy, [1], window)
            np.testing.assert_array_equal(vad.step(busy, [0], window), vad.step(quiet, [0], window))

    def test_row_that_was_reset_is_as_fresh_as_a_new_one(self, vad: VadEngine) -> None:
        windows = noise(4 * WINDOW).reshape(4, 1, WINDOW)
        states = vad.new_states(2)
        first = [float(vad.step(states, [1], window)[0]) for window in windows]
        states.reset([1])
        assert [float(vad.step(states, [1], window)[0]) for window in windows] == first

    def test_reset_and_grow_leave_other_rows_where_they_are(self, vad: VadEngine) -> None:
        windows = noise(6 * WINDOW).reshape(6, 1, WINDOW)
        disturbed, undisturbed = vad.new_states(2), vad.new_states(2)
        for step, window in enumerate(windows):
            disturbed.reset([1])
            disturbed.grow(2 + step)
            np.testing.assert_array_equal(vad.step(disturbed, [0], window), vad.step(undisturbed, [0], window))
        assert vad.step(disturbed, [6], windows[0]) == vad.step(vad.new_states(1), [0], windows[0])

    def test_states_do_not_shrink(self, vad: VadEngine) -> None:
        with pytest.raises(ValueError, match="at least 4"):
            vad.new_states(4).grow(3)

    @pytest.mark.parametrize(
        ("rows", "windows"),
        [
            ([0, 0], np.zeros((2, WINDOW), np.float32)),
            ([2], np.zeros((1, WINDOW), np.float32)),
            ([-1], np.zeros((1, WINDOW), np.float32)),
            ([0], np.zeros((1, WINDOW - 1), np.float32)),
            ([0], np.zeros((2, WINDOW), np.float32)),
            ([0], np.zeros((1, WINDOW), np.int16)),
        ],
        ids=["row twice", "row beyond", "row below", "short window", "more windows than rows", "integers"],
    )
    def test_refuses_what_cannot_be_meant_and_moves_no_state_on(
        self, vad: VadEngine, rows: list[int], windows: Any
    ) -> None:
        states = vad.new_states(2)
        with pytest.raises(ValueError, match="Expected"):
            vad.step(states, rows, windows)
        window = noise(WINDOW)[None]
        assert vad.step(states, [0], window) == vad.step(vad.new_states(1), [0], window)

    def test_leaves_its_windows_as_they_were(self, vad: VadEngine) -> None:
        windows = noise(2 * WINDOW).reshape(2, WINDOW)
        before = windows.copy()
        vad.step(vad.new_states(2), [0, 1], windows)
        np.testing.assert_array_equal(windows, before)


class TestStt:
    @pytest.fixture(params=[*kinds("moonshine"), "whisper", "tiers", "openai"])
    def kind(self, request: pytest.FixtureRequest) -> str:
        name: str = request.param
        return name

    @pytest.fixture
    def stt(self, kind: str, store: Callable[[str, str], Path], request: pytest.FixtureRequest) -> Iterator[SttEngine]:
        if kind == "moonshine":
            yield Moonshine(store("moonshine-tiny-en", "encoder_model.ort").parent)
        elif kind == "whisper":
            yield request.getfixturevalue("random_whisper")
        elif kind == "tiers":
            yield TieredStt([Tier("careful", self.scripted()), Tier("quick", self.scripted())])
        elif kind == "openai":
            yield from self.remote()
        else:
            yield self.scripted()

    def remote(self) -> Iterator[SttEngine]:
        """A server on this machine that says a word for each second."""
        server = OpenAiServer(lambda asked: Reply({"text": word_a_second(len(asked.form["file"][0]) // 2)}))
        engine = OpenAiStt(OpenAiOptions(server.url, partials=True), SystemClock(), api_key="")
        yield engine
        engine.close()
        server.close()

    def scripted(self) -> SttEngine:
        return ScriptedStt(lambda clip: word_a_second(len(clip.samples)))

    @pytest.fixture
    def clips(self, kind: str, request: pytest.FixtureRequest) -> list[Clip]:
        """Three stretches of speech of different lengths; noise will do for the scripted one."""
        if kind != "moonshine":
            return [Clip(noise(seconds * SAMPLE_RATE)) for seconds in (2, 1, 4)]
        samples: Float32 = request.getfixturevalue("beckett").astype(np.float32) / np.float32(32_768)
        spans_s = ((0.2, 3.2), (0.2, 1.5), (4.7, 9.2))
        return [Clip(samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]) for start, end in spans_s]

    def test_has_a_name(self, stt: SttEngine) -> None:
        assert stt.name

    def test_no_clips_give_no_transcripts(self, stt: SttEngine) -> None:
        assert stt.transcribe([]) == []

    def test_gives_one_transcript_for_each_clip_in_their_order(self, stt: SttEngine, clips: list[Clip]) -> None:
        together = [transcript.text for transcript in stt.transcribe(clips)]
        assert together == [stt.transcribe([clip])[0].text for clip in clips]
        assert all(together)
        assert len(set(together)) == len(clips)

    def test_text_is_its_pieces_joined_and_trimmed(self, stt: SttEngine, clips: list[Clip]) -> None:
        for transcript in stt.transcribe(clips):
            assert "".join(piece.text for piece in transcript.pieces).strip() == transcript.text
            assert transcript.text == transcript.text.strip()

    def test_figures_are_within_their_ranges(self, stt: SttEngine, clips: list[Clip]) -> None:
        for transcript in stt.transcribe(clips):
            assert 0 < transcript.confidence <= 1
            assert transcript.processing_ms >= 0
            assert transcript.language == "en"

    def test_clip_without_samples_has_no_text_and_disturbs_no_other(self, stt: SttEngine, clips: list[Clip]) -> None:
        (alone,) = stt.transcribe(clips[:1])
        empty, beside = stt.transcribe([Clip(np.zeros(0, np.float32)), clips[0]])
        assert empty.text == ""
        assert empty.pieces == ()
        assert beside.text == alone.text

    def test_text_begins_with_the_prefix(self, stt: SttEngine, clips: list[Clip]) -> None:
        for clip, transcript in zip(clips, stt.transcribe(clips), strict=True):
            committed = transcript.pieces[: len(transcript.pieces) // 2]
            prefix = tuple(token for piece in committed for token in piece.tokens)
            (again,) = stt.transcribe([Clip(clip.samples, prefix=prefix)])
            assert again.pieces[: len(committed)] == committed
            assert again.text == transcript.text

    def test_partial_is_a_transcript_too(self, stt: SttEngine, clips: list[Clip]) -> None:
        (transcript,) = stt.transcribe([Clip(clips[0].samples, is_final=False)])
        assert transcript.text

    def test_leaves_its_clips_as_they_were(self, stt: SttEngine, clips: list[Clip]) -> None:
        before = [clip.samples.copy() for clip in clips]
        stt.transcribe(clips)
        for clip, samples in zip(clips, before, strict=True):
            np.testing.assert_array_equal(clip.samples, samples)


class TestTurn:
    @pytest.fixture(params=kinds("smart_turn"))
    def turn_engine(self, request: pytest.FixtureRequest, store: Callable[[str, str], Path]) -> TurnEngine:
        if request.param == "smart_turn":
            return SmartTurn(store("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx"))
        return ScriptedTurn(lambda turn: min(1.0, float(np.abs(turn).sum()) / 10_000))

    def test_has_a_name(self, turn_engine: TurnEngine) -> None:
        assert turn_engine.name

    def test_no_turns_give_no_judgements(self, turn_engine: TurnEngine) -> None:
        assert turn_engine.judge([]) == []

    def test_gives_one_probability_for_each_turn_in_their_order(self, turn_engine: TurnEngine) -> None:
        turns = [noise(samples, seed=samples) for samples in (0, 1, 16_000, 128_000, 200_001)]
        together = turn_engine.judge(turns)
        assert together == [turn_engine.judge([turn])[0] for turn in turns]
        assert all(0 <= judgement.probability <= 1 for judgement in together)

    def test_judges_the_same_turn_the_same_way_again(self, turn_engine: TurnEngine) -> None:
        turn = noise(20_000)
        assert turn_engine.judge([turn]) == turn_engine.judge([turn])

    def test_leaves_its_turns_as_they_were(self, turn_engine: TurnEngine) -> None:
        turn = noise(20_000)
        before = turn.copy()
        turn_engine.judge([turn])
        np.testing.assert_array_equal(turn, before)


class TestTts:
    VOICE = "en-us"

    @pytest.fixture(params=["espeak", "scripted"])
    def tts(self, request: pytest.FixtureRequest) -> TtsEngine:
        return EspeakTts() if request.param == "espeak" else ScriptedTts()

    def speak(self, tts: TtsEngine, text: str, speed: float = 1.0) -> Int16:
        """All samples of a text."""
        pieces: list[Int16] = []

        def sink(piece: Int16) -> bool:
            assert piece.dtype == np.int16
            assert piece.ndim == 1
            assert len(piece)
            pieces.append(piece.copy())
            return True

        tts.synthesise(text, self.VOICE, speed, sink)
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def test_has_a_name_and_a_rate(self, tts: TtsEngine) -> None:
        assert tts.name
        assert 8_000 <= tts.sample_rate <= 48_000

    def test_voices_are_sorted_and_each_can_be_had(self, tts: TtsEngine) -> None:
        names = [voice.name for voice in tts.voices()]
        assert self.VOICE in names
        assert names == sorted(set(names))
        for voice in tts.voices():
            assert voice.language
            tts.check(voice.name, 1.0)

    def test_unknown_voice_is_refused_before_any_sound(self, tts: TtsEngine) -> None:
        with pytest.raises(UnknownVoice, match="no-such-voice"):
            tts.check("no-such-voice", 1.0)
        with pytest.raises(UnknownVoice, match="no-such-voice"):
            tts.synthesise("Hello", "no-such-voice", 1.0, lambda _: pytest.fail("there was sound"))

    @pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
    def test_speeds_of_the_whole_range_can_be_had(self, tts: TtsEngine, speed: float) -> None:
        tts.check(self.VOICE, speed)
        assert len(self.speak(tts, "Hello there.", speed))

    @pytest.mark.parametrize("speed", [0.0, 0.2, 4.1, -1.0, float("nan"), float("inf")])
    def test_other_speeds_are_refused(self, tts: TtsEngine, speed: float) -> None:
        with pytest.raises(SpeechError, match="speed"):
            tts.check(self.VOICE, speed)

    def test_speech_is_audible_and_of_a_plausible_length(self, tts: TtsEngine) -> None:
        samples = self.speak(tts, "Good morning, how are you today?")
        assert 0.8 < len(samples) / tts.sample_rate < 5
        assert np.abs(samples.astype(int)).max() > 1_000

    def test_longer_text_takes_longer_and_higher_speed_shorter(self, tts: TtsEngine) -> None:
        short = len(self.speak(tts, "Hello there."))
        long = len(self.speak(tts, "Hello there, it is good to see you again after all these years."))
        quick = len(self.speak(tts, "Hello there, it is good to see you again after all these years.", speed=2.0))
        assert short < quick < long

    def test_text_takes_as_long_again_whatever_was_spoken_in_between(self, tts: TtsEngine) -> None:
        first = self.speak(tts, "Once more.")
        self.speak(tts, "Something else.", speed=3.0)
        assert len(self.speak(tts, "Once more.")) == pytest.approx(len(first), rel=0.01)

    @pytest.mark.parametrize("taken", [1, 3])
    def test_sink_that_refuses_is_not_asked_again(self, tts: TtsEngine, taken: int) -> None:
        pieces: list[Int16] = []

        def sink(piece: Int16) -> bool:
            pieces.append(piece)
            return len(pieces) < taken

        text = "This is a long sentence, of which only the beginning will ever be heard by anyone."
        tts.synthesise(text, self.VOICE, 1.0, sink)
        assert len(pieces) == taken
        assert len(self.speak(tts, "And yet it speaks.")) > tts.sample_rate // 4

    @pytest.mark.parametrize("text", ["", "  \n\t "], ids=["empty", "blank"])
    def test_text_of_nothing_is_no_sound(self, tts: TtsEngine, text: str) -> None:
        assert not len(self.speak(tts, text))
