"""Which room may import which, and which packages from outside live where.

The order of the rooms is read from the contracts in setup.cfg, which ``lint-imports`` checks too; here a breach is
told with the names of those that commit it.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp
import pytest


ROOT = Path(__file__).parent.parent
PACKAGE = "alfred_voice"
HOUSES = {"rooms": PACKAGE, "server": f"{PACKAGE}.server"}
"""A contract -> what has the rooms that it orders."""

WAITING_ROOMS = ("pipeline", "server", "client", "bench", "app", "commands", "live_config")
ALLOWED_IN: Mapping[str, tuple[str, ...]] = {
    "asyncio": WAITING_ROOMS,
    "uvloop": WAITING_ROOMS,
    "aiohttp": ("server", "client", "bench"),
    "onnxruntime": ("models.onnx",),
    "espeakng_loader": ("models.espeak",),
    "soxr": ("audio.resample",),
    "av": ("audio.decode", "audio.opus"),
    "aiortc": (
        "server.webrtc.event_channel",
        "server.webrtc.negotiation",
        "server.webrtc.offer",
        "server.webrtc.seams",
        "server.webrtc.speech_track",
        "bench.listener",
    ),
    "aioice": ("server.webrtc.seams",),
    "yaml": ("config_file",),
    # The probe runs alone, with nothing of ours.
    "time": ("clock", "bench.whisper_probe"),
    "httpx": ("models.openai_transport",),
    "tiktoken": ("models.whisper_vocabulary",),
    "filelock": ("models.shelf",),
    "urllib.request": ("models.fetch",),
    "subprocess": ("models.fetch", "models.devices", "bench"),
    "matplotlib": ("bench.plot",),
    "opentelemetry": ("pipeline.otel",),
}
"""Module from outside -> the rooms and files that may import it."""


@dataclass(frozen=True, slots=True)
class Import:
    """One module that one of ours imports, wherever in the file it does so."""

    importer: str
    """Without the package's name: ``models.onnx``."""
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.imported}"


def imports_of(source: Path, importer: str) -> Iterator[Import]:
    """Every absolute import of a file, those inside functions and of type checking too."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"), str(source))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from urllib import request` imports urllib.request; whether a name is a module does not matter here.
            for alias in node.names:
                yield Import(importer, f"{node.module}.{alias.name}", node.lineno)


def all_imports(package: Path) -> Iterator[Import]:
    """The imports of every file of a package."""
    for source in sorted(package.rglob("*.py")):
        parts = source.relative_to(package).with_suffix("").parts
        importer = ".".join(part for part in parts if part != "__init__") or "__init__"
        yield from imports_of(source, importer)


def lies_in(name: str, places: tuple[str, ...]) -> bool:
    """``name`` is one of the places or inside one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def misplaced(package: Path) -> list[str]:
    """Imports from outside that stand where they must not."""
    return [
        f"{found}, which only {', '.join(places)} may"
        for found in all_imports(package)
        for outside, places in ALLOWED_IN.items()
        if lies_in(found.imported, (outside,)) and not lies_in(found.importer, places)
    ]


def rooms(package: str, contract: str = "rooms") -> list[grimp.Layer]:
    """The layers of a contract in setup.cfg, the highest first, those that a test needs under another package."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    section = settings[f"importlinter:contract:{contract}"]
    container = section.get("containers", "").strip()
    layers = []
    for line in section["layers"].strip().splitlines():
        names = [f"{container}.{name.strip()}".lstrip(".").replace(PACKAGE, package, 1) for name in line.split("|")]
        layers.append(grimp.Layer(*names, independent=True))
    return layers


def upward(package: str, contract: str = "rooms") -> list[str]:
    """Imports that go up in the house, or across to a sibling, each as its shortest way."""
    graph = grimp.build_graph(package, cache_dir=None)
    layers = [
        grimp.Layer(*(layer.module_tails & graph.modules), independent=True) for layer in rooms(package, contract)
    ]
    breaches = graph.find_illegal_dependencies_for_layers(
        layers=[layer for layer in layers if layer.module_tails], containers=None
    )
    return sorted(
        f"{importer} -> {imported}"
        for breach in breaches
        for route in breach.routes
        for importer in route.heads
        for imported in ([*route.middle, *route.tails] if route.middle else route.tails)
    )


@pytest.mark.parametrize("contract", HOUSES)
def test_imports_go_down_only(contract: str) -> None:
    assert upward(PACKAGE, contract) == []


@pytest.mark.parametrize(("contract", "house"), HOUSES.items())
def test_every_room_has_its_place_in_the_order(contract: str, house: str) -> None:
    placed = {name.removeprefix(f"{house}.") for layer in rooms(PACKAGE, contract) for name in layer.module_tails}
    package = ROOT / house.replace(".", "/")
    there = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    assert there - placed <= {"__init__", "__main__"}
    assert placed <= there


def test_packages_from_outside_stay_where_they_belong() -> None:
    assert misplaced(ROOT / PACKAGE) == []


def test_no_import_is_relative() -> None:
    """Names that can be searched for, and a checker that sees all of them."""
    relative = [
        f"{source.relative_to(ROOT)}:{node.lineno}"
        for source in (ROOT / PACKAGE).rglob("*.py")
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


# The checkers themselves


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small package that keeps the rules, under a name of its own."""
    package = tmp_path / "planted_house"
    for name in ("__init__", "errors", "clock", "models/__init__", "models/onnx", "session/__init__", "session/state"):
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", "utf-8")
    (package / "clock.py").write_text("import time\n", "utf-8")
    (package / "models" / "onnx.py").write_text("import onnxruntime\nfrom planted_house.errors import X\n", "utf-8")
    (package / "session" / "state.py").write_text("import planted_house.models.onnx\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield package
    sys.modules.pop("planted_house", None)


def test_a_house_that_keeps_the_rules_passes(house: Path) -> None:
    assert upward("planted_house") == []
    assert misplaced(house) == []


@pytest.mark.parametrize(
    ("file", "planted", "breach"),
    [
        ("errors", "import planted_house.clock", "planted_house.errors -> planted_house.clock"),
        (
            "models/onnx",
            "import planted_house.session.state",
            "planted_house.models.onnx -> planted_house.session.state",
        ),
        (
            "errors",
            "def late():\n    from planted_house.session.state import X",
            "planted_house.errors -> planted_house.session.state",
        ),
    ],
    ids=["a sibling", "a higher room", "inside a function"],
)
def test_an_import_upward_is_found_and_named(house: Path, file: str, planted: str, breach: str) -> None:
    (house / f"{file}.py").write_text(planted + "\n", "utf-8")
    assert breach in upward("planted_house")


@pytest.mark.parametrize(
    ("file", "planted", "told"),
    [
        (
            "session/state",
            "import time",
            "session.state (line 1) imports time, which only clock, bench.whisper_probe may",
        ),
        ("errors", "from asyncio import Queue", "errors (line 1) imports asyncio.Queue, which only pipeline"),
        ("errors", "import asyncio.subprocess as s", "errors (line 1) imports asyncio.subprocess"),
        (
            "models/onnx",
            "if True:\n    import soxr",
            "models.onnx (line 2) imports soxr, which only audio.resample may",
        ),
        ("models/__init__", "def f():\n    import onnxruntime", "models (line 2) imports onnxruntime"),
        (
            "__init__",
            "from yaml import safe_load",
            "__init__ (line 1) imports yaml.safe_load, which only config_file",
        ),
        ("errors", "from urllib import request", "errors (line 1) imports urllib.request"),
    ],
)
def test_a_misplaced_package_is_found_and_named(house: Path, file: str, planted: str, told: str) -> None:
    (house / f"{file}.py").write_text(planted + "\n", "utf-8")
    found = misplaced(house)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_a_module_whose_name_only_begins_like_a_forbidden_one_is_free(house: Path) -> None:
    (house / "errors.py").write_text("import timeit\nimport average\nimport asyncio_extras\n", "utf-8")
    assert misplaced(house) == []
