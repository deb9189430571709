"""Where a recording comes from: bytes, a path, or a file that may not be able to go back."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from alfred_voice.audio.damage import Damage
from alfred_voice.audio.decode import decode_blocks
from alfred_voice.errors import EmptyAudio
from alfred_voice.files.errors import RecordingUnreadable
from alfred_voice.models.engine import Int16


Source = bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO
"""The bytes of a file, its path, or a file opened for reading bytes."""

SPOOL_BYTES = 16 * 1024 * 1024
"""What cannot go back is kept: so much of it in memory, more in a temporary file. The index of an MP4 file may stand at
its end."""
_ENDINGS = (
    "3g2 3gp aac ac3 aif aifc aiff amr ape asf au avi caf dts eac3 flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 mp4 "
    "mpc mpeg mpg mts oga ogg ogv opus snd spx tta ts w64 wav weba webm wma wmv wv"
)
MEDIA_ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Of files that are taken from a folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A recording that is open; its file can go back."""

    name: str
    size: int
    """In bytes."""
    file: BinaryIO

    damage: Damage = field(default_factory=Damage)
    """What of it could not be decoded, as far as it has been read."""

    def blocks(self) -> Iterator[Int16]:
        """Its samples: int16, 16 kHz mono, in blocks of 1 to 16 000; silence where it is damaged.

        Raises:
            AudioError: as :func:`~alfred_voice.audio.decode.decode_blocks`, and for what the system says against it.
        """
        try:
            yield from decode_blocks(self.file, self.damage)
        except OSError as error:
            raise RecordingUnreadable(error.strerror or str(error), self.name) from error


@contextmanager
def opened(source: Source, name: str | None = None) -> Iterator[Opened]:
    """A recording, open as long as the context; a file that was given stays open.

    Raises:
        RecordingUnreadable: there is no such file, or the system does not give it.
        EmptyAudio: it has not one byte.
        TypeError: not a source, such as a file of text.
    """
    path = str(source) if isinstance(source, str | PathLike) else ""
    with ExitStack() as stack:
        try:
            file, found = _file(source, stack)
            file = file if file.seekable() else stack.enter_context(_kept(file))
            at = file.tell()
            size = file.seek(0, io.SEEK_END) - at
            file.seek(at)
        except OSError as error:
            raise RecordingUnreadable(error.strerror or str(error), path) from error
        if size <= 0:
            raise EmptyAudio("expected a recording, got 0 bytes")
        yield Opened(found if name is None else name, size, file)


def media_in(folder: Path) -> list[Path]:
    """The recordings in a folder and its folders, by name; hidden ones are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found += [] if path.is_symlink() else media_in(path)  # a link may lead back to where it stands
        elif path.suffix.lower() in MEDIA_ENDINGS:
            found.append(path)
    return found


def _file(source: Source, stack: ExitStack) -> tuple[BinaryIO, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), "bytes"
    if isinstance(source, str | PathLike):
        path = Path(source)
        if path.is_dir():
            raise RecordingUnreadable("expected a recording, got a folder", str(path))
        return stack.enter_context(path.open("rb")), str(path)
    given: object = source
    if isinstance(given, io.TextIOBase) or not callable(getattr(given, "read", None)):
        raise TypeError(f"expected bytes, a path or a file opened for reading bytes, got {type(source).__name__}")
    return source, str(getattr(source, "name", "stream"))


def _kept(file: BinaryIO) -> BinaryIO:
    """A copy that can go back."""
    copy = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  closed by who asked for it
    try:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return cast("BinaryIO", copy)
