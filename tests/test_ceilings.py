"""No file and no function grows beyond what a reader can hold; beauty is lost in the tail, not in the median."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


PACKAGE = Path(__file__).parent.parent / "alfred_voice"

FILE_LINES, SOFT_FILE_LINES = 600, 400
FUNCTION_LINES, SOFT_FUNCTION_LINES = 80, 40
"""A function's docstring does not count: reference text may be long."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long something is."""

    name: str
    lines: int

    def __str__(self) -> str:
        return f"{self.name}: {self.lines} lines"


def files(package: Path) -> list[Length]:
    """The length of each file."""
    return [
        Length(str(source.relative_to(package)), len(source.read_text("utf-8").splitlines()))
        for source in sorted(package.rglob("*.py"))
    ]


def functions(package: Path) -> Iterator[Length]:
    """The length of each function, methods and nested ones too, from ``def`` to its last line."""
    for source in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{source.relative_to(package)}:{node.lineno} {node.name}"
                yield Length(name, _last_line(node) - node.lineno + 1 - _docstring_lines(node))


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return _last_line(node.body[0]) - node.body[0].lineno + 1


def _last_line(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


def longer(lengths: Iterator[Length] | list[Length], ceiling: int) -> list[str]:
    """Those above a ceiling, the longest first."""
    return [str(found) for found in sorted(lengths, key=lambda found: -found.lines) if found.lines > ceiling]


def test_no_file_is_longer_than_the_ceiling() -> None:
    print("above the soft ceiling:", *longer(files(PACKAGE), SOFT_FILE_LINES), sep="\n  ")  # noqa: T201 - shown by -s
    assert longer(files(PACKAGE), FILE_LINES) == []


def test_no_function_is_longer_than_the_ceiling() -> None:
    print("above the soft ceiling:", *longer(functions(PACKAGE), SOFT_FUNCTION_LINES), sep="\n  ")  # noqa: T201
    assert longer(functions(PACKAGE), FUNCTION_LINES) == []


# The measure itself


def test_a_function_is_measured_without_its_docstring(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        '@mark\ndef f():\n    """One.\n\n    Two.\n    """\n    a = 1\n    return a\n', "utf-8"
    )
    assert list(functions(tmp_path)) == [Length("m.py:2 f", 3)]


def test_methods_and_nested_and_asynchronous_functions_are_measured(tmp_path: Path) -> None:
    text = "class C:\n    async def m(self):\n        def inner():\n            pass\n        return inner\n"
    (tmp_path / "m.py").write_text(text, "utf-8")
    assert {found.name.split()[-1]: found.lines for found in functions(tmp_path)} == {"m": 4, "inner": 2}


@pytest.mark.parametrize(("lines", "is_told"), [(FILE_LINES, False), (FILE_LINES + 1, True)])
def test_only_what_is_above_the_ceiling_is_told(tmp_path: Path, lines: int, is_told: bool) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "m.py").write_text("pass\n" * lines, "utf-8")
    assert longer(files(tmp_path), FILE_LINES) == ([f"room/m.py: {lines} lines"] if is_told else [])


def test_the_longest_is_told_first() -> None:
    assert longer([Length("a", 50), Length("b", 90), Length("c", 10)], 40) == ["b: 90 lines", "a: 50 lines"]
