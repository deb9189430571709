"""Speech over the daemon's own speech."""

from __future__ import annotations

from typing import Any

import pytest

from alfred_voice.events import Interrupted
from tests.session.hearing import MakeSpeaker


def play(one: Any, speech_id: int = 7) -> None:
    one.playout.begin(speech_id)
    one.playout.sent(60_000, one.now)


def test_speech_over_the_daemon_s_speech_interrupts_it_once(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say(" " * 10)
    play(one)
    one.say("#" * 10)

    assert one.told == ["speechStart", "interruption"]
    event = one.one(Interrupted)
    assert (event.at_ms, event.speech_id) == (320, 7)
    assert event.spoken_ms == pytest.approx(96, abs=25)
    assert event.latency_ms == pytest.approx(96, abs=25)
    assert one.session.take_interruption()
    assert not one.session.take_interruption()


def test_a_speech_is_interrupted_once_even_before_it_has_been_stopped(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    play(one)
    one.say("#" * 5 + " " * 3 + "#" * 5)

    assert one.told.count("interruption") == 1


@pytest.mark.parametrize("sound", ["##        ##        ", "#       ", "# # # "])
def test_a_short_noise_does_not_interrupt(speaker: MakeSpeaker, sound: str) -> None:
    one = speaker(partials=False)
    play(one)
    one.say(sound)

    assert "interruption" not in one.told
    assert not one.session.take_interruption()


def test_speech_that_a_flush_has_ended_does_not_add_up_with_a_noise_behind_it(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    play(one)
    one.say("##")
    one.flush()
    one.say("     #    ")

    assert "interruption" not in one.told


def test_nothing_is_interrupted_when_nothing_plays(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False)
    play(one)
    one.now += 61
    one.say("#" * 10)
    one.playout.end()
    one.say("#" * 10)

    assert "interruption" not in one.told


def test_interruption_can_be_switched_off(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False, interruption={"enabled": False})
    play(one)
    one.say("#" * 10)

    assert one.told == ["speechStart"]
