"""The daemon speaks: what it sends, how fast, and what stops it."""

from __future__ import annotations

import asyncio
import io
import wave
from typing import Any

import aiohttp
import pytest

from tests.event_loop import run_to_end
from tests.sounds import Int16, click, joined, silence
from tests.support import At, Daemon, Event, Heard, check_session, stream, word_error_rate


LONG = (
    "Good morning, my name is Alfred and I live in a big house in New York. "
    "The train to the city leaves in the morning and comes back in the evening. "
    "What is the weather like in London today?"
)
SHORT = "Good morning, my name is Alfred."
LEAD_S = 0.2
"""``tts.lead_ms``: how far ahead of real time audio may be sent."""


def speak(text: str, **fields: Any) -> Event:
    return {"type": "speak", "text": text, **fields}


@pytest.fixture(scope="module")
def runs(daemon: Daemon, sentence: Int16) -> dict[str, Heard]:
    """Several conversations at once, since speaking takes its time."""
    quiet = silence(5.0)
    clicks = joined(silence(1.0), click(40), silence(1.0), click(40), silence(4.0))
    barge_in = joined(silence(1.5), sentence, silence(1.5))
    plans: dict[str, dict[str, Any]] = {
        "plain": {"audio": quiet, "controls": [At(0.0, speak(SHORT, speech_id=41))]},
        "msgpack": {"audio": quiet, "mode": "msgpack", "controls": [At(0.0, speak(SHORT))]},
        "interrupted": {"audio": barge_in, "controls": [At(0.0, speak(LONG, speech_id=3))]},
        "clicks": {"audio": clicks, "controls": [At(0.0, speak(f"{SHORT} {SHORT}"))]},
        "stopped": {
            "audio": quiet,
            "controls": [
                At(0.0, speak(LONG, speech_id=1)),
                At(0.1, speak(SHORT, speech_id=2)),
                At(1.5, {"type": "stopSpeaking"}),
            ],
        },
        "queued": {
            "audio": quiet,
            "controls": [
                At(0.0, speak("One.", speech_id=7)),
                At(0.0, speak("Two.", speech_id=8)),
                At(0.1, speak("Three.")),
            ],
        },
        "without audio": {"audio": b"", "controls": [At(0.0, speak("Hello.")), At(2.5, {"type": "ping", "id": 1})]},
    }  # fmt: skip

    async def together() -> list[Heard]:
        return list(
            await asyncio.gather(*[stream(daemon.ws, start={"partials": False}, **plan) for plan in plans.values()])
        )

    return dict(zip(plans, run_to_end(together()), strict=True))


def pieces_of(heard: Heard, speech_id: int) -> list[tuple[float, bytes]]:
    return [(at, e["audio"]) for at, e in heard.arrivals if e["type"] == "ttsAudio" and e["speech_id"] == speech_id]


def check_bracketed(heard: Heard) -> None:
    """Audio lies between the start and the end of its own speech, and nowhere else; speeches do not overlap."""
    current: int | None = None
    for _, event in heard.arrivals:
        match event["type"]:
            case "ttsStart":
                assert current is None, f"speech {event['speech_id']} begins within speech {current}"
                current = event["speech_id"]
            case "ttsAudio":
                assert event["speech_id"] == current
            case "ttsEnd" if current is not None and event["speech_id"] == current:
                current = None
    assert current is None


@pytest.mark.parametrize("name", ["plain", "msgpack", "interrupted", "clicks", "stopped", "queued", "without audio"])
def test_every_conversation_is_whole_and_audio_lies_within_its_speech(runs: dict[str, Heard], name: str) -> None:
    check_session(runs[name])
    check_bracketed(runs[name])
    assert not runs[name].of("error")


def test_a_speech_is_announced_sent_in_frames_and_ended(runs: dict[str, Heard]) -> None:
    heard = runs["plain"]
    start, end = heard.one("ttsStart"), heard.one("ttsEnd")
    pieces = pieces_of(heard, 41)

    assert (start["speech_id"], start["text"]) == (41, SHORT)
    assert (start["sample_rate"], start["encoding"], start["voice"]) == (16_000, "pcm_s16le", "en-us")
    assert (end["speech_id"], end["cancelled"]) == (41, False)
    assert {len(audio) for _, audio in pieces[:-1]} == {640}
    assert 0 < len(pieces[-1][1]) <= 640
    assert end["duration_ms"] == pytest.approx(len(pieces) * 20, abs=20)
    assert 1_000 < end["duration_ms"] < 4_000


def test_audio_comes_little_ahead_of_real_time(runs: dict[str, Heard]) -> None:
    """A slow machine makes audio late, never early: being early is the daemon's own doing."""
    heard = runs["plain"]
    begin = next(at for at, event in heard.arrivals if event["type"] == "ttsStart")
    ahead = [n * 0.02 - (at - begin) for n, (at, _) in enumerate(pieces_of(heard, 41))]
    assert max(ahead) <= LEAD_S + 0.3
    ended = next(at for at, event in heard.arrivals if event["type"] == "ttsEnd")
    assert ended - begin >= heard.one("ttsEnd")["duration_ms"] / 1000 - LEAD_S - 0.3


async def test_what_it_says_can_be_understood(daemon: Daemon, runs: dict[str, Heard]) -> None:
    heard = await stream(daemon.ws, joined(silence(0.3)).tobytes() + runs["plain"].audio_of(41), pace=3, tail_s=0.5)
    assert word_error_rate(SHORT, heard.text) <= 0.35, heard.text


def test_both_modes_send_the_same_speech(runs: dict[str, Heard]) -> None:
    plain, msgpack = runs["plain"], runs["msgpack"]
    speech_id = msgpack.one("ttsStart")["speech_id"]
    # espeak-ng does not speak a text twice to the sample.
    assert len(msgpack.audio_of(speech_id)) == pytest.approx(len(plain.audio_of(41)), rel=0.02)


def test_the_daemon_does_not_need_audio_to_speak(runs: dict[str, Heard]) -> None:
    heard = runs["without audio"]
    assert heard.one("ttsEnd")["cancelled"] is False
    assert heard.of("ttsAudio")
    assert heard.one("pong")["id"] == 1
    assert heard.stats["frames_received"] == 0


def test_speech_over_the_daemons_speech_interrupts_it(runs: dict[str, Heard], sentence_text: str) -> None:
    heard = runs["interrupted"]
    interruption, end = heard.one("interruption"), heard.one("ttsEnd")

    assert interruption["speech_id"] == end["speech_id"] == 3
    assert end["cancelled"] is True
    # The speaker begins 1.5 s after the daemon; a part of the second after that may pass until it is sure.
    assert 1_300 <= interruption["at_ms"] <= 2_500
    assert 1_000 <= interruption["spoken_ms"] <= 3_500
    assert interruption["latency_ms"] >= 0
    assert interruption["spoken_ms"] <= len(pieces_of(heard, 3)) * 20 + 20
    assert len(pieces_of(heard, 3)) * 20 < 4_000
    assert heard.types.index("speechStart") < heard.types.index("ttsEnd")
    assert "ttsAudio" not in heard.types[heard.types.index("ttsEnd") :]
    assert word_error_rate(sentence_text, heard.text) <= 0.25, heard.text


def test_a_click_does_not_interrupt(runs: dict[str, Heard]) -> None:
    heard = runs["clicks"]
    assert not heard.of("interruption")
    assert heard.one("ttsEnd")["cancelled"] is False
    assert heard.text == ""


def test_stop_speaking_cancels_everything_now(runs: dict[str, Heard]) -> None:
    heard = runs["stopped"]
    ends = {event["speech_id"]: event for event in heard.of("ttsEnd")}
    assert set(ends) == {1, 2}
    assert all(event["cancelled"] for event in ends.values())
    assert [event["speech_id"] for event in heard.of("ttsStart")] == [1]
    assert 1_000 < len(pieces_of(heard, 1)) * 20 < 3_000
    assert "ttsAudio" not in heard.types[heard.types.index("ttsEnd") :]


def test_speeches_wait_for_each_other_in_order(runs: dict[str, Heard]) -> None:
    heard = runs["queued"]
    told = [(event["type"], event["speech_id"]) for event in heard.of("ttsStart", "ttsEnd")]
    third = heard.of("ttsStart")[2]["speech_id"]
    assert third not in (7, 8)
    assert told == [(kind, speech_id) for speech_id in (7, 8, third) for kind in ("ttsStart", "ttsEnd")]
    assert [event["text"] for event in heard.of("ttsStart")] == ["One.", "Two.", "Three."]
    assert not any(event["cancelled"] for event in heard.of("ttsEnd"))


@pytest.mark.parametrize(
    ("start", "piece_bytes"),
    [
        ({"sample_rate": 8_000, "encoding": "mulaw"}, 160),
        ({"sample_rate": 8_000, "encoding": "alaw"}, 160),
        ({"sample_rate": 24_000}, 960),
        ({"sample_rate": 48_000, "encoding": "pcm_f32le"}, 3_840),
        ({"sample_rate": 44_100, "channels": 2}, 3_528),
    ],
    ids=["mulaw", "alaw", "24 kHz", "float", "stereo"],
)
async def test_speech_comes_in_the_clients_own_format(daemon: Daemon, start: dict[str, Any], piece_bytes: int) -> None:
    heard = await stream(daemon.ws, b"", start=start, controls=[At(0.0, speak("Yes.")), At(1.6, {"type": "ping"})])
    begin, end = heard.one("ttsStart"), heard.one("ttsEnd")
    pieces = heard.of("ttsAudio")
    assert begin["sample_rate"] == start["sample_rate"]
    assert begin["encoding"] == start.get("encoding", "pcm_s16le")
    assert {len(event["audio"]) for event in pieces[:-1]} == {piece_bytes}
    assert 0 < len(pieces[-1]["audio"]) <= piece_bytes
    assert end["duration_ms"] == pytest.approx(len(pieces) * 20, abs=20)


async def test_what_cannot_be_said_is_an_error_that_helps_and_the_session_lives_on(daemon: Daemon) -> None:
    heard = await stream(
        daemon.ws,
        b"",
        controls=[
            At(0.0, speak("Hello.", voice="no-such-voice")),
            At(0.0, speak("Hello.", speed=100)),
            At(0.0, speak("")),
            At(0.0, speak("   ")),
            At(0.0, speak("x" * 100_000)),
            At(0.1, speak("Yes.", voice="en-gb", speed=1.5)),
            At(1.5, {"type": "ping", "id": "alive"}),
        ],
    )
    errors = heard.of("error")
    assert len(errors) == 5
    assert not any(error["fatal"] for error in errors)
    assert errors[0]["code"] == "voice_unknown"
    assert "no-such-voice" in errors[0]["message"]
    assert "alfred-voice say --voices" in errors[0]["message"]
    assert heard.one("ttsStart")["voice"] == "en-gb"
    assert heard.one("pong")["id"] == "alive"
    assert heard.close_code == 1000


async def test_synthesize_gives_a_wav_file_of_the_text(daemon: Daemon) -> None:
    async with aiohttp.ClientSession(daemon.base) as http:
        async with http.post("/synthesize", json={"text": SHORT}) as response:
            assert response.status == 200
            assert response.content_type in ("audio/wav", "audio/x-wav", "audio/vnd.wave")
            body = await response.read()
        async with http.post("/synthesize", json={"text": SHORT, "format": "pcm"}) as response:
            assert response.status == 200
            bare = await response.read()
        async with http.post("/synthesize", json={"text": SHORT, "speed": 2.0, "voice": "en-gb"}) as response:
            fast = await response.read()
        async with http.post("/synthesize", json={"text": SHORT, "voice": "no-such-voice"}) as response:
            assert response.status == 400
            assert response.content_type == "application/problem+json"
            problem = await response.json(content_type=None)

    with wave.open(io.BytesIO(_with_sizes(body))) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        seconds = file.getnframes() / file.getframerate()
        assert file.readframes(file.getnframes()) == bare
    assert 1.0 < seconds < 4.0
    assert len(fast) < len(body) * 0.75
    assert problem["code"] == "voice_unknown"


def _with_sizes(body: bytes) -> bytes:
    """The file with its lengths filled in: who streams a WAV file cannot know them when its header is sent."""
    assert body[:4] == b"RIFF"
    assert body[8:16] == b"WAVEfmt "
    data_at = body.index(b"data")
    riff = (len(body) - 8).to_bytes(4, "little")
    data = (len(body) - data_at - 8).to_bytes(4, "little")
    return body[:4] + riff + body[8 : data_at + 4] + data + body[data_at + 8 :]
