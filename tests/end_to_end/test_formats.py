"""Clients with other rates, channels and encodings are understood like those with the house's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr

from tests.sounds import Int16, alaw_bytes, mulaw_bytes
from tests.support import Daemon, check_session, staggered, stream, word_error_rate


def at_rate(samples: Int16, rate: int) -> Int16:
    resampled = soxr.resample(samples.astype(np.float64), 16_000, rate)
    return np.asarray(np.clip(np.round(resampled), -32768, 32767).astype(np.int16))


def stereo(samples: Int16) -> bytes:
    """The speech on the left, and half as loud on the right."""
    return np.stack([samples, samples // 2], axis=1).astype("<i2").tobytes()


FORMATS: dict[str, tuple[dict[str, Any], int, Callable[[Int16], bytes]]] = {
    "8 kHz mu-law": (
        {"sample_rate": 8_000, "encoding": "mulaw"}, 160, lambda a: mulaw_bytes(at_rate(a, 8_000)),
    ),
    "8 kHz A-law": (
        {"sample_rate": 8_000, "encoding": "alaw"}, 160, lambda a: alaw_bytes(at_rate(a, 8_000)),
    ),
    "24 kHz": (
        {"sample_rate": 24_000}, 960, lambda a: at_rate(a, 24_000).astype("<i2").tobytes(),
    ),
    "44.1 kHz stereo": (
        {"sample_rate": 44_100, "channels": 2}, 3_528, lambda a: stereo(at_rate(a, 44_100)),
    ),
    "48 kHz float": (
        {"sample_rate": 48_000, "encoding": "pcm_f32le"}, 3_840,
        lambda a: (at_rate(a, 48_000) / 32_768).astype("<f4").tobytes(),
    ),
}  # fmt: skip


async def test_every_format_gives_the_same_words(daemon: Daemon, reading: Int16, reading_text: str) -> None:
    plan = list(FORMATS.values())
    runs = await staggered(
        [
            stream(daemon.ws, encode(reading), start={**start, "partials": False}, frame_bytes=frame_bytes)
            for start, frame_bytes, encode in plan
        ]
    )

    for name, (start, _, _), heard in zip(FORMATS, plan, runs, strict=True):
        check_session(heard)
        assert word_error_rate(reading_text, heard.text) <= 0.1, f"{name}: {heard.text}"
        started = heard.one("sessionStarted")
        assert started["sample_rate"] == start["sample_rate"]
        assert started["encoding"] == start.get("encoding", "pcm_s16le")
        assert abs(heard.stats["frames_received"] - heard.frames_sent) <= 1, name
        assert not heard.of("partialTranscription", "error", "warning"), name


async def test_messages_of_any_length_are_one_stream(daemon: Daemon, sentence: Int16, sentence_text: str) -> None:
    sizes = (2, 202, 640, 1_002, 6_400, 64_000)
    runs = await asyncio.gather(
        *[
            stream(daemon.ws, sentence, frame_bytes=size, pace=size / 640 * 3, start={"session_id": f"size-{size}"})
            for size in sizes[1:]
        ]
    )
    for heard in runs:
        check_session(heard)
        assert word_error_rate(sentence_text, heard.text) <= 0.25, heard.text
        assert heard.stats["frames_received"] == -(-len(sentence) // 320)


async def test_partials_off_and_events_asked_for(daemon: Daemon, sentence: Int16) -> None:
    plain, without, more = await asyncio.gather(
        stream(daemon.ws, sentence),
        stream(daemon.ws, sentence, start={"partials": False}),
        stream(daemon.ws, sentence, start={"events": ["frameProcessed"]}),
    )
    assert plain.of("partialTranscription")
    assert not plain.of("frameProcessed")
    assert not without.of("partialTranscription")
    assert without.text
    assert more.of("partialTranscription")
    assert [event["frame"] for event in more.of("frameProcessed")] == list(range(more.frames_sent))
    assert {event["session_id"] for event in plain.events} != {event["session_id"] for event in without.events}
