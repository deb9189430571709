from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from alfred_voice.audio.ingest import Ingest, mix_down
from alfred_voice.audio.pcm import ENCODINGS, FRAME_SAMPLES, AudioFormat, Int16, decode, encode
from alfred_voice.errors import AudioError, MalformedAudio


HOUSE = AudioFormat()


def noise(n: int, seed: int = 0) -> Int16:
    return np.random.default_rng(seed).integers(-20_000, 20_000, n, dtype=np.int16)


def test_one_frame_in_the_house_format_is_one_frame_without_a_copy() -> None:
    data = noise(320).tobytes()

    frames = Ingest(HOUSE).feed(data)

    assert len(frames) == 1
    assert frames[0].shape == (FRAME_SAMPLES,)
    assert frames[0].dtype == np.int16
    assert np.shares_memory(frames[0], np.frombuffer(data, np.int16))
    assert not frames[0].flags.writeable


@pytest.mark.parametrize(
    ("n", "frames", "pending"), [(0, 0, 0), (1, 0, 1), (319, 0, 319), (321, 1, 1), (640, 2, 0), (1_000, 3, 40)]
)
def test_messages_of_any_length_are_cut_into_frames(n: int, frames: int, pending: int) -> None:
    ingest = Ingest(HOUSE)

    assert len(ingest.feed(noise(n).tobytes())) == frames
    assert ingest.pending == pending


def test_a_whole_frame_behind_a_rest_is_cut_at_the_frame_and_not_at_the_message() -> None:
    ingest = Ingest(HOUSE)
    samples = noise(420)

    assert ingest.feed(samples[:100].tobytes()) == []
    frames = ingest.feed(samples[100:].tobytes())

    assert len(frames) == 1
    np.testing.assert_array_equal(frames[0], samples[:320])
    assert ingest.pending == 100


def test_flush_gives_the_rest_filled_up_with_zeros_and_then_nothing() -> None:
    ingest = Ingest(HOUSE)
    ingest.feed(noise(330).tobytes())

    (rest,) = ingest.flush()

    np.testing.assert_array_equal(rest[:10], noise(330)[320:])
    assert not rest[10:].any()
    assert ingest.flush() == []


def test_after_a_flush_the_stream_goes_on() -> None:
    ingest = Ingest(AudioFormat(8_000))
    ingest.feed(noise(1_000).tobytes())
    ingest.flush()

    again = [*ingest.feed(noise(1_000).tobytes()), *ingest.flush()]

    fresh = Ingest(AudioFormat(8_000))
    expected = [*fresh.feed(noise(1_000).tobytes()), *fresh.flush()]
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(expected))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_second_of_any_format_becomes_fifty_frames_of_the_same_tone(
    encoding: str, sample_rate: int, channels: int, tone: Callable[..., Int16]
) -> None:
    audio_format = AudioFormat(sample_rate, channels, encoding)
    data = encode(np.repeat(tone(1, sample_rate, 1_000, 12_000), channels), encoding)
    message_bytes = 37 * audio_format.block_align
    ingest = Ingest(audio_format)

    frames = [f for at in range(0, len(data), message_bytes) for f in ingest.feed(data[at : at + message_bytes])]
    frames += ingest.flush()

    assert len(frames) in (50, 51)  # a rounding may leave one sample for a frame of its own
    assert all(frame.shape == (320,) and frame.dtype == np.int16 for frame in frames)
    middle = np.concatenate(frames)[4_000:12_000].astype(float)
    frequencies, power = signal.periodogram(middle, 16_000, "hann")
    assert frequencies[np.argmax(power)] == pytest.approx(1_000, abs=2)
    assert np.sqrt(2) * middle.std() == pytest.approx(12_000, rel=0.02)


def test_two_channels_are_mixed_by_their_mean() -> None:
    left, right = noise(320, 1), noise(320, 2)
    data = np.stack([left, right], axis=1).tobytes()

    (frame,) = Ingest(AudioFormat(channels=2)).feed(data)

    np.testing.assert_array_equal(frame, np.floor((left.astype(float) + right) / 2))


def test_the_mean_of_extremes_does_not_overflow() -> None:
    assert mix_down(np.array([32_767, 32_767, -32_768, -32_768, 32_767, -32_768], np.int16), 2).tolist() == [
        32_767,
        -32_768,
        -1,
    ]
    assert mix_down(np.full(16, -32_768, np.int16), 8).tolist() == [-32_768, -32_768]


def test_one_channel_is_left_as_it_is() -> None:
    samples = noise(10)

    assert mix_down(samples, 1) is samples


@pytest.mark.parametrize(
    ("audio_format", "n", "message"),
    [
        (HOUSE, 641, r"multiple of 2 bytes \(pcm_s16le, 1 channel\), got 641 bytes"),
        (HOUSE, 1, "got 1 bytes"),
        (AudioFormat(channels=2), 642, r"multiple of 4 bytes \(pcm_s16le, 2 channels\), got 642 bytes"),
        (AudioFormat(encoding="pcm_f32le"), 642, r"multiple of 4 bytes \(pcm_f32le, 1 channel\), got 642 bytes"),
        (AudioFormat(8_000, 2, "mulaw"), 161, r"multiple of 2 bytes \(mulaw, 2 channels\), got 161 bytes"),
    ],
)
def test_an_odd_byte_count_says_what_was_expected_and_what_came(
    audio_format: AudioFormat, n: int, message: str
) -> None:
    with pytest.raises(MalformedAudio, match=message):
        Ingest(audio_format).feed(bytes(n))


@pytest.mark.parametrize("sample_rate", [16_000, 48_000])
def test_a_refused_message_leaves_the_stream_unharmed(sample_rate: int) -> None:
    audio_format = AudioFormat(sample_rate, 1, "pcm_f32le")
    data = encode(noise(sample_rate // 5), "pcm_f32le")
    bad = np.array([0.5, np.nan], "<f4").tobytes()
    tried, untried = Ingest(audio_format), Ingest(audio_format)

    frames = tried.feed(data[:4_000])
    for refused in (bad, data[:5], np.array([np.inf], "<f4").tobytes()):
        with pytest.raises(MalformedAudio):
            tried.feed(refused)
    frames += [*tried.feed(data[4_000:]), *tried.flush()]

    expected = [*untried.feed(data[:4_000]), *untried.feed(data[4_000:]), *untried.flush()]
    np.testing.assert_array_equal(np.concatenate(frames), np.concatenate(expected))


@given(st.sampled_from(ENCODINGS), st.integers(1, 2), st.lists(st.integers(0, 900), max_size=8))
@settings(deadline=None)
def test_at_the_house_rate_the_samples_are_those_that_were_sent(
    encoding: str, channels: int, lengths: list[int]
) -> None:
    ingest = Ingest(AudioFormat(16_000, channels, encoding))
    messages = [encode(noise(n * channels, n), encoding) for n in lengths]

    frames = [frame for message in messages for frame in ingest.feed(message)]
    frames += ingest.flush()

    expected = mix_down(decode(b"".join(messages), encoding), channels)
    came = np.concatenate([np.empty(0, np.int16), *frames])
    np.testing.assert_array_equal(came[: len(expected)], expected)
    assert not came[len(expected) :].any()
    assert len(frames) == -(-len(expected) // 320)


@given(
    st.sampled_from(ENCODINGS),
    st.integers(1, 2),
    st.integers(8_000, 48_000),
    st.lists(st.binary(max_size=900), max_size=5),
)
@settings(deadline=None, max_examples=150)
def test_random_bytes_give_frames_or_an_audio_error(
    encoding: str, channels: int, sample_rate: int, messages: list[bytes]
) -> None:
    ingest = Ingest(AudioFormat(sample_rate, channels, encoding))
    frames = []
    for message in messages:
        try:
            frames += ingest.feed(message)
        except AudioError:
            assert encoding == "pcm_f32le" or len(message) % ingest.format.block_align
    frames += ingest.flush()

    assert all(frame.shape == (320,) and frame.dtype == np.int16 for frame in frames)
