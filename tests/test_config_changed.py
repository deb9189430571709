"""Values that come while the daemon runs go through the same checks as those of files."""

from __future__ import annotations

from typing import Any

import pytest

from alfred_voice.config import Loaded, changed, load
from alfred_voice.errors import ConfigError


@pytest.fixture
def loaded() -> Loaded:
    return load(sets=["vad.threshold=0.6", "tts.voice=de"])


def test_values_are_taken_by_their_path_or_in_rooms_over_what_was_there(loaded: Loaded) -> None:
    now = changed(loaded, {"vad.threshold": 0.7, "sessions": {"max_concurrent": 3}, "log": {"file": None}}, "test")

    assert (now.config.vad.threshold, now.config.sessions.max_concurrent, now.config.log.file) == (0.7, 3, None)
    assert (now.config.tts.voice, now.origins["tts.voice"]) == ("de", "--set")
    assert (now.origins["vad.threshold"], now.origins["vad.min_speech_ms"]) == ("test", "default")
    assert loaded.config.vad.threshold == 0.6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vad.threshold": "0.7"}, r"vad\.threshold: expected a number \(0 to 1\), got '0\.7'"),
        ({"vad.threshold": True}, r"vad\.threshold: .*got true"),
        ({"vad.threshold": None}, r"vad\.threshold: .*got null"),
        ({"vad.threshold": [1]}, r"vad\.threshold: .*got a list"),
        ({"vad.threshold": {"x": 1}}, r"vad\.threshold: .*got an object"),
        ({"vad.threshold": 7}, r"vad\.threshold: .*got 7"),
        ({"sessions.max_concurrent": 1.5}, r"sessions\.max_concurrent: expected a whole number .*got 1\.5"),
        ({"log.level": "loud"}, r"log\.level: expected one of .*got 'loud'"),
        ({"vad.treshold": 0.5}, r"vad\.treshold: unknown key; did you mean vad\.threshold\?"),
        ({"vda": {"threshold": 0.5}}, r"vda\.threshold: unknown"),
        ({"vad": 3}, "vad: expected a key of this room and its value"),
        ({"vad.threshold": 0.5, "vad": {"threshold": 0.6}}, r"vad\.threshold: given twice"),
        ({"memory.gc_trigger_mb": 400}, r"memory: gc_trigger_mb \(400\) must not be above limit_mb \(300\)"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(loaded: Loaded, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(loaded, changes, "test")


def test_all_that_is_wrong_is_told_at_once(loaded: Loaded) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(loaded, {"vad.threshold": 7, "turn.silence_ms": "x", "server.prot": 1, "tts.voice": "fr"}, "test")

    assert str(caught.value).startswith("3 settings are wrong")
    for path in ("vad.threshold", "turn.silence_ms", "server.prot"):
        assert path in str(caught.value)


def test_a_room_without_its_keys_is_told_what_it_has_to_be() -> None:
    with pytest.raises(ConfigError, match=r"^stt: expected a key of this room and its value: stt\.KEY \(test\)$"):
        changed(load(), {"stt": None}, "test")
