"""Files of models on the disk: where they lie, what they are found to be, and how they are put there whole.

Every file enters under a temporary name, is hashed while it is written, and takes its place in one step, so
that a file with its final name is always whole. A stamp in each model's folder records the hashes that were
found, so that nothing is hashed again at every start. One lock per folder keeps writers apart; readers need none.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from alfred_voice.errors import ModelCorrupt, ModelFetchFailed
from alfred_voice.models.catalog import Model, ModelFile
from alfred_voice.models.derived import RECORD_NAME
from alfred_voice.models.progress import Progress


FOLDER_VARIABLE = "ALFRED_MODELS"
FOLDER_HINT = f"{FOLDER_VARIABLE} or --set models.cache_dir=FOLDER"
PULL_COMMAND = "alfred-voice models pull"
STAMP_NAME = ".verified.json"
DOWNLOADS_NAME = ".downloads"
SCRATCH_PREFIX = "pip-"
"""Begins the name of the folder that one pip works in, inside the downloads."""
CHUNK_BYTES = 256 * 1024
FULL_DISK = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def models_folder(
    setting: str | None = None, environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path:
    """Where models are kept: the setting, else ``ALFRED_MODELS``, else the user's cache directory."""
    if chosen := setting or environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser().absolute()
    if platform == "win32":
        cache = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "alfred-voice" / "models"


class FileState(Enum):
    """What was found where a file should be."""

    OK = "ok"
    ABSENT = "absent"
    WRONG_SIZE = "wrong size"
    WRONG_HASH = "wrong hash"


@dataclass(frozen=True, slots=True)
class FileReport:
    """What one file was found to be."""

    file: ModelFile
    path: Path
    state: FileState
    sha256: str | None = None
    """Of what is there, if its size was right."""


class Unwritable(ModelFetchFailed):
    """The folder cannot be changed: full, read-only, not ours. No other source would help."""


class Shelf:
    """Files of models under one folder: ``<root>/<model>/<file>``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.downloads = root / DOWNLOADS_NAME
        """What has come but has not been taken yet; lets an interrupted pull go on."""

    def path(self, model: Model, file: ModelFile) -> Path:
        """Where a file lies, or would lie."""
        return self.root / model.id / file.name

    def is_verified(self, model: Model, file: ModelFile) -> bool:
        """The file has the right size, and was once found to have the right hash; reads no weights."""
        return self._stamp(model).get(file.name) == file.sha256 and size_of(self.path(model, file)) == file.size

    def examine(self, model: Model, file: ModelFile) -> FileReport:
        """What a file is found to be, by its size and then its hash."""
        path = self.path(model, file)
        size = size_of(path)
        if size is None:
            return FileReport(file, path, FileState.ABSENT)
        if size != file.size:
            return FileReport(file, path, FileState.WRONG_SIZE)
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileReport(file, path, FileState.OK if sha256 == file.sha256 else FileState.WRONG_HASH, sha256)

    def examine_derived(self, model: Model) -> list[FileReport]:
        """What the files that were made of the model's are found to be; none when they have not been made."""
        if model.derived is None:
            return []
        expected = model.derived.expected(self.root / model.id)
        return [self.examine(model, ModelFile(name, size, sha256, ())) for name, (size, sha256) in expected.items()]

    def derive(self, model: Model) -> None:
        """Make what is made of the model's files, unless it is there."""
        if model.derived is not None:
            with self.translated(model.id):
                model.derived.prepare(self.root / model.id)

    def place(self, model: Model, file: ModelFile, stream: IO[bytes]) -> None:
        """Put what ``stream`` holds in the file's place, in one step, once its hash has been found right."""
        final = self.path(model, file)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = part_of(final)
        digest = hashlib.sha256()
        try:
            with temporary.open("wb") as output:
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
                    output.write(chunk)
                output.flush()
                os.fsync(output.fileno())
            if digest.hexdigest() != file.sha256:
                raise ModelCorrupt(
                    f"{model.id}/{file.name} came with the wrong content: expected SHA-256 {file.sha256}, "
                    f"got {digest.hexdigest()}. {fetch_again(model)} If it stays so, the source has changed "
                    "or something on the way alters it."
                )
            _replace(temporary, final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def confirm(self, model: Model, file: ModelFile) -> None:
        """Record that a file has been found right."""
        stamp = {**self._stamp(model), file.name: file.sha256}
        path = self.root / model.id / STAMP_NAME
        temporary = part_of(path)
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(stamp, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        _replace(temporary, path)

    def doubt(self, model: Model) -> None:
        """Forget what was recorded of a model, so that the next pull looks at every file."""
        with self.translated(model.id):
            (self.root / model.id / STAMP_NAME).unlink(missing_ok=True)
            (self.root / model.id / RECORD_NAME).unlink(missing_ok=True)

    def remove(self, model: Model) -> int:
        """Delete a model's files; the bytes that this freed."""
        # By name, never the whole tree: the folder may be a wrongly chosen one that holds other things.
        freed = 0
        self.doubt(model)
        with self.translated(model.id):
            for path in (self.path(model, file) for file in model.files):
                freed += size_of(path) or 0
                path.unlink(missing_ok=True)
                part_of(path).unlink(missing_ok=True)
            folder = self.root / model.id
            if model.derived is not None:
                freed += model.derived.remove(folder)
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
        return freed

    def free_bytes(self) -> int:
        """Room on the disk that holds the folder."""
        return shutil.disk_usage(self.root).free

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Alone with this folder; says so when that takes waiting for another process."""
        from filelock import FileLock, Timeout  # imports an event loop, which a start with all models here can spare

        with self.translated("the models"):
            self.downloads.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress.note(f"Another process is changing {self.root}; waiting for it to finish.")
                lock.acquire()
        try:
            for scratch in self.downloads.glob(f"{SCRATCH_PREFIX}*"):
                shutil.rmtree(scratch, ignore_errors=True)  # left by a pull that was killed; only takes up space
            yield
        finally:
            lock.release()

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn the file system's refusals into errors that say what to do."""
        try:
            yield
        except OSError as exc:
            if exc.errno in FULL_DISK:
                reason = f"The disk is full: no space in {self.root} for {what}. Make room"
            else:
                place = exc.filename or self.root
                reason = f"Cannot change {what} in {self.root}: {exc.strerror or exc} ({place}). Allow it"
            raise Unwritable(
                f"{reason}, or choose another folder with {FOLDER_HINT}. What has come so far is kept."
            ) from exc

    def _stamp(self, model: Model) -> dict[str, str]:
        """Name and hash of each file that has been verified; empty when there is no usable record."""
        try:
            stamp = json.loads((self.root / model.id / STAMP_NAME).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}


def fetch_again(model: Model) -> str:
    """What to do about a wrong file."""
    return f"Run '{PULL_COMMAND} {model.id}' to fetch it again."


def part_of(path: Path) -> Path:
    """The name that a file has until it is whole."""
    return path.with_name(f".{path.name.removeprefix('.')}.part")


def size_of(path: Path) -> int | None:
    """Bytes of a file; None when there is none."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(temporary: Path, final: Path) -> None:
    """Give a whole file its name, so that a loss of power leaves the old state or the new one."""
    temporary.replace(final)
    if os.name == "posix":  # elsewhere a folder cannot be opened to be flushed
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
