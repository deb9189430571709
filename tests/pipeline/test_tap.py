"""What a tap notes of a session, and that a session without one is as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alfred_voice.events import FrameProcessed, PartialTranscription, PipelineHealth, Pong
from alfred_voice.pipeline.tap import MOST_EVENTS, MOST_WINDOWS, Tap
from alfred_voice.session.requests import DetectRequest


Spoken = Callable[..., list[Any]]


def question(first: int, *levels: int) -> DetectRequest:
    """Windows that are constant: an amplitude is a level, too."""
    windows = np.repeat(np.array(levels, np.int16)[:, None], 512, axis=1)
    return DetectRequest(windows, first, (0.0,) * len(levels))


def test_each_window_has_its_place_its_level_and_its_probability() -> None:
    tap = Tap()
    tap.hear(question(10, 0, 16_384), [0.02, 0.9])

    quiet, loud = tap.take().heard

    assert (quiet.at_ms, quiet.level_dbfs, quiet.probability) == (320.0, -120.0, 0.02)
    assert (loud.at_ms, loud.probability) == (352.0, 0.9)
    assert loud.level_dbfs == pytest.approx(-6.02, abs=0.01)


def test_events_have_the_moment_at_which_they_were_told() -> None:
    tap = Tap()
    tap.tell(Pong(7), 1234.0)

    (told,) = tap.take().told

    assert (told.clock_ms, told.event) == (1234.0, Pong(7))


def test_what_is_told_of_each_frame_or_of_the_daemon_is_left_out() -> None:
    tap = Tap()
    tap.tell(FrameProcessed(0, 0.0, 0.5, is_speech=True, processing_ms=1.0), 20.0)
    tap.tell(PipelineHealth({}), 20.0)

    assert tap.take().told == ()


def test_each_thing_is_taken_once() -> None:
    tap = Tap()
    tap.hear(question(0, 1), [0.5])
    tap.tell(Pong(1), 0.0)
    tap.take()

    assert tap.take() == type(tap.take())((), ())


def test_what_nobody_takes_is_bounded_and_the_newest_is_kept() -> None:
    tap = Tap()
    for number in range(MOST_WINDOWS + 9):
        tap.hear(question(number, 1), [0.5])
    for number in range(MOST_EVENTS + 9):
        tap.tell(Pong(number), 0.0)

    glimpse = tap.take()

    assert len(glimpse.heard) == MOST_WINDOWS
    assert glimpse.heard[0].at_ms == 9 * 32.0
    assert len(glimpse.told) == MOST_EVENTS
    assert glimpse.told[-1].event == Pong(MOST_EVENTS + 8)


async def test_a_session_that_is_tapped_tells_the_tap_what_its_client_gets(
    house: Any, heard: Callable[..., Any], spoken: Spoken
) -> None:
    stream = house.open()
    tap = stream.tap = Tap()
    for frame in spoken(320, 640, 640):
        stream.put(frame)
    stream.stop()
    client = await heard(stream).to_the_end()
    glimpse = tap.take()

    kinds = (PipelineHealth,)
    told = [told.event for told in glimpse.told]
    # Its first event was told before it was tapped.
    assert told == [event for event in client.events if not isinstance(event, kinds)][1:]
    windows = {window.at_ms: window for window in glimpse.heard}
    assert list(windows) == [32.0 * number for number in range(50)]
    assert windows[0.0].level_dbfs == -120.0
    assert windows[480.0].level_dbfs == pytest.approx(-15.3, abs=0.3)  # 8,000 of 32,768, a sine
    assert windows[480.0].probability == pytest.approx(0.95)
    assert windows[1280.0].probability == pytest.approx(0.02)


async def test_a_tap_changes_nothing_of_what_the_client_gets(
    house: Any, heard: Callable[..., Any], spoken: Spoken
) -> None:
    told = []
    for is_tapped in (False, True):
        stream = house.open()
        stream.tap = Tap() if is_tapped else None
        for frame in spoken(320, 640, 640):
            stream.put(frame)
        stream.stop()
        events = (await heard(stream).to_the_end()).events
        # How many partials there is time for is nothing that a tap decides, and health comes by the clock.
        told.append([type(event) for event in events if not isinstance(event, PartialTranscription | PipelineHealth)])

    assert told[0] == told[1]
