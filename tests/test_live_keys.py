from __future__ import annotations

import pytest

from alfred_voice import live_keys
from alfred_voice.config import reference
from alfred_voice.live_keys import Reach, reach_of


def test_what_is_said_of_keys_and_rooms_is_said_of_some_that_exist() -> None:
    assert set(live_keys._KEYS) <= {key.path for key in reference()}
    assert set(live_keys._ROOMS) <= {key.room for key in reference()}


@pytest.mark.parametrize(
    ("path", "reach"),
    [
        ("backpressure.threshold", Reach.NOW),
        ("sessions.max_concurrent", Reach.NOW),
        ("sessions.resume_events", Reach.NEW_SESSIONS),
        ("vad.threshold", Reach.NEW_SESSIONS),
        ("vad.engine", Reach.RESTART),
        ("stt.engine", Reach.MODEL),
        ("whisper.prompt", Reach.MODEL),
        ("log.level", Reach.NOW),
        ("log.file", Reach.RESTART),
        ("pipeline.engine_threads", Reach.RESTART),
    ],
)
def test_a_change_reaches_as_far_as_the_table_says(path: str, reach: Reach) -> None:
    assert reach_of(path) is reach


@pytest.mark.parametrize("room", ["server", "security", "models", "openai", "post_processing"])
def test_what_the_daemon_is_built_upon_needs_a_restart(room: str) -> None:
    assert {reach_of(key.path) for key in reference() if key.room == room} == {Reach.RESTART}
