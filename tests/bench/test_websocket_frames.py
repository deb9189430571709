"""WebSocket frames, against a reading of RFC 6455 that goes byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.websocket_frames import BINARY, CLOSE, TEXT, ServerFrames, client_frame


MASK = b"\x01\x80\xff\x3c"


def read_client_frame(frame: bytes) -> tuple[int, bytes]:
    """Opcode and payload by the letter of section 5.2 and the loop of section 5.3."""
    assert frame[0] & 0xF0 == 0x80
    assert frame[1] & 0x80
    length, at = frame[1] & 0x7F, 2
    if length == 126:
        (length,), at = struct.unpack(">H", frame[2:4]), 4
        assert length >= 126
    elif length == 127:
        (length,), at = struct.unpack(">Q", frame[2:10]), 10
        assert length >= 1 << 16
    mask, payload = frame[at : at + 4], frame[at + 4 :]
    assert len(payload) == length
    return frame[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def server_frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes((0x80 | opcode, len(payload))) + payload
    if len(payload) < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, 126, len(payload)) + payload
    return struct.pack(">BBQ", 0x80 | opcode, 127, len(payload)) + payload


@pytest.mark.parametrize("length", [0, 1, 3, 4, 125, 126, 640, 65_535, 65_536])
def test_a_client_frame_reads_back_at_every_form_of_its_length(length: int) -> None:
    payload = bytes(i % 251 for i in range(length))

    assert read_client_frame(client_frame(BINARY, payload, MASK)) == (BINARY, payload)


def test_the_example_of_the_rfc() -> None:
    """Section 5.7: a single-frame masked text message "Hello"."""
    assert client_frame(TEXT, b"Hello", b"\x37\xfa\x21\x3d") == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"


@given(
    messages=st.lists(st.tuples(st.sampled_from((TEXT, BINARY, CLOSE)), st.binary(max_size=300)), max_size=6),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=20),
)
def test_server_frames_are_found_however_they_arrive(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(server_frame(opcode, payload) for opcode, payload in messages)
    frames, found, turn = ServerFrames(), [], 0
    while stream:
        size = cuts[turn % len(cuts)]
        found += list(frames.feed(stream[:size]))
        stream, turn = stream[size:], turn + 1

    assert found == messages


@pytest.mark.parametrize("length", [125, 126, 65_535, 65_536])
def test_every_form_of_a_server_frames_length_is_read(length: int) -> None:
    payload = bytes(length)
    frames = ServerFrames()

    assert list(frames.feed(server_frame(BINARY, payload)[:-1])) == []
    assert list(frames.feed(b"\0")) == [(BINARY, payload)]


@pytest.mark.parametrize(
    "data",
    [pytest.param(b"\x01\x01a", id="a fragment"), pytest.param(b"\x81\x81\0\0\0\0a", id="a masked frame")],
)
def test_what_the_daemon_never_sends_is_an_error(data: bytes) -> None:
    with pytest.raises(BenchmarkFailed, match="expected an unmasked"):
        list(ServerFrames().feed(data))
