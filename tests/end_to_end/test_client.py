"""The package's own client and the command ``alfred-voice talk`` with a real daemon."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.client import Conversation, ConversationLost, paced
from alfred_voice.models.store import Store
from tests.sounds import Int16
from tests.support import Daemon, clean_environment, free_port, word_error_rate


def frames_of(samples: Int16) -> list[bytes]:
    return [samples[i : i + 320].tobytes() for i in range(0, len(samples), 320)]


@pytest.mark.parametrize("mode", ["json", "msgpack"])
async def test_a_conversation_hears_and_speaks(daemon: Daemon, sentence: Int16, sentence_text: str, mode: Any) -> None:
    async with Conversation.connect(daemon.ws, mode=mode, start={"session_id": f"client-{mode}"}) as talk:
        await talk.speak("Yes.", speech_id=5)
        await talk.ping("p")
        async for frame in paced(frames_of(sentence), 0.01):
            await talk.send_audio(frame)
        events = await talk.finish()

    assert talk.session_id == f"client-{mode}"
    assert events[0] == talk.started
    assert events[-1] == talk.ended
    text = " ".join(event["text"] for event in events if event["type"] == "finalTranscription")
    assert word_error_rate(sentence_text, text) <= 0.25, text
    audio = [event for event in events if event["type"] == "ttsAudio"]
    assert audio
    assert {event["speech_id"] for event in audio} == {5}
    assert [event["id"] for event in events if event["type"] == "pong"] == ["p"]


async def test_a_start_that_is_refused_is_told(daemon: Daemon) -> None:
    async with Conversation.connect(daemon.ws, start={"sample_rate": 1}) as talk:
        try:
            event = await asyncio.wait_for(anext(talk), 10)
        except ConversationLost as lost:
            pytest.fail(f"no error event came before the close: {lost}")
    assert event["type"] == "error"
    assert "sample_rate" in event["message"]


def talk_command(daemon: Daemon, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "alfred_voice", "talk", "--url", daemon.ws, *arguments]


def run_talk(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        talk_command(daemon, *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(),
    )


def test_talk_prints_the_events_of_a_file_as_json(daemon: Daemon, models: Store, beckett_text: str) -> None:
    recording = models.path("moonshine-tiny-en", "beckett.wav")
    done = run_talk(daemon, str(recording), "--pace", "4", "--json", "--events", "all", "--msgpack")

    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(len(events)))
    text = " ".join(event["text"] for event in events if event["type"] == "finalTranscription")
    assert word_error_rate(beckett_text, text) <= 0.25, text
    frames = [event for event in events if event["type"] == "frameProcessed"]
    assert len(frames) == events[-1]["stats"]["frames_received"]


def test_talk_prints_lines_for_people_and_saves_what_is_said(daemon: Daemon, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    done = run_talk(daemon, "--say", "Hello there.", "--save-audio", str(out))

    assert done.returncode == 0, done.stderr
    assert "Hello there." in done.stdout
    assert "session over (stop)" in done.stdout
    with wave.open(str(out)) as file:
        assert file.getframerate() == 16_000
        assert file.getnframes() > 8_000


def test_talk_ends_well_with_ctrl_c(daemon: Daemon, models: Store) -> None:
    recording = models.path("moonshine-tiny-en", "two_cities.wav")
    process = subprocess.Popen(
        talk_command(daemon, str(recording)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "…" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=30)

    assert process.returncode == 0, err
    assert "session over (stop)" in out
    assert "utterance 0" in out


def test_talk_reports_an_error_of_the_daemon_with_exit_code_1(daemon: Daemon, tmp_path: Path) -> None:
    done = run_talk(daemon, "--say", "x", "--voice", "no-such-voice", "--save-audio", str(tmp_path / "x.wav"))
    assert done.returncode == 1
    assert "no-such-voice" in done.stdout


def test_talk_without_a_daemon_is_exit_code_2(models: Store) -> None:
    recording = models.path("moonshine-tiny-en", "beckett.wav")
    done = subprocess.run(
        [sys.executable, "-m", "alfred_voice", "talk", str(recording), "--url", f"ws://127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(),
    )
    assert done.returncode == 2
    assert "alfred-voice serve" in done.stderr
    assert "Traceback" not in done.stderr
