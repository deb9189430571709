"""A daemon that records: switched on while it runs, told to clients, and replayed by the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.event_loop import run_to_end
from tests.sounds import Int16
from tests.support import check_session, clean_environment, stream, words


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alfred_voice", *arguments],
        capture_output=True, text=True, timeout=100, check=False, env=clean_environment(),
    )  # fmt: skip


def test_a_session_is_recorded_when_that_is_asked_for_and_replays_to_the_same_events(
    start_daemon: Any, sentence: Int16, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    with start_daemon("--set", f"recording.folder={folder}") as daemon:
        before = run_to_end(stream(daemon.ws, sentence[:16_000], pace=4.0))
        switched = command("config", "set", "recording.enabled=true", "--daemon", daemon.base)
        assert "recording.enabled: false -> true (new sessions)" in switched.stdout
        heard = run_to_end(stream(daemon.ws, sentence, tail_s=1.0))

    assert "recorded" not in before.one("sessionStarted")
    assert heard.one("sessionStarted")["recorded"] is True
    check_session(heard)
    (file,) = folder.glob("*.jsonl")
    replayed = command("replay", str(file), "--json")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    told = json.loads(replayed.stdout)
    assert told["same"]
    assert [event["type"] for event in told["events"]] == heard.types

    real = command("replay", str(file), "--engines", "real", "--json")
    assert real.returncode == 0, real.stderr
    finals = [event for event in json.loads(real.stdout)["events"] if event["type"] == "finalTranscription"]
    assert words(" ".join(event["text"] for event in finals)) == words(heard.text)
