from __future__ import annotations

import pytest

from alfred_voice.session.barge_in import BargeIn
from alfred_voice.session.options import InterruptionOptions


def interruptions(subject: BargeIn, speech: str, playing: str | None = None) -> list[int]:
    """Windows at which it says that it is one; ``#`` is speech, or playing."""
    playing = "#" * len(speech) if playing is None else playing
    return [
        index
        for index, (voice, play) in enumerate(zip(speech, playing, strict=True))
        if subject.receive(
            is_speech=voice == "#", is_playing=play == "#", window_start=index * 512, arrival=float(index)
        )
    ]


@pytest.mark.parametrize(
    ("speech", "playing", "expected"),
    [
        pytest.param("###", "###", [2], id="three windows are 100 ms"),
        pytest.param("#######", "#######", [2], id="once"),
        pytest.param("##", "##", [], id="a short noise"),
        pytest.param("## ## ##", "########", [], id="short noises do not add up"),
        pytest.param("###", "   ", [], id="nothing plays"),
        pytest.param("#####", "  ###", [4], id="only what falls on the daemon's speech counts"),
        pytest.param("### ###", "#######", [2, 6], id="again after a pause"),
    ],
)
def test_speech_over_speech_is_an_interruption(speech: str, playing: str, expected: list[int]) -> None:
    assert interruptions(BargeIn(InterruptionOptions()), speech, playing) == expected


def test_it_says_where_and_when_the_speech_began() -> None:
    subject = BargeIn(InterruptionOptions())
    interruptions(subject, "  ###")

    assert subject.first_sample == 2 * 512
    assert subject.first_arrival == 1.0


def test_speech_in_the_very_first_window_came_with_it() -> None:
    subject = BargeIn(InterruptionOptions())
    subject.receive(is_speech=True, is_playing=True, window_start=0, arrival=4.0)

    assert subject.first_arrival == 4.0


def test_speech_begins_with_the_window_before_though_that_was_passed_as_silence() -> None:
    subject = BargeIn(InterruptionOptions())
    subject.receive_silence(2.0)
    subject.receive(is_speech=True, is_playing=True, window_start=512, arrival=4.0)

    assert (subject.first_sample, subject.first_arrival) == (512, 2.0)


def test_speech_before_a_window_passed_as_silence_does_not_add_up_with_speech_behind_it() -> None:
    subject = BargeIn(InterruptionOptions())
    assert interruptions(subject, "##") == []
    subject.receive_silence(2.0)

    assert interruptions(subject, "##") == []
    assert interruptions(subject, "#") == [0]


def test_it_can_be_switched_off() -> None:
    assert interruptions(BargeIn(InterruptionOptions(enabled=False)), "######") == []


@pytest.mark.parametrize(("ms", "windows"), [(32, 1), (47, 1), (49, 2), (100, 3), (112, 4), (500, 16)])
def test_the_length_is_rounded_to_windows(ms: int, windows: int) -> None:
    assert interruptions(BargeIn(InterruptionOptions(min_speech_ms=ms)), "#" * 20) == [windows - 1]
