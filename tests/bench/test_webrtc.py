"""``alfred-voice bench webrtc``: its table as values, and a small real run."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest

from alfred_voice.bench import webrtc
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.webrtc import Stage
from alfred_voice.cli import main
from alfred_voice.config import Config


def test_each_listener_costs_what_comes_on_top_of_a_daemon_with_nobody_there() -> None:
    table = webrtc._table([Stage("nobody", 0, 1.0, 200.0), Stage("WebSocket", 4, 5.0, 204.0)])
    nobody, websocket = table.rows
    assert isinstance(nobody["each_percent"], float)
    assert math.isnan(nobody["each_percent"])
    assert websocket["each_percent"] == 1.0
    assert "WebSocket" in table.text()


def test_without_its_packages_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "find_spec", lambda _: None)
    with pytest.raises(BenchmarkFailed, match=r"pip install -e '\.\[webrtc\]'"):
        webrtc.run(argparse.Namespace(), Config())


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.models
def test_a_small_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted: list[str]) -> None:
    monkeypatch.setattr(webrtc, "SETTLE_S", 0.5)
    out = tmp_path / "out.json"
    assert main(["bench", "webrtc", "--listeners", "2", "--seconds", "2", "--json", str(out), *scripted]) == 0
    rows = json.loads(out.read_text("utf-8"))["tables"][0]["rows"]
    assert [row["count"] for row in rows] == [0, 2, 2, 2]
    assert all(row["cpu_percent"] > 0 for row in rows[1:])
    assert all(row["memory_mb"] > 0 for row in rows)
