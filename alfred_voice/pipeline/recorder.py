"""Sessions on disk: what they note goes through one bounded queue to one thread, and the loop never waits for it."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alfred_voice.pipeline.options import RecordingOptions
from alfred_voice.pipeline.recording_folder import OpenRecording, RecordingFolder, name_of
from alfred_voice.session.recorded import Heading


log = logging.getLogger(__name__)

MOST_CHUNKS = 512
"""That wait for the disk; with a second of audio in each, 20 MB at most."""
CHUNK_ENTRIES = 256
FRAMES_PER_S = 50
CLOSE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Something for the thread to do."""

    tape: Tape
    entries: Sequence[dict[str, Any]] = ()
    audio: bytes = b""
    heading: Heading | None = None
    """Of the first chunk."""
    is_last: bool = False
    most_bytes: int = 0
    """That all recordings may take."""


class Tape:
    """One session's recording. Lives on the event loop; takes what the session notes.

    Args:
        recorder: writes it.
        name: of its files, without what follows the dot.
        options: the limits.
    """

    def __init__(self, recorder: Recorder, name: str, options: RecordingOptions) -> None:
        self.name = name
        self.is_on = True
        """Whether it takes more entries."""
        self.is_lost = False
        """Whether it came to nothing: what waits of it need not be written. Set and looked at on both sides."""
        self._recorder = recorder
        self._most_frames = options.max_session_s * FRAMES_PER_S
        self._most_bytes = options.max_mb * 1024 * 1024
        self._frames = 0
        self._entries: list[dict[str, Any]] = []
        self._audio: list[bytes] = []

    def begin(self, heading: Heading) -> None:
        """Have the files made."""
        self._recorder.put(_Chunk(self, heading=heading, most_bytes=self._most_bytes))

    def note(self, entry: dict[str, Any], audio: bytes | None) -> None:
        """Take an entry, and the frame that belongs to it."""
        if not self.is_on:
            return
        if audio is not None:
            if self._frames >= self._most_frames:
                self.close("max_session_s")
                return
            self._frames += 1
            self._audio.append(audio)
        self._entries.append(entry)
        if len(self._entries) >= CHUNK_ENTRIES:
            self._write()

    def close(self, reason: str = "") -> None:
        """Write what is left, and that this was all; ``reason`` when the session goes on without."""
        if self.is_on:
            self._entries.append({"op": "closed", "frames": self._frames, "reason": reason})
            self._write(is_last=True)
            self.is_on = False

    def stop(self, reason: str) -> None:
        """Record no more of this session, which goes on."""
        if not self.is_lost:
            self.is_on, self.is_lost = False, True
            log.error("recording_stopped", extra={"recording": self.name, "reason": reason})

    def _write(self, *, is_last: bool = False) -> None:
        entries, self._entries = self._entries, []
        audio, self._audio = b"".join(self._audio), []
        self._recorder.put(_Chunk(self, entries, audio, is_last=is_last, most_bytes=self._most_bytes))


class Recorder:
    """Writes tapes, all in one thread, which begins with the first.

    Args:
        options: which folder; the limits of each tape are given with it.
    """

    def __init__(self, options: RecordingOptions) -> None:
        self._folder = RecordingFolder(options.folder)
        self._chunks: queue.Queue[_Chunk | None] = queue.Queue(MOST_CHUNKS)
        self._thread: threading.Thread | None = None
        self._open: dict[Tape, OpenRecording] = {}
        self._count = 0

    def new_tape(self, session_id: str, wall: float, options: RecordingOptions) -> Tape:
        """A tape for a session that begins at ``wall``, seconds since 1970."""
        self._count += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        return Tape(self, name_of(session_id, wall, self._count), options)

    def put(self, chunk: _Chunk) -> None:
        """Let something be written; a session whose chunk finds no room is not recorded any further."""
        try:
            self._chunks.put_nowait(chunk)
        except queue.Full:
            chunk.tape.stop("the disk is too slow")

    async def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._chunks.put_nowait(None)
        except queue.Full:
            log.error("recordings_not_written", extra={"waiting": self._chunks.qsize()})
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def wait() -> None:
            thread.join(CLOSE_WITHIN_S)
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=wait, name="recorder-end", daemon=True).start()
        await ended.wait()

    # In the thread

    def _run(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            try:
                self._write(chunk)
            except OSError as error:
                self._give_up(chunk.tape, f"recording.folder {self._folder.path}: {error.strerror or error}")
            except Exception as error:
                log.exception("recording_failed", extra={"recording": chunk.tape.name})
                self._give_up(chunk.tape, f"{type(error).__name__}: {error}")
        for recording in self._open.values():
            recording.abandon()

    def _write(self, chunk: _Chunk) -> None:
        if chunk.heading is not None:
            self._open[chunk.tape] = self._folder.open(chunk.tape.name, chunk.heading)
        recording = self._open.get(chunk.tape)
        if recording is None:
            return
        if not self._folder.make_room(recording.write(chunk.entries, chunk.audio), chunk.most_bytes):
            self._give_up(chunk.tape, "recording.max_mb is reached, and all recordings are open")
        elif chunk.is_last:
            del self._open[chunk.tape]
            recording.close()
            self._folder.note_closed(recording)
        elif chunk.tape.is_lost:
            self._give_up(chunk.tape, "")

    def _give_up(self, tape: Tape, reason: str) -> None:
        tape.stop(reason)
        recording = self._open.pop(tape, None)
        if recording is not None:
            recording.abandon()
            self._folder.note_closed(recording)
