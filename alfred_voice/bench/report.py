"""What a benchmark found, as values: tables, curves, and targets that were reached or not.

The same report is text for people, JSON for programs, and a drawing by :mod:`alfred_voice.bench.plot`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


Cell = float | int | str | None
"""One value of a table; None where there is nothing to tell."""

_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    key: str
    """Under which a row holds its value."""
    title: str
    unit: str = ""
    digits: int = 1
    """After the point, of floats."""

    @property
    def heading(self) -> str:
        """The title with its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def show(self, value: Cell) -> str:
        """A value as people read it."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return _ABSENT
        return f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    note: str = ""
    """A sentence or two on how to read it."""

    def text(self) -> str:
        """The table with aligned columns: words to the left, numbers to the right."""
        cells = [[column.show(row.get(column.key)) for column in self.columns] for row in self.rows]
        lines = [[column.heading for column in self.columns], *cells]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        is_words = [any(isinstance(row.get(column.key), str) for row in self.rows) for column in self.columns]
        shown = [
            "  ".join(
                cell.ljust(width) if words else cell.rjust(width)
                for cell, width, words in zip(line, widths, is_words, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *shown, *([self.note] if self.note else [])])

    def to_json(self) -> dict[str, Any]:
        """The table as plain objects; of each row only what has a column."""
        return {
            "title": self.title,
            "columns": [{"key": column.key, "title": column.title, "unit": column.unit} for column in self.columns],
            "rows": [{column.key: _finite(row.get(column.key)) for column in self.columns} for row in self.rows],
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Axis:
    """What one direction of a drawing means."""

    label: str
    unit: str = ""

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, slots=True)
class Curve:
    """How something grows with something else, in one or more series."""

    title: str
    x: Axis
    y: Axis
    series: Mapping[str, tuple[tuple[float, float], ...]]
    """Name -> points (x, y)."""
    limit: float | None = None
    """A value of y to stay below, drawn as a line."""

    def to_json(self) -> dict[str, Any]:
        """The curve as plain objects."""
        return {
            "title": self.title,
            "x": {"label": self.x.label, "unit": self.x.unit},
            "y": {"label": self.y.label, "unit": self.y.unit},
            "series": {name: [[_finite(x), _finite(y)] for x, y in points] for name, points in self.series.items()},
            "limit": _finite(self.limit),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A target, and what was measured."""

    name: str
    value: float
    limit: float
    unit: str
    at_most: bool = True
    """Whether the value must not be above the limit; otherwise it must not be below."""

    @property
    def holds(self) -> bool:
        """Whether the target was reached; a value that could not be measured reaches none."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def text(self) -> str:
        """The check in one line."""
        bound = "at most" if self.at_most else "at least"
        unit = f" {self.unit}" if self.unit else ""
        value = "nothing measured" if math.isnan(self.value) else f"{self.value:.4g}{unit}"
        return f"{'ok    ' if self.holds else 'MISSED'}  {self.name}: {value}, {bound} {self.limit:.4g}{unit}"

    def to_json(self) -> dict[str, Any]:
        """The check as plain objects."""
        return {
            "name": self.name,
            "value": _finite(self.value),
            "limit": self.limit,
            "unit": self.unit,
            "at_most": self.at_most,
            "holds": self.holds,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All that one benchmark found, and where."""

    benchmark: str
    command: str
    """The command line that made it."""
    machine: Mapping[str, str]
    """As :func:`alfred_voice.bench.machine.describe_machine` has it."""
    tables: tuple[Table, ...]
    curves: tuple[Curve, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every target was reached."""
        return all(check.holds for check in self.checks)

    def text(self) -> str:
        """The report for people."""
        blocks = [f"{self.benchmark}: {self.command}", *(table.text() for table in self.tables)]
        if self.checks:
            blocks.append("\n".join(["Targets", *(check.text() for check in self.checks)]))
        if self.machine:
            width = max(map(len, self.machine))
            blocks.append("\n".join(f"{name:{width}}  {value}" for name, value in self.machine.items()))
        return "\n\n".join(blocks) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The report as plain objects; a number that is none (NaN, infinite) becomes null."""
        return {
            "benchmark": self.benchmark,
            "command": self.command,
            "machine": dict(self.machine),
            "tables": [table.to_json() for table in self.tables],
            "curves": [curve.to_json() for curve in self.curves],
            "checks": [check.to_json() for check in self.checks],
            "holds": self.holds,
        }


def _finite(value: Cell) -> Cell:
    """The value, or None where JSON has no word for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
