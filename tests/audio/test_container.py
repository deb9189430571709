from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.audio.container import container_of
from alfred_voice.audio.pcm import ENCODINGS, Int16, encode


@pytest.mark.parametrize(
    ("container", "codec", "rate", "name"),
    [
        ("wav", "pcm_s16le", 16_000, "wav"),
        ("wav", "pcm_s24le", 16_000, "wav"),
        ("w64", "pcm_s16le", 16_000, "w64"),
        ("flac", "flac", 16_000, "flac"),
        ("ogg", "libopus", 48_000, "ogg"),
        ("mp3", "libmp3lame", 44_100, "mp3"),
        ("ipod", "aac", 44_100, "mp4"),
        ("webm", "libopus", 48_000, "matroska"),
        ("aiff", "pcm_s16be", 16_000, "aiff"),
        ("caf", "pcm_s16le", 16_000, "caf"),
    ],
)
def test_files_are_known_by_how_they_begin(
    container: str, codec: str, rate: int, name: str, sound_file: Callable[..., bytes], tone: Callable[..., Int16]
) -> None:
    assert container_of(sound_file(tone(0.3, rate), rate, container, codec)) == name


@pytest.mark.parametrize("rate", [16_000, 22_050, 32_000, 44_100, 48_000, 8_000])
def test_mp3_without_a_tag_is_known_by_two_frames(
    rate: int, sound_file: Callable[..., bytes], tone: Callable[..., Int16]
) -> None:
    data = sound_file(tone(0.5, rate), rate, "mp3", "libmp3lame")
    tag_bytes = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    untagged = data[tag_bytes:]

    assert untagged[0] == 0xFF
    assert container_of(untagged) == "mp3"
    assert container_of(untagged[:100]) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_raw_speech_and_silence_are_no_file(encoding: str, tone: Callable[..., Int16]) -> None:
    for samples in (np.zeros(4_000, np.int16), np.full(4_000, -1, np.int16), tone(0.5, 8_000, 200, 3_000)):
        assert container_of(encode(samples, encoding)) is None


@pytest.mark.parametrize("data", [b"", b"R", b"RIFF", b"\xff", b"\xff\xfb\x90\x00", bytes(12)])
def test_too_little_is_no_file(data: bytes) -> None:
    assert container_of(data) is None


@given(st.binary(max_size=2_000))
def test_any_bytes_have_a_name_or_none(data: bytes) -> None:
    for prefix in (b"", b"\xff\xfb", b"\xff\xf3\x90"):
        assert container_of(prefix + data) in {
            None,
            "wav",
            "w64",
            "flac",
            "ogg",
            "mp3",
            "mp4",
            "matroska",
            "aiff",
            "caf",
            "amr",
        }
