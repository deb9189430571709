"""Files that are made on this machine out of the files of a model, once, and kept beside them.

A record tells of which version and of which sources they were made; where it does not fit what is there
they are made anew. Each is written elsewhere first and takes its place in one step, and the same
sources give the same bytes: so two processes may make them at the same time.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


RECORD_NAME = ".derived.json"
SCRATCH_PREFIX = ".deriving-"
"""Begins the name of the folder in which new ones are written."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What is made of a model's files, and how."""

    version: str
    """Another one has everything made anew."""
    sources: tuple[str, ...]
    """Names of the files that are read."""
    results: tuple[str, ...]
    """Names of the files that are made."""
    make: Callable[[Path, Path], None]
    """Reads the sources in the first folder, writes the results into the second."""

    def is_ready(self, folder: Path) -> bool:
        """Whether the results lie in ``folder`` and belong to what lies there; as a rule reads no weights."""
        record = _read(folder)
        if record.get("version") != self.version:
            return False
        return all(self._is_same_source(folder / name, record) for name in self.sources) and all(
            _size(folder / name) == _entry(record, "results", name).get("size") for name in self.results
        )

    def prepare(self, folder: Path) -> bool:
        """Make the results unless they are ready; whether there was something to do.

        Raises:
            OSError: the folder cannot be changed.
            ModelError: the sources cannot be read.
        """
        if self.is_ready(folder):
            return False
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder) as scratch:
            self.make(folder, Path(scratch))
            record = {
                "version": self.version,
                "sources": {name: _describe(folder / name) for name in self.sources},
                "results": {name: _describe(Path(scratch, name)) for name in self.results},
            }
            (folder / RECORD_NAME).unlink(missing_ok=True)
            for name in self.results:
                Path(scratch, name).replace(folder / name)
            Path(scratch, RECORD_NAME).write_text(json.dumps(record, indent=1), encoding="utf-8")
            Path(scratch, RECORD_NAME).replace(folder / RECORD_NAME)
        return True

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Path]:
        """The folder where the results can be read: ``folder``, or one for the moment if that cannot be changed."""
        try:
            self.prepare(folder)
        except OSError:
            with tempfile.TemporaryDirectory(prefix="alfred-voice-") as scratch:
                self.make(folder, Path(scratch))
                yield Path(scratch)
            return
        yield folder

    def expected(self, folder: Path) -> dict[str, tuple[int, str]]:
        """Name -> size and SHA-256 of each result, as recorded when it was made; empty when nothing was."""
        record = _read(folder)
        entries = {name: _entry(record, "results", name) for name in self.results}
        return {name: (entry["size"], entry["sha256"]) for name, entry in entries.items() if entry}

    def remove(self, folder: Path) -> int:
        """Delete the results and the record; the bytes of the results."""
        freed = 0
        (folder / RECORD_NAME).unlink(missing_ok=True)
        for name in self.results:
            freed += _size(folder / name) or 0
            (folder / name).unlink(missing_ok=True)
        return freed

    def _is_same_source(self, path: Path, record: dict[str, Any]) -> bool:
        """Whether ``path`` is what the record tells of, by its time, or else by its hash."""
        known = _entry(record, "sources", path.name)
        try:
            found = path.stat()
        except OSError:
            return False
        if found.st_size != known.get("size"):
            return False
        return bool(found.st_mtime_ns == known.get("mtime_ns") or _sha256(path) == known.get("sha256"))


def _read(folder: Path) -> dict[str, Any]:
    """The record; empty when there is none that can be used."""
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _entry(record: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """What the record says of one file; empty for nothing."""
    entries = record.get(group)
    entry = entries.get(name) if isinstance(entries, dict) else None
    return entry if isinstance(entry, dict) else {}


def _describe(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size(path: Path) -> int | None:
    """Bytes of a file; None when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None
