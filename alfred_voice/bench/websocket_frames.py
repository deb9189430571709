"""WebSocket frames (RFC 6455, section 5.2) as bytes, without any I/O: what a client sends, and what a server has sent.

A load generator that masked and framed each message when it is due would cost more than the daemon that it loads:
what is sent is framed once, before it starts.
"""

from __future__ import annotations

from collections.abc import Iterator

from alfred_voice.bench.errors import BenchmarkFailed


# RFC 6455, section 11.8
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

_FINAL, _MASKED = 0x80, 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
"""Length fields that say that the length follows, in two bytes or in eight."""


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One unfragmented frame from a client.

    Args:
        opcode: such as :data:`BINARY`.
        payload: what it carries.
        mask: four bytes that the payload is masked with, as every client must.
    """
    length = len(payload)
    if length < _LENGTH_16:
        header = bytes((_FINAL | opcode, _MASKED | length))
    elif length < 1 << 16:
        header = bytes((_FINAL | opcode, _MASKED | _LENGTH_16)) + length.to_bytes(2, "big")
    else:
        header = bytes((_FINAL | opcode, _MASKED | _LENGTH_64)) + length.to_bytes(8, "big")
    pattern = (mask * (length // 4 + 1))[:length]
    masked = (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(length, "little")
    return header + mask + masked


class ServerFrames:
    """Finds the frames in what a server sends. One per connection."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of each frame that is complete now.

        Raises:
            BenchmarkFailed: this is no frame of a server, or a fragment, which the daemon does not send.
        """
        data = self._rest + data if self._rest else data
        at = 0
        while (frame := _span(data, at)) is not None:
            start, end = frame
            if end > len(data):
                break
            yield data[at] & 0x0F, data[start:end]
            at = end
        self._rest = data[at:]


def _span(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at ``at`` begins and ends; None while its header is incomplete."""
    if len(data) < at + 2:
        return None
    if not data[at] & _FINAL or data[at + 1] & _MASKED:
        raise BenchmarkFailed(f"expected an unmasked, unfragmented WebSocket frame, got {data[at : at + 2].hex()}")
    length, start = data[at + 1], at + 2
    if length >= _LENGTH_16:
        size = 2 if length == _LENGTH_16 else 8
        if len(data) < start + size:
            return None
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    return start, start + length
