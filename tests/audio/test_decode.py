from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from alfred_voice.audio.damage import Damage
from alfred_voice.audio.decode import BLOCK_SAMPLES, Uploads, decode_blocks, decode_upload
from alfred_voice.audio.pcm import AudioFormat, Int16, encode
from alfred_voice.audio.wav import wav_header, write_wav
from alfred_voice.errors import AudioError, EmptyAudio, MalformedAudio, UnsupportedAudio


RAW = AudioFormat()
FILES = [
    ("flac", "flac", 44_100, "stereo"),
    ("ogg", "libopus", 48_000, "mono"),
    ("webm", "libopus", 48_000, "stereo"),
    ("mp3", "libmp3lame", 22_050, "mono"),
    ("ipod", "aac", 44_100, "mono"),
    ("adts", "aac", 16_000, "mono"),
    ("wav", "pcm_s24le", 48_000, "5.1"),
    ("wav", "pcm_u8", 8_000, "mono"),
    ("wav", "adpcm_ima_wav", 16_000, "mono"),
    ("aiff", "pcm_s16be", 16_000, "mono"),
]
SoundFile = Callable[..., bytes]
Tone = Callable[..., Int16]


def joined(blocks: Iterable[Int16]) -> Int16:
    return np.concatenate([np.empty(0, np.int16), *blocks])


def pitch_hz(samples: Int16) -> float:
    frequencies, power = signal.periodogram(samples[4_000:-4_000].astype(float), 16_000, "hann")
    return float(frequencies[np.argmax(power)])


@pytest.mark.parametrize(("container", "codec", "rate", "layout"), FILES)
def test_every_kind_of_file_becomes_sixteen_kilohertz_mono(
    container: str, codec: str, rate: int, layout: str, sound_file: SoundFile, tone: Tone
) -> None:
    data = sound_file(tone(1.5, rate, 600, 9_000), rate, container, codec, layout)

    blocks = list(decode_blocks(data))

    assert all(block.dtype == np.int16 and 0 < len(block) <= BLOCK_SAMPLES for block in blocks)
    samples = joined(blocks)
    assert len(samples) / 16_000 == pytest.approx(1.5, abs=0.12)  # encoders pad to their frames
    assert pitch_hz(samples) == pytest.approx(600, abs=2)
    assert np.sqrt(2) * samples[4_000:-4_000].std() == pytest.approx(9_000, rel=0.08)


def test_lossless_samples_come_through_unchanged(sound_file: SoundFile) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_767, 50_000, dtype=np.int16)

    for container, codec in (("flac", "flac"), ("wav", "pcm_s16le"), ("caf", "pcm_s16le")):
        np.testing.assert_array_equal(joined(decode_blocks(sound_file(samples, 16_000, container, codec))), samples)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
def test_plain_samples_come_by_the_half_second(codec: str, sound_file: SoundFile, tone: Tone) -> None:
    blocks = list(decode_blocks(sound_file(tone(4.0, 16_000), 16_000, "wav", codec)))

    assert len(blocks) <= 16  # FFmpeg by itself gives 63


def test_a_long_chunk_before_the_sound_is_stepped_over(tone: Tone) -> None:
    samples = tone(2.0, 16_000)
    whole = wav_header(16_000, samples=len(samples)) + samples.tobytes()
    data = whole[:36] + b"LIST" + (300_000).to_bytes(4, "little") + bytes(300_000) + whole[36:]

    np.testing.assert_array_equal(joined(decode_blocks(data)), samples)


def test_damage_takes_no_more_of_compressed_sound_than_a_packet_of_ffmpegs_own(
    sound_file: SoundFile, tone: Tone
) -> None:
    data = bytearray(sound_file(tone(8.0, 16_000), 16_000, "wav", "adpcm_ms"))
    data[len(data) // 2 : len(data) // 2 + 2_000] = b"\xff" * 2_000
    damage = Damage()

    samples = joined(decode_blocks(bytes(data), damage))

    assert len(samples) / 16_000 == pytest.approx(8.0, abs=0.2)
    assert 0 < damage.seconds < 1.1  # 4096 bytes are half a second


def test_a_path_a_string_and_an_open_file_give_the_same(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, tone(0.5, 16_000), 16_000)

    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(joined(decode_blocks(source)), tone(0.5, 16_000))


def test_the_callers_file_stays_open_and_its_own(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, tone(0.1, 16_000), 16_000)

    with path.open("rb") as file:
        list(decode_blocks(file))
        assert not file.closed


def test_a_file_that_cannot_be_rewound_is_read_all_the_same(tone: Tone) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    data = wav_header(16_000) + tone(0.2, 16_000).tobytes()

    np.testing.assert_array_equal(joined(decode_blocks(Pipe(data))), tone(0.2, 16_000))


def test_a_long_recording_is_read_as_it_is_consumed(tone: Tone) -> None:
    data = wav_header(16_000) + bytes(16_000 * 2 * 120)
    file = io.BytesIO(data)
    blocks = decode_blocks(file)

    next(blocks)

    assert file.tell() < len(data) // 4
    assert sum(len(block) for block in blocks) > 16_000 * 110


def test_a_missing_path_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(decode_blocks(tmp_path / "no.wav"))


@pytest.mark.parametrize("data", [b"", b"hello, this is no sound at all", bytes(5_000), b"%PDF-1.7" + bytes(900)])
def test_what_is_no_sound_file_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedAudio, match="known format"):
        list(decode_blocks(data))


def test_a_play_list_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "secret.wav"
    write_wav(other, np.zeros(16_000, np.int16), 16_000)
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{other}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{other}'\n",
    ):
        path = tmp_path / "list.m3u8"
        path.write_text(text)
        with pytest.raises(UnsupportedAudio):
            list(decode_blocks(path))


@pytest.mark.parametrize(("container", "codec", "rate"), [("flac", "flac", 16_000), ("ipod", "aac", 44_100)])
def test_a_known_file_cut_in_half_is_malformed(
    container: str, codec: str, rate: int, sound_file: SoundFile, tone: Tone
) -> None:
    data = sound_file(tone(1, rate), rate, container, codec)

    with pytest.raises(MalformedAudio):
        list(decode_blocks(data[: len(data) // 2]))


def test_a_damaged_frame_is_malformed(sound_file: SoundFile, tone: Tone) -> None:
    data = bytearray(sound_file(tone(1, 16_000), 16_000, "adts", "aac"))
    data[3_000:3_300] = np.random.default_rng(0).bytes(300)

    with pytest.raises(MalformedAudio, match="aac file is damaged"):
        list(decode_blocks(bytes(data)))


def test_a_damaged_frame_is_stepped_over_where_it_is_taken_down(sound_file: SoundFile, tone: Tone) -> None:
    whole = sound_file(tone(2, 16_000), 16_000, "adts", "aac")
    data = bytearray(whole)
    data[3_000:3_300] = np.random.default_rng(0).bytes(300)
    damage = Damage()

    samples = joined(decode_blocks(bytes(data), damage))

    assert len(samples) == pytest.approx(len(joined(decode_blocks(whole))), abs=1_600)
    ((at_s, missing_s),) = damage.gaps
    assert 0 < at_s < 2
    assert 0 < missing_s < 0.5


def test_damage_to_the_end_is_malformed_also_where_it_is_taken_down(sound_file: SoundFile, tone: Tone) -> None:
    data = sound_file(tone(2, 16_000), 16_000, "adts", "aac")

    with pytest.raises(MalformedAudio, match="aac file is damaged"):
        list(decode_blocks(data[: len(data) // 2] + bytes([255, 0]) * 3_000, Damage()))


@pytest.mark.parametrize("declared", [0, 0xFFFF_FFFF, 0x7FFF_F000, 4_000])
def test_a_wav_header_that_cannot_know_or_is_right_excuses_its_length(declared: int) -> None:
    data = wav_header(16_000, samples=2_000)[:-4] + declared.to_bytes(4, "little") + bytes(4_000)

    assert len(joined(decode_blocks(data))) == 2_000


def test_a_wav_file_in_which_less_comes_than_its_header_says_is_malformed_when_all_has_come() -> None:
    found: list[Int16] = []

    with pytest.raises(MalformedAudio, match="wav file is damaged: 400 bytes are missing"):
        found.extend(decode_blocks(wav_header(16_000, samples=2_000) + bytes(3_600)))
    assert len(joined(found)) == 1_800


def test_a_file_without_a_sample_is_empty() -> None:
    with pytest.raises(EmptyAudio, match="no sample"):
        list(decode_blocks(wav_header(16_000, samples=0)))


def test_a_film_without_sound_is_empty() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 32, 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        output.mux([*stream.encode(frame), *stream.encode(None)])

    with pytest.raises(EmptyAudio, match="none in this matroska"):
        list(decode_blocks(file.getvalue()))


def test_ffmpeg_prints_nothing_of_its_own(capfd: pytest.CaptureFixture[str], sound_file: SoundFile, tone: Tone) -> None:
    data = sound_file(tone(0.5, 44_100), 44_100, "mp3", "libmp3lame")
    for broken in (data[: len(data) // 2], data[:3_000] + bytes(500) + data[3_500:], b"\x00" * 999):
        counted_or_refused(lambda broken=broken: decode_blocks(broken))  # type: ignore[misc]

    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_decoder_library_is_not_loaded_before_it_is_needed() -> None:
    program = (
        "import sys, numpy as np\n"
        "from alfred_voice.audio.decode import decode_upload\n"
        "from alfred_voice.audio.pcm import AudioFormat\n"
        "list(decode_upload(bytes(640), AudioFormat()))\n"
        "print('av' in sys.modules)\n"
    )

    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_an_uploaded_wav_says_its_own_format(tone: Tone) -> None:
    samples = tone(1, 8_000, 600)
    data = wav_header(8_000, samples=len(samples)) + samples.tobytes()

    frames = list(decode_upload(data, AudioFormat(48_000, 2, "alaw")))

    assert len(frames) == 50
    assert all(frame.shape == (320,) for frame in frames)
    assert pitch_hz(joined(frames)) == pytest.approx(600, abs=2)


@pytest.mark.parametrize(("container", "codec", "rate", "layout"), [f for f in FILES if f[0] != "adts"])
def test_any_uploaded_file_is_known_by_its_beginning(
    container: str, codec: str, rate: int, layout: str, sound_file: SoundFile, tone: Tone
) -> None:
    data = sound_file(tone(1.5, rate, 600), rate, container, codec, layout)

    frames = list(decode_upload(data, AudioFormat(8_000, 1, "mulaw")))

    assert {frame.shape for frame in frames} == {(320,)}
    assert pitch_hz(joined(frames)) == pytest.approx(600, abs=2)


def test_other_uploads_are_raw_samples_in_the_declared_format(tone: Tone) -> None:
    data = encode(tone(1, 8_000, 600), "mulaw")

    frames = list(decode_upload(data, AudioFormat(8_000, 1, "mulaw")))

    assert len(frames) == 50
    assert pitch_hz(joined(frames)) == pytest.approx(600, abs=2)


def test_an_upload_larger_than_a_piece_is_the_same_as_one_feed() -> None:
    samples = np.random.default_rng(0).integers(-9_000, 9_000, 320 * 700, dtype=np.int16)

    np.testing.assert_array_equal(joined(decode_upload(samples.tobytes(), RAW)), samples)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyAudio),
        (bytes(641), MalformedAudio),
        (wav_header(16_000, samples=0), EmptyAudio),
        (wav_header(16_000, samples=100) + bytes(50), MalformedAudio),
        (wav_header(16_000)[:30], MalformedAudio),
    ],
)
def test_what_the_header_can_tell_is_refused_by_the_call_itself(data: bytes, error: type[AudioError]) -> None:
    with pytest.raises(error):
        decode_upload(data, RAW)


def test_uploads_of_one_session_join_without_a_seam(tone: Tone) -> None:
    samples = tone(1, 16_000)
    uploads = Uploads(RAW)
    frames: list[Int16] = []
    for at in range(0, 16_000, 700):
        piece = samples[at : at + 700]
        as_file = wav_header(16_000, samples=len(piece)) + piece.tobytes()
        frames += uploads.feed(as_file if at % 1_400 else piece.tobytes())
    frames += uploads.flush()

    np.testing.assert_array_equal(joined(frames), samples)


def test_a_change_of_format_between_uploads_loses_nothing(tone: Tone, sound_file: SoundFile) -> None:
    uploads = Uploads(RAW)

    frames = [*uploads.feed(tone(0.5, 16_000).tobytes())]
    frames += uploads.feed(wav_header(8_000) + tone(0.5, 8_000).tobytes())
    frames += uploads.feed(sound_file(tone(0.5, 16_000), 16_000, "flac", "flac"))
    frames += uploads.flush()

    assert len(frames) == 75


def test_a_refused_upload_leaves_the_stream_unharmed(tone: Tone) -> None:
    uploads = Uploads(RAW)
    samples = tone(0.1, 16_000)
    frames = list(uploads.feed(samples[:500].tobytes()))
    for bad in (b"", bytes(3), wav_header(8_000, samples=100)):
        with pytest.raises(AudioError):
            uploads.feed(bad)
    with pytest.raises(MalformedAudio):
        list(uploads.feed(b"fLaC" + bytes(100)))
    frames += uploads.feed(samples[500:].tobytes())

    np.testing.assert_array_equal(joined(frames), samples)


def counted_or_refused(blocks: Callable[[], Iterator[Int16]]) -> None:
    try:
        assert sum(len(block) for block in blocks()) >= 0
    except AudioError:
        return


MAGICS = [
    b"",
    b"fLaC",
    b"OggS\x00\x02",
    b"ID3\x04\x00\x00\x00\x00\x00\x00",
    b"\x00\x00\x00\x1cftypisom",
    b"\x1aE\xdf\xa3",
    b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00",
    b"FORM\x00\x00\x10\x00AIFF",
    b"\xff\xfb\x90\x00",
    b"#!AMR\n",
]


@given(st.sampled_from(MAGICS), st.binary(max_size=1_500))
@settings(deadline=None, max_examples=150)
def test_random_bytes_give_samples_or_an_audio_error(magic: bytes, data: bytes) -> None:
    counted_or_refused(lambda: decode_blocks(magic + data))
    counted_or_refused(lambda: decode_upload(magic + data, AudioFormat(8_000, 1, "pcm_f32le")))


@pytest.mark.parametrize(("container", "codec", "rate", "layout"), FILES)
def test_files_with_bytes_changed_give_samples_or_an_audio_error(
    container: str, codec: str, rate: int, layout: str, sound_file: SoundFile, tone: Tone
) -> None:
    data = sound_file(tone(0.3, rate), rate, container, codec, layout)
    rng = np.random.default_rng(11)
    for trial in range(40):
        changed = bytearray(data)
        reach = 200 if trial % 2 else len(data)
        for at in rng.integers(0, min(reach, len(data)), 8):
            changed[at] = rng.integers(0, 256)
        cut = bytes(changed if trial % 3 else changed[: rng.integers(1, len(data))])
        counted_or_refused(lambda cut=cut: decode_blocks(cut))  # type: ignore[misc]
        counted_or_refused(lambda cut=cut: decode_upload(cut, RAW))  # type: ignore[misc]
