"""What a session is given of what waits, and who has to wait for answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alfred_voice.events import FinalTranscription
from alfred_voice.pipeline.feeding import BEHIND_FRAMES
from alfred_voice.session.requests import DetectRequest, JudgeRequest, TranscribeRequest, Urgency
from alfred_voice.session.session import CATCH_UP_WINDOWS
from tests.pipeline.played_stream import FRAME, GIVEN_AT_ONCE, QUEUE_FRAMES, Int16, Played, feed


async def test_a_burst_is_given_in_portions(played: Played) -> None:
    for _ in range(GIVEN_AT_ONCE + QUEUE_FRAMES):
        played.stream.put(FRAME)
    (detect,) = played.advance()
    assert isinstance(detect, DetectRequest)
    assert len(detect.windows) == CATCH_UP_WINDOWS
    assert played.stream.frames_queued > QUEUE_FRAMES // 2
    assert played.advance() == [], "one question at a time"


def feed_until_asked(played: Played, frames: list[Int16], kind: type) -> None:
    """Put frames and answer the detector until a question of this kind is out, and leave that open."""
    feed(played, frames)
    played.advance()
    while not any(isinstance(request, kind) for request in played.out):
        played.answer(DetectRequest)
        assert played.advance()


@pytest.mark.parametrize("kind", [TranscribeRequest, JudgeRequest])
async def test_who_is_ahead_of_real_time_waits_for_the_answers_that_decide(
    played: Played, spoken: Callable[..., list[Int16]], kind: type
) -> None:
    feed_until_asked(played, spoken(100, 400, 500), kind)
    feed(played, [FRAME] * 2 * BEHIND_FRAMES)
    waiting = played.stream.frames_queued
    for _ in range(20):
        played.answer(DetectRequest)
        played.advance()
    assert played.stream.frames_queued == waiting > BEHIND_FRAMES
    played.work_off()
    assert played.stream.frames_queued == 0


async def test_who_keeps_pace_waits_for_no_answer(played: Played, spoken: Callable[..., list[Int16]]) -> None:
    for frame in spoken(100, 400, 3000):
        played.stream.put(frame)
        played.advance()
        played.answer(DetectRequest)
        played.advance()
    assert any(isinstance(request, TranscribeRequest) for request in played.out)
    assert played.stream.frames_queued == 0


async def test_an_answer_to_a_superseded_question_is_not_waited_for(
    played: Played, spoken: Callable[..., list[Int16]]
) -> None:
    feed_until_asked(played, spoken(100, 400, 160), TranscribeRequest)
    for frame in spoken(0, 300, 160):  # goes on, and pauses again: a second final, and the first will have no answer
        played.stream.put(frame)
        played.advance()
        played.answer(DetectRequest)
    finals = [request for request in played.out if isinstance(request, TranscribeRequest)]
    finals = [request for request in finals if request.urgency is Urgency.FINAL]
    assert len(finals) == 2
    played.out.remove(finals[0])
    feed(played, [FRAME] * 2 * BEHIND_FRAMES)
    played.work_off()
    assert played.stream.frames_queued == 0


async def test_a_flush_ends_the_utterance_behind_the_frames_before_it_and_not_behind_later_ones(
    played: Played, spoken: Callable[..., list[Int16]]
) -> None:
    feed(played, spoken(100, 500))
    played.stream.flush()
    feed(played, spoken(0, 500))
    played.stream.stop()
    played.work_off()
    finals = [event for event in played.told if isinstance(event, FinalTranscription)]
    assert len(finals) == 2
    assert finals[0].end_ms <= 600 <= finals[1].end_ms
