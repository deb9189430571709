from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.session.playout import Playout


def test_before_any_speech_nothing_plays() -> None:
    playout = Playout(200)

    assert playout.speech_id is None
    assert not playout.is_playing(0.0)
    assert playout.spoken_ms(5.0) == 0.0
    assert playout.wait_s(0.0) == 0.0


def test_pieces_are_heard_one_after_the_other() -> None:
    playout = Playout(200)
    playout.begin(7)
    playout.sent(100, 10.0)
    playout.sent(100, 10.0)

    assert playout.speech_id == 7
    assert playout.remaining_s(10.05) == pytest.approx(0.15)
    assert playout.spoken_ms(10.05) == pytest.approx(50)
    assert playout.is_playing(10.199)
    assert not playout.is_playing(10.2)
    assert playout.spoken_ms(99.0) == 200


def test_a_piece_that_comes_after_the_client_ran_dry_is_heard_from_then() -> None:
    playout = Playout(200)
    playout.begin(1)
    playout.sent(100, 0.0)
    playout.sent(100, 5.0)

    assert playout.spoken_ms(5.05) == pytest.approx(150)
    assert playout.remaining_s(5.05) == pytest.approx(0.05)


@pytest.mark.parametrize(("sent_ms", "wait_s"), [(0, 0.0), (200, 0.0), (250, 0.05), (1000, 0.8)])
def test_no_more_than_the_lead_is_sent_ahead(sent_ms: float, wait_s: float) -> None:
    playout = Playout(200)
    playout.begin(1)
    playout.sent(sent_ms, 3.0)

    assert playout.wait_s(3.0) == pytest.approx(wait_s)
    assert playout.wait_s(3.0 + wait_s) == pytest.approx(0.0)


def test_a_speech_that_is_over_does_not_play_and_the_next_begins_at_nothing() -> None:
    playout = Playout(200)
    playout.begin(1)
    playout.sent(1000, 0.0)
    playout.end()
    assert not playout.is_playing(0.1)

    playout.begin(2)
    assert not playout.is_playing(0.1)
    assert playout.sent_ms == playout.spoken_ms(0.1) == 0.0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 100)), max_size=40), st.integers(0, 500))
def test_what_has_been_heard_follows_the_clock(sendings: list[tuple[int, int]], later_ms: int) -> None:
    """Against a client that plays millisecond by millisecond."""
    playout = Playout(200)
    playout.begin(1)
    now_ms = buffered = heard = 0
    for pause_ms, piece_ms in [*sendings, (later_ms, 0)]:
        played = min(buffered, pause_ms)
        buffered, heard, now_ms = buffered - played, heard + played, now_ms + pause_ms
        playout.sent(piece_ms, now_ms / 1000)
        buffered += piece_ms

    assert playout.spoken_ms(now_ms / 1000) == pytest.approx(heard, abs=1e-6)
    assert playout.remaining_s(now_ms / 1000) == pytest.approx(buffered / 1000, abs=1e-9)
