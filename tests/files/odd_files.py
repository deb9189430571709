"""Files as they come in real life: every format, odd ones, cut short ones, and ones that are no recordings."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray


Int16 = NDArray[np.int16]
RATE = 16_000
SECONDS = 6


def burst() -> Int16:
    """Six seconds, loud from 2 to 4 s: int16, 16 kHz."""
    samples = np.random.default_rng(0).integers(-12_000, 12_000, SECONDS * RATE).astype(np.int16)
    samples[: 2 * RATE] = samples[4 * RATE :] = 0
    return samples


def encoded(
    container: str, codec: str, samples: Int16, *, rate: int = RATE, layout: str = "mono", video: bool = False
) -> bytes:
    """The sound (and a picture) in a container, by FFmpeg's names."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as writer:
        sound = cast("AudioStream", writer.add_stream(codec, rate=rate))
        sound.layout = layout
        if video:
            add_picture(writer, SECONDS * 5)
        resampler = AudioResampler(format=sound.format.name, layout=layout, rate=rate, frame_size=sound.frame_size or 0)
        frame = AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts, frame.time_base = 0, Fraction(1, RATE)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            writer.mux(sound.encode(piece))
        writer.mux(sound.encode(None))
    return file.getvalue()


def add_picture(writer: OutputContainer, frames: int) -> None:
    """A film of a small square, five pictures a second."""
    picture = writer.add_stream("mpeg4", rate=5)
    picture.width = picture.height = 32
    picture.pix_fmt = "yuv420p"
    for number in range(frames):
        frame = VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 5)
        writer.mux(picture.encode(frame))
    writer.mux(picture.encode(None))


def silent_film() -> bytes:
    """Pictures without any sound track."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as writer:
        add_picture(writer, 10)
    return file.getvalue()


def wav(
    data: bytes, *, channels: int = 1, rate: int = RATE, bits: int = 16, code: int = 1, data_size: int | None = None
) -> bytes:
    """A WAV file of this payload, whose header may lie about its length."""
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits)
    size = len(data) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", (4 + len(body)) & 0xFFFFFFFF) + body


def as_24_bit(samples: Int16) -> bytes:
    whole = samples.astype("<i4") << 8
    return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def with_nan() -> bytes:
    samples = burst().astype("<f4") / 32768
    samples[RATE : RATE + 100] = np.nan
    samples[RATE + 200] = np.inf
    return samples.tobytes()


def one_side_silent() -> bytes:
    both = np.zeros((SECONDS * RATE, 2), "<i2")
    both[:, 1] = burst()
    return both.tobytes()


def of_six_channels() -> bytes:
    return np.repeat(burst()[:, np.newaxis], 6, axis=1).astype("<i2").tobytes()


def slower(factor: int) -> Int16:
    """For a rate that is lower by ``factor``."""
    return np.ascontiguousarray(burst()[::factor])


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def spoilt(data: bytes) -> bytes:
    """With a hole of other bytes in the middle."""
    middle = len(data) // 2
    return data[:middle] + np.random.default_rng(2).bytes(400) + data[middle + 400 :]


def id3_only() -> bytes:
    return b"ID3\x04\x00\x00\x00\x00\x00\x0a" + b"TIT2\x00\x00\x00\x00\x00\x00"


WHOLE: Mapping[str, Callable[[], bytes]] = {
    "wav": lambda: wav(burst().tobytes()),
    "wav of 8 bit": lambda: wav(((burst() >> 8) + 128).astype(np.uint8).tobytes(), bits=8),
    "wav of 24 bit": lambda: wav(as_24_bit(burst()), bits=24),
    "wav of 32 bit": lambda: wav((burst().astype("<i4") << 16).tobytes(), bits=32),
    "wav of floats": lambda: wav((burst().astype("<f4") / 32768).tobytes(), bits=32, code=3),
    "wav of doubles": lambda: wav((burst().astype("<f8") / 32768).tobytes(), bits=64, code=3),
    "wav with numbers that are none": lambda: wav(with_nan(), bits=32, code=3),
    "wav at 8 kHz": lambda: wav(slower(2).tobytes(), rate=8_000),
    "wav at 96 kHz": lambda: wav(np.repeat(burst(), 6).tobytes(), rate=96_000),
    "wav of six channels": lambda: wav(of_six_channels(), channels=6),
    "wav with a silent channel": lambda: wav(one_side_silent(), channels=2),
    "wav whose header says nothing comes": lambda: wav(burst().tobytes(), data_size=0),
    "wav whose header says no end": lambda: wav(burst().tobytes(), data_size=0xFFFFFFFF),
    "wav with half a sample at its end": lambda: wav(burst().tobytes() + b"\x01"),
    "mu-law": lambda: encoded("wav", "pcm_mulaw", burst()),
    "a-law": lambda: encoded("wav", "pcm_alaw", burst()),
    "adpcm": lambda: encoded("wav", "adpcm_ima_wav", burst()),
    "au": lambda: encoded("au", "pcm_s16be", burst()),
    "aiff": lambda: encoded("aiff", "pcm_s16be", burst()),
    "caf": lambda: encoded("caf", "pcm_s16le", burst()),
    "w64": lambda: encoded("w64", "pcm_s16le", burst()),
    "flac": lambda: encoded("flac", "flac", burst()),
    "mp3": lambda: encoded("mp3", "libmp3lame", burst()),
    "mp3 in stereo at 44.1 kHz": lambda: encoded("mp3", "libmp3lame", burst(), rate=44_100, layout="stereo"),
    "mp2": lambda: encoded("mp2", "mp2", burst()),
    "aac": lambda: encoded("adts", "aac", burst()),
    "m4a": lambda: encoded("ipod", "aac", burst()),
    "alac": lambda: encoded("mov", "alac", burst()),
    "ac3": lambda: encoded("ac3", "ac3", burst(), rate=48_000),
    "opus in ogg": lambda: encoded("ogg", "libopus", burst(), rate=48_000),
    "opus in webm": lambda: encoded("webm", "libopus", burst(), rate=48_000),
    "opus in matroska": lambda: encoded("matroska", "libopus", burst(), rate=48_000),
    "mp4 with a picture": lambda: encoded("mp4", "aac", burst(), video=True),
    "matroska with a picture": lambda: encoded("matroska", "aac", burst(), video=True),
    "transport stream with a picture": lambda: encoded("mpegts", "aac", burst(), video=True),
    "id3 tags before a wav": lambda: wav(burst().tobytes()) + id3_only(),
}
"""Files with all of the burst in them."""

SHORTENED: Mapping[str, Callable[[], bytes]] = {
    "wav whose header says twice as much": lambda: wav(burst().tobytes(), data_size=4 * len(burst())),
    "wav": lambda: cut(WHOLE["wav"](), 0.6),
    "flac": lambda: cut(WHOLE["flac"](), 0.6),
    "mp3": lambda: cut(WHOLE["mp3"](), 0.6),
    "aac": lambda: cut(WHOLE["aac"](), 0.6),
    "opus in ogg": lambda: cut(WHOLE["opus in ogg"](), 0.6),
    "opus in webm": lambda: cut(WHOLE["opus in webm"](), 0.6),
    "matroska with a picture": lambda: cut(WHOLE["matroska with a picture"](), 0.6),
}
"""Files with the beginning of the burst in them, which end early."""


def two_bursts() -> Int16:
    """Half a minute with something soft in it, loud from 2 to 4 and from 24 to 26 s: int16, 16 kHz."""
    samples = (1_000 * np.sin(np.arange(30 * RATE) / 6)).astype(np.int16)
    for begin in (2, 24):
        samples[begin * RATE : (begin + 2) * RATE] = burst()[2 * RATE : 4 * RATE]
    return samples


SCRATCHED: Mapping[str, Callable[[], bytes]] = {
    "mp3": lambda: spoilt(encoded("mp3", "libmp3lame", two_bursts())),
    "mp3 in stereo at 44.1 kHz": lambda: spoilt(
        encoded("mp3", "libmp3lame", two_bursts(), rate=44_100, layout="stereo")
    ),
    "aac": lambda: spoilt(encoded("adts", "aac", two_bursts())),
    "m4a": lambda: spoilt(encoded("ipod", "aac", two_bursts())),
    "ac3": lambda: spoilt(encoded("ac3", "ac3", two_bursts(), rate=48_000)),
    "flac": lambda: spoilt(encoded("flac", "flac", two_bursts())),
    "opus in ogg": lambda: spoilt(encoded("ogg", "libopus", two_bursts(), rate=48_000)),
    "opus in webm": lambda: spoilt(encoded("webm", "libopus", two_bursts(), rate=48_000)),
    "aac in matroska": lambda: spoilt(encoded("matroska", "aac", two_bursts())),
}
"""Two bursts, and damage in the middle between them."""

QUIET: Mapping[str, Callable[[], bytes]] = {
    "one sample": lambda: wav(b"\x01\x00"),
    "silence": lambda: wav(bytes(2 * RATE)),
    "a single click": lambda: wav(np.eye(1, RATE, 8_000, dtype="<i2").tobytes()),
    "a tenth of a second of noise": lambda: wav(burst()[2 * RATE : 2 * RATE + 1600].tobytes()),
}
"""Files in which nobody speaks, whatever listens."""

WORDLESS: Mapping[str, Callable[[], bytes]] = {
    **QUIET,
    "an offset": lambda: wav(np.full(3 * RATE, 9_000, "<i2").tobytes()),
    "the loudest offset": lambda: wav(np.full(3 * RATE, 32_767, "<i2").tobytes()),
    "floats that are no numbers": lambda: wav(np.full(3 * RATE, np.nan, "<f4").tobytes(), bits=32, code=3),
    "noise": lambda: wav(burst().tobytes()),
    "a tone": lambda: wav((9_000 * np.sin(np.arange(3 * RATE) / 6)).astype("<i2").tobytes()),
}
"""Files in which the models, too, hear no word."""

REFUSED: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "no bytes": ("audio_empty", lambda: b""),
    "one byte": ("audio_unsupported", lambda: b"\x00"),
    "zeros": ("audio_unsupported", lambda: bytes(100_000)),
    "noise": ("audio_unsupported", lambda: np.random.default_rng(9).bytes(50_000)),
    "text": ("audio_unsupported", lambda: b"This is no recording, whatever its name may say.\n" * 100),
    "a page of the web": ("audio_unsupported", lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    "a play list": ("audio_unsupported", lambda: b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
    "pictures without sound": ("audio_empty", silent_film),
    "a wav header alone": ("audio_empty", lambda: wav(b"")),
    "a wav header without an end": ("audio_malformed", lambda: wav(b"")[:30]),
    "a wav of no channels": ("audio_malformed", lambda: wav(burst().tobytes(), channels=0)),
    "a wav of an unknown code": ("audio_unsupported", lambda: wav(burst().tobytes(), code=0x7ABC)),
    "a wav at 1 kHz": ("audio_unsupported", lambda: wav(burst().tobytes(), rate=1_000)),
    "an mp4 without its index": ("audio_malformed", lambda: cut(WHOLE["mp4 with a picture"](), 0.5)),
    "an m4a without its index": ("audio_malformed", lambda: cut(WHOLE["m4a"](), 0.5)),
    "a flac of which only the name is left": ("audio_malformed", lambda: b"fLaC" + bytes(60)),
    "an ogg page alone": ("audio_malformed", lambda: WHOLE["opus in ogg"]()[:40]),
    "tags and nothing else": ("audio_malformed", id3_only),
    "a webm header alone": ("audio_malformed", lambda: WHOLE["opus in webm"]()[:40]),
}
"""What cannot be transcribed, and the code of the error."""
