"""Which recordings ``alfred-voice transcribe`` takes, and where the text of each goes."""

from __future__ import annotations

from collections import Counter
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

    What is named twice is done once. Where two recordings have names that differ in their endings only, the texts are
    called after the whole names: ``a.wav.txt`` and ``a.flac.txt``.

    Args:
        files: paths of recordings and folders, or ``-``.
        folder: where the texts are written, those of a folder's folders in folders of the same names.
        kind: the texts' format.

    Raises:
        ConfigError: two recordings would be written to the same file, or one over itself; a path is empty.
    """
    ending = ENDINGS.get(kind, kind)
    if list(files).count(STDIN) > 1:
        raise ConfigError("-: standard input can be read once only")
    places: dict[str, tuple[str, Path]] = {}
    for file, place in _recordings(files):
        places.setdefault(file if file == STDIN else str(Path(file).absolute()), (file, place))
    stems = Counter(place.with_suffix("") for _, place in places.values())
    tasks: list[Task] = []
    for file, place in places.values():
        name = place.name if stems[place.with_suffix("")] > 1 else place.stem
        tasks.append(Task(file, None if folder is None else folder / place.with_name(f"{name}.{ending}")))
    _check(tasks)
    return tasks


def make_folder(folder: Path) -> None:
    """The one that the texts are written to.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output-dir: {folder} cannot be made: {error.strerror or error}") from error


def _recordings(files: Sequence[str]) -> Iterable[tuple[str, Path]]:
    """Each recording, and its place under the folder that the texts are written to."""
    for file in files:
        if not file:
            raise ConfigError("expected a recording, a folder or -, got an empty path")
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
