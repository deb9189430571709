"""One speaker in real time, in both modes of the protocol: the words, the order of events, the accounting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.event_loop import run_to_end
from tests.sounds import Int16
from tests.support import Daemon, Heard, check_session, stream, word_error_rate, words


NUMBER = (int, float)
PRE_ROLL_MS = 300
"""``vad.pre_roll_ms``"""
STATS: dict[str, Any] = {
    "frames_received": int,
    "frames_processed": int,
    "frames_dropped": int,
    "utterances": int,
    "speech_ms": NUMBER,
}
FIELDS: dict[str, dict[str, Any]] = {
    "sessionStarted": {"sample_rate": int, "encoding": str, "engines": dict, "limits": dict},
    "speechStart": {"at_ms": NUMBER, "probability": NUMBER},
    "speechEnd": {"at_ms": NUMBER, "duration_ms": NUMBER},
    "partialTranscription": {
        "utterance": int, "text": str, "stable_text": str, "start_ms": NUMBER, "end_ms": NUMBER,
    },
    "finalTranscription": {
        "utterance": int, "text": str, "start_ms": NUMBER, "end_ms": NUMBER, "words": list, "language": str,
        "engine": str, "confidence": NUMBER, "processing_ms": NUMBER, "latency_ms": NUMBER,
    },
    "turnPending": {"probability": NUMBER, "silence_ms": NUMBER},
    "turnComplete": {
        "utterance": int, "probability": NUMBER, "at_ms": NUMBER, "silence_ms": NUMBER, "reason": str,
        "latency_ms": NUMBER,
    },
    "pipelineHealth": {"pipelineState": dict, "performanceMetrics": dict, "resourceOptimization": dict},
    "frameProcessed": {
        "frame": int, "at_ms": NUMBER, "speech_probability": NUMBER, "is_speech": bool, "processing_ms": NUMBER,
    },
    "sessionEnded": {"reason": str, "stats": dict},
    # On a machine that is busy with other things.
    "backpressureTriggered": {"step": str, "load": NUMBER, "buffered_ms": NUMBER, "rung": int},
    "backpressureRecovered": {"step": str, "load": NUMBER, "rung": int},
    "warning": {"code": str, "message": str},
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(daemon: Daemon, reading: Int16) -> dict[str, Heard]:
    """The same speech in both modes at once, every event asked for."""

    async def both() -> tuple[Heard, Heard]:
        return await asyncio.gather(
            stream(daemon.ws, reading, mode="json", start={"events": ["*"]}, tail_s=1.0),
            stream(daemon.ws, reading, mode="msgpack", start={"events": ["*"]}, tail_s=1.0),
        )

    return dict(zip(("json", "msgpack"), run_to_end(both()), strict=True))


@pytest.fixture(params=["json", "msgpack"])
def run(runs: dict[str, Heard], request: pytest.FixtureRequest) -> Heard:
    return runs[request.param]


def test_the_words_are_understood(run: Heard, reading_text: str) -> None:
    assert word_error_rate(reading_text, run.text) <= 0.1, run.text


def test_numbers_order_and_stable_text_are_right(run: Heard) -> None:
    check_session(run)


def test_every_frame_that_was_sent_is_received_and_processed(run: Heard) -> None:
    assert run.stats["frames_received"] == run.frames_sent
    assert run.stats["frames_processed"] == run.frames_sent
    assert run.stats["frames_dropped"] == 0


def test_the_connection_is_closed_cleanly(run: Heard) -> None:
    assert run.close_code == 1000
    assert run.one("sessionEnded")["reason"] == "stop"


def test_there_are_partials_while_the_speaker_speaks(run: Heard) -> None:
    first_end = run.types.index("speechEnd")
    assert "partialTranscription" in run.types[:first_end]
    assert len(run.of("partialTranscription")) >= 5


def test_partials_grow_with_the_utterance(run: Heard) -> None:
    for utterance in {event["utterance"] for event in run.finals}:
        ends = [event["end_ms"] for event in run.of("partialTranscription") if event["utterance"] == utterance]
        assert ends == sorted(ends)


def test_times_lie_on_the_sessions_clock(run: Heard, reading: Int16) -> None:
    length_ms = run.frames_sent * 20
    for event in run.of("speechStart", "speechEnd", "turnComplete"):
        assert 0 <= event["at_ms"] <= length_ms
    for event in run.of("finalTranscription", "partialTranscription"):
        assert 0 <= event["start_ms"] < event["end_ms"] <= length_ms
    ends = run.of("speechEnd")
    with_pre_roll = sum(event["duration_ms"] for event in ends)
    assert with_pre_roll - PRE_ROLL_MS * len(ends) <= run.stats["speech_ms"] <= with_pre_roll
    assert with_pre_roll <= len(reading) / 16


def test_figures_are_in_their_ranges(run: Heard) -> None:
    for event in run.of("speechStart", "turnPending", "turnComplete"):
        assert 0 <= event["probability"] <= 1
    for event in run.finals:
        assert 0 <= event["confidence"] <= 1
        assert event["processing_ms"] >= 0
        assert event["latency_ms"] >= 0
        assert event["engine"] == "moonshine"
        assert event["language"] == "en"
        assert all({"word", "start_ms", "end_ms", "probability"} <= set(word) for word in event["words"])


def test_every_event_has_the_fields_of_the_protocol(run: Heard) -> None:
    for event in run.events:
        fields = FIELDS[event["type"]]
        assert {"type", "session_id", "seq", *fields} <= set(event), event
        for name, kind in fields.items():
            assert isinstance(event[name], kind), f"{event['type']}.{name}: {event[name]!r}"
    for name, kind in STATS.items():
        assert isinstance(run.stats[name], kind)


def test_the_session_says_how_it_was_started(run: Heard) -> None:
    started = run.one("sessionStarted")
    assert (started["sample_rate"], started["encoding"]) == (16_000, "pcm_s16le")
    assert set(started["engines"]) == {"vad", "stt", "turn", "tts"}
    assert set(started["limits"]) == {"max_session_s", "max_message_bytes", "queue_ms"}
    assert started["limits"]["queue_ms"] == 10_000
    assert started["limits"]["max_session_s"] == 3_600


def test_health_comes_about_once_a_second(run: Heard) -> None:
    expected = run.frames_sent * 0.02
    assert expected * 0.5 <= len(run.of("pipelineHealth")) <= expected * 1.5 + 2


def test_each_frame_is_told_once_and_in_order(run: Heard) -> None:
    frames = run.of("frameProcessed")
    assert [event["frame"] for event in frames] == list(range(run.frames_sent))
    assert [event["at_ms"] for event in frames] == pytest.approx([20 * n for n in range(run.frames_sent)])
    assert any(event["is_speech"] for event in frames)
    assert not all(event["is_speech"] for event in frames)
    assert all(0 <= event["speech_probability"] <= 1 for event in frames)


def test_both_modes_tell_the_same_story(runs: dict[str, Heard]) -> None:
    json_run, msgpack_run = runs["json"], runs["msgpack"]
    assert words(json_run.text) == words(msgpack_run.text)
    for event_type in ("speechStart", "speechEnd"):
        assert [e["at_ms"] for e in json_run.of(event_type)] == [e["at_ms"] for e in msgpack_run.of(event_type)]
    assert [e["speech_probability"] for e in json_run.of("frameProcessed")] == pytest.approx(
        [e["speech_probability"] for e in msgpack_run.of("frameProcessed")], abs=1e-3
    )


async def test_the_root_path_and_the_query_start_a_session_too(daemon: Daemon, sentence: Int16) -> None:
    url = f"ws://127.0.0.1:{daemon.port}/?session_id=by-query&sample_rate=16000&encoding=pcm_s16le"
    heard = await stream(url, sentence, pace=3)
    assert heard.one("sessionStarted")["session_id"] == "by-query"
    assert heard.text
