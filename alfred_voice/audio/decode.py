"""Whole recordings in any format, through PyAV; the only file that knows it, and imports it on first use.

PyAV keeps FFmpeg's log to itself unless asked (``av.logging``), so nothing is to be silenced here.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from alfred_voice.audio.container import container_of
from alfred_voice.audio.damage import EXACT_GAP_S, LEAST_GAP_S, Bytewise, Damage, Timeline
from alfred_voice.audio.ingest import Ingest
from alfred_voice.audio.pcm import HIGHEST_RATE, LOWEST_RATE, SAMPLE_RATE, AudioFormat, Buffer, Int16
from alfred_voice.audio.wav import has_plain_samples, lacking_bytes, parse_wav
from alfred_voice.errors import EmptyAudio, MalformedAudio, UnsupportedAudio


if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet


BLOCK_SAMPLES = SAMPLE_RATE
"""1 s; no block is longer."""
_INGEST_BYTES = 64 * 1024
"""What is handed on at a time, so that an upload is never there twice."""
MOST_FAILURES = 1000
"""Packets in a row that cannot be decoded, some 30 s, before nothing more is expected of a file."""
_WITHOUT_STAMPS = frozenset({"mp3", "mp2", "aac", "ac3", "eac3", "dts", "amr", "amrnb", "amrwb"})
"""FFmpeg's names of formats that are frames and nothing else: their times are what the reader counts."""
_EXACT = frozenset({"flac", "ogg"})
"""Those whose time stamps count samples."""
_CONVERTED = frozenset(itertools.product(("s16", "s16p"), ("mono", "1 channels"), (SAMPLE_RATE,)))
"""FFmpeg's names of what needs no conversion: sample format, channels, rate."""
_SEARCHED_BYTES = 4 * 1024 * 1024
_HEAD_BYTES = 4096
"""Enough for two MPEG frames, by which MP3 is known."""
_PLAIN_OPTIONS = {"max_size": "16384", "probesize": "65536"}
"""For a WAV file of plain samples, in bytes. Packets of half a second at 16 kHz: FFmpeg by itself takes 64 ms, and each
packet costs as much as any other. (Not of compressed sound: there a block that is damaged takes its whole packet with
it.) No more is read ahead to see what it is than it would be in small packets: a file may fail behind that."""

_DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mp2,mp3,mpc,mpc8,mpeg,mpegts,nistsphere,ogg,spx,tta,w64,wav,wv"
)
"""FFmpeg's names. Play lists (hls, dash, concat, sdp ...) are left out: they make the reader open what a
stranger's file names."""


def decode_blocks(source: bytes | str | Path | BinaryIO, damage: Damage | None = None) -> Iterator[Int16]:
    """A whole recording as int16, 16 kHz mono, in blocks of 1 to 16 000 samples; never all of it at once.

    Args:
        source: the bytes of a file, its path, or a file opened for reading bytes.
        damage: takes down what cannot be decoded; silence stands in for it, so that what comes behind keeps its time.
            Without it the first packet that cannot be decoded is an error, and gaps close.

    Raises:
        UnsupportedAudio: not a format that is known here.
        MalformedAudio: a known format, but damaged to its end or for 1000 packets in a row; a WAV file in which less
            comes than its header says.
        EmptyAudio: no sound track, or no sample in it.
        OSError: the path cannot be read.
    """
    if isinstance(source, bytes):
        yield from _decode_file(io.BytesIO(source), damage)
    elif isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            yield from _decode_file(file, damage)
    else:
        yield from _decode_file(source, damage)


def decode_upload(data: bytes, fallback: AudioFormat) -> Iterator[Int16]:
    """The frames of one upload alone: int16, shape (320,), 16 kHz mono, the last filled up with zeros.

    Args and errors as for :class:`Uploads`.
    """
    uploads = Uploads(fallback)
    return _to_the_end(uploads, uploads.feed(data))


class Uploads:
    """One session's uploads, each a file of any known format or raw samples, as one unbroken stream of frames.

    Args:
        fallback: the format of raw samples.
    """

    def __init__(self, fallback: AudioFormat) -> None:
        self._fallback = fallback
        self._ingest = Ingest(fallback)

    def feed(self, data: bytes) -> Iterator[Int16]:
        """The frames (int16, shape (320,), 16 kHz mono) that this upload makes full; to be taken to the end.

        Raises:
            AudioError: as :func:`decode_blocks`; what a header or a length can tell is raised by the call itself,
                damage further inside where it is met.
        """
        if not data:
            raise EmptyAudio("expected audio, got 0 bytes")
        container = container_of(data)
        if container is None:
            return self._take(self._fallback, data)
        if container == "wav":
            try:
                audio_format, payload = parse_wav(data)
            except UnsupportedAudio:
                # Sound in another sample format, such as 24 bit: for PyAV.
                return self._take_blocks(decode_blocks(data))
            return self._take(audio_format, payload)
        return self._take_blocks(decode_blocks(data))

    def flush(self) -> list[Int16]:
        """What is still inside, the last frame filled up with zeros."""
        return self._ingest.flush()

    def _take(self, audio_format: AudioFormat, data: Buffer) -> Iterator[Int16]:
        Ingest(audio_format).check_whole(data)
        return self._ingested(audio_format, data)

    def _ingested(self, audio_format: AudioFormat, data: Buffer) -> Iterator[Int16]:
        yield from self._turn_to(audio_format)
        piece_bytes = _INGEST_BYTES - _INGEST_BYTES % audio_format.block_align
        view = memoryview(data)
        for at in range(0, len(view), piece_bytes):
            yield from self._ingest.feed(view[at : at + piece_bytes])

    def _take_blocks(self, blocks: Iterator[Int16]) -> Iterator[Int16]:
        yield from self._turn_to(AudioFormat())
        for block in blocks:
            yield from self._ingest.feed(block.data.cast("B"))

    def _turn_to(self, audio_format: AudioFormat) -> list[Int16]:
        """Change the format if need be; gives what the one before leaves."""
        if audio_format == self._ingest.format:
            return []
        rest = self._ingest.flush()
        self._ingest = Ingest(audio_format)
        return rest


def _to_the_end(uploads: Uploads, frames: Iterator[Int16]) -> Iterator[Int16]:
    yield from frames
    yield from uploads.flush()


def _decode_file(file: BinaryIO, damage: Damage | None) -> Iterator[Int16]:
    lacking = lacking_bytes(file) if file.seekable() else 0
    container = _open(file)
    with closing(container):
        if not container.streams.audio:
            raise EmptyAudio(f"expected a sound track, got none in this {container.format.name} file")
        any_sample = False
        for block in _converted(_frames(container, file, damage)):
            for at in range(0, len(block), BLOCK_SAMPLES):
                any_sample = True
                yield block[at : at + BLOCK_SAMPLES]
        if not any_sample:
            raise EmptyAudio(f"expected sound, got no sample in this {container.format.name} file")
        if lacking:
            raise MalformedAudio(f"the wav file is damaged: {lacking} bytes are missing that its header tells of")


def _open(file: BinaryIO) -> InputContainer:
    import av

    head = _head(file)
    known = container_of(head)
    options = {"format_whitelist": _DEMUXERS, **(_PLAIN_OPTIONS if has_plain_samples(head) else {})}
    try:
        return av.open(file, mode="r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        if known is None:
            raise UnsupportedAudio(f"expected a sound file of a known format: {error.strerror}") from error
        raise MalformedAudio(f"expected a whole {known} file: {error.strerror}") from error


def _head(file: BinaryIO) -> bytes:
    """The first bytes; none when the file cannot be rewound after looking."""
    if not file.seekable():
        return b""
    at = file.tell()
    head = file.read(_HEAD_BYTES)
    file.seek(at)
    return head


def _frames(container: InputContainer, file: BinaryIO, damage: Damage | None) -> Iterator[AudioFrame | float]:
    """The frames, and between them how many seconds are missing there."""
    name = container.format.name
    timeline = Timeline(least_gap_s=EXACT_GAP_S if name in _EXACT else LEAST_GAP_S)
    bytewise = Bytewise() if name in _WITHOUT_STAMPS and file.seekable() else None
    at_s = 0.0
    for found in _decoded(container, most_failures=0 if damage is None else MOST_FAILURES):
        if found is None:
            timeline.fail()
            continue
        packet, frames = found
        if not frames:
            if bytewise is not None:
                bytewise.pass_over(packet.pos, packet.size)
            continue
        seconds = sum(frame.samples / frame.sample_rate for frame in frames)
        if bytewise is not None:
            place = _place(file, packet, bytewise.end) if timeline.has_failed else None
            missing = bytewise.missing_s(place, packet.size, seconds)
            timeline.has_failed = False
        else:
            missing = timeline.missing_s(frames[0].time, seconds)
        if damage is not None and missing:
            damage.add(at_s, missing, is_estimated=bytewise is not None)
            at_s += missing
            yield missing
        at_s += seconds
        yield from frames


def _place(file: BinaryIO, packet: Packet[AudioStream], after: int) -> int | None:
    """Where a packet lies in the file, behind that byte; its own word on that ignores what its reader has skipped."""
    at = file.tell()
    try:
        file.seek(after)
        found = file.read(_SEARCHED_BYTES).find(bytes(packet))
    finally:
        file.seek(at)
    return None if found < 0 else after + found


def _decoded(
    container: InputContainer, most_failures: int
) -> Iterator[tuple[Packet[AudioStream], list[AudioFrame]] | None]:
    """The packets with their frames, if they have any; None for one that cannot be read or decoded."""
    import av

    name, stream = container.format.name, container.streams.audio[0]
    packets = container.demux(stream)
    failures = 0
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except av.error.DecoderNotFoundError as error:
            raise UnsupportedAudio(f"no decoder for the sound in this {name} file") from error
        except av.FFmpegError as error:
            last, failures = error, failures + 1
            if failures > most_failures:
                raise MalformedAudio(f"the {name} file is damaged: {error.strerror}") from error
            packets = container.demux(stream)  # which has ended if it was the reading that failed
            yield None
            continue
        if packet is None:
            break
        failures = 0 if frames else failures
        yield packet, frames
    if failures:
        raise MalformedAudio(f"the {name} file is damaged: {last.strerror}") from last


def _converted(frames: Iterable[AudioFrame | float]) -> Iterator[Int16]:
    """Frames of whatever format, which may change on the way, as int16, 16 kHz mono; seconds as so much silence."""
    resampler: AudioResampler | None = None
    current: tuple[Any, ...] | None = None
    for frame in frames:
        if isinstance(frame, float):
            yield from _resampled(resampler, None)
            resampler, current = None, None
            yield from _silence(round(frame * SAMPLE_RATE))
            continue
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != current:
            _check_rate(frame.sample_rate)
            yield from _resampled(resampler, None)
            resampler, current = None if shape in _CONVERTED else _new_resampler(), shape
        if resampler is None:
            yield _samples(frame)
            continue
        # Time stamps with gaps would make the resampler invent or drop samples.
        frame.pts = None
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _check_rate(sample_rate: int) -> None:
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise UnsupportedAudio(f"sample rate: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {sample_rate}")


def _samples(frame: AudioFrame) -> Int16:
    """Those of a frame that is int16 and mono already; they stay where they are: ``to_ndarray`` would copy them."""
    return np.frombuffer(cast("Buffer", frame.planes[0]), np.int16, frame.samples)


def _silence(samples: int) -> Iterator[Int16]:
    for at in range(0, samples, BLOCK_SAMPLES):
        yield np.zeros(min(BLOCK_SAMPLES, samples - at), np.int16)


def _new_resampler() -> AudioResampler:
    from av.audio.resampler import AudioResampler

    return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)


def _resampled(resampler: AudioResampler | None, frame: AudioFrame | None) -> Iterator[Int16]:
    import av

    if resampler is None:
        return
    try:
        converted = resampler.resample(frame)
    except av.FFmpegError as error:
        raise UnsupportedAudio(f"these samples or channels cannot be converted: {error.strerror}") from error
    for piece in converted:
        yield _samples(piece)
