"""A Whisper in the model store: its graphs, and what has to be known of it, in one folder."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.shelf import FOLDER_HINT, PULL_COMMAND, size_of
from alfred_voice.models.whisper_catalog import ALIASES, PREFIX, PUBLISHED
from alfred_voice.models.whisper_checkpoint import Dimensions
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_vocabulary import Vocabulary


RECORD_NAME = "whisper.json"
VOCABULARY_NAME = "vocabulary.tiktoken"
CHECKPOINT_PATH = "CHECKPOINT.pt"
"""Stands in commands for the path of a checkpoint of one's own that nobody has noted."""
VERSION = 1
"""Of the graphs; those of another version are made anew by a pull."""


def encoder_name(precision: Precision) -> str:
    """File name of the encoder's graph."""
    return f"encoder.{precision.value}.onnx"


def decoder_name(precision: Precision) -> str:
    """File name of the decoder's graph."""
    return f"decoder.{precision.value}.onnx"


@dataclass(frozen=True, slots=True)
class WhisperFiles:
    """What lies in the folder of one Whisper."""

    folder: Path
    name: str
    """Without ``whisper-``."""
    dimensions: Dimensions
    unspoken: tuple[int, ...]
    """Tokens that are never said."""
    blank: tuple[int, ...]
    """Tokens that spell nothing but a space."""
    source: str
    """SHA-256 of the checkpoint."""
    files: Mapping[str, tuple[int, str]]
    """Name -> size and SHA-256 of each file."""
    parity: Mapping[str, Mapping[str, float]]
    """Precision -> how far its graphs were from the checkpoint's own arithmetic when they were made."""
    checkpoint: str = ""
    """Where its checkpoint was, if it was named by its path; empty when it was fetched."""

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those whose graphs were made."""
        return tuple(one for one in Precision if encoder_name(one) in self.files)

    @property
    def pulled_as(self) -> str:
        """What a pull has to be told to make it again, as a shell takes it."""
        return pulled_as(self.name, self.checkpoint)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())

    def vocabulary(self) -> Vocabulary:
        """What its tokens spell."""
        return Vocabulary.load(self.folder / VOCABULARY_NAME, self.dimensions.languages)

    def graphs(self, precision: Precision) -> tuple[Path, Path]:
        """Encoder and decoder, whose sizes are right.

        Raises:
            ModelMissing: they are not there in that precision.
            ModelCorrupt: one has another size.
        """
        names = (encoder_name(precision), decoder_name(precision))
        for name in names:
            if name not in self.files or size_of(self.folder / name) is None:
                raise ModelMissing(
                    f"{PREFIX}{self.name} is not here in {precision.value}. "
                    f"Make it with '{PULL_COMMAND} {self.pulled_as} --precision {precision.value}'."
                )
            self._check_size(name)
        encoder, decoder = (self.folder / name for name in names)
        return encoder, decoder

    def is_here(self, precision: Precision) -> bool:
        """Whether its graphs lie there with the sizes that were written."""
        names = (encoder_name(precision), decoder_name(precision))
        return all(name in self.files and size_of(self.folder / name) == self.files[name][0] for name in names)

    def examine(self) -> dict[str, bool]:
        """File -> whether it is what was recorded when it was made; reads all of them."""
        return {name: self._digest(name) == sha256 for name, (_, sha256) in self.files.items()}

    def write_record(self) -> None:
        """Put down what there is, beside it."""
        fields = asdict(self) | {"version": VERSION}
        del fields["folder"]
        temporary = self.folder / f".{RECORD_NAME}.part"
        temporary.write_text(json.dumps(fields, indent=1), encoding="utf-8")
        temporary.replace(self.folder / RECORD_NAME)

    def _check_size(self, name: str) -> None:
        size = size_of(self.folder / name)
        if size != self.files[name][0]:
            raise ModelCorrupt(
                f"{self.folder / name} has {size} bytes, but {self.files[name][0]} were written. "
                f"Run '{PULL_COMMAND} {self.pulled_as}' to make it again."
            )

    def _digest(self, name: str) -> str | None:
        try:
            with (self.folder / name).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            return None


def whisper_folder(root: Path, name: str) -> Path:
    """Where the Whisper of that name, with or without ``whisper-`` before it, is or would be kept."""
    return root / f"{PREFIX}{name.removeprefix(PREFIX)}"


def pulled_as(name: str, checkpoint: str = "") -> str:
    """What a pull is told to make the Whisper of that name, as a shell takes it.

    Args:
        name: with or without ``whisper-``.
        checkpoint: the path that it was made of; empty when nobody knows one.
    """
    if checkpoint:
        return shlex.quote(checkpoint)
    own = name.removeprefix(PREFIX)
    is_published = ALIASES.get(own, own) in [one.name for one in PUBLISHED]
    return f"{PREFIX}{own}" if is_published else CHECKPOINT_PATH


def find_whisper(root: Path, name: str) -> WhisperFiles:
    """The Whisper of that name.

    Raises:
        ModelMissing: it is not there.
        ModelCorrupt: its record cannot be read.
    """
    folder = whisper_folder(root, name)
    path = folder / RECORD_NAME
    if not path.is_file():
        raise ModelMissing(
            f"{folder.name} is not in the model folder {root}. "
            f"Make it with '{PULL_COMMAND} {pulled_as(folder.name)}', "
            f"or name the folder that has it with {FOLDER_HINT}."
        )
    try:
        return _read(folder, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelCorrupt(
            f"{path} cannot be used: {exc}. Run '{PULL_COMMAND} {pulled_as(folder.name)}' to make it again."
        ) from exc


def whispers(root: Path) -> list[str]:
    """The names of those that are here."""
    return sorted(path.parent.name.removeprefix(PREFIX) for path in root.glob(f"{PREFIX}*/{RECORD_NAME}"))


def _read(folder: Path, record: dict[str, Any]) -> WhisperFiles:
    if record["version"] != VERSION:
        raise ValueError(f"it is of version {record['version']}, expected {VERSION}")
    return WhisperFiles(
        folder=folder,
        name=folder.name.removeprefix(PREFIX),
        dimensions=Dimensions(**record["dimensions"]),
        unspoken=tuple(record["unspoken"]),
        blank=tuple(record["blank"]),
        source=record["source"],
        files={name: (int(size), str(sha256)) for name, (size, sha256) in record["files"].items()},
        parity=record["parity"],
        checkpoint=str(record.get("checkpoint", "")),
    )
