"""Speech that goes on for longer than the recogniser takes at once, and sounds that are no speech."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.event_loop import run_to_end
from tests.sounds import Int16, chords, joined, noise, silence
from tests.support import Daemon, Heard, check_session, repeated_runs, stream, word_error_rate, words


TALE = (
    "The train to the city leaves in the morning and comes back in the evening. "
    "Good morning, my name is Alfred and I live in a big house in New York. "
    "Please turn on the light in the kitchen. What is the weather like in London today? "
    "My brother works in a small school near the river and my sister is a doctor in the north. "
    "We went to the market on Sunday and we came home with bread, butter, milk and a bottle of water. "
    "The children played in the garden until the sun went down behind the hills. "
    "At night we sat by the fire and listened to the wind in the trees."
)


@pytest.fixture(scope="module")
def runs(daemon: Daemon, two_cities: Int16, say: Any) -> dict[str, Heard]:
    """Two speakers at once, one of whom does not stop for breath."""
    unbroken = say(TALE)
    gaps = joined(*_without_pauses(unbroken))

    async def together() -> tuple[Heard, Heard]:
        return await asyncio.gather(
            stream(daemon.ws, two_cities, tail_s=1.0), stream(daemon.ws, gaps, tail_s=1.0, mode="msgpack")
        )

    return dict(zip(("two_cities", "tale"), run_to_end(together()), strict=True))


def _without_pauses(samples: Int16) -> list[Int16]:
    """Pieces of speech, quiet stretches of more than 60 ms left out."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    quiet = abs(frames.astype(int)).max(axis=1) < 300
    pieces, run = [], 0
    for frame, is_quiet in zip(frames, quiet, strict=True):
        run = run + 1 if is_quiet else 0
        if run <= 3:
            pieces.append(frame)
    return pieces


def test_a_long_reading_loses_and_repeats_nothing(runs: dict[str, Heard], two_cities_text: str) -> None:
    heard = runs["two_cities"]
    check_session(heard)
    assert word_error_rate(two_cities_text, heard.text) <= 0.1, heard.text
    assert len(words(heard.text)) == pytest.approx(len(words(two_cities_text)), rel=0.06)
    assert len(repeated_runs(heard.text, 5)) <= len(repeated_runs(two_cities_text, 5))


def test_speech_without_a_pause_loses_and_repeats_nothing(runs: dict[str, Heard]) -> None:
    heard = runs["tale"]
    check_session(heard)
    assert heard.frames_sent * 0.02 > 25
    assert word_error_rate(TALE, heard.text) <= 0.3, heard.text
    assert len(words(heard.text)) == pytest.approx(len(words(TALE)), rel=0.15)
    assert repeated_runs(heard.text, 5) <= repeated_runs(TALE, 5)


def test_long_speech_has_partials_to_its_end(runs: dict[str, Heard]) -> None:
    for heard in runs.values():
        last = heard.of("partialTranscription")[-1]
        assert last["end_ms"] >= (heard.frames_sent * 20) * 0.85
        assert any(partial["stable_text"] for partial in heard.of("partialTranscription"))
        assert heard.stats["frames_received"] == heard.frames_sent


async def test_what_is_no_speech_gives_no_words(daemon: Daemon) -> None:
    hum = chords(6.0, amplitude=600.0)
    sounds = {
        "silence": silence(6.0),
        "hiss": noise(6.0, rms=300.0),
        "loud hiss": noise(6.0, rms=3_000.0),
        "bursts": joined(*[part for n in range(6) for part in (noise(0.5, rms=4_000.0, seed=n), silence(0.5))]),
        "chords": chords(6.0),
        "hum": hum,
    }
    runs = await asyncio.gather(
        *[
            stream(daemon.ws, sound, pace=1.5, tail_s=2.5, start={"session_id": f"quiet-{n}"})
            for n, sound in enumerate(sounds.values())
        ]
    )
    said = {name: heard.text for name, heard in zip(sounds, runs, strict=True)}
    assert said == dict.fromkeys(sounds, "")
    for heard in runs:
        check_session(heard)
