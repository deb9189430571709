from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cache

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alfred_voice.audio.pcm import (
    ENCODINGS,
    FRAME_SAMPLES,
    AudioFormat,
    Int16,
    bytes_per_sample,
    decode,
    encode,
    from_float,
    to_float,
)
from alfred_voice.errors import AudioError, MalformedAudio, UnsupportedAudio


EVERY_INT16: Int16 = np.arange(-32_768, 32_768).astype(np.int16)
EVERY_CODE = bytes(range(256))
WIDTHS = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}
int16_arrays = hnp.arrays(np.int16, st.integers(0, 700))


def ffmpeg_decoded(data: bytes, encoding: str) -> Int16:
    context = av.CodecContext.create(f"pcm_{encoding}", "r")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = 8000
    context.layout = "mono"
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in context.decode(av.Packet(data))])


@cache
def mu_law_decisions() -> list[int]:
    """G.711 table 2a: decision values of 14 bit samples, segment after segment."""
    decisions = [0, 1]
    for segment in range(8):
        steps = 15 if segment == 0 else 16
        decisions += [decisions[-1] + (2 << segment) * (step + 1) for step in range(steps)]
    return decisions


@cache
def a_law_decisions() -> list[int]:
    """G.711 table 1a: decision values of 13 bit samples; the first two segments have one step size."""
    decisions = [2 * step for step in range(33)]
    for segment in range(2, 8):
        decisions += [decisions[-1] + (2 << (segment - 1)) * (step + 1) for step in range(16)]
    return decisions


def mu_law_by_the_standard(sample: int) -> int:
    magnitude = (sample if sample >= 0 else ~sample) >> 2
    position = min(bisect_right(mu_law_decisions(), magnitude) - 1, 127)
    return (0xFF if sample >= 0 else 0x7F) - position


def a_law_by_the_standard(sample: int) -> int:
    magnitude = (sample if sample >= 0 else ~sample) >> 3
    position = min(bisect_right(a_law_decisions(), magnitude) - 1, 127)
    return (position | (0x80 if sample >= 0 else 0)) ^ 0x55


def test_a_frame_is_twenty_milliseconds() -> None:
    assert FRAME_SAMPLES == 320


def test_the_four_encodings_have_their_widths() -> None:
    assert {encoding: bytes_per_sample(encoding) for encoding in ENCODINGS} == WIDTHS


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_every_g711_code_decodes_as_ffmpeg_decodes_it(encoding: str) -> None:
    np.testing.assert_array_equal(decode(EVERY_CODE, encoding), ffmpeg_decoded(EVERY_CODE, encoding))


@pytest.mark.parametrize(
    ("encoding", "reference"), [("mulaw", mu_law_by_the_standard), ("alaw", a_law_by_the_standard)]
)
def test_every_sample_has_the_code_of_the_decision_values(encoding: str, reference: Callable[[int], int]) -> None:
    expected = bytes(reference(int(sample)) for sample in EVERY_INT16)

    assert encode(EVERY_INT16, encoding) == expected


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_every_g711_level_has_its_own_code(encoding: str) -> None:
    back = bytearray(encode(decode(EVERY_CODE, encoding), encoding))
    if encoding == "mulaw":
        assert back[0x7F] == 0xFF  # minus zero is zero
        back[0x7F] = 0x7F

    assert bytes(back) == EVERY_CODE


@pytest.mark.parametrize(("encoding", "offset", "least"), [("mulaw", 132, 0), ("alaw", 0, 16)])
def test_g711_errs_by_at_most_half_a_step(encoding: str, offset: int, least: int) -> None:
    inside = EVERY_INT16[np.abs(EVERY_INT16.astype(int)) <= 32_000].astype(int)
    back = decode(encode(inside.astype(np.int16), encoding), encoding).astype(int)

    # Sixteen steps to a doubling of the magnitude (mu-law counts it from -132): half a step is a thirty-second.
    magnitude = np.abs(inside) + offset
    assert np.all(np.abs(back - inside) <= np.maximum(magnitude / 32, least))


def test_sixteen_bit_samples_are_little_endian() -> None:
    assert decode(b"\x01\x00\x00\x80\xff\x7f", "pcm_s16le").tolist() == [1, -32_768, 32_767]
    assert encode(np.array([1, -32_768, 32_767], np.int16), "pcm_s16le") == b"\x01\x00\x00\x80\xff\x7f"


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le"])
def test_every_sample_survives_an_encoding_without_loss(encoding: str) -> None:
    np.testing.assert_array_equal(decode(encode(EVERY_INT16, encoding), encoding), EVERY_INT16)


def test_float_full_scale_is_32768_both_ways() -> None:
    np.testing.assert_array_equal(to_float(np.array([-32_768, 16_384], np.int16)), np.array([-1, 0.5], np.float32))
    assert from_float(np.array([-1, 0.5], np.float32)).tolist() == [-32_768, 16_384]


def test_floats_are_float32_and_within_one() -> None:
    scaled = to_float(EVERY_INT16)

    assert scaled.dtype == np.float32
    assert scaled.min() == -1.0
    assert scaled.max() < 1.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 32_767),
        (7.5, 32_767),
        (-7.5, -32_768),
        (3.4e38, 32_767),
        (-3.4e38, -32_768),
        (1e-30, 0),
        (32_767.6 / 32_768, 32_767),
    ],
)
def test_floats_beyond_full_scale_are_clipped(value: float, expected: int) -> None:
    assert from_float(np.array([value], np.float32)).tolist() == [expected]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_float_that_is_no_number_is_malformed_and_its_place_is_told(value: float) -> None:
    data = np.array([0.0, 0.1, value, 0.2], "<f4").tobytes()

    with pytest.raises(MalformedAudio, match="at sample 2"):
        decode(data, "pcm_f32le")


@pytest.mark.parametrize(("encoding", "n"), [("pcm_s16le", 3), ("pcm_f32le", 6), ("pcm_f32le", 1)])
def test_an_odd_byte_count_is_malformed_and_says_what_was_expected(encoding: str, n: int) -> None:
    with pytest.raises(MalformedAudio, match=f"expected a multiple of {WIDTHS[encoding]} bytes .*got {n} bytes"):
        decode(bytes(n), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_nothing(encoding: str) -> None:
    assert decode(b"", encoding).tolist() == []
    assert encode(np.empty(0, np.int16), encoding) == b""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_samples_are_int16_whatever_buffer_they_come_in(encoding: str) -> None:
    data = encode(EVERY_INT16[::1000], encoding)

    for buffer in (data, bytearray(data), memoryview(data)):
        decoded = decode(buffer, encoding)
        assert decoded.dtype == np.int16
        np.testing.assert_array_equal(decoded, decode(data, encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_strided_array_encodes_like_its_copy(encoding: str) -> None:
    assert encode(EVERY_INT16[::7], encoding) == encode(EVERY_INT16[::7].copy(), encoding)


def test_an_unknown_encoding_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedAudio, match="pcm_s16le, pcm_f32le, mulaw, alaw, got 'opus'"):
        decode(b"", "opus")


@given(st.sampled_from(ENCODINGS), int16_arrays)
def test_the_width_gives_the_length(encoding: str, samples: Int16) -> None:
    assert len(encode(samples, encoding)) == len(samples) * WIDTHS[encoding]


@given(st.sampled_from(["mulaw", "alaw"]), int16_arrays)
def test_coding_twice_loses_no_more_than_coding_once(encoding: str, samples: Int16) -> None:
    once = decode(encode(samples, encoding), encoding)

    np.testing.assert_array_equal(decode(encode(once, encoding), encoding), once)


@given(st.sampled_from(ENCODINGS), st.binary(max_size=400))
def test_any_bytes_give_samples_or_an_audio_error(encoding: str, data: bytes) -> None:
    try:
        assert len(decode(data, encoding)) == len(data) // WIDTHS[encoding]
    except AudioError:
        assert encoding in ("pcm_s16le", "pcm_f32le")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_rate": 3_999}, "sample_rate: expected 4000 to 192000 Hz, got 3999"),
        ({"sample_rate": 192_001}, "got 192001"),
        ({"channels": 0}, "channels: expected 1 to 8, got 0"),
        ({"channels": 9}, "got 9"),
        ({"encoding": "pcm_s24le"}, "encoding: expected one of .*got 'pcm_s24le'"),
    ],
)
def test_a_format_out_of_range_is_refused_by_field(fields: dict[str, int | str], message: str) -> None:
    with pytest.raises(UnsupportedAudio, match=message):
        AudioFormat(**fields)  # type: ignore[arg-type]


def test_the_block_is_one_sample_of_every_channel() -> None:
    assert AudioFormat().block_align == 2
    assert AudioFormat(48_000, 2, "pcm_f32le").block_align == 8
    assert AudioFormat(8_000, 1, "alaw").block_align == 1
