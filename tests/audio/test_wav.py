from __future__ import annotations

import io
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from alfred_voice.audio.pcm import AudioFormat, Int16, decode
from alfred_voice.audio.wav import has_plain_samples, is_wav, parse_wav, wav_header, write_wav
from alfred_voice.errors import AudioError, EmptyAudio, MalformedAudio, UnsupportedAudio


SAMPLES: Int16 = np.array([0, 1, -1, 32_767, -32_768, 500], np.int16)
STREAMING = 0xFFFF_FFFF


def chunk(name: bytes, body: bytes, declared: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if declared is None else declared) + body + bytes(len(body) % 2)


def fmt(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, align: int | None = None) -> bytes:
    align = channels * bits // 8 if align is None else align
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits))


def riff(*chunks: bytes, declared: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if declared is None else declared) + body


WHOLE = riff(fmt(), chunk(b"data", SAMPLES.tobytes()))


def test_a_written_file_is_read_by_the_standard_library_and_scipy(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, SAMPLES, 22_050)

    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 22_050, 6)
        assert file.readframes(6) == SAMPLES.tobytes()
    rate, samples = wavfile.read(path)
    assert rate == 22_050
    np.testing.assert_array_equal(samples, SAMPLES)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_header_is_the_one_that_the_standard_library_writes(channels: int) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, 8_000, 0, "NONE", ""))
        writer.writeframes(bytes(40 * channels))

    assert wav_header(8_000, channels, samples=20) == file.getvalue()[:44]


def test_a_streaming_header_reads_to_the_end() -> None:
    header = wav_header(16_000)

    assert header[4:8] == header[40:44] == b"\xff\xff\xff\xff"
    audio_format, payload = parse_wav(header + SAMPLES.tobytes())
    assert audio_format == AudioFormat(16_000)
    assert bytes(payload) == SAMPLES.tobytes()


def test_ffmpeg_reads_a_streaming_header_too() -> None:
    with av.open(io.BytesIO(wav_header(16_000) + bytes(3_200)), "r") as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) == 1_600


def test_a_file_that_no_wav_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="4 GiB"):
        wav_header(16_000, samples=2**31)


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [("pcm_s16le", "pcm_s16le"), ("pcm_f32le", "pcm_f32le"), ("pcm_mulaw", "mulaw"), ("pcm_alaw", "alaw")],
)
@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
def test_files_that_ffmpeg_writes_are_read_in_each_encoding(
    codec: str, encoding: str, layout: str, channels: int, sound_file: Callable[..., bytes], tone: Callable[..., Int16]
) -> None:
    samples = tone(0.1, 24_000)
    data = sound_file(samples, 24_000, "wav", codec, layout)

    audio_format, payload = parse_wav(data)

    assert audio_format == AudioFormat(24_000, channels, encoding)
    decoded = decode(payload, encoding).reshape(-1, channels)
    assert len(decoded) == 2_400
    tolerance = 0 if codec.startswith("pcm_s") else 1 if codec.startswith("pcm_f") else 260
    assert np.max(np.abs(decoded[:, 0].astype(int) - samples)) <= tolerance


def test_the_payload_is_a_view_and_not_a_copy() -> None:
    _, payload = parse_wav(WHOLE)

    assert np.shares_memory(np.frombuffer(payload, np.uint8), np.frombuffer(WHOLE, np.uint8))


def test_any_buffer_will_do() -> None:
    for data in (bytearray(WHOLE), memoryview(WHOLE)):
        assert bytes(parse_wav(data)[1]) == SAMPLES.tobytes()


def test_the_extensible_format_is_read_by_its_sub_format() -> None:
    guid_tail = bytes.fromhex("000000001000800000aa00389b71")
    body = struct.pack("<HHIIHH", 0xFFFE, 1, 16_000, 64_000, 4, 32) + struct.pack("<HHI", 22, 32, 4)
    floats = np.array([0.5, -0.5], "<f4").tobytes()

    audio_format, payload = parse_wav(
        riff(chunk(b"fmt ", body + struct.pack("<H", 3) + guid_tail), chunk(b"data", floats))
    )

    assert audio_format.encoding == "pcm_f32le"
    assert bytes(payload) == floats


def test_a_foreign_sub_format_is_unsupported() -> None:
    body = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4)

    with pytest.raises(UnsupportedAudio, match="format tag 0xfffe"):
        parse_wav(riff(chunk(b"fmt ", body + bytes(range(16))), chunk(b"data", bytes(4))))


def test_other_chunks_before_and_after_are_passed_over() -> None:
    data = riff(
        chunk(b"JUNK", bytes(27)),
        fmt(),
        chunk(b"fact", bytes(4)),
        chunk(b"data", SAMPLES.tobytes()),
        chunk(b"LIST", b"abc"),
    )

    assert bytes(parse_wav(data)[1]) == SAMPLES.tobytes()


@pytest.mark.parametrize(
    ("data_size", "riff_size"),
    [
        (STREAMING, STREAMING),  # ffmpeg to a pipe
        (0x7FFF_F000, 0x7FFF_F024),  # sox to a pipe
        (0x7FFF_FFFF, 0x7FFF_FFFF),
        (0x8000_0000, 0x8000_0024),  # arecord to a pipe
        (0, 0),
        (0, 36),  # a header written ahead and never filled in
        (0, STREAMING),
    ],
)
def test_sizes_that_a_streaming_writer_left_open_mean_to_the_end(data_size: int, riff_size: int) -> None:
    data = riff(fmt(), b"data" + struct.pack("<I", data_size) + SAMPLES.tobytes(), declared=riff_size)

    assert bytes(parse_wav(data)[1]) == SAMPLES.tobytes()


def test_a_data_chunk_cut_short_tells_both_numbers() -> None:
    with pytest.raises(MalformedAudio, match="the data chunk declares 12 bytes, but 7 are there"):
        parse_wav(WHOLE[:-5])


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", UnsupportedAudio, "expected a WAV file"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", UnsupportedAudio, "expected a WAV file"),
        (b"\x00" * 100, UnsupportedAudio, "expected a WAV file"),
        (riff(), MalformedAudio, "expected a data chunk, got none"),
        (riff(fmt()), MalformedAudio, "expected a data chunk, got none"),
        (riff(chunk(b"data", bytes(8)), fmt()), MalformedAudio, "expected a fmt chunk before the data chunk"),
        (riff(chunk(b"fmt ", bytes(14)), chunk(b"data", bytes(8))), MalformedAudio, "at least 16 bytes .* got 14"),
        (riff(fmt(0xFFFE), chunk(b"data", bytes(8))), MalformedAudio, "40 bytes in an extensible fmt chunk, got 16"),
        (riff(fmt(), chunk(b"LIST", b"abcd", declared=900)), MalformedAudio, "'LIST' chunk declares 900 bytes, but 4"),
        (riff(fmt(channels=0, align=2), chunk(b"data", bytes(8))), MalformedAudio, "got 0, 16000 and 2"),
        (riff(fmt(rate=0), chunk(b"data", bytes(8))), MalformedAudio, "got 1, 0 and 2"),
        (riff(fmt(align=0), chunk(b"data", bytes(8))), MalformedAudio, "got 1, 16000 and 0"),
        (riff(fmt(align=3), chunk(b"data", bytes(9))), MalformedAudio, "no blocks of 3 bytes"),
        (riff(fmt(), chunk(b"data", bytes(7))), MalformedAudio, "multiple of 2 bytes in the data chunk, got 7"),
        (riff(fmt(channels=2), chunk(b"data", bytes(6))), MalformedAudio, "multiple of 4 bytes .* got 6"),
        (riff(fmt(), chunk(b"data", b"")), EmptyAudio, "no sample"),
        (riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"abcd")), EmptyAudio, "no sample"),
        (riff(fmt(bits=24), chunk(b"data", bytes(6))), UnsupportedAudio, "24 bits of format tag 0x0001"),
        (riff(fmt(bits=8), chunk(b"data", bytes(6))), UnsupportedAudio, "8 bits of format tag 0x0001"),
        (riff(fmt(tag=0x11, bits=4, align=256), chunk(b"data", bytes(256))), UnsupportedAudio, "tag 0x0011"),
        (riff(fmt(rate=1), chunk(b"data", bytes(6))), UnsupportedAudio, "sample_rate"),
        (riff(fmt(channels=64), chunk(b"data", bytes(128))), UnsupportedAudio, "channels"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, error: type[AudioError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_wav(data)


def test_a_truncated_file_is_malformed_even_when_its_samples_are_for_another_reader() -> None:
    with pytest.raises(MalformedAudio, match="declares 600 bytes, but 6 are"):
        parse_wav(riff(fmt(bits=24), chunk(b"data", bytes(6), declared=600)))


@pytest.mark.parametrize("n", range(len(WHOLE)))
def test_every_beginning_of_a_file_is_an_audio_error(n: int) -> None:
    with pytest.raises(AudioError):
        parse_wav(WHOLE[:n])


def test_a_wav_file_is_known_by_its_beginning() -> None:
    assert is_wav(WHOLE)
    assert not is_wav(b"RIFFxxxxAVI ")
    assert not is_wav(b"RIFF")


def parsed_or_refused(data: bytes) -> None:
    try:
        audio_format, payload = parse_wav(data)
    except AudioError:
        return
    assert len(payload) > 0
    assert len(payload) % audio_format.block_align == 0


@given(st.binary(max_size=200))
def test_random_bytes_behind_the_magic_give_a_payload_or_an_audio_error(data: bytes) -> None:
    parsed_or_refused(data)
    parsed_or_refused(b"RIFF\x00\x00\x00\x00WAVE" + data)
    parsed_or_refused(b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + data)


@given(st.lists(st.tuples(st.integers(4, len(WHOLE) - 1), st.integers(0, 255)), max_size=6))
def test_a_file_with_bytes_changed_gives_a_payload_or_an_audio_error(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value

    parsed_or_refused(bytes(data))


@pytest.mark.parametrize(("tag", "bits"), [(1, 8), (1, 16), (1, 24), (3, 32), (6, 8), (7, 8)])
def test_plain_samples_are_known_by_the_head(tag: int, bits: int) -> None:
    assert has_plain_samples(riff(fmt(tag, bits=bits), chunk(b"data", bytes(60))))


@pytest.mark.parametrize(("sub_tag", "expected"), [(1, True), (3, True), (2, False), (0x55, False)])
def test_an_extensible_head_tells_by_its_sub_format(sub_tag: int, expected: bool) -> None:
    body = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4, sub_tag)
    assert has_plain_samples(riff(chunk(b"fmt ", body.ljust(40, b"\0")), chunk(b"data", bytes(60)))) is expected


@pytest.mark.parametrize(
    "head",
    [
        riff(fmt(2, bits=4, align=256), chunk(b"data", bytes(60))),
        riff(fmt(0x31, bits=0, align=65), chunk(b"data", bytes(65))),
        riff(chunk(b"LIST", bytes(40)), fmt(), chunk(b"data", bytes(60))),
        b"fLaC" + bytes(60),
        WHOLE[:20],
        riff(fmt(0xFFFE))[:40],
        b"",
    ],
    ids=["ms adpcm", "gsm", "another chunk first", "flac", "cut in the format", "cut in the extension", "nothing"],
)
def test_other_heads_promise_no_plain_samples(head: bytes) -> None:
    assert not has_plain_samples(head)
