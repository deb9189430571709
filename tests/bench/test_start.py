"""``bench start``: what ``-X importtime`` writes, read; and a run with a scripted daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alfred_voice.bench.start import import_costs
from alfred_voice.cli import main


REPORT = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   _io
import time:      2500 |       2500 |     numpy.core
import time:      1500 |       4000 |   numpy
some warning in between
import time:       250 |       4350 | alfred_voice.app
"""


def test_import_times_are_summed_by_package_without_what_they_import() -> None:
    assert import_costs(REPORT) == {"_io": (0.1, 1), "numpy": (4.0, 2), "alfred_voice": (0.25, 1)}


def test_without_imports_there_are_no_costs() -> None:
    assert import_costs("") == {}


@pytest.mark.end_to_end
@pytest.mark.slow
def test_a_scripted_daemon_is_started(scripted: list[str], tmp_path: Path) -> None:
    file = tmp_path / "start.json"
    assert main(["bench", "start", *scripted, "--runs", "1", "--json", str(file)]) == 0
    found = json.loads(file.read_text("utf-8"))
    starts, parts, cli, serve = (table["rows"] for table in found["tables"])
    assert [row["what"] for row in starts] == ["fastest", "median", "slowest"]
    assert starts[0]["ready_s"] == starts[2]["ready_s"] == found["checks"][0]["value"] > 0
    took = {row["part"]: row["s"] for row in parts}
    assert 0 < took["Python itself"] < took["Python with the imports of alfred-voice serve"]
    packages = {row["package"]: row["ms"] for row in serve}
    assert packages["all"] == pytest.approx(sum(ms for package, ms in packages.items() if package != "all"))
    assert "aiohttp" in packages
    assert "aiohttp" not in {row["package"] for row in cli}
