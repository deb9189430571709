"""The native protocol's messages, compared with the table of its page and read with other libraries than ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice import events
from alfred_voice.events import EVENT_TYPES, Event
from alfred_voice.pipeline.outbox import Numbered, SpeechAudio
from alfred_voice.results import Word
from alfred_voice.server.errors import MalformedMessage, ProtocolError, UnexpectedMessage, UnknownMessage
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.wire import Mode


# The table "What the daemon sends" of the protocol's page, letter by letter.
TABLE = {
    "sessionStarted": "sample_rate encoding engines limits",
    "sessionResumed": "audio_bytes",
    "audioAcknowledged": "audio_bytes",
    "speechStart": "at_ms probability",
    "speechEnd": "at_ms duration_ms",
    "partialTranscription": "utterance text stable_text start_ms end_ms",
    "finalTranscription": "utterance text start_ms end_ms words language engine confidence processing_ms latency_ms",
    "turnPending": "probability silence_ms",
    "turnComplete": "utterance probability at_ms silence_ms reason latency_ms",
    "interruption": "at_ms speech_id spoken_ms latency_ms",
    "ttsStart": "speech_id text sample_rate encoding voice",
    "ttsEnd": "speech_id duration_ms cancelled",
    "frameProcessed": "frame at_ms speech_probability is_speech processing_ms",
    "pipelineHealth": "pipelineState performanceMetrics performanceMonitor resourceOptimization alerts",
    "backpressureTriggered": "step load buffered_ms rung",
    "backpressureRecovered": "step load rung",
    "warning": "code message",
    "error": "code message fatal",
    "pong": "id",
    "sessionEnded": "reason stats",
}

STATUS = {
    "pipelineState": {"health": "healthy", "processingLoad": 1.5},
    "performanceMetrics": {"averageFrameTime": 0.25},
    "performanceMonitor": {"averageFrameTime": 0.25},
    "resourceOptimization": {"gcTriggered": 0},
    "alerts": [],
}

WORD = Word("lamp", 1234.5678, 1300.04, 0.987654321)

EXAMPLES: list[tuple[Event, dict[str, Any]]] = [
    (
        events.SessionStarted(16000, "pcm_s16le", {"vad": "silero"}, {"queue_ms": 10000}),
        {"sample_rate": 16000, "encoding": "pcm_s16le", "engines": {"vad": "silero"}, "limits": {"queue_ms": 10000}},
    ),
    (events.SessionResumed(64_000), {"audio_bytes": 64_000}),
    (events.AudioAcknowledged(640), {"audio_bytes": 640}),
    (events.SpeechStarted(320.0, 0.87654321), {"at_ms": 320.0, "probability": 0.8765}),
    (events.SpeechEnded(1000.04, 680.06), {"at_ms": 1000.0, "duration_ms": 680.1}),
    (
        events.PartialTranscription(2, "turn ön 灯", "turn", 0.0, 100.0),
        {"utterance": 2, "text": "turn ön 灯", "stable_text": "turn", "start_ms": 0.0, "end_ms": 100.0},
    ),
    (
        events.FinalTranscription(0, "lamp", 1.0, 2.0, (WORD,), "en", "moonshine", 0.99999, 12.34, 150.06),
        {
            "utterance": 0,
            "text": "lamp",
            "start_ms": 1.0,
            "end_ms": 2.0,
            "words": [{"word": "lamp", "start_ms": 1234.6, "end_ms": 1300.0, "probability": 0.9877}],
            "language": "en",
            "engine": "moonshine",
            "confidence": 1.0,
            "processing_ms": 12.3,
            "latency_ms": 150.1,
        },
    ),
    (events.TurnPending(0.25, 200.0), {"probability": 0.25, "silence_ms": 200.0}),
    (
        events.TurnCompleted(1, 0.75, 900.0, 224.0, "model", 61.23),
        {
            "utterance": 1,
            "probability": 0.75,
            "at_ms": 900.0,
            "silence_ms": 224.0,
            "reason": "model",
            "latency_ms": 61.2,
        },
    ),
    (events.Interrupted(5.0, 3, 740.0, 128.0), {"at_ms": 5.0, "speech_id": 3, "spoken_ms": 740.0, "latency_ms": 128.0}),
    (
        events.SpeechOutputStarted(3, "Hello.", 24000, "mulaw", "en-us"),
        {"speech_id": 3, "text": "Hello.", "sample_rate": 24000, "encoding": "mulaw", "voice": "en-us"},
    ),
    (events.SpeechOutputEnded(3, 740.0, True), {"speech_id": 3, "duration_ms": 740.0, "cancelled": True}),
    (
        events.FrameProcessed(9, 180.0, 0.12345, False, 0.4567),
        {"frame": 9, "at_ms": 180.0, "speech_probability": 0.1235, "is_speech": False, "processing_ms": 0.5},
    ),
    (events.PipelineHealth(STATUS), STATUS),
    (
        events.BackpressureTriggered("drop_frames", 0.91234, 480.0, 4),
        {"step": "drop_frames", "load": 0.9123, "buffered_ms": 480.0, "rung": 4},
    ),
    (events.BackpressureRecovered("none", 0.5, 0), {"step": "none", "load": 0.5, "rung": 0}),
    (events.WarningRaised("partial_skipped", "why"), {"code": "partial_skipped", "message": "why"}),
    (
        events.ErrorRaised("audio_malformed", "why", False),
        {"code": "audio_malformed", "message": "why", "fatal": False},
    ),
    (events.Pong("a1"), {"id": "a1"}),
    (
        events.SessionFinished("stop", events.SessionStats(50, 49, 1, 2, 512.04)),
        {
            "reason": "stop",
            "stats": {
                "frames_received": 50,
                "frames_processed": 49,
                "frames_dropped": 1,
                "utterances": 2,
                "speech_ms": 512.0,
            },
        },
    ),
]

READERS: dict[Mode, Callable[[bytes], Any]] = {Mode.JSON: json.loads, Mode.MSGPACK: msgpack.unpackb}


@pytest.mark.parametrize("mode", list(Mode))
def test_an_error_for_want_of_room_says_when_to_come_again(mode: Mode) -> None:
    read = READERS[mode](wire.encode(Numbered(0, events.ErrorRaised("overloaded", "why", True, 7)), "", mode))
    assert read["retry_after_s"] == 7


@pytest.mark.parametrize("mode", list(Mode))
def test_a_session_that_can_be_resumed_says_how(mode: Mode) -> None:
    event = events.SessionStarted(16_000, "pcm_s16le", {}, {}, events.ResumeOffer("secret", 30.0))
    read = READERS[mode](wire.encode(Numbered(0, event), "call-1", mode))
    assert read["resume"] == {"token": "secret", "grace_s": 30.0}


@pytest.mark.parametrize("mode", list(Mode))
def test_a_warning_about_lost_audio_says_from_when_to_when(mode: Mode) -> None:
    event = events.WarningRaised("audio_dropped", "why", 140.04, 1140.0)
    read = READERS[mode](wire.encode(Numbered(7, event), "call-1", mode))
    assert (read["from_ms"], read["to_ms"]) == (140.0, 1140.0)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("event", "fields"), EXAMPLES, ids=[type(event).__name__ for event, _ in EXAMPLES])
def test_every_event_is_read_back_by_another_library_as_the_page_says(
    event: Event, fields: dict[str, Any], mode: Mode
) -> None:
    read = READERS[mode](wire.encode(Numbered(7, event), "call-1", mode))

    assert read == {"type": EVENT_TYPES[type(event)], "session_id": "call-1", "seq": 7, **fields}
    assert set(read) - {"type", "session_id", "seq"} == set(TABLE[read["type"]].split())


def test_the_examples_leave_no_event_out() -> None:
    assert {type(event) for event, _ in EXAMPLES} == set(get_args(Event))
    assert set(EVENT_TYPES.values()) == set(TABLE)


def test_the_envelope_comes_first_for_people_who_read_it() -> None:
    assert wire.encode(Numbered(0, events.Pong(None)), "s", Mode.JSON) == (
        b'{"type":"pong","session_id":"s","seq":0,"id":null}'
    )


def test_speech_is_raw_bytes_in_json_mode_and_a_map_in_messagepack_mode() -> None:
    audio = SpeechAudio(4, b"\x00\x01\xff")

    assert wire.encode_audio(audio, Mode.JSON) == b"\x00\x01\xff"
    assert msgpack.unpackb(wire.encode_audio(audio, Mode.MSGPACK)) == {
        "type": "ttsAudio",
        "speech_id": 4,
        "audio": b"\x00\x01\xff",
    }


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"type": "start"}, wire.Start()),
        (
            {
                "type": "start",
                "session_id": "a.b:c-1",
                "sample_rate": 8000,
                "channels": 2,
                "encoding": "mulaw",
                "language": "en",
                "events": ["frameProcessed"],
                "partials": False,
                "turns": False,
            },
            wire.Start("a.b:c-1", 8000, 2, "mulaw", "en", ["frameProcessed"], False, False),
        ),
        ({"type": "speak", "text": "Hello"}, wire.Speak("Hello")),
        (
            {"type": "speak", "text": "ü", "voice": "v", "speed": 2, "speech_id": 5},
            wire.Speak("ü", "v", 2.0, 5),
        ),
        ({"type": "stopSpeaking"}, wire.StopSpeaking()),
        ({"type": "flush"}, wire.Flush()),
        ({"type": "stop"}, wire.Stop()),
        ({"type": "ping"}, wire.Ping()),
        ({"type": "ping", "id": "x"}, wire.Ping("x")),
        ({"id": 2**53 - 1, "type": "ping"}, wire.Ping(2**53 - 1)),
    ],
    ids=str,
)
def test_every_message_is_understood_in_both_modes(sent: dict[str, Any], meant: wire.Message) -> None:
    assert wire.decode_text(json.dumps(sent)) == meant
    assert wire.decode_text(json.dumps(sent).encode()) == meant
    assert wire.decode_msgpack(msgpack.packb(sent)) == meant


def test_audio_travels_as_binary_in_messagepack_mode_only() -> None:
    assert wire.decode_msgpack(msgpack.packb({"type": "audio", "audio": b"\x01\x02"})) == wire.Audio(b"\x01\x02")
    with pytest.raises(UnexpectedMessage, match="BINARY"):
        wire.decode_text('{"type": "audio", "audio": "AAA="}')


MALFORMED_TEXT = {
    "empty": "",
    "a word": "hello",
    "cut off": '{"type": "start"',
    "two objects": '{"type": "ping"} {}',
    "a list": '[{"type": "ping"}]',
    "a number": "1",
    "null": "null",
    "no type": "{}",
    "type that is no text": '{"type": 1}',
    "unknown field": '{"type": "start", "rate": 8000}',
    "missing field": '{"type": "speak"}',
    "number as text": '{"type": "start", "sample_rate": "8000"}',
    "fraction": '{"type": "start", "sample_rate": 16000.5}',
    "truth as number": '{"type": "start", "sample_rate": true}',
    "NaN": '{"type": "speak", "text": "a", "speed": NaN}',
    "infinity": '{"type": "speak", "text": "a", "speed": 1e999}',
    "no speed": '{"type": "speak", "text": "a", "speed": 0}',
    "huge number": '{"type": "ping", "id": ' + "9" * 5000 + "}",
    "number beyond 2^53": '{"type": "ping", "id": 9007199254740992}',
    "id of another type": '{"type": "ping", "id": []}',
    "negative speech": '{"type": "speak", "text": "a", "speech_id": -1}',
    "events as text": '{"type": "start", "events": "*"}',
    "too many events": '{"type": "start", "events": [' + ",".join(['"error"'] * 65) + "]}",
    "deep list": '{"type": "ping", "id": ' + "[" * 100_000,
    "deep type": '{"type": ' + "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "lone surrogate": '{"type": "speak", "text": "\\ud800"}',
    "two types": '{"type": "start", "type": "ping"}',
    "byte order mark": '\ufeff{"type": "ping"}',
}


@pytest.mark.parametrize("text", MALFORMED_TEXT.values(), ids=MALFORMED_TEXT)
def test_malformed_json_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        wire.decode_text(text)

    assert 10 < len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        b"\x82\xa4type\xa4ping\xa2id" + b"\x91" * 100_000,
        b"\x82\xa4type",
        b"\xdf\xff\xff\xff\xff",
        b"\x82\xa4type\xa5audio\xa5audio\xc6\xff\xff\xff\xffab",
        b"\x82\xa4type\xa5speak\xa4text\xa1\xff",
        msgpack.packb({"type": "ping"}) + b"\x00",
        msgpack.packb([1]),
        msgpack.packb(b"pcm"),
        msgpack.packb({1: 2}),
        msgpack.packb({"type": b"ping"}),
        msgpack.packb({"type": "audio", "audio": "text"}),
        msgpack.packb({"type": "audio", "audio": [1, 2]}),
        msgpack.packb({"type": "audio"}),
        msgpack.packb({"type": "ping", "id": msgpack.ExtType(5, b"x")}),
        msgpack.packb({"type": "speak", "text": "a", "speed": float("nan")}),
        msgpack.packb({"type": "speak", "text": "a", "speed": float("inf")}),
        msgpack.packb({"type": "ping", "id": 2**64 - 1}),
        bytes(640),
    ],
    ids=lambda data: data[:24].hex(),
)
def test_malformed_messagepack_is_refused_in_a_short_sentence(data: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        wire.decode_msgpack(data)

    assert 10 < len(str(caught.value)) < 200


def test_invalid_utf_8_is_malformed_and_not_a_crash() -> None:
    with pytest.raises(MalformedMessage, match="JSON"):
        wire.decode_text(b'{"type": "speak", "text": "\xff"}')


@pytest.mark.parametrize("name", ["hello", "Start", "sessionStarted", "ttsAudio", "x" * 100_000])
def test_an_unknown_type_is_answered_with_those_that_there_are(name: str) -> None:
    known = "start, speak, stopSpeaking, flush, stop, ping"
    with pytest.raises(UnknownMessage, match=known) as in_text:
        wire.decode_text(json.dumps({"type": name, "more": 1}))
    with pytest.raises(UnknownMessage, match=f"{known}, audio") as in_msgpack:
        wire.decode_msgpack(msgpack.packb({"type": name, "more": 1}))

    assert len(str(in_text.value)) < 260
    assert len(str(in_msgpack.value)) < 260


def test_no_more_than_a_hundred_characters_of_the_client_come_back() -> None:
    for text in ('{"type": "start", "' + "x" * 5000 + '": 1}', '{"type": "' + "x" * 5000 + '"}', "x" * 5000):
        with pytest.raises(ProtocolError) as caught:
            wire.decode_text(text)
        assert str(caught.value).count("x") <= 100


def test_the_error_names_the_field_and_what_came() -> None:
    with pytest.raises(MalformedMessage, match=r"start: Expected `int .*got `str` - at `\$\.sample_rate`"):
        wire.decode_text('{"type": "start", "sample_rate": "8000"}')


def test_of_a_repeated_field_the_last_one_counts() -> None:
    assert wire.decode_text('{"type": "ping", "id": 1, "id": 2}') == wire.Ping(2)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_readers(data: bytes) -> None:
    for read in (wire.decode_text, wire.decode_msgpack):
        with suppress(ProtocolError):  # any other error fails the test
            read(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_no_values_at_all_break_the_readers(value: Any) -> None:
    for kind in ("start", "speak", "ping", "nothing"):
        message = {"type": kind, "id": value, "text": value}
        for text in (json.dumps(value), json.dumps(message)):
            with suppress(ProtocolError):
                wire.decode_text(text)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ('{"type": "start", "sample_rate": []}', "start"),
        ('{"type": "start", "type": "ping"}', "ping"),
        ('{"type": 5}', None),
        ("{", None),
        ("[]", None),
    ],
)
def test_the_type_of_a_wrong_message_can_still_be_told(data: str, kind: str | None) -> None:
    assert wire.peek_type(data, Mode.JSON) == kind
