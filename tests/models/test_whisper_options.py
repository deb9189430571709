"""How Whisper's attempts follow each other."""

from __future__ import annotations

import pytest

from alfred_voice.models.whisper_options import WhisperOptions


@pytest.mark.parametrize(
    ("most", "temperatures"),
    [
        (0.0, (0.0,)),
        (0.19, (0.0,)),
        (0.2, (0.0, 0.2)),
        (0.4, (0.0, 0.2, 0.4)),
        (0.6, (0.0, 0.2, 0.4, 0.6)),
        (1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_attempts_go_up_in_steps_to_the_most(most: float, temperatures: tuple[float, ...]) -> None:
    assert WhisperOptions(max_temperature=most).temperatures == temperatures
