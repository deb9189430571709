"""Pieces of the daemon's speech that wait for their turn."""

from __future__ import annotations

import pytest

from alfred_voice.pipeline.outbox import SpeechAudio
from alfred_voice.server.webrtc.speech_queue import MOST_PIECES, SpeechQueue


@pytest.fixture
def queue() -> SpeechQueue:
    return SpeechQueue(bytes_per_ms=96)


def piece(speech_id: int, ms: int = 20) -> SpeechAudio:
    return SpeechAudio(speech_id, bytes([speech_id]) * (96 * ms))


def test_pieces_come_in_their_order_and_then_nothing(queue: SpeechQueue) -> None:
    queue.put(piece(1))
    queue.put(piece(2))
    assert [queue.take(), queue.take(), queue.take()] == [piece(1).data, piece(2).data, None]


def test_what_is_dropped_of_a_speech_is_told_in_milliseconds(queue: SpeechQueue) -> None:
    for each in (piece(1), piece(1), piece(1, ms=5), piece(2)):
        queue.put(each)
    queue.take()
    assert queue.drop(1) == 25
    assert queue.take() == piece(2).data


def test_nothing_is_dropped_of_a_speech_that_has_been_played(queue: SpeechQueue) -> None:
    queue.put(piece(1))
    queue.take()
    assert queue.drop(1) == 0
    assert queue.drop(7) == 0


def test_a_speech_that_waits_for_its_own_next_piece_has_run_dry(queue: SpeechQueue) -> None:
    queue.put(piece(1))
    queue.take()
    queue.take()
    queue.take()
    assert queue.underruns == 0
    queue.put(piece(1))
    assert queue.underruns == 1
    queue.put(piece(1))
    assert queue.underruns == 1


def test_silence_between_two_speeches_is_no_underrun(queue: SpeechQueue) -> None:
    queue.take()
    queue.put(piece(1))
    queue.take()
    queue.take()
    queue.put(piece(2))
    assert queue.underruns == 0


def test_a_piece_that_comes_in_time_is_no_underrun(queue: SpeechQueue) -> None:
    queue.put(piece(1))
    queue.take()
    queue.put(piece(1))
    assert queue.underruns == 0


def test_the_queue_is_bounded(queue: SpeechQueue) -> None:
    for number in range(MOST_PIECES + 3):
        queue.put(piece(number % 200))
    assert len(queue) == MOST_PIECES
    assert queue.take() == piece(3).data
