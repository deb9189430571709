"""Which kind of file some bytes are, by how they begin."""

from __future__ import annotations

from alfred_voice.audio.pcm import Buffer
from alfred_voice.audio.wav import is_wav


_MAGIC = (
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (4, b"ftyp", "mp4"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),  # EBML, RFC 8794 section 11.2.1
    (0, b"RF64", "wav"),  # EBU Tech 3306
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
    (0, b"#!AMR", "amr"),
)
_HEAD_BYTES = 12

# Bit rates in kbit/s and sample rates in Hz of MPEG audio layer III by index; ISO/IEC 11172-3 section 2.4.2.3
# for MPEG 1, ISO/IEC 13818-3 section 2.4.2.3 for MPEG 2 with the halved rates.
_MPEG1_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_HZ = (44_100, 48_000, 32_000)
_MPEG_HZ_DIVISOR = {3: 1, 2: 2, 0: 4}
"""By version bits: MPEG 1, 2 and 2.5."""


def container_of(data: Buffer) -> str | None:
    """A short name such as ``flac``; None when the bytes may just as well be raw samples."""
    head = bytes(data[:_HEAD_BYTES])
    if is_wav(head):
        return "wav"
    for at, magic, name in _MAGIC:
        if head.startswith(magic, at):
            return name
    return "mp3" if _begins_as_mp3(data) else None


def _begins_as_mp3(data: Buffer) -> bool:
    """Whether two MPEG layer III frames follow each other; a single header may well be raw samples."""
    length = _mp3_frame_bytes(bytes(data[:4]))
    return bool(length) and bool(_mp3_frame_bytes(bytes(data[length : length + 4])))


def _mp3_frame_bytes(header: bytes) -> int:
    """How long the frame is that begins with these four bytes; 0 when they begin none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version not in _MPEG_HZ_DIVISOR or layer != 1 or bitrate_index in (0, 15) or rate_index == 3:
        return 0
    rate_hz = _MPEG1_HZ[rate_index] // _MPEG_HZ_DIVISOR[version]
    if version == 3:
        return 144_000 * _MPEG1_KBITS[bitrate_index] // rate_hz + padding
    return 72_000 * _MPEG2_KBITS[bitrate_index] // rate_hz + padding
