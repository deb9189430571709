"""Which recordings ``alfred-voice transcribe`` takes, and where the text of each goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alfred_voice.errors import ConfigError
from alfred_voice.files.formats import ENDINGS
from alfred_voice.files.notes import PART
from alfred_voice.files.source import media_in


STDIN = "-"
NOTES_ENDING = "segments.jsonl"


@dataclass(frozen=True, slots=True)
class Task:
    """One recording."""

    file: str
    """Its path as it was given or found; ``-`` for standard input."""
    target: Path | None = None
    """The file that its text is written to; standard output when there is none."""

    @property
    def notes(self) -> Path | None:
        """Where its segments are noted as they come."""
        return None if self.target is None else self.target.with_name(f"{self.target.stem}.{NOTES_ENDING}")

    @property
    def part(self) -> Path | None:
        """What the target is called until it is complete."""
        return None if self.target is None else self.target.with_name(self.target.name + PART)

    @property
    def size(self) -> int:
        """Of the recording, in bytes; 0 where nobody knows."""
        try:
            return 0 if self.file == STDIN else Path(self.file).stat().st_size
        except OSError:
            return 0

    def is_complete(self) -> bool:
        """Whether the text has been written since the recording was."""
        if self.target is None or self.file == STDIN:
            return False
        try:
            return self.target.stat().st_mtime_ns >= Path(self.file).stat().st_mtime_ns
        except OSError:
            return False


def tasks_of(files: Sequence[str], folder: Path | None, kind: str) -> list[Task]:
    """A task for each recording; of a folder for all that are in it, the folders inside too.

    Args:
        files: paths of recordings and folders, or ``-``.
        folder: where the texts are written, those of a folder's folders in folders of the same names.
        kind: the texts' format.

    Raises:
        ConfigError: two recordings would be written to the same file, or one over itself.
    """
    ending = ENDINGS.get(kind, kind)
    tasks: list[Task] = []
    for file, place in _recordings(files):
        name = place.with_name(f"{place.stem}.{ending}")
        tasks.append(Task(file, None if folder is None else folder / name))
    _check(tasks)
    return tasks


def make_folders(tasks: Iterable[Task]) -> None:
    """The folders that the texts are written to.

    Raises:
        ConfigError: one cannot be made.
    """
    for folder in dict.fromkeys(task.target.parent for task in tasks if task.target is not None):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--output-dir: {folder} cannot be made: {error.strerror or error}") from error


def _recordings(files: Sequence[str]) -> Iterable[tuple[str, Path]]:
    """Each recording, and its place under the folder that the texts are written to."""
    for file in files:
        path = Path(file)
        if file == STDIN:
            yield file, Path("stdin")
        elif path.is_dir():
            try:
                found = media_in(path)
            except OSError as error:
                raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
            if not found:
                raise ConfigError(f"{file}: expected recordings in this folder, but there is none")
            yield from ((str(one), one.relative_to(path)) for one in found)
        else:
            yield file, Path(path.name)


def _check(tasks: Sequence[Task]) -> None:
    targets = [task.target for task in tasks if task.target is not None]
    twice = next((target for target in dict.fromkeys(targets) if targets.count(target) > 1), None)
    if twice is not None:
        raise ConfigError(f"--output-dir: several of the recordings would be written to {twice}")
    for task in tasks:
        if task.target is not None and Path(task.file).absolute() == task.target.absolute():
            raise ConfigError(f"--output-dir: {task.target} would be written over the recording itself")
    if [task.file for task in tasks].count(STDIN) > 1:
        raise ConfigError("-: standard input can be read once only")
