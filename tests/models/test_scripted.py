from __future__ import annotations

import numpy as np
import pytest

from alfred_voice.errors import EngineFailure, SpeechError, UnknownVoice
from alfred_voice.models.engine import Clip, Float32, Int16
from alfred_voice.models.scripted import (
    SILENCE_PROBABILITY,
    SPEECH_PROBABILITY,
    ScriptedStt,
    ScriptedTts,
    ScriptedTurn,
    ScriptedVad,
    speech_above,
)


QUIET = np.zeros((1, 512), np.float32)
LOUD = np.full((1, 512), 0.1, np.float32)
SECOND = np.full(16_000, 0.1, np.float32)


def hum(engine: ScriptedTts, text: str, speed: float = 1.0, pieces: int | None = None) -> list[Int16]:
    """What the sink got, which refuses after that many pieces."""
    got: list[Int16] = []

    def sink(piece: Int16) -> bool:
        got.append(piece)
        return pieces is None or len(got) < pieces

    engine.synthesise(text, "en-us", speed, sink)
    return got


def test_detector_goes_by_loudness_unless_told_otherwise() -> None:
    vad = ScriptedVad()
    answers = vad.step(vad.new_states(2), [0, 1], np.concatenate((QUIET, LOUD)))
    np.testing.assert_array_equal(answers, np.array([SILENCE_PROBABILITY, SPEECH_PROBABILITY], np.float32))


@pytest.mark.parametrize(("amplitude", "is_speech"), [(0.0, False), (0.049, False), (0.051, True), (-0.9, True)])
def test_speech_is_what_is_louder_than_the_level(amplitude: float, is_speech: bool) -> None:
    probability = speech_above(0.05)(np.full(512, amplitude, np.float32))
    assert probability == (SPEECH_PROBABILITY if is_speech else SILENCE_PROBABILITY)


def test_list_of_probabilities_is_each_sessions_own_and_its_last_goes_on() -> None:
    vad = ScriptedVad([0.1, 0.9, 0.4])
    states = vad.new_states(2)
    first = [float(vad.step(states, [0], QUIET)[0]) for _ in range(5)]
    assert first == pytest.approx([0.1, 0.9, 0.4, 0.4, 0.4])
    assert float(vad.step(states, [1], QUIET)[0]) == pytest.approx(0.1)
    states.reset([0])
    assert vad.step(states, [1, 0], np.concatenate((QUIET, QUIET))) == pytest.approx([0.9, 0.1])


def test_detector_asks_a_function_about_each_window() -> None:
    vad = ScriptedVad(lambda window: float(window[0]))
    windows = np.array([[0.25], [0.75]], np.float32).repeat(512, axis=1)
    np.testing.assert_array_equal(vad.step(vad.new_states(2), [0, 1], windows), [0.25, 0.75])


def test_detector_counts_its_batches() -> None:
    vad = ScriptedVad()
    states = vad.new_states(2)
    vad.step(states, [0], QUIET)
    vad.step(states, [0, 1], np.concatenate((QUIET, QUIET)))
    assert vad.batches == [1, 2]


def test_detector_fails_while_it_is_told_to_and_moves_no_state_on() -> None:
    vad = ScriptedVad([0.1, 0.9])
    states = vad.new_states(1)
    vad.failure = EngineFailure("out of order")
    with pytest.raises(EngineFailure, match="out of order"):
        vad.step(states, [0], QUIET)
    vad.failure = None
    assert vad.step(states, [0], QUIET) == pytest.approx([0.1])


def test_recogniser_gives_its_texts_in_order_and_the_last_goes_on() -> None:
    stt = ScriptedStt(["one", "two words"])
    texts = [transcript.text for transcript in stt.transcribe([Clip(SECOND)] * 2) + stt.transcribe([Clip(SECOND)])]
    assert texts == ["one", "two words", "two words"]


def test_one_text_need_not_be_in_a_list() -> None:
    (transcript,) = ScriptedStt("hello there").transcribe([Clip(SECOND)])
    assert transcript.text == "hello there"


def test_recogniser_asks_a_function_about_each_clip() -> None:
    stt = ScriptedStt(lambda clip: "final" if clip.is_final else f"partial {len(clip.samples)}")
    transcripts = stt.transcribe([Clip(SECOND, is_final=False), Clip(SECOND)])
    assert [transcript.text for transcript in transcripts] == ["partial 16000", "final"]


def test_recogniser_keeps_the_clips_it_was_given() -> None:
    stt = ScriptedStt()
    clips = [Clip(SECOND, language="en"), Clip(SECOND[:5], is_final=False)]
    stt.transcribe(clips)
    assert [id(clip) for clip in stt.clips] == [id(clip) for clip in clips]


def test_clip_without_samples_takes_no_text() -> None:
    stt = ScriptedStt(["one", "two"])
    transcripts = stt.transcribe([Clip(SECOND[:0]), Clip(SECOND)])
    assert [transcript.text for transcript in transcripts] == ["", "one"]


def test_same_word_has_the_same_token_in_every_text() -> None:
    stt = ScriptedStt(["to be", "or not to be"])
    first, second = stt.transcribe([Clip(SECOND)] * 2)
    assert [piece.tokens for piece in second.pieces[2:]] == [piece.tokens for piece in first.pieces]
    assert len({piece.tokens for piece in second.pieces}) == 4


def test_prefix_stands_in_the_place_of_as_many_words() -> None:
    stt = ScriptedStt(["red green", "blue yellow white"])
    (first,) = stt.transcribe([Clip(SECOND)])
    (second,) = stt.transcribe([Clip(SECOND, prefix=first.pieces[0].tokens)])
    assert second.text == "red yellow white"


@pytest.mark.parametrize("token", [-1, 0, 7])
def test_token_that_no_word_has_is_a_failure(token: int) -> None:
    with pytest.raises(EngineFailure, match="no token"):
        ScriptedStt().transcribe([Clip(SECOND, prefix=(token,))])


def test_confidence_is_as_told_and_nothing_for_no_words() -> None:
    stt = ScriptedStt(["word", "  "], confidence=0.3)
    assert [transcript.confidence for transcript in stt.transcribe([Clip(SECOND)] * 2)] == [0.3, 0.0]


def test_recogniser_fails_while_it_is_told_to() -> None:
    stt = ScriptedStt(["one", "two"])
    stt.failure = EngineFailure("out of order")
    with pytest.raises(EngineFailure, match="out of order"):
        stt.transcribe([Clip(SECOND)])
    stt.failure = None
    assert [transcript.text for transcript in stt.transcribe([Clip(SECOND)])] == ["one"]


def test_turn_engine_gives_its_probabilities_in_order_and_the_last_goes_on() -> None:
    turn = ScriptedTurn([0.1, 0.8])
    judgements = turn.judge([SECOND, SECOND]) + turn.judge([SECOND])
    assert [judgement.probability for judgement in judgements] == [0.1, 0.8, 0.8]
    assert len(turn.turns) == 3


def test_turn_engine_asks_a_function_about_each_turn() -> None:
    def longer_is_likelier(turn: Float32) -> float:
        return min(1.0, len(turn) / 32_000)

    judgements = ScriptedTurn(longer_is_likelier).judge([SECOND, SECOND[:0]])
    assert [judgement.probability for judgement in judgements] == [0.5, 0.0]


def test_turn_engine_fails_while_it_is_told_to() -> None:
    turn = ScriptedTurn()
    turn.failure = EngineFailure("out of order")
    with pytest.raises(EngineFailure, match="out of order"):
        turn.judge([SECOND])
    assert not turn.turns


@pytest.mark.parametrize("engine", [ScriptedVad, ScriptedStt, ScriptedTurn])
def test_script_without_an_answer_is_refused(engine: type[ScriptedVad | ScriptedStt | ScriptedTurn]) -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        engine([])


def test_hum_takes_as_long_as_the_text_and_the_speed_say() -> None:
    engine = ScriptedTts(sample_rate=16_000, ms_per_character=50)
    assert sum(map(len, hum(engine, "0123456789"))) == 8_000
    assert sum(map(len, hum(engine, "0123456789", speed=2.0))) == 4_000
    assert engine.texts == ["0123456789"] * 2


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 24_000])
def test_hum_comes_in_pieces_of_20_ms_and_a_rest(sample_rate: int) -> None:
    pieces = hum(ScriptedTts(sample_rate=sample_rate, ms_per_character=25), "odd")
    assert [len(piece) for piece in pieces] == [sample_rate // 50] * 3 + [
        round(0.075 * sample_rate) - 3 * (sample_rate // 50)
    ]


def test_hum_is_one_tone_without_a_break_between_its_pieces() -> None:
    engine = ScriptedTts(sample_rate=16_000)
    samples = np.concatenate(hum(engine, "a rather long text to be hummed"))
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    loudest_hz = np.fft.rfftfreq(len(samples), 1 / 16_000)[spectrum.argmax()]
    assert loudest_hz == pytest.approx(engine.TONE_HZ, abs=1.0)
    assert np.abs(np.diff(samples.astype(int))).max() < 2 * np.pi * engine.TONE_HZ / 16_000 * engine.AMPLITUDE + 2


def test_sink_that_refuses_ends_the_hum() -> None:
    assert len(hum(ScriptedTts(), "a rather long text to be hummed", pieces=3)) == 3


def test_blank_text_is_no_sound() -> None:
    assert hum(ScriptedTts(), " \n") == []


@pytest.mark.parametrize("speed", [0.0, 0.24, 4.1, -1.0, float("nan"), float("inf")])
def test_speed_that_cannot_be_had_is_refused(speed: float) -> None:
    with pytest.raises(SpeechError, match="speed"):
        ScriptedTts().check("en-us", speed)


def test_unknown_voice_is_refused_with_the_voices_there_are() -> None:
    with pytest.raises(UnknownVoice, match=r"en-gb, en-us.*'whisperer'"):
        ScriptedTts().check("whisperer", 1.0)


def test_synthesiser_fails_while_it_is_told_to_before_the_first_piece() -> None:
    engine = ScriptedTts()
    engine.failure = EngineFailure("out of order")
    with pytest.raises(EngineFailure, match="out of order"):
        hum(engine, "text")
    assert not engine.texts
