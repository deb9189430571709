"""Masks and messages in one piece, however the bytes are divided on the way."""

from __future__ import annotations

from typing import Any

from aiohttp import WebSocketError
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.server.websocket.frame_check import FrameCheck
from tests.raw_socket import BINARY, PING, TEXT, frame


class Parser:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.got = b""
        self.errors: list[BaseException] = []
        self.ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.got += data
        return False, b""

    def feed_eof(self) -> None:
        self.ended = True

    def set_exception(self, exc: BaseException) -> None:
        self.errors.append(exc)


def fed(data: bytes, cuts: list[int]) -> Parser:
    parser = Parser()
    check = FrameCheck(parser, parser)
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        check.feed_data(data[begin:end])
    return parser


sizes = st.sampled_from([0, 1, 64, 125, 126, 640, 70_000])
messages = st.one_of(
    sizes.map(lambda size: frame(BINARY, bytes(size))),
    sizes.map(lambda size: frame(TEXT, bytes(size), fin=False) + frame(PING, b"x") + frame(0, bytes(size))),
    st.just(frame(PING, b"")),
)
cuts: Any = st.lists(st.integers(0, 3000), max_size=12).map(sorted)


@given(st.lists(messages, max_size=6), cuts)
def test_what_is_sound_goes_through_byte_by_byte(sent: list[bytes], cuts: list[int]) -> None:
    data = b"".join(sent)
    parser = fed(data, [min(cut, len(data)) for cut in cuts])
    assert parser.got == data
    assert parser.errors == []


@given(
    st.lists(messages, max_size=4),
    st.sampled_from([b"\x82\x05hello", b"\x89\x00", frame(TEXT, b"", fin=False) + frame(BINARY, b"a")]),
    st.lists(messages, max_size=2),
    cuts,
)
def test_what_is_not_ends_the_reading_there_however_it_is_cut(
    before: list[bytes], wrong: bytes, behind: list[bytes], cuts: list[int]
) -> None:
    data = b"".join((*before, wrong, *behind))
    sound = len(b"".join(before))
    parser = fed(data, [min(cut, len(data)) for cut in cuts])
    (error,) = parser.errors
    assert isinstance(error, WebSocketError)
    assert error.code == 1002
    # Of a frame that came in pieces the first byte has been handed on before the second was there to be judged.
    assert data.startswith(parser.got)
    assert sound <= len(parser.got) <= sound + len(wrong)


def test_the_end_is_handed_on() -> None:
    parser = Parser()
    FrameCheck(parser, parser).feed_eof()
    assert parser.ended
