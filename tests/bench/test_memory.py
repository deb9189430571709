"""``bench memory``: what counts as growth; and a short run against a scripted daemon."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from alfred_voice.bench.errors import DaemonFailed
from alfred_voice.bench.footprint import Footprint, footprint_of
from alfred_voice.bench.memory import growth_mb
from alfred_voice.cli import main


def footprints(*resident_mb: float) -> list[Footprint]:
    return [Footprint(round(mb * 1e6), 0, 0) for mb in resident_mb]


@pytest.mark.parametrize(
    ("resident_mb", "growth"),
    [
        ((100, 200, 200, 200, 200), 0),
        ((100, 200, 210, 220, 230), 20),
        ((100, 200, 190, 170, 160), -30),
        ((100, 200, 200, 200, 900, 200, 200), 0),
    ],
    ids=["a first step", "on and on", "given back", "a peak"],
)
def test_growth_is_that_of_the_second_half_over_the_first(resident_mb: tuple[float, ...], growth: float) -> None:
    assert growth_mb(footprints(*resident_mb)) == pytest.approx(growth)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_from_too_few_figures_no_growth_is_known(count: int) -> None:
    assert math.isnan(growth_mb(footprints(*[100.0] * count)))


def test_the_footprint_of_this_process_is_told_in_bytes() -> None:
    footprint = footprint_of(os.getpid())
    assert footprint.rss >= footprint.pss > 0
    assert footprint.rss >= footprint.uss > 1_000_000
    assert footprint.cells == {
        "rss_mb": footprint.rss / 1e6, "pss_mb": footprint.pss / 1e6, "uss_mb": footprint.uss / 1e6,
    }  # fmt: skip


def test_a_process_that_has_gone_has_no_footprint() -> None:
    with pytest.raises(DaemonFailed, match="has gone"):
        footprint_of(2**22 + 1)  # above the system's largest process id


@pytest.mark.end_to_end
@pytest.mark.slow
def test_a_scripted_daemon_is_weighed(recordings: Path, scripted: list[str], tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    counts = ["--listeners", "4", "--idle", "6", "--churn", "30", "--minutes", "0.2", "--speakers", "2"]
    assert main(["bench", "memory", *scripted, "--audio", str(recordings), *counts, "--json", str(file)]) == 0
    found = json.loads(file.read_text("utf-8"))
    stages, churn, speech = (table["rows"] for table in found["tables"])
    assert [row["sessions"] for row in stages] == [0, 4, 4, 10, 10, 0, 0]
    assert all(10 < row["uss_mb"] <= row["pss_mb"] <= row["rss_mb"] for row in stages)
    assert [row["each_kb"] is None for row in stages] == [True, False, True, False, True, True, True]
    assert churn[-1]["sessions"] == 30
    assert [row["minutes"] for row in speech] == pytest.approx([0.02 * step for step in range(1, 11)])
    assert [check["unit"] for check in found["checks"]] == ["MB", "kB", "MB", "MB"]
