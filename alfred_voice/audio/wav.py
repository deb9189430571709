"""WAV files: headers, and the payload of those whose samples are in one of our encodings.

Format tags, the extensible format and its GUID are Microsoft's (mmreg.h, ksmedia.h); the chunk
structure is that of "Multimedia Programming Interface and Data Specifications 1.0", 1991.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alfred_voice.audio.pcm import AudioFormat, Buffer, Int16, encode
from alfred_voice.errors import EmptyAudio, MalformedAudio, UnsupportedAudio


_UNKNOWN_SIZE = 0xFFFF_FFFF
_STREAMING_SIZE = 0x7FFF_F000
"""Sizes from here on are a writer's way to say "not known yet": sox to a pipe writes this one, arecord 2**31 - 1
or more, ffmpeg 2**32 - 1."""
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_CHUNK = struct.Struct("<4sI")
_FMT = struct.Struct("<HHIIHH")
_PCM_TAG = 0x0001
_EXTENSIBLE_TAG = 0xFFFE
_EXTENSIBLE_BYTES = 40
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""A sub-format GUID is a format tag followed by this."""
_ENCODINGS = {(_PCM_TAG, 16): "pcm_s16le", (0x0003, 32): "pcm_f32le", (0x0006, 8): "alaw", (0x0007, 8): "mulaw"}
"""By format tag and bits per sample."""
_PLAIN_TAGS = frozenset(tag for tag, _ in _ENCODINGS)


def wav_header(sample_rate: int, channels: int = 1, samples: int | None = None) -> bytes:
    """The 44 bytes before 16 bit PCM.

    Args:
        sample_rate: Hz.
        channels: interleaved.
        samples: of one channel; None when it is not known yet, which readers take for "to the end".
    """
    block_align = 2 * channels
    data_bytes = _UNKNOWN_SIZE if samples is None else samples * block_align
    riff_bytes = _UNKNOWN_SIZE if samples is None else data_bytes + _HEADER.size - _CHUNK.size
    if riff_bytes > _UNKNOWN_SIZE:
        raise ValueError(f"samples: {samples} of {channels} channels do not fit the 4 GiB of a WAV file")
    return _HEADER.pack(
        *(b"RIFF", riff_bytes, b"WAVE"),
        *(b"fmt ", _FMT.size, _PCM_TAG, channels, sample_rate, sample_rate * block_align, block_align, 16),
        *(b"data", data_bytes),
    )


def write_wav(path: Path | str, samples: Int16, sample_rate: int) -> None:
    """Write int16 mono samples, shape (n,), as a WAV file."""
    with Path(path).open("wb") as file:
        file.write(wav_header(sample_rate, samples=len(samples)))
        file.write(encode(samples, "pcm_s16le"))


def is_wav(data: Buffer) -> bool:
    """Whether these bytes begin as a WAV file does."""
    return bytes(data[:4]) == b"RIFF" and bytes(data[8:12]) == b"WAVE"


def has_plain_samples(head: bytes) -> bool:
    """Whether this is how a WAV file begins whose sound is one number after the other, each by itself.

    Args:
        head: its first 46 bytes or more. Where another chunk comes before that of the format, the answer is no.
    """
    if not is_wav(head) or head[12:16] != b"fmt ":
        return False
    (tag,) = struct.unpack_from("<H", head[20:22].ljust(2, b"\0"))
    if tag == _EXTENSIBLE_TAG:
        (tag,) = struct.unpack_from("<H", head[44:46].ljust(2, b"\0"))
    return tag in _PLAIN_TAGS


def parse_wav(data: Buffer) -> tuple[AudioFormat, memoryview]:
    """Format and payload of a whole WAV file; the payload is a view of ``data``, a whole number of samples.

    Raises:
        UnsupportedAudio: not WAV, or sound whose bits are in none of our encodings.
        MalformedAudio: chunks are missing, cut short or contradict each other.
        EmptyAudio: no sample.
    """
    if not is_wav(data):
        raise UnsupportedAudio(f"expected a WAV file (RIFF....WAVE), got {bytes(data[:12])!r}")
    chunks = _chunks(memoryview(data).cast("B"))
    fmt = _read_fmt(chunks.fmt)
    if len(chunks.payload) % fmt.block_align:
        raise MalformedAudio(
            f"WAV: expected a multiple of {fmt.block_align} bytes in the data chunk, got {len(chunks.payload)}"
        )
    audio_format = fmt.audio_format()
    if not len(chunks.payload):
        raise EmptyAudio("WAV: the data chunk holds no sample")
    return audio_format, chunks.payload


def lacking_bytes(file: BinaryIO) -> int:
    """How many bytes of sound a WAV file has less than its header tells of; 0 for other files.

    Also 0 where the header says nothing, as of a stream: a size of 0, or one that means "not known yet".

    Args:
        file: opened for reading bytes; is left where it stood.
    """
    begin = file.tell()
    try:
        end = file.seek(0, io.SEEK_END)
        file.seek(begin)
        if not is_wav(file.read(12)):
            return 0
        while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
            name, declared = _CHUNK.unpack(head)
            at = file.tell()
            if name == b"data":
                return max(0, declared - (end - at)) if declared < _STREAMING_SIZE else 0
            file.seek(at + declared + declared % 2)
        return 0
    finally:
        file.seek(begin)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """The two chunks that matter."""

    fmt: memoryview
    payload: memoryview


def _chunks(view: memoryview) -> _Chunks:
    fmt: memoryview | None = None
    at = 12
    while at + _CHUNK.size <= len(view):
        name, declared = _CHUNK.unpack_from(view, at)
        at += _CHUNK.size
        if name == b"data":
            if fmt is None:
                raise MalformedAudio("WAV: expected a fmt chunk before the data chunk, got none")
            return _Chunks(fmt, _payload(view, at, declared))
        body = view[at : at + declared]
        if len(body) < declared:
            raise MalformedAudio(f"WAV: the {name!r} chunk declares {declared} bytes, but {len(body)} are there")
        if name == b"fmt ":
            fmt = body
        at += declared + declared % 2
    raise MalformedAudio(f"WAV: expected a data chunk, got none in {len(view)} bytes")


def _payload(view: memoryview, at: int, declared: int) -> memoryview:
    """The data chunk's body; all that is left when a streaming writer could not know its size."""
    rest = view[at:]
    if declared >= _STREAMING_SIZE:
        return rest
    if declared == 0:
        # Empty, unless the size of the whole file was never filled in either.
        (riff_bytes,) = struct.unpack_from("<I", view, 4)
        return rest if riff_bytes in (0, _UNKNOWN_SIZE) or riff_bytes + 8 == at else rest[:0]
    if len(rest) < declared:
        raise MalformedAudio(f"WAV: the data chunk declares {declared} bytes, but {len(rest)} are there")
    return rest[:declared]


@dataclass(frozen=True, slots=True)
class _Fmt:
    """A fmt chunk, its contents checked for sense."""

    tag: int
    channels: int
    sample_rate: int
    block_align: int
    bits: int

    def audio_format(self) -> AudioFormat:
        """The same in our terms; raises UnsupportedAudio when we have none for it."""
        encoding = _ENCODINGS.get((self.tag, self.bits))
        if encoding is None:
            raise UnsupportedAudio(
                f"WAV: expected 16 bit PCM, 32 bit float, A-law or mu-law, "
                f"got {self.bits} bits of format tag {self.tag:#06x}"
            )
        return AudioFormat(self.sample_rate, self.channels, encoding)


def _read_fmt(body: memoryview) -> _Fmt:
    if len(body) < _FMT.size:
        raise MalformedAudio(f"WAV: expected at least {_FMT.size} bytes in the fmt chunk, got {len(body)}")
    tag, channels, sample_rate, _, block_align, bits = _FMT.unpack_from(body)
    if tag == _EXTENSIBLE_TAG:
        if len(body) < _EXTENSIBLE_BYTES:
            raise MalformedAudio(f"WAV: expected {_EXTENSIBLE_BYTES} bytes in an extensible fmt chunk, got {len(body)}")
        if body[26:_EXTENSIBLE_BYTES] == _SUBFORMAT_TAIL:
            (tag,) = struct.unpack_from("<H", body, 24)
    if not channels or not sample_rate or not block_align:
        raise MalformedAudio(
            f"WAV: expected channels, a rate and a block size, got {channels}, {sample_rate} and {block_align}"
        )
    if (tag, bits) in _ENCODINGS and block_align != channels * bits // 8:
        raise MalformedAudio(f"WAV: {channels} channels of {bits} bits are no blocks of {block_align} bytes")
    return _Fmt(tag, channels, sample_rate, block_align, bits)
