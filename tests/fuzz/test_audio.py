"""Files and samples as no recorder writes them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.audio.container import container_of
from alfred_voice.audio.decode import decode_upload
from alfred_voice.audio.ingest import Ingest
from alfred_voice.audio.pcm import AudioFormat
from alfred_voice.audio.wav import parse_wav, wav_header
from tests.files.odd_files import encoded, wav
from tests.fuzz.inputs import cut, damaged, deliberate, junk


TONE = (8000 * np.sin(np.arange(3200) / 8)).astype(np.int16)
WAVS = (
    wav(TONE[:300].tobytes()),
    wav(TONE[:300].tobytes(), channels=2, rate=44_100),
    wav(bytes(90), bits=24),
    wav(bytes(80), bits=8, code=7),
    wav(bytes(160), bits=32, code=3),
    wav_header(8000) + bytes(20),
    b"RIFF\0\0\0\0WAVELIST\x04\0\0\0INFOfmt ",
)
FILES = (
    *WAVS,
    encoded("flac", "flac", TONE),
    encoded("ogg", "libopus", TONE, rate=48_000),
    encoded("mp3", "libmp3lame", TONE),
    encoded("mp4", "aac", TONE),
    encoded("aiff", "pcm_s16be", TONE),
)
formats = st.builds(
    lambda rate, channels, encoding: (rate, channels, encoding),
    st.integers(-1, 200_000) | st.sampled_from([8000, 16_000, 44_100, 48_000]),
    st.integers(-1, 9) | st.sampled_from([1, 2]),
    st.sampled_from(["pcm_s16le", "pcm_f32le", "mulaw", "alaw", "opus", ""]),
)


@given(junk(*WAVS))
def test_the_reader_of_wav_files_takes_or_refuses_any_bytes(data: bytes) -> None:
    for piece in cut(data):
        with deliberate("WAV reader"):
            audio_format, payload = parse_wav(piece)
            assert len(payload) % audio_format.block_align == 0
        container_of(piece)


@given(damaged(FILES, most=6))
def test_whole_recordings_of_any_format_are_decoded_or_refused(data: bytes) -> None:
    with deliberate("recordings of any format"):
        for frame in decode_upload(data, AudioFormat()):
            assert frame.shape == (320,)
            assert frame.dtype == np.int16


@given(formats, st.lists(st.binary(max_size=500), max_size=6))
def test_samples_of_any_declared_format_become_frames_or_are_refused(
    declared: tuple[int, int, str], chunks: list[bytes]
) -> None:
    with deliberate("samples of a declared format"):
        ingest = Ingest(AudioFormat(*declared))
        for chunk in chunks:
            with deliberate("samples of a declared format"):
                assert all(frame.shape == (320,) for frame in ingest.feed(chunk))
        assert all(frame.shape == (320,) for frame in ingest.flush())
