"""The benchmarks behind ``alfred-voice bench``; figures are printed, not judged."""

from __future__ import annotations

import json

import pytest

from alfred_voice.cli import main
from alfred_voice.models.store import Store


@pytest.mark.models
def test_a_window_costs_less_in_company_than_alone(models: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "vad", "--batch", "1", "32", "--json"]) == 0

    alone, together = json.loads(capsys.readouterr().out)
    assert (alone["batch"], together["batch"]) == (1, 32)
    assert 0 < together["fastest_us"] < alone["fastest_us"]
    assert together["fastest_us"] <= together["median_us"]


def test_a_benchmark_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench"])

    assert "BENCHMARK" in capsys.readouterr().err
