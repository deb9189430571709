"""What stands in a message: control messages, what resumes a session, and answers of remote servers."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgpack
from aiohttp import WSMessage, WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.models.openai_answers import pieces_of, read_completion, read_error, read_transcription
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.opening import read_message, settings_of
from alfred_voice.server.protocol.wire import Mode
from tests.fuzz.inputs import HUGE, as_json, cut, deliberate, junk, values


START = {
    "type": "start", "session_id": "a", "sample_rate": 16_000, "channels": 1, "encoding": "mulaw", "language": "en",
    "events": ["*"], "partials": True, "turns": False, "engine": "x", "resumable": True,
    "resume_token": "t", "last_seq": 4,
}  # fmt: skip
MESSAGES: tuple[dict[str, Any], ...] = (
    START,
    {"type": "speak", "text": "hello", "voice": "en-us", "speed": 1.5, "speech_id": 7},
    {"type": "stopSpeaking"},
    {"type": "flush"},
    {"type": "stop"},
    {"type": "ping", "id": "a"},
)
TEXTS = tuple(json.dumps(message).encode() for message in MESSAGES)
MAPS = (*(msgpack.packb(message) for message in MESSAGES), msgpack.packb({"type": "audio", "audio": bytes(32)}))
FIELDS = sorted({name for message in MESSAGES for name in message} | {"audio", "colour"})

fields = st.dictionaries(
    st.sampled_from(FIELDS), values | st.sampled_from([value for one in MESSAGES for value in one.values()]), max_size=6
)
kinds = st.sampled_from([message["type"] for message in MESSAGES] + ["audio", "Start", ""])


@given(junk(*TEXTS))
def test_any_bytes_are_a_json_message_or_refused(data: bytes) -> None:
    for piece in cut(data):
        with deliberate("JSON messages"):
            wire.decode_text(piece)
        wire.peek_type(piece, Mode.JSON)


@given(kinds, fields, st.sampled_from(HUGE), st.sampled_from(FIELDS), st.booleans())
def test_any_fields_are_a_json_message_or_refused(
    kind: str, more: dict[str, Any], number: str, field: str, twice: bool
) -> None:
    """A number that Python itself would not write, and a key that stands twice."""
    text = json.dumps({"type": kind, **more})
    for written in (text, f'{text[:-1]}, "{field}": {number}}}', f"{text[:-1]}, {text[1:]}" if twice else text):
        with deliberate("JSON messages"):
            wire.decode_text(written)
        with deliberate("JSON messages"):
            read_message(WSMessage(WSMsgType.TEXT, written, None), Mode.JSON)


@given(junk(*MAPS))
def test_any_bytes_are_a_messagepack_message_or_refused(data: bytes) -> None:
    for piece in cut(data):
        with deliberate("MessagePack messages"):
            wire.decode_msgpack(piece)
        wire.peek_type(piece, Mode.MSGPACK)


@given(kinds, fields)
def test_any_fields_are_a_messagepack_message_or_refused(kind: str, more: dict[str, Any]) -> None:
    with suppress(OverflowError):  # it has no numbers beyond 64 bits
        packed = msgpack.packb({"type": kind, **more}, unicode_errors="surrogatepass")
        with deliberate("MessagePack messages"):
            wire.decode_msgpack(packed)


@given(fields, fields)
def test_any_start_is_settings_or_refused(asked: dict[str, Any], defaults: dict[str, Any]) -> None:
    with deliberate("fields of start"):
        start, default = (wire.decode_text(json.dumps({**each, "type": "start"})) for each in (asked, defaults))
        assert isinstance(start, wire.Start)
        assert isinstance(default, wire.Start)
        settings_of(start, default)


WORD = {"word": "a", "start": 0.1, "end": 0.2, "probability": 0.5}
ANSWERS = (
    {"text": "a b", "language": "english", "words": [WORD]},
    {"text": "a", "segments": [{"start": 0, "end": 1, "avg_logprob": -0.2, "no_speech_prob": 0.1, "words": [WORD]}]},
    {"choices": [{"message": {"content": "<think>x</think> text"}, "finish_reason": "stop"}]},
    {"error": {"message": "no"}, "message": "no", "detail": [{"loc": ["a"]}]},
)
answers = st.one_of(
    junk(*(as_json(answer) for answer in ANSWERS)),
    st.builds(
        lambda one, more: as_json({**one, **more}),
        st.sampled_from(ANSWERS),
        st.dictionaries(
            st.sampled_from(["text", "segments", "words", "language", "choices", "error", "detail", "message"]),
            values | st.lists(st.fixed_dictionaries(dict.fromkeys(WORD, values)), max_size=2),
            max_size=3,
        ),
    ),
)


@given(answers, st.floats(0, 1e6))
def test_any_answer_of_a_remote_recogniser_is_a_transcript_or_refused(body: bytes, clip_ms: float) -> None:
    for piece in cut(body):
        with deliberate("answers of recognisers"):
            found = read_transcription(piece, clip_ms, "en", wants_words=True)
            assert 0 <= found.confidence <= 1
            assert all(0 <= word.start_ms <= word.end_ms <= clip_ms for word in found.words)
            assert all(0 <= word.probability <= 1 for word in found.words)
            found.text.encode()


@given(answers)
def test_any_answer_of_a_language_model_is_a_text_or_refused(body: bytes) -> None:
    for piece in cut(body):
        with deliberate("answers of language models"):
            assert read_completion(piece).encode()


@given(answers)
def test_any_error_of_a_remote_server_can_be_told(body: bytes) -> None:
    for piece in cut(body):
        with deliberate("errors of remote servers"):
            assert read_error(piece).isprintable()


@given(st.text(max_size=200))
def test_any_text_is_pieces(text: str) -> None:
    with deliberate("texts in pieces"):
        "".join(piece.text for piece in pieces_of(text)).encode()
