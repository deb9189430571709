"""A real daemon under several times its load, and the way back. These must hold anywhere; times are for benchmarks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.cli import main
from alfred_voice.models.store import Store


pytestmark = [pytest.mark.load, pytest.mark.models, pytest.mark.end_to_end, pytest.mark.timeout(400)]

SESSIONS = 16
"""That two cores can serve (docs/benchmarks.md)."""


def overloaded(folder: Path, times: int) -> dict[str, Any]:
    """What ``bench overload`` found: the rows of its tables by their first column, and its checks by name."""
    out = folder / "out.json"
    words = ["--sessions", str(SESSIONS), "--times", str(times), "--seconds", "60", "--json", str(out)]
    assert main(["bench", "overload", *words]) == 0
    report = json.loads(out.read_text("utf-8"))
    rungs, account, daemon = report["tables"]
    return {
        "rungs": [row["rung"] for row in rungs["rows"]],
        **{row["what"]: row["count"] for row in account["rows"]},
        **{row["what"]: row["value"] for row in daemon["rows"]},
    }


@pytest.mark.parametrize("times", [2, 5])
def test_finals_and_frames_are_all_there_and_all_is_well_again_afterwards(
    models: Store, tmp_path: Path, times: int
) -> None:
    assert models.root.is_dir()
    found = overloaded(tmp_path, times)
    assert found["clients that came"] == times * SESSIONS
    assert found["finals due"] > found["let in"] > 0
    assert found["finals lost"] == found["finals received twice"] == 0
    assert found["frames not accounted for"] == found["sessions without an end"] == 0
    assert found["refusals without Retry-After"] == 0
    assert found["healthy after the last frame"] is not None, "it is healthy again within a minute"
    assert math.isfinite(found["memory after"])
    assert found["memory after"] <= 1.1 * found["memory before"]
    assert found["rungs"] == list(range(len(found["rungs"]))), "rungs are taken one after the other"
    if times == 5:
        assert found["rungs"] == [0, 1, 2, 3, 4, 5], "every rung is seen, one after the other"
        assert found["refusals, 503"] > 0, "what cannot be served is refused"
