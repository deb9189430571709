"""Messages in frames, checked against the standard library and the reference MessagePack package."""

from __future__ import annotations

import json

import msgpack
import pytest

from alfred_voice.client.errors import UnreadableMessage
from alfred_voice.client.framing import JsonFraming, MsgpackFraming, framing_of


CONTROL = {"type": "speak", "text": "Grüße 🙂", "speed": 1.25, "speech_id": 7}


def test_json_control_is_text_that_any_json_reader_reads() -> None:
    frame = JsonFraming().write_control(CONTROL)

    assert isinstance(frame, str)
    assert json.loads(frame) == CONTROL


def test_json_audio_is_the_bare_samples() -> None:
    assert JsonFraming().write_audio(b"\x01\x02\x03\x04") == b"\x01\x02\x03\x04"


def test_json_events_are_read_with_all_their_fields() -> None:
    event = {"type": "speechStart", "session_id": "a", "seq": 3, "at_ms": 12.5, "probability": 0.75, "later": None}
    assert JsonFraming().read(json.dumps(event)) == event


def test_json_audio_belongs_to_the_last_speech_that_began() -> None:
    framing = JsonFraming()
    framing.read('{"type":"ttsStart","speech_id":4}')
    framing.read('{"type":"pong","id":1}')
    assert framing.read(b"\0\1") == {"type": "ttsAudio", "speech_id": 4, "audio": b"\0\1"}
    framing.read('{"type":"ttsStart","speech_id":5}')
    assert framing.read(b"\2\3") == {"type": "ttsAudio", "speech_id": 5, "audio": b"\2\3"}


def test_json_audio_before_any_speech_is_an_error() -> None:
    with pytest.raises(UnreadableMessage, match="2 bytes of audio came before any ttsStart"):
        JsonFraming().read(b"\0\1")


def test_two_connections_do_not_share_what_they_remember() -> None:
    framing_of("json").read('{"type":"ttsStart","speech_id":4}')
    with pytest.raises(UnreadableMessage):
        framing_of("json").read(b"\0\1")


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", "null", '"text"', "{}", '{"type": 3}', '{"kind": "pong"}'], ids=repr
)
def test_json_that_is_no_event_is_an_error(payload: str) -> None:
    with pytest.raises(UnreadableMessage):
        JsonFraming().read(payload)


def test_msgpack_control_is_a_map_that_the_reference_reads() -> None:
    frame = MsgpackFraming().write_control(CONTROL)

    assert isinstance(frame, bytes)
    assert msgpack.unpackb(frame) == CONTROL


def test_msgpack_audio_is_a_map_with_a_binary_field() -> None:
    audio = bytes(range(256)) * 3
    assert msgpack.unpackb(MsgpackFraming().write_audio(audio)) == {"type": "audio", "audio": audio}


def test_msgpack_events_and_audio_are_read() -> None:
    framing = MsgpackFraming()
    audio = {"type": "ttsAudio", "speech_id": 2, "audio": b"\0\1\2"}
    event = {"type": "finalTranscription", "text": "héllo", "words": [{"word": "héllo", "probability": 0.5}]}

    assert framing.read(msgpack.packb(audio)) == audio
    assert framing.read(msgpack.packb(event)) == event


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x81", msgpack.packb([1]), msgpack.packb({"type": 1}), msgpack.packb({}), b"\x01\x01"],
    ids=repr,
)
def test_msgpack_that_is_no_event_is_an_error(payload: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        MsgpackFraming().read(payload)


def test_text_in_msgpack_mode_is_an_error() -> None:
    with pytest.raises(UnreadableMessage, match="binary frame"):
        MsgpackFraming().read('{"type":"pong"}')


def test_each_mode_has_its_framing() -> None:
    assert framing_of("json").subprotocol == "alfred.v1.json"
    assert framing_of("msgpack").subprotocol == "alfred.v1.msgpack"
