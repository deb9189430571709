"""What RFC 6455 demands of a client's frames and the library does not look at: masks, and messages in one piece.

Looks at the heads of frames only, beside the library's parser, which gets the same bytes.
"""

from __future__ import annotations

from typing import Protocol

from aiohttp import WebSocketError, WSCloseCode


_FIN, _MASKED, _LENGTH, _OPCODE = 0x80, 0x80, 0x7F, 0x0F
_CONTINUATION, _FIRST_CONTROL = 0x0, 0x8
_WHOLE = (0x81, 0x82)
"""The first byte of a text or binary message of one frame."""
_SHORTEST_HEAD = 6
"""With the four bytes of the mask."""


class FrameParser(Protocol):
    """The library's."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what has been read from the network."""
        ...

    def feed_eof(self) -> None:
        """Nothing more comes."""
        ...


class FrameSink(Protocol):
    """Where the library's parser puts messages, and what was wrong."""

    def set_exception(self, exc: BaseException) -> None:
        """Nothing more comes, for this reason."""
        ...


class FrameCheck:
    """Stands before the library's parser; the first frame that breaks the rules is the last that is read.

    Args:
        parser: gets all bytes up to that frame.
        sink: the parser's own; is told of the violation.
    """

    __slots__ = ("_feed", "_head", "_is_broken", "_is_inside", "_left", "_parser", "_sink")

    def __init__(self, parser: FrameParser, sink: FrameSink) -> None:
        self._parser = parser
        self._feed = parser.feed_data
        self._sink = sink
        self._head = b""
        self._left = 0
        self._is_inside = False
        self._is_broken = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what has been read from the network."""
        if not (self._left or self._head or self._is_inside) and _is_one_message(data):
            return self._feed(data)
        if self._is_broken:
            return True, b""
        end = self._sound_until(bytes(data))
        if end is None:
            return self._feed(data)
        self._is_broken = True
        self._feed(data[:end])
        self._sink.set_exception(WebSocketError(WSCloseCode.PROTOCOL_ERROR, "a frame that no client may send"))
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more comes."""
        self._parser.feed_eof()

    def _sound_until(self, data: bytes) -> int | None:
        """Where the frame begins that breaks the rules; None where all is well."""
        at = 0
        while True:
            passed = min(self._left, len(data) - at)
            self._left -= passed
            at += passed
            if at >= len(data):
                return None
            before = len(self._head)
            head = self._head + data[at : at + 10 - before]
            if len(head) >= 2 and not self._is_allowed(head[0], head[1]):
                return at if before == 0 else 0
            length = _length(head)
            if length is None:
                self._head = head
                return None
            self._note(head[0])
            head_bytes = _head_bytes(head[1])
            self._head = b""
            self._left = head_bytes + length - before
            # What is left is counted from where this piece's share of the frame begins.

    def _is_allowed(self, first: int, second: int) -> bool:
        opcode = first & _OPCODE
        is_new = _CONTINUATION < opcode < _FIRST_CONTROL
        return bool(second & _MASKED) and not (is_new and self._is_inside)

    def _note(self, first: int) -> None:
        if first & _OPCODE < _FIRST_CONTROL:
            self._is_inside = not first & _FIN


def _is_one_message(data: bytes) -> bool:
    """Whether that is exactly one masked message of one frame, as it nearly always is."""
    size = len(data)
    if size < _SHORTEST_HEAD or data[0] not in _WHOLE or not data[1] & _MASKED:
        return False
    length = data[1] & _LENGTH
    if length < 126:
        return size == _SHORTEST_HEAD + length
    return length == 126 and size == _SHORTEST_HEAD + 2 + (data[2] << 8 | data[3])


def _head_bytes(second: int) -> int:
    """Of a frame with its mask, by its second byte."""
    length = second & _LENGTH
    return _SHORTEST_HEAD + (0 if length < 126 else 2 if length == 126 else 8)


def _length(head: bytes) -> int | None:
    """Bytes of a frame's payload; None while its head is not there far enough."""
    if len(head) < 2:
        return None
    length = head[1] & _LENGTH
    if length < 126:
        return length
    wide = 2 if length == 126 else 8
    return int.from_bytes(head[2 : 2 + wide], "big") if len(head) >= 2 + wide else None
