"""Curves as pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alfred_voice.bench import plot
from alfred_voice.bench.errors import BenchmarkFailed, PackageMissing
from alfred_voice.bench.plot import check_target, draw
from alfred_voice.bench.report import Axis, Curve


CURVE = Curve(
    "Cost of a frame", Axis("sessions"), Axis("time", "us"), {"now": ((1.0, 30.0), (200.0, 20.0))}, limit=25.0
)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(PNG_SIGNATURE)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_a_curve_is_drawn_as_svg(tmp_path: Path) -> None:
    draw([CURVE], tmp_path / "cost.svg")

    text = (tmp_path / "cost.svg").read_text("utf-8")
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - drawn here
    assert "Cost of a frame" in text
    assert "time (us)" in text


def test_curves_stand_one_below_the_other(tmp_path: Path) -> None:
    draw([CURVE], tmp_path / "one.png")
    draw([CURVE, CURVE], tmp_path / "two.PNG")

    (width, height), (width_of_two, height_of_two) = png_size(tmp_path / "one.png"), png_size(tmp_path / "two.PNG")
    assert (width_of_two, height_of_two) == (width, 2 * height)


def test_a_limit_belongs_to_the_picture(tmp_path: Path) -> None:
    draw([CURVE], tmp_path / "a.svg")
    draw([Curve(CURVE.title, CURVE.x, CURVE.y, CURVE.series)], tmp_path / "b.svg")

    assert "limit" in (tmp_path / "a.svg").read_text("utf-8")
    assert "limit" not in (tmp_path / "b.svg").read_text("utf-8")


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFailed, match=r"\.svg or \.png"):
        check_target(tmp_path / "cost.pdf")


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFailed, match="does not exist"):
        check_target(tmp_path / "nowhere" / "cost.svg")


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFailed, match="no curve"):
        draw([], tmp_path / "cost.svg")


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cost.svg").mkdir()

    with pytest.raises(BenchmarkFailed, match="cannot be written"):
        draw([CURVE], tmp_path / "cost.svg")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda _name: None)

    with pytest.raises(PackageMissing, match=r"pip install -e '\.\[bench\]'"):
        draw([CURVE], tmp_path / "cost.svg")


def test_matplotlib_is_not_loaded_before_something_is_drawn() -> None:
    # In a process of its own, as this one may have drawn already.
    import subprocess

    code = "import sys, alfred_voice.bench.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
