"""``alfred-voice replay``: the same, other events, and recordings that cannot be read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alfred_voice import cli, config, workshop
from alfred_voice.clock import SystemClock
from alfred_voice.models.engine import Engines
from alfred_voice.models.scripted import ScriptedStt, ScriptedTts, ScriptedTurn, ScriptedVad
from alfred_voice.models.store import Store
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import CoordinatorOptions, MemoryOptions, RecordingOptions
from alfred_voice.session.settings import SessionSettings
from tests.event_loop import run_to_end


def record(folder: Path, samples: Any, engines: Engines) -> Path:
    """Have a session recorded that says this."""

    async def speak() -> None:
        options = CoordinatorOptions(
            memory=MemoryOptions(1_000_000, 1_000_000), recording=RecordingOptions(enabled=True, folder=str(folder))
        )
        coordinator = Coordinator(lambda: engines, options, SystemClock(), Metrics("0"))
        await coordinator.start()
        stream = coordinator.open(SessionSettings("s"), "websocket", max_message_bytes=1000)
        for frame in samples[: len(samples) // 320 * 320].reshape(-1, 320):
            await stream.room()
            stream.put(frame)
        stream.stop()
        async with asyncio.timeout(60):
            while await stream.outbox.take():
                pass
        await coordinator.close()

    run_to_end(speak())
    return next(folder.glob("*.jsonl"))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    tone = (8_000 * np.sin(np.arange(16_000) * 0.12)).astype(np.int16)
    silence = np.zeros(48_000, np.int16)
    engines = Engines(ScriptedVad(), ScriptedStt(("turn on the lamp",)), ScriptedTurn(), ScriptedTts())
    return record(tmp_path / "recordings", np.concatenate([silence[:3200], tone, silence]), engines)


def test_a_recording_that_comes_out_the_same_says_so(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(recorded)]) == 0
    assert "the same" in capsys.readouterr().out
    assert cli.main(["replay", str(recorded), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["same"]
    assert "turn on the lamp" in [event.get("text") for event in told["events"]]


def test_events_that_differ_are_shown_and_make_the_exit_code_one(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = recorded.read_text().splitlines()
    changed = [line.replace("on the lamp", "off the lamp") if '"op":"told"' in line else line for line in lines]
    assert changed != lines
    recorded.write_text("\n".join(changed) + "\n")

    assert cli.main(["replay", str(recorded)]) == 1

    shown = capsys.readouterr().out
    assert any(line.startswith("-") and "off the lamp" in line for line in shown.splitlines())
    assert any(line.startswith("+") and "on the lamp" in line for line in shown.splitlines())


def test_an_answer_that_was_another_one_leads_to_other_events(recorded: Path) -> None:
    lines = recorded.read_text().splitlines()
    changed = [line.replace('"p":', '"p":0.0,"was":') if '"op":"judgement"' in line else line for line in lines]
    assert changed != lines
    recorded.write_text("\n".join(changed) + "\n")

    assert cli.main(["replay", str(recorded)]) == 1


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _lose_lines(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))


def _garble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000] + b"\xff\x00{" + path.read_bytes()[5003:])


def _lose_audio(path: Path) -> None:
    path.with_suffix(".wav").unlink()


def _cut_audio(path: Path) -> None:
    audio = path.with_suffix(".wav")
    audio.write_bytes(audio.read_bytes()[:-10])


def _lose_a_field(path: Path) -> None:
    path.write_text(path.read_text().replace('{"op":"ask","t":', '{"op":"ask","z":', 1))


def _unknown_entry(path: Path) -> None:
    path.write_text(path.read_text().replace('"op":"ask"', '"op":"nonesuch"', 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "cut short"),
        (_lose_lines, "cut short"),
        (_garble, "damaged"),
        (_lose_audio, "cannot be read"),
        (_cut_audio, "frames"),
        (_lose_a_field, "cannot be replayed"),
        (_unknown_entry, "cannot be replayed"),
        (lambda path: path.write_text("{}\n"), "is no recorded session"),
        (lambda path: path.write_text(""), "is no recorded session"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_a_recording_that_is_damaged_or_cut_short_is_refused_with_the_reason(
    recorded: Path, capsys: pytest.CaptureFixture[str], damage: Any, message: str
) -> None:
    damage(recorded)

    assert cli.main(["replay", str(recorded)]) == 2

    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


@pytest.mark.models
def test_a_conversation_with_real_models_replays_and_this_machines_models_hear_the_same(
    models: Store, beckett: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = config.load().config
    file = record(tmp_path / "recordings", beckett, workshop.build_engines(tree, models))

    assert cli.main(["replay", str(file)]) == 0
    capsys.readouterr()
    assert cli.main(["replay", str(file), "--engines", "real", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    then = [json.loads(line) for line in file.read_text().splitlines()]
    said = [e["text"] for entry in then if entry.get("op") == "told" for e in entry["events"] if "confidence" in e]
    assert [event["text"] for event in told["events"] if event["type"] == "finalTranscription"] == said
