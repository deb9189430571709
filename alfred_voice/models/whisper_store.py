"""The Whispers that are here: made out of checkpoints, looked after like the models of the catalogue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from alfred_voice.errors import ModelCorrupt, ModelError, ModelFetchFailed, ModelMissing
from alfred_voice.models.progress import Progress, Silent
from alfred_voice.models.shelf import FOLDER_HINT, FULL_DISK, Shelf, Unwritable, part_of
from alfred_voice.models.store import Store
from alfred_voice.models.whisper_catalog import PREFIX, PublishedWhisper, heads_of, published
from alfred_voice.models.whisper_checkpoint import read_checkpoint
from alfred_voice.models.whisper_export import export_whisper
from alfred_voice.models.whisper_files import (
    RECORD_NAME,
    WhisperFiles,
    find_whisper,
    pulled_as,
    whisper_folder,
    whispers,
)
from alfred_voice.models.whisper_graphs import Head
from alfred_voice.models.whisper_layers import Precision


VOCABULARY_ID = "whisper-vocabulary"
DEFAULT_PRECISION = Precision.INT8
CHECKPOINT_ENDINGS = (".pt", ".pth")


class WhisperStore:
    """The Whispers in the folder of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shelf = Shelf(store.root)

    @property
    def root(self) -> Path:
        """The folder of all models."""
        return self._store.root

    def is_ours(self, wanted: str) -> bool:
        """Whether ``wanted`` means a Whisper: a published name, the path of a checkpoint, or one that is here."""
        if wanted in [model.id for model in self._store.catalogue.models]:
            return False
        is_path = wanted.endswith(CHECKPOINT_ENDINGS) or Path(wanted).is_file()
        return is_path or wanted.startswith(PREFIX) or wanted in self.names()

    def names(self) -> list[str]:
        """The ids of those that are here."""
        return [f"{PREFIX}{name}" for name in whispers(self.root)]

    def find(self, name: str) -> WhisperFiles:
        """The Whisper of that name.

        Raises:
            ModelMissing: it is not here.
            ModelCorrupt: its record cannot be read.
        """
        return find_whisper(self.root, name)

    def is_complete(self, wanted: str, precisions: Sequence[Precision]) -> bool:
        """Whether the graphs are here in these precisions; cheap, reads no weights.

        Enough at a start, which must not wait until gigabytes are hashed; a pull by hand asks for :meth:`is_sound`.
        """
        if wanted.endswith(CHECKPOINT_ENDINGS) or Path(wanted).is_file():
            return False
        try:
            files = self.find(_own_name(wanted))
            for precision in precisions:
                files.graphs(precision)
        except ModelError:
            return False
        return True

    def is_sound(self, wanted: str, precisions: Sequence[Precision]) -> bool:
        """Whether the graphs are here in these precisions, and every file is what was made; hashes all of them."""
        return self.is_complete(wanted, precisions) and all(self.verify(_own_name(wanted)).values())

    def pulled_as(self, name: str) -> str:
        """What a pull has to be told to make a Whisper that is here again, as a shell takes it."""
        try:
            return self.find(name).pulled_as
        except ModelError:
            return pulled_as(name)

    def pull(self, wanted: str, precisions: Sequence[Precision], progress: Progress | None = None) -> WhisperFiles:
        """Make the graphs of a published Whisper, which is fetched, or of a checkpoint, which is read.

        Args:
            wanted: a published name, with or without ``whisper-``; the path of a checkpoint; or the name of a Whisper
                that was made of one, which is still there.
            precisions: which graphs there are to be; those that are here already stay.
            progress: hears of each step.

        Raises:
            ModelFetchFailed: no network, no space, no right to write. What has come so far is kept.
            ModelCorrupt: the checkpoint is not what it should be.
            ModelMissing: there is no Whisper of that name.
        """
        progress = progress or Silent()
        self._store.pull(VOCABULARY_ID, progress=progress)
        with self._shelf.locked(progress):
            path = Path(wanted).expanduser()
            if wanted.endswith(CHECKPOINT_ENDINGS) or path.is_file():
                return self._make(path, name_of(path), (), precisions, progress, is_named=True)
            if noted := self._noted_checkpoint(wanted):
                return self._make(noted, wanted.removeprefix(PREFIX), (), precisions, progress, is_named=True)
            if not _is_published(wanted) and wanted.removeprefix(PREFIX) in whispers(self.root):
                raise ModelMissing(f"Nobody has noted the checkpoint that {wanted} was made of; name its path instead.")
            one = published(wanted)
            checkpoint = self._fetch(one, progress)
            files = self._make(checkpoint, one.name, one.heads, precisions, progress)
            checkpoint.unlink(missing_ok=True)
            return files

    def verify(self, name: str) -> dict[str, bool]:
        """File -> whether it is what was made, by its hash."""
        return self.find(name).examine()

    def remove(self, name: str) -> int:
        """Delete a Whisper; the bytes that this freed."""
        folder = whisper_folder(self.root, name)
        try:
            names = [*self.find(name).files, RECORD_NAME]
        except ModelMissing:
            return 0
        except ModelCorrupt:
            names = [path.name for path in folder.iterdir() if path.suffix in (".onnx", ".tiktoken", ".json")]
        freed = 0
        with self._shelf.locked(Silent()), self._shelf.translated(folder.name):
            for file in names:
                with suppress(FileNotFoundError):
                    freed += (folder / file).stat().st_size
                    (folder / file).unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
        return freed

    def _make(
        self,
        checkpoint: Path,
        name: str,
        heads: Sequence[Head],
        precisions: Sequence[Precision],
        progress: Progress,
        *,
        is_named: bool = False,
    ) -> WhisperFiles:
        if not checkpoint.is_file():
            raise ModelMissing(f"No checkpoint at {checkpoint}")
        kept = self._kept(name)
        wanted = [one for one in Precision if one in precisions or one in kept]
        progress.note(f"Reading {checkpoint.name}")
        read = read_checkpoint(checkpoint)
        with checkpoint.open("rb") as stream:
            source = hashlib.file_digest(stream, "sha256").hexdigest()
        vocabularies = self._store.path(VOCABULARY_ID, "gpt2.tiktoken").parent
        noted = str(checkpoint.absolute()) if is_named else ""
        heads = heads or heads_of(source)
        try:
            return export_whisper(read, source, self.root, name, vocabularies, wanted, progress, heads, noted)
        except OSError as exc:
            reason = "The disk is full" if exc.errno in FULL_DISK else exc.strerror or str(exc)
            raise Unwritable(
                f"The graphs of {PREFIX}{name} cannot be written to {self.root}: {reason}. Make room, or choose "
                f"another folder with {FOLDER_HINT}."
            ) from exc

    def _noted_checkpoint(self, name: str) -> Path | None:
        """The checkpoint that a Whisper of that name was made of, if it was named by its path and is still there."""
        try:
            noted = self.find(_own_name(name)).checkpoint
        except ModelError:
            return None
        return Path(noted) if noted and (Path(noted).is_file() or not _is_published(name)) else None

    def _kept(self, name: str) -> Sequence[Precision]:
        """The precisions that are here already."""
        try:
            return self.find(name).precisions
        except ModelError:
            return ()

    def _fetch(self, one: PublishedWhisper, progress: Progress) -> Path:
        """The checkpoint, in the folder for downloads."""
        from alfred_voice.models.fetch import download_file, offered_bytes  # brings in the network

        final = self._shelf.downloads / f"{PREFIX}{one.name}.pt"
        part = part_of(final)
        try:
            with self._shelf.translated(final.name):
                if not final.exists():
                    download_file(one.address, part, offered_bytes(one.address), final.name, progress)
                    part.replace(final)
                with final.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
        except Unwritable:
            raise
        except ModelFetchFailed as exc:
            raise ModelFetchFailed(
                f"Could not fetch {PREFIX}{one.name} from {one.address}: {exc}. Check the network, or bring the file "
                "by other means and name its path instead."
            ) from exc
        if found != one.sha256:
            final.unlink()
            raise ModelCorrupt(
                f"{one.address} came with the wrong content: expected SHA-256 {one.sha256}, got {found}. "
                "Fetch it again."
            )
        return final


def name_of(checkpoint: Path) -> str:
    """What the Whisper of a checkpoint is called, without ``whisper-``."""
    return checkpoint.stem.removeprefix(PREFIX) or checkpoint.stem


def _is_published(name: str) -> bool:
    try:
        published(name)
    except ModelMissing:
        return False
    return True


def _own_name(wanted: str) -> str:
    """The name in the store of what may be an alias."""
    try:
        return published(wanted).name
    except ModelMissing:
        return wanted
