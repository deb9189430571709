"""Curves as pictures, with matplotlib (extra ``bench``)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from alfred_voice.bench.errors import BenchmarkFailed, PackageMissing
from alfred_voice.bench.report import Curve


if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = (".svg", ".png")
_WIDTH_INCHES, _HEIGHT_INCHES = 8.0, 4.5
"""Of each curve."""
_DOTS_PER_INCH = 120
_PACKAGE = "matplotlib"


def check_target(path: Path) -> None:
    """Nothing, when a drawing can be made there; to be asked before measuring for minutes.

    Raises:
        PackageMissing: matplotlib is not installed.
        BenchmarkFailed: the file's name ends otherwise than in .svg or .png, or its folder does not exist.
    """
    if path.suffix.lower() not in KINDS:
        raise BenchmarkFailed(f"{path}: expected a name that ends in {' or '.join(KINDS)}")
    if not path.parent.is_dir():
        raise BenchmarkFailed(f"{path}: the folder {path.parent} does not exist")
    if find_spec(_PACKAGE) is None:
        raise PackageMissing(
            f"drawing needs the package {_PACKAGE}; install it with: .venv/bin/pip install -e '.[bench]'"
        )


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw the curves one below the other into one file; its ending says which kind.

    Raises:
        PackageMissing: matplotlib is not installed.
        BenchmarkFailed: there is nothing to draw, or the file cannot be written.
    """
    check_target(path)
    if not curves:
        raise BenchmarkFailed(f"{path}: this benchmark has no curve to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES * len(curves)), layout="constrained")
    for axes, curve in zip(figure.subplots(len(curves), 1, squeeze=False)[:, 0], curves, strict=True):
        _draw_one(axes, curve)
    is_svg = path.suffix.lower() == ".svg"
    try:
        # Without the date the same figures give the same file.
        figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Date": None} if is_svg else {})
    except OSError as exc:
        raise BenchmarkFailed(f"{path}: cannot be written: {exc.strerror or exc}") from exc


def _draw_one(axes: Axes, curve: Curve) -> None:
    """One curve with its limit."""
    for name, points in curve.series.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=4, label=name)
    if curve.limit is not None:
        axes.axhline(curve.limit, color="black", linestyle="--", linewidth=1, label="limit")
    axes.set(title=curve.title, xlabel=curve.x.heading, ylabel=curve.y.heading)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(visible=True, alpha=0.3)
    if len(curve.series) > 1 or curve.limit is not None:
        axes.legend()
