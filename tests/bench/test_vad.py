"""``bench vad``: a short run of the real detector and of the stock graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alfred_voice.cli import main
from alfred_voice.models.store import Store


@pytest.mark.models
def test_each_batch_is_timed_in_all_three_ways(models: Store, tmp_path: Path) -> None:
    file = tmp_path / "vad.json"
    assert main(["bench", "vad", "--batch", "1", "64", "--runs", "3", "--json", str(file)]) == 0
    report = json.loads(file.read_text("utf-8"))
    (table,) = report["tables"]
    alone, many = table["rows"]
    assert (alone["batch"], many["batch"]) == (1, 64)
    for row in table["rows"]:
        assert row["times_stock"] == pytest.approx(row["stock"] / row["ours"])
        assert row["times_alone"] == pytest.approx(row["alone"] / row["ours"])
    # Within one run: what is shared by 64 sessions is shared, and the products are cheaper than the stock graph.
    assert many["ours"] < alone["ours"] / 2
    assert many["times_stock"] > 1.5
    assert many["times_alone"] > 2
    (check,) = report["checks"]
    assert check["limit"] == 20
    assert check["value"] == many["ours"]


@pytest.mark.models
def test_without_the_batch_of_the_target_there_is_no_target(models: Store, tmp_path: Path) -> None:
    file = tmp_path / "vad.json"
    assert main(["bench", "vad", "--batch", "2", "--runs", "1", "--json", str(file), "--check"]) == 0
    assert json.loads(file.read_text("utf-8"))["checks"] == []


def test_a_batch_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "vad", "--batch", "0"]) == 1
    assert "expected at least one session, got 0" in capsys.readouterr().err
