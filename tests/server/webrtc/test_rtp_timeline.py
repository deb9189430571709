"""Where packets lie on the session's clock, and what silence stands for."""

from __future__ import annotations

import pytest

from alfred_voice.server.webrtc.reordering import AudioPacket
from alfred_voice.server.webrtc.rtp_timeline import MOST_FILLED_S, STARVED_S, RtpTimeline


PIECE = 960
SILENCE_S = 3.0


@pytest.fixture
def timeline() -> RtpTimeline:
    return RtpTimeline(SILENCE_S)


def hear(timeline: RtpTimeline, number: int, at: float | None = None, source: int = 1, offset: int = 0) -> int:
    """The silence before the packet of that number, which has 20 ms."""
    packet = AudioPacket(number % 65_536, (number * PIECE + offset) % 2**32, b"x", source)
    gap = timeline.gap_before(packet, number * 0.02 if at is None else at)
    timeline.advance(PIECE)
    return gap


def test_what_follows_needs_no_silence(timeline: RtpTimeline) -> None:
    assert [hear(timeline, number) for number in range(5)] == [0] * 5


def test_a_lost_packet_is_silence_of_its_length(timeline: RtpTimeline) -> None:
    hear(timeline, 0)
    assert hear(timeline, 3) == 2 * PIECE
    assert timeline.filled == 2 * PIECE


def test_the_position_does_not_depend_on_what_was_lost(timeline: RtpTimeline) -> None:
    kept = [0, 1, 4, 5, 9]
    assert sum(hear(timeline, number) for number in kept) + len(kept) * PIECE == 10 * PIECE


def test_the_time_stamps_go_round(timeline: RtpTimeline) -> None:
    offset = 2**32 - PIECE
    assert [hear(timeline, number, offset=offset) for number in (0, 1, 3)] == [0, 0, PIECE]


def test_another_source_has_its_own_time_stamps(timeline: RtpTimeline) -> None:
    hear(timeline, 0)
    assert hear(timeline, 40, source=2) == 0
    assert hear(timeline, 42, source=2) == PIECE


def test_a_leap_is_a_new_beginning(timeline: RtpTimeline) -> None:
    hear(timeline, 0)
    assert hear(timeline, int(MOST_FILLED_S * 50) + 5) == 0
    assert timeline.filled == 0


def test_nothing_is_silent_before_the_first_packet(timeline: RtpTimeline) -> None:
    assert timeline.silence_due(100.0) == 0


def test_a_client_that_has_just_been_heard_is_not_silent(timeline: RtpTimeline) -> None:
    hear(timeline, 0, at=1.0)
    assert timeline.silence_due(1.0 + STARVED_S - 0.01) == 0


def test_a_client_that_sends_nothing_is_silent_as_time_goes_on(timeline: RtpTimeline) -> None:
    hear(timeline, 0, at=1.0)
    assert timeline.silence_due(1.5) == 24_000
    assert timeline.silence_due(1.5) == 0
    assert timeline.silence_due(1.6) == pytest.approx(4_800, abs=1)


def test_silence_of_a_client_that_sends_nothing_has_an_end(timeline: RtpTimeline) -> None:
    hear(timeline, 0, at=1.0)
    assert sum(timeline.silence_due(1.0 + second) for second in range(60)) == SILENCE_S * 48_000


def test_silence_that_was_heard_is_not_put_in_twice(timeline: RtpTimeline) -> None:
    hear(timeline, 0, at=0.0)
    heard = timeline.silence_due(0.5)
    # Packets 1 to 49 were lost: 980 ms lie between.
    assert heard + hear(timeline, 50, at=1.0) == 49 * PIECE


def test_what_was_only_late_is_not_cut(timeline: RtpTimeline) -> None:
    hear(timeline, 0, at=0.0)
    assert timeline.silence_due(0.5) == 24_000
    assert [hear(timeline, number, at=0.51) for number in range(1, 5)] == [0, 0, 0, 0]
    # From there on the clock goes by the time stamps again.
    assert hear(timeline, 6) == PIECE


def test_each_silence_counts_anew(timeline: RtpTimeline) -> None:
    hear(timeline, 0, at=0.0)
    assert timeline.silence_due(10.0) == SILENCE_S * 48_000
    hear(timeline, 500, at=10.0)
    assert timeline.silence_due(20.0) == SILENCE_S * 48_000
