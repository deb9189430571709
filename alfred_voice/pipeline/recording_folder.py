"""The folder of recorded sessions: two files for each, for nobody but the daemon's user, and a bound on all of them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from alfred_voice.audio.wav import wav_header
from alfred_voice.errors import ConfigError
from alfred_voice.session.recorded import Heading


SAMPLE_RATE = 16_000
ENTRIES, AUDIO = ".jsonl", ".wav"
_SAFE_CHARACTERS = 64
_OURS = re.compile(r"\d{8}-\d{6}-\d+-\d+-")
"""What a recording's name begins with: nothing else in the folder ever gives way."""


def default_folder(environ: Mapping[str, str]) -> Path:
    """Where recordings are kept unless a folder is configured."""
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "alfred-voice" / "recordings"


def name_of(session_id: str, wall: float, count: int) -> str:
    """The name of a recording's files, in the order of time; of what the client chose only letters and digits stay."""
    moment = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%d-%H%M%S")
    return f"{moment}-{os.getpid()}-{count}-{re.sub(r'[^A-Za-z0-9_-]', '_', session_id)[:_SAFE_CHARACTERS]}"


class OpenRecording:
    """Two files that are being written, in the recorder's thread.

    Raises:
        OSError: they cannot be made.
    """

    def __init__(self, folder: Path, name: str, heading: Heading) -> None:
        self.entries_path, self.audio_path = folder / f"{name}{ENTRIES}", folder / f"{name}{AUDIO}"
        self.bytes = 0
        self._entries = _create(self.entries_path)
        try:
            self._audio = _create(self.audio_path)
        except OSError:
            self._entries.close()
            raise
        self._samples = 0
        self._append(self._entries, msgspec.json.encode(heading) + b"\n")
        self._append(self._audio, wav_header(SAMPLE_RATE))

    def write(self, entries: Sequence[Mapping[str, Any]], audio: bytes) -> int:
        """Write entries and audio, int16; returns the bytes that were added."""
        before = self.bytes
        self._append(self._entries, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
        self._append(self._audio, audio)
        self._samples += len(audio) // 2
        return self.bytes - before

    def close(self) -> None:
        """Write the length into the header of the audio, and close both."""
        self._audio.seek(0)
        self._audio.write(wav_header(SAMPLE_RATE, samples=self._samples))
        self.abandon()

    def abandon(self) -> None:
        """Close both as they are; a disk that refuses has been told of."""
        for file in (self._entries, self._audio):
            with contextlib.suppress(OSError):
                file.close()

    def _append(self, file: BinaryIO, data: bytes) -> None:
        # Not buffered: a short write is one that the disk refuses in part.
        while data:
            written = file.write(data)
            self.bytes += written
            data = data[written:]


class RecordingFolder:
    """All recordings. Used in the recorder's thread only; looks at the disk when the first one is opened."""

    def __init__(self, folder: str | None, environ: Mapping[str, str] = os.environ) -> None:
        self.path = default_folder(environ) if folder is None else Path(folder).expanduser()
        self._closed: deque[tuple[int, tuple[Path, ...]]] | None = None
        self._bytes = 0

    def open(self, name: str, heading: Heading) -> OpenRecording:
        """Begin a recording.

        Raises:
            OSError: the folder or the files cannot be made.
        """
        self._make()
        if self._closed is None:
            self._closed = self._there()
            self._bytes = sum(size for size, _ in self._closed)
        recording = OpenRecording(self.path, name, heading)
        self._bytes += recording.bytes
        return recording

    def check(self) -> None:
        """Nothing, when recordings can be kept there; makes the folder where it is not there.

        Raises:
            ConfigError: saying why not, and what to do.
        """
        try:
            self._make()
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise ConfigError(
                f"recording.folder: {self.path} cannot be used: {error.strerror or error}; "
                "name a folder that the daemon may write to and nobody else may open"
            ) from error

    def _make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "posix" and self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            # It was there already, and may be anything: whose rights it has is not ours to change.
            raise PermissionError(errno.EPERM, f"it is open to others: chmod 700 {self.path}")

    def note_closed(self, recording: OpenRecording) -> None:
        """From now on it may give way to newer ones."""
        if self._closed is not None:
            self._closed.append((recording.bytes, (recording.entries_path, recording.audio_path)))

    def make_room(self, added: int, most_bytes: int) -> bool:
        """Count what was added, and let the oldest go while there is too much; False when only open ones are left."""
        self._bytes += added
        while self._bytes > most_bytes and self._closed:
            size, paths = self._closed.popleft()
            for path in paths:
                path.unlink(missing_ok=True)
            self._bytes -= size
        return self._bytes <= most_bytes

    def _there(self) -> deque[tuple[int, tuple[Path, ...]]]:
        """What earlier runs have left, the oldest first: the names begin with the time."""
        found = []
        for path in sorted(self.path.glob(f"*{ENTRIES}")):
            if not _OURS.match(path.name):
                continue
            pair = (path, path.with_suffix(AUDIO))
            found.append((sum(one.stat().st_size for one in pair if one.exists()), pair))
        return deque(found)


def _create(path: Path) -> BinaryIO:
    """A new file that only this user can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
