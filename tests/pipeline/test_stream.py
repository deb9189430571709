"""One session as the server sees it. The test plays the pipeline: it advances the stream and answers its questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from alfred_voice.errors import EngineFailure, MalformedAudio, SessionEnded, UnusableText
from alfred_voice.events import (
    EVENT_TYPES,
    ErrorRaised,
    FinalTranscription,
    Interrupted,
    Pong,
    SessionFinished,
    SpeechOutputEnded,
    SpeechOutputStarted,
)
from alfred_voice.pipeline.outbox import SlowReader
from alfred_voice.pipeline.stream import Stream
from alfred_voice.results import TurnJudgement
from alfred_voice.session.requests import DetectRequest, TranscribeRequest, Urgency
from tests.pipeline.played_stream import FRAME, GIVEN_AT_ONCE, QUEUE_FRAMES, Int16, MakePlayed, Played, feed


async def turns(count: int = 5) -> None:
    """Let the loop run its tasks."""
    for _ in range(count):
        await asyncio.sleep(0)


# Frames


async def test_a_frame_goes_to_the_session_at_once_and_the_pipeline_is_woken_for_a_full_window(played: Played) -> None:
    played.stream.put(FRAME)
    assert played.wakes == 0, "320 samples are no window of 512"
    played.stream.put(FRAME)
    assert played.wakes == 1
    assert played.stream.frames_queued == 0
    assert len(played.advance()) == 1


async def test_frames_wait_when_the_session_has_enough_until_the_pipeline_comes_for_them(played: Played) -> None:
    feed(played, [FRAME] * (GIVEN_AT_ONCE + 2))
    assert played.stream.frames_queued == 2
    assert played.stream.buffered_ms == 40.0
    played.advance()
    assert played.stream.frames_queued == 0


async def test_there_is_room_for_as_many_frames_as_configured(played: Played) -> None:
    for _ in range(GIVEN_AT_ONCE + QUEUE_FRAMES):
        assert played.stream.has_room()
        played.stream.put(FRAME)
    assert not played.stream.has_room()


async def test_who_waits_for_room_goes_on_when_there_is_some(played: Played) -> None:
    for _ in range(GIVEN_AT_ONCE + QUEUE_FRAMES):
        played.stream.put(FRAME)
    waiting = asyncio.create_task(played.stream.room())
    await turns()
    assert not waiting.done()
    played.advance()
    await asyncio.wait_for(waiting, 5)
    assert played.stream.has_room()


@pytest.mark.parametrize("ending", ["stop", "end_now", "fail", "abandon"])
async def test_who_waits_for_room_goes_on_when_the_session_is_told_to_end(played: Played, ending: str) -> None:
    for _ in range(GIVEN_AT_ONCE + QUEUE_FRAMES):
        played.stream.put(FRAME)
    waiting = asyncio.create_task(played.stream.room())
    await turns()
    end(played.stream, ending)
    await asyncio.wait_for(waiting, 5)
    with pytest.raises(SessionEnded, match="'s' has ended"):
        played.stream.put(FRAME)


def end(stream: Stream, how: str) -> None:
    """End a stream in one of the ways there are."""
    match how:
        case "stop":
            stream.stop()
        case "end_now":
            stream.end_now("shutdown")
        case "fail":
            stream.fail(EngineFailure("no"))
        case "abandon":
            stream.abandon()
        case "report":
            stream.report(EngineFailure("no"), fatal=True)


async def test_several_can_wait_at_once_and_each_for_his_own(played: Played) -> None:
    for _ in range(GIVEN_AT_ONCE + QUEUE_FRAMES):
        played.stream.put(FRAME)
    waits = (played.stream.room(), played.stream.settled(), played.stream.finished())
    room, settled, finished = (asyncio.ensure_future(wait) for wait in waits)
    await turns()
    played.advance()
    await turns()
    assert (room.done(), settled.done(), finished.done()) == (True, False, False)
    played.work_off()
    await turns()
    assert (settled.done(), finished.done()) == (True, False)
    played.stream.stop()
    played.work_off()
    await asyncio.wait_for(finished, 5)


async def test_a_session_is_settled_when_all_whole_windows_are_judged(played: Played) -> None:
    for _ in range(4):  # 1280 samples: two windows and a half
        played.stream.put(FRAME)
    settled = asyncio.create_task(played.stream.settled())
    await turns()
    assert not settled.done()
    played.advance()
    await turns()
    assert not settled.done()
    played.answer()
    played.advance()
    await asyncio.wait_for(settled, 5)


async def test_a_session_without_a_frame_is_settled(played: Played) -> None:
    await asyncio.wait_for(played.stream.settled(), 5)


async def test_a_session_that_fails_is_settled(played: Played) -> None:
    for _ in range(4):
        played.stream.put(FRAME)
    settled = asyncio.create_task(played.stream.settled())
    await turns()
    played.stream.fail(EngineFailure("no"))
    await asyncio.wait_for(settled, 5)


async def test_the_detector_begins_afresh_with_every_session(played: Played) -> None:
    for _ in range(4):
        played.stream.put(FRAME)
    (detect,) = played.advance()
    assert isinstance(detect, DetectRequest)
    assert detect.fresh


# What it tells


async def test_an_utterance_goes_through_in_order(played: Played, spoken: Callable[..., list[Int16]]) -> None:
    feed(played, spoken(200, 800, 800)[:QUEUE_FRAMES])
    played.work_off()
    types = [EVENT_TYPES[type(event)] for event in played.told]
    assert types == ["speechStart", *["partialTranscription"] * types.count("partialTranscription"), "speechEnd",
                     "finalTranscription", "turnComplete"]  # fmt: skip
    status = played.stream.status()
    assert status["last_text"] == "hello there"
    assert (status["utterances"], status["frames_processed"], status["frames_dropped"]) == (1, 89, 0)
    assert status["latency_ms"]["final"]["count"] == status["latency_ms"]["turn"]["count"] == 1


async def test_stop_delivers_what_is_owed_and_then_the_end(played: Played, spoken: Callable[..., list[Int16]]) -> None:
    feed(played, spoken(100, 900))
    played.stream.stop()
    played.work_off()
    told = played.told
    assert isinstance(told[-1], SessionFinished)
    assert told[-1].reason == "stop"
    assert told[-1].stats.frames_received == told[-1].stats.frames_processed == 50
    assert sum(isinstance(event, FinalTranscription) for event in told) == 1
    assert await played.stream.outbox.take() == []


async def test_the_first_reason_to_stop_is_the_one(played: Played) -> None:
    played.stream.stop("idle")
    played.stream.stop("shutdown")
    played.work_off()
    assert [event.reason for event in played.told] == ["idle"]
    assert played.stream.end_reason == "idle"


async def test_a_flush_after_the_stop_is_nothing(played: Played) -> None:
    played.stream.stop()
    wakes = played.wakes
    played.stream.flush()
    assert played.wakes == wakes


async def test_nothing_is_told_after_the_end(played: Played) -> None:
    played.stream.stop()
    played.work_off()
    assert len(played.told) == 1
    played.stream.ping(1)
    played.stream.report(MalformedAudio("late"))
    played.stream.tell(Pong(2))
    played.stream.fail(EngineFailure("late"))
    played.stream.abandon()
    assert played.told == []
    assert played.advance() == []


async def test_a_ping_is_answered(played: Played) -> None:
    played.stream.ping("x")
    assert played.told == [Pong("x")]


async def test_an_error_is_told_and_the_session_goes_on(played: Played) -> None:
    played.stream.report(MalformedAudio("half a sample"))
    assert played.told == [ErrorRaised("audio_malformed", "half a sample", fatal=False)]
    assert not played.stream.ended
    errors = played.metrics.registry.get_sample_value("alfred_errors_total", {"code": "audio_malformed"})
    assert errors == 1


@pytest.mark.parametrize("how", ["report", "fail"])
async def test_a_fatal_error_ends_the_session_and_the_pipeline_is_told(played: Played, how: str) -> None:
    feed(played, [FRAME] * 10)
    played.advance()
    feed(played, [FRAME] * 10)
    wakes = played.wakes
    end(played.stream, how)
    assert played.wakes > wakes, "or it would never leave the roster"
    error, finished = played.told
    assert error == ErrorRaised("engine_failure", "no", fatal=True)
    assert finished.reason == "error"
    stats = finished.stats
    assert (stats.frames_received, stats.frames_processed, stats.frames_dropped) == (20, 0, 20)
    assert (played.fate("processed"), played.fate("dropped")) == (0, 20)


async def test_a_detector_that_fails_ends_the_session(played: Played) -> None:
    feed(played, [FRAME] * 4)
    (request,) = played.advance()
    assert isinstance(request, DetectRequest)
    played.stream.receive_detection(request, EngineFailure("deaf"), played.clock.now())
    assert [type(event) for event in played.told] == [ErrorRaised, SessionFinished]


async def test_an_answer_after_the_end_is_ignored(played: Played) -> None:
    feed(played, [FRAME] * 4)
    (request,) = played.advance()
    assert isinstance(request, DetectRequest)
    played.stream.end_now("shutdown")
    played.told  # noqa: B018  takes them
    played.stream.receive_detection(request, [0.0, 0.0], played.clock.now())
    assert played.told == []


async def test_an_answer_of_the_wrong_kind_is_a_fault_of_the_house(played: Played) -> None:
    request = TranscribeRequest(Urgency.FINAL, 0, 0, FRAME, 0, (), "en", 0.0, 0.0)
    with pytest.raises(AssertionError, match="TurnJudgement is no answer to TranscribeRequest"):
        played.stream.receive(request, TurnJudgement(0.5), 0.0)


async def test_a_client_that_is_gone_is_told_nothing_and_its_frames_are_accounted_for(played: Played) -> None:
    feed(played, [FRAME] * 12)
    played.advance()
    feed(played, [FRAME] * 3)
    wakes = played.wakes
    played.stream.abandon()
    assert played.wakes > wakes
    assert played.stream.ended
    assert played.stream.end_reason == "gone"
    assert await played.stream.outbox.take() == []
    assert played.fate("dropped") == 15


async def test_a_client_that_does_not_read_is_found_out(make_played: MakePlayed) -> None:
    played = make_played(outbox_events=3)
    for number in range(4):
        played.stream.ping(number)
    with pytest.raises(SlowReader):
        await played.stream.outbox.take()


# Speech


async def test_a_speech_is_said(played: Played, eventually: Callable[..., Any]) -> None:
    told: list[Any] = []

    def started() -> bool:
        told.extend(played.told)
        return any(isinstance(event, SpeechOutputStarted) for event in told)

    played.stream.speak("hi")
    await eventually(started)
    played.stream.stop_speaking()
    told += played.told
    assert isinstance(told[-1], SpeechOutputEnded)
    assert told[-1].cancelled


async def test_what_cannot_be_said_is_refused(played: Played) -> None:
    with pytest.raises(UnusableText):
        played.stream.speak(" ")
    assert played.told == []


@pytest.mark.parametrize("how", ["stop", "end_now", "fail", "report"])
async def test_the_end_silences_the_daemon_and_nothing_more_can_be_said(played: Played, how: str) -> None:
    played.stream.speak("hello")
    await turns()
    end(played.stream, how)
    with pytest.raises(SessionEnded):
        played.stream.speak("more")
    played.work_off()
    await turns()
    told = played.told
    ends = [index for index, event in enumerate(told) if isinstance(event, SpeechOutputEnded)]
    assert len(ends) == 1
    assert ends[0] < len(told) - 1
    assert isinstance(told[-1], SessionFinished)


async def test_speech_over_the_daemons_own_stops_it(
    played: Played, spoken: Callable[..., list[Int16]], eventually: Callable[..., Any]
) -> None:
    played.stream.speak("x" * 200)
    await eventually(lambda: played.stream.session.playout.is_playing(played.clock.now()))
    feed(played, spoken(0, 200))
    played.work_off()
    await turns()
    items = played.stream.outbox.take_now()
    kinds = [type(getattr(item, "event", item)) for item in items]
    assert kinds.index(Interrupted) < kinds.index(SpeechOutputEnded)
    last_audio = max((i for i, kind in enumerate(kinds) if kind.__name__ == "SpeechAudio"), default=-1)
    assert last_audio < kinds.index(SpeechOutputEnded)


async def test_a_client_whose_rate_is_limited_has_room_for_its_burst_and_then_for_real_time(played: Played) -> None:
    played.stream.limit_rate(10)
    feed(played, [FRAME] * 10)
    assert not played.stream.has_room()
    assert not played.stream.put_now(FRAME)
    played.clock.advance(0.1)
    assert played.stream.has_room(5)
    assert not played.stream.has_room(6)
    played.stream.limit_rate(None)
    assert played.stream.has_room(6)


async def test_who_waits_for_room_goes_on_when_the_limit_is_lifted(played: Played) -> None:
    played.stream.limit_rate(1)
    feed(played, [FRAME])
    waiting = asyncio.create_task(played.stream.room())
    await turns()
    assert not waiting.done()
    played.stream.limit_rate(None)
    await asyncio.wait_for(waiting, 5)


async def test_what_waits_grows_old(played: Played) -> None:
    assert played.stream.waiting_s(played.clock.now()) == 0.0
    played.stream.flush()
    played.stream.put(FRAME)
    played.clock.advance(3)
    played.stream.put(FRAME)
    assert played.stream.waiting_s(played.clock.now()) == 3.0
    played.advance()
    assert played.stream.waiting_s(played.clock.now()) == 0.0


async def test_who_sent_audio_a_moment_ago_is_sending(played: Played) -> None:
    assert not played.stream.is_sending(played.clock.now())
    played.stream.put(FRAME)
    assert played.stream.is_sending(played.clock.now() + 0.09)
    assert not played.stream.is_sending(played.clock.now() + 0.11)


@pytest.mark.parametrize("act", ["put", "ping", "flush", "stop_speaking"])
async def test_every_message_counts_as_a_sign_of_life(played: Played, act: str) -> None:
    played.clock.advance(50)
    assert played.stream.idle_s(played.clock.now()) == 50
    match act:
        case "put":
            played.stream.put(FRAME)
        case "ping":
            played.stream.ping(None)
        case "flush":
            played.stream.flush()
        case _:
            played.stream.stop_speaking()
    assert played.stream.idle_s(played.clock.now()) == 0


async def test_a_session_that_is_being_spoken_to_is_not_idle(played: Played) -> None:
    played.stream.speak("x" * 100)
    await turns()
    played.clock.advance(500)
    assert played.stream.idle_s(played.clock.now()) == 0
    played.stream._voice.cancel()
    assert played.stream.idle_s(played.clock.now()) == 0, "the end of the speech counts"
    played.clock.advance(7)
    assert played.stream.idle_s(played.clock.now()) == 7


async def test_the_status_tells_all(played: Played) -> None:
    feed(played, [FRAME] * 30)
    played.advance()
    waiting = played.stream.frames_queued
    played.clock.advance(2)
    played.stream.ping(1)
    status = played.stream.status()
    assert 0 < waiting < 30
    nothing = {"count": 0, "p50": 0.0, "p95": 0.0, "max": 0.0}
    assert status == {
        "session_id": "s",
        "state": "listening",
        "transport": "websocket",
        "sample_rate": 16_000,
        "encoding": "pcm_s16le",
        "language": None,
        "age_s": 2.0,
        "idle_s": 0.0,
        "stream_ms": 20.0 * (30 - waiting),
        "frames_received": 30,
        "frames_processed": 0,
        "frames_dropped": 0,
        "frames_queued": waiting,
        "buffered_ms": 20.0 * waiting,
        "utterances": 0,
        "speech_ms": 0.0,
        "last_text": "",
        "latency_ms": {"final": nothing, "turn": nothing},
        "events_waiting": 1,
        "events_superseded": 0,
    }


async def test_the_state_follows_the_session(played: Played, spoken: Callable[..., list[Int16]]) -> None:
    states = [played.stream.status()["state"]]
    feed(played, spoken(0, 500))
    played.work_off()
    states.append(played.stream.status()["state"])
    played.stream.stop()
    states.append(played.stream.status()["state"])
    played.work_off()
    states.append(played.stream.status()["state"])
    assert states == ["listening", "speaking", "stopping", "ended"]
