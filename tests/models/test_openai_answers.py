"""Whatever a server says becomes a transcript, a text, or a failure that tells what is wrong."""

from __future__ import annotations

import json
from math import exp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.errors import EngineFailure
from alfred_voice.models.openai_answers import (
    MOST_TEXT_CHARS,
    MOST_TOLD,
    language_code,
    pieces_of,
    read_completion,
    read_error,
    read_transcription,
    told,
)
from alfred_voice.results import Transcript, Word


VERBOSE: dict[str, Any] = {
    "task": "transcribe",
    "language": "english",
    "duration": 2.0,
    "text": " Hello there, world.\n",
    "segments": [
        {"id": 0, "start": 0.0, "end": 1.5, "text": " Hello there,", "avg_logprob": -0.2, "no_speech_prob": 0.1},
        {"id": 1, "start": 1.5, "end": 2.0, "text": " world.", "avg_logprob": -0.6, "no_speech_prob": 0.1},
    ],
    "words": [
        {"word": "Hello", "start": 0.0, "end": 0.5},
        {"word": " there,", "start": 0.5, "end": 1.5, "probability": 0.75},
        {"word": "world.", "start": 1.5, "end": 2.0},
    ],
    "usage": {"type": "duration", "seconds": 2},
}


def read(answer: Any, *, clip_ms: float = 2000, language: str = "en", wants_words: bool = True) -> Transcript:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return read_transcription(body, clip_ms, language, wants_words=wants_words)


class TestTranscription:
    def test_the_plainest_answer_is_a_text(self) -> None:
        transcript = read({"text": " Hello there. "}, language="de")
        assert transcript.text == "Hello there."
        assert [piece.text for piece in transcript.pieces] == [" Hello", " there."]
        assert (transcript.language, transcript.words, transcript.confidence) == ("de", (), 1.0)

    def test_the_fullest_answer_tells_words_confidence_and_language(self) -> None:
        transcript = read(VERBOSE, language="de")
        confidence = exp((-0.2 * 1.5 - 0.6 * 0.5) / 2)
        assert transcript.text == "Hello there, world."
        assert transcript.language == "en"
        assert transcript.confidence == pytest.approx(confidence)
        assert {piece.probability for piece in transcript.pieces} == {transcript.confidence}
        assert transcript.words == (
            Word("Hello", 0.0, 500.0, transcript.confidence),
            Word("there,", 500.0, 1500.0, 0.75),
            Word("world.", 1500.0, 2000.0, transcript.confidence),
        )

    def test_words_that_were_not_asked_for_are_left_out(self) -> None:
        assert read(VERBOSE, wants_words=False).words == ()

    def test_words_are_found_in_the_segments_too(self) -> None:
        words = [{"word": " Hi", "start": 0.1, "end": 0.4, "probability": 0.9}]
        assert read({"text": "Hi", "segments": [{"words": words}]}).words == (Word("Hi", 100.0, 400.0, 0.9),)

    def test_segments_without_lengths_count_alike(self) -> None:
        segments = [{"avg_logprob": -1.0}, {"avg_logprob": -0.5}, {}]
        assert read({"text": "Hi", "segments": segments}).confidence == pytest.approx(exp(-0.75))

    def test_times_and_figures_are_brought_into_their_ranges(self) -> None:
        words = [
            {"word": "a", "start": -1, "end": 0.5, "probability": 7},
            {"word": "b", "start": 0.3, "end": 0.1, "probability": -7},
            {"word": "c", "start": 0.2, "end": 99},
            {"word": "  ", "start": 1, "end": 1},
            {"word": "d"},
            {"word": "e", "start": 1e308, "end": 1e308},
        ]
        segments = [{"avg_logprob": 5.0}]
        assert read({"text": "a b c e", "words": words, "segments": segments}).words == (
            Word("a", 0.0, 500.0, 1.0),
            Word("b", 300.0, 300.0, 0.0),
            Word("c", 300.0, 2000.0, 1.0),
            Word("e", 2000.0, 2000.0, 1.0),
        )

    def test_nulls_are_as_good_as_nothing(self) -> None:
        transcript = read({"text": "Hi", "language": None, "segments": None, "words": None})
        assert (transcript.text, transcript.language) == ("Hi", "en")

    @pytest.mark.parametrize("text", ["", " \n", "\x00"])
    def test_no_text_has_no_pieces_and_no_confidence(self, text: str) -> None:
        assert read({"text": text, "language": "german"}) == Transcript("", language="de")

    def test_a_text_made_up_out_of_silence_is_left_out(self) -> None:
        silence = {"no_speech_prob": 0.9, "avg_logprob": -1.5}
        assert read({"text": "Thank you.", "segments": [silence]}) == Transcript("")
        assert read({"text": "Thank you.", "segments": [silence, {"no_speech_prob": 0.1, "avg_logprob": -1.5}]}).text

    def test_control_characters_are_left_out(self) -> None:
        assert read({"text": "He\x1b[2Jllo\x00\tthere\r\n\u200dx"}).text == "He[2Jllo there \u200dx"

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (b"", "expected an answer in JSON, got 0 bytes"),
            (b"<html>Sign in</html>", "expected an answer in JSON, got 20 bytes of something else"),
            (b'{"text": "Hel', "in JSON"),
            (b'{"text": "\xff\xfe"}', "in JSON"),
            (b'{"text": "\\ud800"}', "in JSON"),
            (b"[" * 100_000, "not as expected|in JSON"),
            (b'{"text": "a", "words": [{"word": "a", "start": NaN}]}', "in JSON"),
            ({}, "required field `text`"),
            ([], "Expected `object`, got `array`"),
            ({"text": 7}, r"Expected `str`, got `int` - at `\$.text`"),
            ({"text": None}, "got `null`"),
            ({"text": "a", "language": ["en"]}, "language"),
            ({"text": "a", "segments": {}}, "segments"),
            ({"text": "a", "segments": [{"avg_logprob": "high"}]}, "avg_logprob"),
            ({"text": "a", "words": ["a"]}, "words"),
            ({"text": "a", "words": [{"word": "a", "start": "0", "end": 1}]}, "start"),
            ({"text": "a" * (MOST_TEXT_CHARS + 1)}, "at most 16384 characters, got 16385"),
        ],
    )
    def test_what_is_no_transcription_is_a_failure_that_tells_why(self, answer: Any, message: str) -> None:
        with pytest.raises(EngineFailure, match=message):
            read(answer)

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "text": st.text() | st.integers(),
                "language": st.none() | st.text(max_size=12),
                "segments": st.lists(
                    st.fixed_dictionaries(
                        {},
                        optional={
                            "start": st.floats(allow_nan=False, allow_infinity=False),
                            "end": st.floats(allow_nan=False, allow_infinity=False),
                            "avg_logprob": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                            "no_speech_prob": st.none() | st.floats(0, 1),
                        },
                    ),
                    max_size=4,
                ),
                "words": st.lists(
                    st.fixed_dictionaries(
                        {
                            "word": st.text(),
                            "start": st.floats(allow_nan=False, allow_infinity=False),
                            "end": st.floats(allow_nan=False, allow_infinity=False),
                        },
                        optional={"probability": st.floats(allow_nan=False, allow_infinity=False)},
                    ),
                    max_size=4,
                ),
            },
        )
    )
    def test_whatever_comes_is_a_sound_transcript_or_a_failure(self, answer: dict[str, Any]) -> None:
        try:
            transcript = read(answer)
        except EngineFailure:
            return
        assert transcript.text == transcript.text.strip() == "".join(p.text for p in transcript.pieces).strip()
        assert 0 <= transcript.confidence <= 1
        assert transcript.language
        starts = [word.start_ms for word in transcript.words]
        assert starts == sorted(starts)
        for word in transcript.words:
            assert word.word == word.word.strip() != ""
            assert 0 <= word.start_ms <= word.end_ms <= 2000
            assert 0 <= word.probability <= 1

    @given(st.binary(max_size=60))
    def test_bytes_of_any_kind_are_a_transcript_or_a_failure(self, body: bytes) -> None:
        for answer in (body, b'{"text": "' + body + b'"}'):
            try:
                read(answer)
            except EngineFailure as failure:
                told_of = str(failure)
                assert told_of.isprintable()


class TestPieces:
    @pytest.mark.parametrize(
        ("text", "pieces"),
        [
            ("Hello there.", [" Hello", " there."]),
            ("  Hello\n\nthere.  ", [" Hello", " there."]),
            ("Bonjour ! Ça va ?", [" Bonjour !", " Ça", " va ?"]),
            ("- Hello - you", [" - Hello -", " you"]),
            ("... ... so", [" ... ... so"]),
            ("...", [" ..."]),
            ("", []),
            ("你好、世界。", [" 你", "好、", "世", "界。"]),
            ("「東京」です", [" 「東", "京」", "で", "す"]),
            ("OpenAIの API", [" OpenAI", "の", " API"]),
            ("안녕 하세요", [" 안녕", " 하세요"]),
        ],
    )
    def test_a_text_falls_into_words_or_characters(self, text: str, pieces: list[str]) -> None:
        assert [piece.text for piece in pieces_of(text)] == pieces

    @given(st.text(alphabet=st.sampled_from("ab ,.-\n。你の「1")) | st.text())
    def test_pieces_make_up_the_text(self, text: str) -> None:
        pieces = pieces_of(text)
        shown = "".join(piece.text for piece in pieces)
        assert "".join(shown.split()) == "".join("".join(c for c in text if c.isprintable() or c in shown).split())
        if len(pieces) > 1:
            assert all(any(char.isalnum() for char in piece.text) for piece in pieces)

    def test_a_text_of_marks_alone_takes_no_time(self) -> None:
        assert len(pieces_of("! " * (MOST_TEXT_CHARS // 2))) == 1


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("english", "en"),
        ("German", "de"),
        ("haitian creole", "ht"),
        ("cantonese", "yue"),
        ("en", "en"),
        ("pt-BR", "pt-br"),
        (None, "xx"),
        ("", "xx"),
        ("klingonese", "xx"),
        ("<b>", "xx"),
    ],
)
def test_a_language_is_known_by_its_name_or_its_code(named: str | None, code: str) -> None:
    assert language_code(named, "xx") == code


class TestCompletion:
    @staticmethod
    def completion(content: Any, finish_reason: Any = "stop") -> bytes:
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
        return json.dumps({"id": "1", "choices": [choice]}).encode()

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (" Hello. \n", "Hello."),
            ("<think>\nHm.\n</think>\n\nHello.", "Hello."),
            ("Hello <think>there</think>", "Hello <think>there</think>"),
            ("He\x00llo\nthere", "Hello\nthere"),
        ],
    )
    def test_the_text_is_the_first_choice_without_thoughts(self, content: str, text: str) -> None:
        assert read_completion(self.completion(content)) == text

    def test_a_server_may_say_nothing_of_how_it_finished(self) -> None:
        assert read_completion(self.completion("Hello.", None)) == "Hello."

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'{"choices": []}', "with a choice, got none"),
            (b"{}", "choices"),
            (b'{"choices": [{}]}', "message"),
            (b'{"choices": [{"message": {"content": ["a"]}}]}', "content"),
            (b'{"choices": [{"message": {"content": null}}]}', "with a text"),
            (b'{"choices": [{"message": {"content": "<think>a</think>"}}]}', "with a text"),
            (b'{"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]}', "cut off at its limit"),
            (b"data: [DONE]", "in JSON"),
        ],
    )
    def test_what_is_no_completion_is_a_failure(self, body: bytes, message: str) -> None:
        with pytest.raises(EngineFailure, match=message):
            read_completion(body)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"error": {"message": "No such model", "type": "invalid_request_error", "param": null}}', "No such model"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"object": "error", "message": "Too\\nlong"}', "Too long"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": ["body", "file"], "msg": "field required"}]}', "field required"),
        (b'{"error": {}}', ""),
        (b'{"error": 7}', ""),
        (b"{}", ""),
        (b"Bad Gateway", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_a_servers_own_words_are_found(body: bytes, detail: str) -> None:
    assert detail in read_error(body)
    assert bool(detail) == bool(read_error(body))


@given(st.text())
def test_somebody_elses_words_are_short_and_printable(text: str) -> None:
    shown = told(text * 50)
    assert shown.isprintable()
    assert len(shown) <= MOST_TOLD
